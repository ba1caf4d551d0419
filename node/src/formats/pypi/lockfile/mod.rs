//! The lockfiles of uv, poetry, pdm and pip → what they lock: an entry for each file.
//!
//! One file a kind; here what they share: checksums, file names, and the list in which each file
//! stands once. All files of all platforms are locked, as the lockfile is for all of them. Nothing
//! is resolved and nothing is asked. Folders of the project itself lock nothing.
//!
//! Source: formats/pypi.md sections 4 to 6; the clients' own documentation of each file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::formats::lockfile::Lockfile;
use crate::registry::{Locked, LockedFrom};

mod pdm;
mod platform;
mod poetry;
mod pylock;
mod requirements;
mod table;
#[cfg(test)]
mod tests;
mod uv;

/// The form of a project's page.
const PAGE: &str = "simple";
/// Beside a wheel, where its page says so.
const BESIDE: &[&str] = &[".metadata"];
/// Names that a sentence lists.
const NAMED_MAX: usize = 5;

/// All kinds, the most specific first.
pub(super) static LOCKFILES: &[Lockfile] = &[
    Lockfile { title: "uv.lock", names: &["uv.lock"], is: uv::is, parse: uv::parse, ..TOML },
    Lockfile {
        title: "poetry.lock",
        names: &["poetry.lock"],
        is: poetry::is,
        parse: poetry::parse,
        ..TOML
    },
    Lockfile { title: "pdm.lock", names: &["pdm.lock"], is: pdm::is, parse: pdm::parse, ..TOML },
    Lockfile {
        title: "pylock.toml",
        names: &["pylock.toml"],
        is: pylock::is,
        parse: pylock::parse,
        ..TOML
    },
    Lockfile {
        title: "requirements.txt",
        names: &["requirements.txt"],
        is: requirements::is,
        parse: requirements::parse,
        notes: |text, _| requirements::notes(text),
        by_hand: true,
        ..TOML
    },
];

const TOML: Lockfile = Lockfile {
    document: PAGE,
    beside: BESIDE,
    notes: |_, all| sources(all),
    installs: platform::installs,
    ..Lockfile::PLAIN
};

/// What is locked, each file once: a package may stand there once for each marker or extra.
#[derive(Debug, Default)]
struct List(BTreeMap<Identity, Locked>);

/// Name, version, file, where from, checksums and URL.
type Identity = (String, String, Option<String>, LockedFrom, Option<String>, Option<String>);

impl List {
    fn add(&mut self, locked: Locked) {
        let Locked { name, version, file, from, integrity, url, .. } = locked.clone();
        let optional = locked.optional;
        let held = self.0.entry((name, version, file, from, integrity, url)).or_insert(locked);
        held.optional &= optional;
    }

    fn into_vec(self) -> Vec<Locked> {
        self.0.into_values().collect()
    }
}

/// `sha256:` and hexadecimal digits, in the notation of subresource integrity.
fn integrity(hash: &str) -> Result<String, String> {
    let bad = || format!("{hash:.100?} is no checksum: it would be sha256: and digits");
    let (algorithm, digits) = hash.split_once([':', '=']).ok_or_else(bad)?;
    let digits = digits.trim();
    let known = !algorithm.is_empty() && algorithm.bytes().all(|b| b.is_ascii_alphanumeric());
    let hex = digits.len() % 2 == 0 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !known || !hex || digits.is_empty() {
        return Err(bad());
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len() / 2).map(|index| byte(index * 2)).collect();
    let bytes = bytes.ok_or_else(bad)?;
    Ok(format!("{}-{}", algorithm.to_ascii_lowercase(), BASE64_STANDARD.encode(bytes)))
}

/// The name that a URL or a path ends in.
fn file_of(place: &str) -> Option<String> {
    let plain = place.split(['?', '#']).next().unwrap_or_default();
    let last = plain.rsplit(['/', '\\']).next().filter(|last| !last.is_empty())?;
    let decoded = percent_encoding::percent_decode_str(last).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// What to say of packages that come as source alone.
fn sources(all: &[Locked]) -> Vec<String> {
    let mut built: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for locked in all.iter().filter(|locked| locked.from.is_registry()) {
        let Some(file) = &locked.file else { continue };
        let wheel = is_wheel(file);
        *built.entry((&locked.name, &locked.version)).or_default() |= wheel;
    }
    let mut names: Vec<&str> =
        built.iter().filter(|(_, wheel)| !**wheel).map(|((name, _), _)| *name).collect();
    names.dedup();
    if names.is_empty() {
        return Vec::new();
    }
    let count = names.len();
    let more = if count > NAMED_MAX { ", …" } else { "" };
    names.truncate(NAMED_MAX);
    let (names, come) = (names.join(", "), if count == 1 { "comes" } else { "come" });
    vec![format!(
        "{names}{more} {come} as source alone: what that is built with (build-system.requires) is \
         in no lockfile; get it by its own: griot add NAME --format pypi"
    )]
}

fn is_wheel(file: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|end| end.eq_ignore_ascii_case("whl"))
}

/// The first few lines, where a file says what it is.
fn head(text: &str) -> &str {
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
