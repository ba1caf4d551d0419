//! What files of TOML have in common: read with the places of their parts, changed by splicing.
//!
//! Parts that must not stand beside the block are put out of force line by line. What comes out is
//! read again: everything else must say what it said.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, Table, TableLike};

use super::conf::BY_HAND;
use crate::formats::block;

pub(super) fn parse(text: &str) -> Result<Document<&str>, String> {
    Document::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))
}

/// The item at a path of keys.
pub(super) fn at<'d>(table: &'d dyn TableLike, path: &[&str]) -> Option<&'d Item> {
    let (last, folders) = path.split_last()?;
    let mut table = table;
    for key in folders {
        table = table.get(key)?.as_table_like()?;
    }
    table.get(last)
}

/// The lines of a key and its value, or of a table with its header.
pub(super) fn lines_of(text: &str, table: &dyn TableLike, path: &[&str]) -> Option<Range<usize>> {
    let (last, folders) = path.split_last()?;
    let mut table = table;
    for key in folders {
        table = table.get(key)?.as_table_like()?;
    }
    let (key, item) = table.get_key_value(last)?;
    match item {
        Item::Table(inner) => table_lines(text, inner),
        item => Some(whole_lines(text, key.span()?.start..item.span()?.end)),
    }
}

/// The lines of a table with its header and all that stands in it.
pub(super) fn table_lines(text: &str, table: &Table) -> Option<Range<usize>> {
    let mut all = table.span();
    for (key, item) in table.iter() {
        let key = table.key(key)?.span()?;
        let inner = match item {
            Item::Table(inner) => table_lines(text, inner)?,
            item => item.span()?,
        };
        let before = all.unwrap_or_else(|| key.clone());
        all = Some(before.start.min(key.start)..before.end.max(inner.end));
    }
    all.map(|span| whole_lines(text, span))
}

fn whole_lines(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let ended = text[start..span.end].ends_with('\n');
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at + 1);
    start..if ended { span.end } else { end }
}

/// Puts lines out of force, and adds the client's block at the end.
///
/// `is_changed` says whether a part, as [`parts`] writes it, is one that the change is about.
///
/// # Errors
/// The file cannot be changed without changing what else it says.
pub(super) fn insert(
    text: &str,
    client: &str,
    (mut outs, lines): (Vec<Range<usize>>, &[String]),
    is_changed: impl Fn(&str) -> bool,
) -> Result<String, String> {
    outs.sort_by_key(|lines| lines.start);
    if outs.windows(2).any(|two| two[0].end > two[1].start) {
        return Err(BY_HAND.to_owned());
    }
    let mut out = text.to_owned();
    for lines in outs.into_iter().rev() {
        out = block::put_out(&out, client, lines);
    }
    let out = block::insert(&out, out.len(), client, lines);
    let kept = |text: &str| -> Option<Vec<String>> {
        let mut parts = parts(text)?;
        parts.retain(|part| !is_changed(part));
        Some(parts)
    };
    match (kept(text), kept(&out)) {
        (Some(before), Some(after)) if before == after => Ok(out),
        _ => Err(BY_HAND.to_owned()),
    }
}

/// Every value with its path, sorted; a table of an array is one part. None if it is no TOML.
fn parts(text: &str) -> Option<Vec<String>> {
    let document: DocumentMut = text.parse().ok()?;
    let mut found = Vec::new();
    collect(document.as_table(), "", &mut found);
    found.sort();
    Some(found)
}

fn collect(table: &dyn TableLike, prefix: &str, found: &mut Vec<String>) {
    for (key, item) in table.iter() {
        let name = format!("{prefix}{key}");
        if let Some(tables) = item.as_array_of_tables() {
            for table in tables {
                let mut inner = Vec::new();
                collect(table, "", &mut inner);
                inner.sort();
                found.push(format!("{name}[]={{{}}}", inner.join(", ")));
            }
        } else if let Some(inner) = item.as_table_like() {
            collect(inner, &format!("{name}."), found);
        } else {
            found.push(format!("{name}={}", item.to_string().trim()));
        }
    }
}
