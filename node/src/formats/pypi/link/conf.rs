//! `pip.conf` and `.pypirc`: files as Python's `configparser` reads them, changed by splicing.
//!
//! A key stands once in a section and a section once in a file, else the client refuses the whole
//! file: so keys that the block has are put out of force where they stood. A value goes on in
//! deeper indented lines. What comes out is read again: everything else must say what it said.
//!
//! Source: the documentation of Python's module configparser.

use std::ops::Range;

use crate::formats::block;

/// Why a file is left alone.
pub(super) const BY_HAND: &str = "the file is not plain enough to be changed by a program";

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In whose section; keys before the first are no settings.
    pub(super) section: String,
    /// In lower case, with dashes: clients take `index_url`, too.
    pub(super) key: String,
    /// Lines of the value, without the blanks around them.
    pub(super) value: Vec<String>,
    /// Its lines in the text.
    pub(super) lines: Range<usize>,
}

impl Entry {
    /// The value as one text.
    pub(super) fn text(&self) -> String {
        self.value.join(" ")
    }
}

/// What a section is to say.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// Its name.
    pub(super) name: &'static str,
    /// Keys and the lines of their values.
    pub(super) keys: Vec<(&'static str, Vec<String>)>,
}

/// Every key of a file, in its order.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let (mut section, mut at) = (None, 0);
    let mut open: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let lines = at..at + line.len();
        at = lines.end;
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let (Some(of), Some(last)) = (open, all.last_mut())
            && indent > of
        {
            last.value.push(bare.to_owned());
            last.lines.end = lines.end;
            continue;
        }
        if let Some(name) = header(bare) {
            (section, open) = (Some(name.to_owned()), None);
            continue;
        }
        let Some((key, value)) = bare.split_once(['=', ':']) else {
            open = None;
            continue;
        };
        open = Some(indent);
        let value = value.trim();
        all.push(Entry {
            section: section.clone().unwrap_or_default(),
            key: key.trim().to_lowercase().replace('_', "-"),
            value: (!value.is_empty()).then(|| value.to_owned()).into_iter().collect(),
            lines,
        });
    }
    all
}

fn header(bare: &str) -> Option<&str> {
    bare.strip_prefix('[')?.split_once(']').map(|(name, _)| name)
}

/// Puts entries out of force, and adds blocks of the client that say `sections`.
///
/// # Errors
/// The file cannot be changed without changing what else it says.
pub(super) fn insert(
    text: &str,
    client: &str,
    sections: &[Section],
    is_out: impl Fn(&Entry) -> bool,
) -> Result<String, String> {
    let before = entries(text);
    let mut out = text.to_owned();
    for entry in before.iter().rev().filter(|entry| is_out(entry)) {
        out = block::put_out(&out, client, entry.lines.clone());
    }
    for section in sections {
        let mut lines: Vec<String> = Vec::new();
        for (key, value) in &section.keys {
            lines.extend(written(key, value));
        }
        let at = behind_header(&out, section.name);
        if at.is_none() {
            lines.insert(0, format!("[{}]", section.name));
        }
        let end = out.len();
        out = block::insert(&out, at.unwrap_or(end), client, &lines);
    }
    if is_sound(&before, &entries(&out), sections, is_out) { Ok(out) } else { Err(BY_HAND.into()) }
}

/// Whether the new text says what it is to say, and of all else what the old one did.
fn is_sound(
    before: &[Entry],
    after: &[Entry],
    sections: &[Section],
    is_out: impl Fn(&Entry) -> bool,
) -> bool {
    let says = |section: &Section, (key, value): &(&str, Vec<String>)| {
        let mut found =
            after.iter().filter(|entry| entry.section == section.name && entry.key == *key);
        found.next().is_some_and(|entry| entry.value == *value) && found.next().is_none()
    };
    let ours = |entry: &&Entry| {
        let named = |section: &Section| {
            entry.section == section.name && section.keys.iter().any(|(key, _)| entry.key == *key)
        };
        sections.iter().any(named)
    };
    let plain = |entry: &Entry| (entry.section.clone(), entry.key.clone(), entry.value.clone());
    let kept = before.iter().filter(|entry| !is_out(entry)).map(plain);
    let now = after.iter().filter(|entry| !ours(entry)).map(plain);
    sections.iter().all(|section| section.keys.iter().all(|key| says(section, key))) && kept.eq(now)
}

fn written(key: &str, value: &[String]) -> Vec<String> {
    match value {
        [one] => vec![format!("{key} = {one}")],
        several => {
            let first = std::iter::once(format!("{key} ="));
            first.chain(several.iter().map(|line| format!("    {line}"))).collect()
        }
    }
}

/// Behind the line of a section's header.
fn behind_header(text: &str, name: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        // A header does not stand deeper than its keys.
        if !line.starts_with([' ', '\t']) && header(line.trim()) == Some(name) {
            return Some(at);
        }
    }
    None
}

/// Takes the client's blocks out; where the client has rewritten the file without comments, the
/// entries that say what the block said, and a former one comes back in their place.
pub(super) fn remove(
    text: &str,
    client: &str,
    sections: &[Section],
    former: &str,
) -> Option<String> {
    if let Some(rest) = block::remove(text, client) {
        return Some(rest);
    }
    if text.contains("# griot: ") {
        // Comments are still there, so whoever took the block out did it on purpose.
        return None;
    }
    let former_entries = entries(former);
    let mut out = text.to_owned();
    let mut found = false;
    for entry in entries(text).iter().rev() {
        let said = |section: &Section| {
            let key = section.keys.iter().find(|(key, _)| entry.key == *key);
            entry.section == section.name && key.is_some_and(|(_, value)| entry.value == *value)
        };
        if !sections.iter().any(said) {
            continue;
        }
        found = true;
        let was = former_entries
            .iter()
            .find(|was| was.section == entry.section && was.key == entry.key)
            .map_or("", |was| &former[was.lines.clone()]);
        out.replace_range(entry.lines.clone(), was);
    }
    found.then_some(out)
}
