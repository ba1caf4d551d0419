//! `uv.toml`, and `[tool.uv]` of a `pyproject.toml`: an `[[index]]` that is the default.
//!
//! Only one index may be the default, so a former one is put out of force, and so are the older
//! keys that mean the same. Indexes that are no default stay, and are asked before the node: they
//! are reported.
//!
//! Source: uv's documentation of its settings and of indexes.

use toml_edit::{Item, Table, TableLike};

use super::{NAME, legacy, simple, toml};
use crate::formats::{Aim, Settings};

const CLIENT: &str = "uv";
/// Where uv's settings are in a project's manifest.
const TOOL: [&str; 2] = ["tool", "uv"];

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let of: &[&str] = if aim.file == "pyproject.toml" { &TOOL } else { &[] };
    let document = toml::parse(text)?;
    let mut outs = Vec::new();
    for key in [&["index-url"][..], &["pip", "index-url"]] {
        outs.extend(toml::lines_of(text, document.as_table(), &[of, key].concat()));
    }
    for table in indexes(document.as_table(), of) {
        if is_default(table) || says(table, "name") == Some(NAME) {
            outs.extend(toml::table_lines(text, table));
        }
    }
    let prefix: String = of.iter().map(|key| format!("{key}.")).collect();
    let lines = [
        format!("[[{prefix}index]]"),
        format!("name = {NAME:?}"),
        format!("url = {:?}", simple(aim)),
        format!("publish-url = {:?}", legacy(aim)),
        "default = true".to_owned(),
    ];
    let changed = |part: &str| {
        let Some(rest) = part.strip_prefix(prefix.as_str()) else { return false };
        let of_default = rest.starts_with("index[]={")
            && (rest.contains("default=true") || rest.contains(&format!("name={NAME:?}")));
        rest.starts_with("index-url=") || rest.starts_with("pip.index-url=") || of_default
    };
    let out = toml::insert(text, CLIENT, (outs, &lines), changed)?;
    let now = read(&out, of)?.registry;
    if now == Some(simple(aim)) { Ok(out) } else { Err(super::conf::BY_HAND.to_owned()) }
}

pub(super) fn read(text: &str, of: &[&str]) -> Result<Settings, String> {
    let document = toml::parse(text)?;
    let root = document.as_table();
    let table = match of {
        [] => Some(root as &dyn TableLike),
        path => toml::at(root, path).and_then(Item::as_table_like),
    };
    let Some(table) = table else { return Ok(Settings::default()) };
    let mut settings = Settings::default();
    let text = |path: &[&str]| toml::at(table, path)?.as_str().map(str::to_owned);
    settings.registry = text(&["index-url"]);
    for index in all_indexes(table) {
        let url = index.get("url").and_then(Item::as_str).map(str::to_owned);
        let Some(url) = url else { continue };
        if index.get("default").and_then(Item::as_bool) == Some(true) {
            settings.registry = Some(url);
        } else {
            let name = index.get("name").and_then(Item::as_str).unwrap_or_default();
            settings.beside.push((format!("index {name}").trim_end().to_owned(), url));
        }
    }
    if let Some(url) = text(&["pip", "index-url"]) {
        settings.beside.push(("pip.index-url".to_owned(), url));
    }
    for path in [&["extra-index-url"][..], &["find-links"], &["pip", "extra-index-url"]] {
        let places = toml::at(table, path).and_then(Item::as_array);
        let places = places.into_iter().flatten().filter_map(|place| place.as_str());
        settings.beside.extend(places.map(|place| (path.join("."), place.to_owned())));
    }
    Ok(settings)
}

/// By the name of the file.
pub(super) fn read_file(name: &str, text: &str) -> Result<Settings, String> {
    if name == "pyproject.toml" { read(text, &TOOL) } else { read(text, &[]) }
}

/// Indexes in whichever notation.
fn all_indexes(table: &dyn TableLike) -> Vec<&dyn TableLike> {
    match table.get("index") {
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter().map(|table| table as &dyn TableLike).collect()
        }
        Some(item) => {
            let inline = item.as_array().into_iter().flatten();
            inline.filter_map(|one| one.as_inline_table().map(|t| t as &dyn TableLike)).collect()
        }
        None => Vec::new(),
    }
}

/// Those that lines can be put out of force of.
fn indexes<'d>(root: &'d Table, of: &[&str]) -> Vec<&'d Table> {
    let found = toml::at(root, &[of, &["index"]].concat());
    found.and_then(Item::as_array_of_tables).into_iter().flatten().collect()
}

fn is_default(table: &Table) -> bool {
    table.get("default").and_then(Item::as_bool) == Some(true)
}

fn says<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}
