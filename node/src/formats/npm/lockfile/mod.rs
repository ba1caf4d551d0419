//! The lockfiles of npm, pnpm, yarn, berry and bun → what they lock.
//!
//! One file a kind; here what they share: how a dependency's specifier says where the bytes come
//! from, and the list in which each package stands once. Nothing is resolved and nothing is asked.
//! Folders of the project itself (workspaces, links) lock nothing, and bundled packages lie inside
//! another's tarball: neither is in the list.
//!
//! Source: formats/README.md section 5; the clients' own documentation of each file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::formats::lockfile::Lockfile;
use crate::registry::{Locked, LockedFrom};

mod berry;
mod bun;
mod package_lock;
mod platform;
mod pnpm;
#[cfg(test)]
mod tests;
mod yaml;
mod yarn1;

/// All kinds, the most specific first.
pub(super) static LOCKFILES: &[Lockfile] = &[
    Lockfile {
        title: "package-lock.json",
        names: &["package-lock.json", "npm-shrinkwrap.json", ".package-lock.json"],
        is: package_lock::is,
        parse: package_lock::parse,
        document: "full",
        installs: platform::installs,
        ..Lockfile::PLAIN
    },
    Lockfile {
        title: "pnpm-lock.yaml",
        names: &["pnpm-lock.yaml"],
        is: pnpm::is,
        parse: pnpm::parse,
        document: "abbreviated",
        installs: platform::installs,
        ..Lockfile::PLAIN
    },
    Lockfile {
        title: "yarn.lock (berry)",
        names: &["yarn.lock"],
        is: berry::is,
        parse: berry::parse,
        document: "full",
        installs: platform::installs,
        ..Lockfile::PLAIN
    },
    Lockfile {
        title: "yarn.lock",
        names: &["yarn.lock"],
        is: yarn1::is,
        parse: yarn1::parse,
        document: "abbreviated",
        installs: platform::installs,
        ..Lockfile::PLAIN
    },
    Lockfile {
        title: "bun.lock",
        names: &["bun.lock"],
        is: bun::is,
        parse: bun::parse,
        document: "abbreviated",
        installs: platform::installs,
        ..Lockfile::PLAIN
    },
];

/// What is locked, each once: a lockfile names a package at every place where it is installed.
#[derive(Debug, Default)]
struct List(BTreeMap<Identity, Locked>);

/// Name, version, where from, integrity and URL.
type Identity = (String, String, LockedFrom, Option<String>, Option<String>);

impl List {
    /// Adds a package; what one place needs is not optional, whatever another says.
    fn add(&mut self, locked: Locked) {
        let Locked { name, version, url, integrity, from, .. } = locked.clone();
        let optional = locked.optional;
        let held = self.0.entry((name, version, from, integrity, url)).or_insert(locked);
        held.optional &= optional;
    }

    fn into_vec(self) -> Vec<Locked> {
        self.0.into_values().collect()
    }
}

/// What a specifier or a locator asks for.
#[derive(Debug, PartialEq, Eq)]
enum Spec<'s> {
    /// A version or range of the package itself.
    Range(&'s str),
    /// A version or range of another package: an alias.
    Alias(&'s str, &'s str),
    /// No registry has it.
    Elsewhere(LockedFrom),
    /// A folder of the project.
    Own,
}

/// Reads a specifier as all clients write it.
fn spec(text: &str) -> Spec<'_> {
    const GIT: [&str; 8] =
        ["git+", "git:", "git@", "github:", "gitlab:", "bitbucket:", "gist:", "ssh:"];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    if let Some(target) = text.strip_prefix("npm:") {
        return match split_at(target) {
            Some((name, range)) => Spec::Alias(name, range),
            // berry: `npm:^1.0.0` is a range, `npm:other` an alias to any version.
            None if is_name(target) => Spec::Alias(target, ""),
            None => Spec::Range(target),
        };
    }
    if starts(&GIT) || is_repository(text) {
        return Spec::Elsewhere(LockedFrom::Git);
    }
    if starts(&["http:", "https:"]) {
        return Spec::Elsewhere(LockedFrom::Url);
    }
    if starts(&["workspace:", "link:", "portal:", "root:"]) {
        return Spec::Own;
    }
    if starts(&["file:", "exec:", "./", "../", "/", "~/"]) || text == "." {
        return Spec::Elsewhere(LockedFrom::File);
    }
    Spec::Range(text)
}

/// `user/repository`, and URLs that end in `.git`.
fn is_repository(text: &str) -> bool {
    let plain = text.split('#').next().unwrap_or_default();
    if plain.contains("://") {
        return std::path::Path::new(plain).extension().is_some_and(|end| end == "git");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    plain.split_once('/').is_some_and(|(user, repository)| {
        let sound = |part: &str| !part.is_empty() && part.chars().all(allowed);
        !user.starts_with('.') && sound(user) && sound(repository)
    })
}

/// Whether it is written like a name, not like a range.
fn is_name(text: &str) -> bool {
    text.starts_with('@') || text.starts_with(|c: char| c.is_ascii_alphabetic() && c != 'v')
}

/// `name@rest`, where the name may have a scope.
fn split_at(text: &str) -> Option<(&str, &str)> {
    let at = text.get(1..)?.find('@')? + 1;
    Some((&text[..at], &text[at + 1..]))
}

/// `#` and 40 hexadecimal digits behind a URL, as a checksum in the other notation.
fn fragment_integrity(url: &str) -> Option<String> {
    let (_, digits) = url.rsplit_once('#')?;
    if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..20).map(|index| byte(index * 2)).collect();
    Some(format!("sha1-{}", BASE64_STANDARD.encode(bytes?)))
}

/// The first few lines, where a file says what it is.
fn head(text: &str) -> &str {
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A URL without what stands behind `#`.
fn without_fragment(url: &str) -> String {
    url.split('#').next().unwrap_or_default().to_owned()
}
