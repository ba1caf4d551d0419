//! An upstream's packument → what a client reads: pieces of its bytes, and little between them.
//!
//! Nothing is serialised anew: unknown members, the order of keys and the form of numbers survive,
//! and memory does not grow with the document. What changes: tarball URLs (for clients that record
//! the registry that they were given), the versions, times and tags that are not offered now, and,
//! where an install asks for the short form, the members that it does not read.
//!
//! A tarball URL changes only where it is the standard one of this upstream: clients leave that
//! out of their lockfiles, and record any other one as it is, with the upstream or through here.
//!
//! Pure: the same document and question give the same bytes on every node.
//!
//! Source: formats/npm.md sections 1, 3 and 5; formats/README.md section 1.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::metadata::Form;
use super::mode::Mode;
use super::name;
use super::spans::{Entry, Table};
use crate::formats::splice::{self, Edit, Segment, Splice, wide};

/// What a document shall look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) form: Form,
    pub(super) mode: Mode,
    /// URL of the door that was asked, without a slash at its end.
    pub(super) door: &'a str,
    /// Base URL of the upstream, with the slash at its end.
    pub(super) base: &'a str,
    /// Normal versions that are offered; absent for all.
    pub(super) offered: Option<&'a BTreeSet<String>>,
    /// Tags in place of the document's; absent for those.
    pub(super) tags: Option<&'a BTreeMap<String, String>>,
}

/// The whole document.
pub(super) fn packument(table: &Table, look: &Look<'_>) -> Vec<Segment> {
    let mut edits = Vec::new();
    if let Some(offered) = look.offered {
        let gone = |normal: &Option<Box<str>>| {
            normal.as_ref().is_none_or(|normal| !offered.contains(normal.as_ref()))
        };
        let versions = table.versions.entries.iter().map(|e| (e.member, gone(&e.normal)));
        splice::without(versions, &mut edits);
        // What is no version, such as `created`, stays.
        let times = table.times.entries.iter();
        let times = times.map(|t| (t.member, t.normal.is_some() && gone(&t.normal)));
        splice::without(times, &mut edits);
    }
    if let Some(tags) = look.tags {
        edit_tags(table, tags, &mut edits);
    }
    for entry in &table.versions.entries {
        edits.extend(own_url(table, entry, look));
    }
    let mut out = Splice::new(edits);
    if look.form == Form::Abbreviated && table.full {
        abbreviated(table, look, &mut out);
    } else {
        out.copy(0..table.size);
    }
    out.segments()
}

/// One version's manifest; `None` if the document does not have it.
pub(super) fn manifest(table: &Table, version: &str, look: &Look<'_>) -> Option<Vec<Segment>> {
    let is = |entry: &&Entry| entry.normal.as_deref() == Some(version);
    let mut found = table.versions.entries.iter().filter(is);
    // As in the outline: the version as it is normally written, else the last one.
    let exact = found.clone().rfind(|entry| &*entry.written == version);
    let entry = exact.or_else(|| found.next_back())?;
    let mut out = Splice::new(own_url(table, entry, look).into_iter().collect());
    out.copy(wide(entry.value));
    Some(out.segments())
}

/// The URL of this node for a standard tarball, in the mode that wants it.
fn own_url(table: &Table, entry: &Entry, look: &Look<'_>) -> Option<Edit> {
    let (url, place) = entry.tarball.as_ref()?;
    let version = entry.normal.as_deref().filter(|_| look.mode == Mode::Own)?;
    let path = format!("{}/-/{}", table.written, name::file_name(&table.written, version));
    let standard = is_below(url, look.base)?.replace("%2f", "/").replace("%2F", "/") == path;
    standard.then(|| (*place, quoted(&format!("{}/{path}", look.door))))
}

/// What follows the base in a URL of the same host, whatever the scheme.
fn is_below<'u>(url: &'u str, base: &str) -> Option<&'u str> {
    let (_, url) = url.split_once("://")?;
    let (_, base) = base.split_once("://")?;
    let host = base.find('/')?;
    let same_host = url.get(..host)?.eq_ignore_ascii_case(&base[..host]);
    url.get(host..)?.strip_prefix(&base[host..]).filter(|_| same_host)
}

fn edit_tags(table: &Table, tags: &BTreeMap<String, String>, edits: &mut Vec<Edit>) {
    let mut written = BTreeMap::new();
    for entry in &table.versions.entries {
        let Some(normal) = entry.normal.as_deref() else { continue };
        // As in the outline: the normal spelling, else the last one.
        if written.get(normal).is_none_or(|before| *before != normal) {
            written.insert(normal, &*entry.written);
        }
    }
    let shown = |(tag, version): (&String, &String)| {
        let version = written.get(version.as_str()).copied().unwrap_or(version);
        format!("{}:{}", json_text(tag), json_text(version))
    };
    let shown = tags.iter().map(shown).collect::<Vec<_>>().join(",");
    match (table.tags, table.first) {
        (Some(place), _) => edits.push((place, Bytes::from(format!("{{{shown}}}")))),
        (None, Some(first)) => {
            edits.push((first, Bytes::from(format!("\"dist-tags\":{{{shown}}},"))));
        }
        (None, None) => {}
    }
}

/// The short form of a full document.
fn abbreviated(table: &Table, look: &Look<'_>, out: &mut Splice) {
    out.literal("{");
    let members = [
        ("name", table.name),
        ("modified", table.modified.or(table.time_modified)),
        ("dist-tags", table.tags),
    ];
    for (key, place) in members {
        if let Some(place) = place {
            out.literal(format!("\"{key}\":"));
            out.copy(wide(place));
            out.literal(",");
        }
    }
    out.literal("\"versions\":{");
    let mut first = true;
    for entry in &table.versions.entries {
        let offered = |offered: &BTreeSet<String>| {
            entry.normal.as_deref().is_some_and(|normal| offered.contains(normal))
        };
        if !look.offered.is_none_or(offered) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.literal(",");
        }
        out.copy(entry.member.start.into()..entry.value.start.into());
        short_manifest(table, entry, out);
    }
    out.literal("}}");
}

fn short_manifest(table: &Table, entry: &Entry, out: &mut Splice) {
    let Some(runs) = table.runs(entry) else {
        out.copy(wide(entry.value));
        return;
    };
    out.literal("{");
    for (index, run) in runs.iter().enumerate() {
        if index > 0 {
            out.literal(",");
        }
        out.copy(wide(*run));
    }
    if entry.adds_scripts {
        let comma = if runs.is_empty() { "" } else { "," };
        out.literal(format!("{comma}\"hasInstallScript\":true"));
    }
    out.literal("}");
}

fn quoted(text: &str) -> Bytes {
    Bytes::from(json_text(text))
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
