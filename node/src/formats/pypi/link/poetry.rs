//! poetry's `config.toml` and `poetry.toml`: the node as a repository to publish to, and as the
//! mirror of the plugin that keeps lockfiles clean.
//!
//! A source in `pyproject.toml` would stand in `poetry.lock`, so none is written. Tokens that are
//! in the file are poetry's own notation for a repository without a keyring.
//!
//! Source: poetry's documentation of its configuration; that of poetry-plugin-pypi-mirror.

use toml_edit::{Item, TableLike};

use super::{NAME, USER, legacy, simple, toml};
use crate::formats::{Aim, Settings, block};

const CLIENT: &str = "poetry";
const MIRROR: [&str; 2] = ["plugins", "pypi_mirror"];

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let document = toml::parse(text)?;
    let ours = [&["repositories", NAME], &MIRROR, &["http-basic", NAME]];
    let outs = ours.iter().filter_map(|path| toml::lines_of(text, document.as_table(), *path));
    let mut lines = vec![
        format!("[repositories.{NAME}]"),
        format!("url = {:?}", legacy(aim)),
        format!("[{}]", MIRROR.join(".")),
        format!("url = {:?}", simple(aim)),
    ];
    if let Some(token) = &aim.token {
        lines.push(format!("[http-basic.{NAME}]"));
        lines.push(format!("username = {USER:?}"));
        lines.push(format!("password = {token:?}"));
    }
    let names: Vec<String> = ours.iter().map(|path| format!("{}.", path.join("."))).collect();
    let changed = |part: &str| names.iter().any(|name| part.starts_with(name));
    let out = toml::insert(text, CLIENT, (outs.collect(), &lines), changed)?;
    let now = read(&out)?.registry;
    if now == Some(simple(aim)) { Ok(out) } else { Err(super::conf::BY_HAND.to_owned()) }
}

pub(super) fn remove(text: &str, _: &Aim, _: &str) -> Option<String> {
    block::remove(text, CLIENT)
}

/// What a file of poetry's settings says.
pub(super) fn read(text: &str) -> Result<Settings, String> {
    let document = toml::parse(text)?;
    let mirror = toml::at(document.as_table(), &[&MIRROR[..], &["url"]].concat());
    let registry = mirror.and_then(Item::as_str).map(str::to_owned);
    Ok(Settings { registry, ..Settings::default() })
}

/// The sources that a project's manifest names.
pub(super) fn sources(text: &str) -> Result<Settings, String> {
    let document = toml::parse(text)?;
    let found = toml::at(document.as_table(), &["tool", "poetry", "source"]);
    let tables = found.and_then(Item::as_array_of_tables).into_iter().flatten();
    let beside = tables.filter_map(|source| {
        let text = |key: &str| TableLike::get(source, key)?.as_str().map(str::to_owned);
        Some((format!("source {}", text("name").unwrap_or_default()), text("url")?))
    });
    Ok(Settings { beside: beside.collect(), ..Settings::default() })
}
