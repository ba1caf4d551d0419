//! `bunfig.toml`: the key `registry` of the table `[install]`, spliced by the places that a parser
//! of TOML gives. What comes out is read again: everything else must say what it said.

use toml_edit::{Document, Item, TableLike};

use super::ini;
use crate::formats::{Aim, Settings, Variables, block};

const CLIENT: &str = "bun";
const BY_HAND: &str = "the file is not plain enough to be changed by a program";

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let document = parse(text)?;
    let registry = match &aim.token {
        Some(token) => format!("registry = {{ url = {:?}, token = {token:?} }}", aim.registry),
        None => format!("registry = {:?}", aim.registry),
    };
    let mut lines = vec![registry];
    let out = match document.get("install") {
        None => {
            lines.insert(0, "[install]".to_owned());
            block::insert(text, text.len(), CLIENT, &lines)
        }
        Some(Item::Table(table)) => {
            let mut out = text.to_owned();
            if let Some((key, value)) = table.get_key_value("registry") {
                let span = key.span().zip(value.span()).ok_or(BY_HAND)?;
                out = block::put_out(&out, CLIENT, whole_lines(text, span.0.start..span.1.end));
            }
            let header = header(&out).ok_or(BY_HAND)?;
            block::insert(&out, header, CLIENT, &lines)
        }
        Some(_) => return Err(BY_HAND.to_owned()),
    };
    let after = parse(&out)?;
    let says = read(&out, &|_| None)?.registry;
    if says.as_deref() != Some(&aim.registry) || others(&document) != others(&after) {
        return Err(BY_HAND.to_owned());
    }
    Ok(out)
}

fn parse(text: &str) -> Result<Document<&str>, String> {
    Document::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))
}

fn whole_lines(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at + 1);
    start..end
}

/// Behind the line of the header `[install]`.
fn header(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let bare = line.split('#').next().unwrap_or_default().trim();
        let name = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if name.is_some_and(|name| name.trim() == "install") {
            return Some(at);
        }
    }
    None
}

/// Everything but the registry, in one form.
fn others(document: &Document<&str>) -> Vec<String> {
    let mut found = Vec::new();
    collect(document.as_table(), "", &mut found);
    found.retain(|line| {
        !line.starts_with("install.registry=") && !line.starts_with("install.registry.")
    });
    found.sort();
    found
}

fn collect(table: &dyn TableLike, prefix: &str, found: &mut Vec<String>) {
    for (key, item) in table.iter() {
        let name = format!("{prefix}{key}");
        match item.as_table_like() {
            Some(inner) => collect(inner, &format!("{name}."), found),
            None => found.push(format!("{name}={}", item.to_string().trim())),
        }
    }
}

pub(super) fn read(text: &str, variable: Variables<'_>) -> Result<Settings, String> {
    let document = parse(text)?;
    let mut settings = Settings::default();
    let Some(install) = document.get("install").and_then(Item::as_table_like) else {
        return Ok(settings);
    };
    if let Some(item) = install.get("registry") {
        let (url, credential) = registry(item, variable);
        if let (Some(url), Some(credential)) = (&url, credential) {
            settings.credentials.insert(super::keyed(url).to_owned(), credential);
        }
        settings.registry = url;
    }
    let scopes = install.get("scopes").and_then(Item::as_table_like);
    for (scope, item) in scopes.iter().flat_map(|scopes| scopes.iter()) {
        let (Some(url), credential) = registry(item, variable) else { continue };
        if let Some(credential) = credential {
            settings.credentials.insert(super::keyed(&url).to_owned(), credential);
        }
        settings.scopes.insert(format!("@{}", scope.trim_start_matches('@')), url);
    }
    Ok(settings)
}

/// A URL, alone or with a token.
fn registry(item: &Item, variable: Variables<'_>) -> (Option<String>, Option<String>) {
    let text = |item: &Item| item.as_str().map(|text| expanded(text, variable));
    if let Some(table) = item.as_table_like() {
        let token = table.get("token").and_then(text).map(|token| format!("Bearer {token}"));
        return (table.get("url").and_then(text), token);
    }
    (text(item), None)
}

/// `$NAME` alone, as bun takes it, or `${NAME}`.
fn expanded(text: &str, variable: Variables<'_>) -> String {
    let named = text.strip_prefix('$').and_then(variable);
    named.unwrap_or_else(|| ini::expand(text, variable))
}
