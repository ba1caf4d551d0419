//! What is known of one version of a crate: the fields of its index line that do not change.
//!
//! The extractor makes it from an archive, a publish body claims it, and a line of the index is it
//! with the checksum and the yank. A meta may come from a peer, and is read like any input.
//!
//! Source: cargo's `registry-index.md`; formats/cargo.md section 3.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version;
use crate::formats::text;

/// The longest description in a list.
const DESCRIPTION_MAX_CHARS: usize = 200;

/// Feature → what it turns on.
pub(super) type Features = BTreeMap<String, Vec<String>>;

/// One version of a crate, as a line of the index has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// As it is written.
    pub(super) name: String,
    /// As it is written, build metadata too.
    pub(super) vers: String,
    /// Sorted.
    #[serde(default)]
    pub(super) deps: Vec<Dependency>,
    /// Those that every cargo understands.
    #[serde(default)]
    pub(super) features: Features,
    /// Those with `dep:` or `?/` in them.
    #[serde(default, skip_serializing_if = "Features::is_empty")]
    pub(super) features2: Features,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) links: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rust_version: Option<String>,
    /// For lists; lines do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

/// One dependency, as a line of the index has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Dependency {
    /// What the crate calls it.
    pub(super) name: String,
    pub(super) req: String,
    pub(super) features: Vec<String>,
    pub(super) optional: bool,
    pub(super) default_features: bool,
    pub(super) target: Option<String>,
    /// `normal`, `dev` or `build`.
    pub(super) kind: String,
    /// URL of another registry's index; none: of the same one; empty: of cargo's default one, and
    /// nothing says which that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registry: Option<String>,
    /// What it is really called, where the crate renames it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) package: Option<String>,
}

impl Meta {
    /// The dependency whose registry is not known, if there is one: no line can be made then.
    pub(super) fn unplaced(&self) -> Option<&Dependency> {
        self.deps.iter().find(|dependency| dependency.registry.as_deref() == Some(""))
    }

    /// Gives each feature its place: older ones of cargo would fail at what they do not understand,
    /// but pass over what they do not know.
    pub(super) fn set_features(&mut self, all: Features) {
        (self.features2, self.features) = all.into_iter().partition(|(_, values)| {
            values.iter().any(|value| value.starts_with("dep:") || value.contains("?/"))
        });
    }

    /// What this one says and the other does not, in words.
    pub(super) fn contradiction(&self, archive: &Self) -> Option<String> {
        let differs = |what: &str, said: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
            let (said, is) = (format!("{said:?}"), format!("{is:?}"));
            (said != is).then(|| format!("it says the {what} {said:.200}, the archive {is:.200}"))
        };
        let odd = |one: &Self, other: &Self| {
            one.deps.iter().find(|found| !other.deps.contains(found)).cloned()
        };
        differs("name", &self.name, &archive.name)
            .or_else(|| differs("version", &self.vers, &archive.vers))
            .or_else(|| differs("links", &self.links, &archive.links))
            .or_else(|| differs("rust_version", &self.rust_version, &archive.rust_version))
            .or_else(|| differs("features", &self.features, &archive.features))
            .or_else(|| differs("features", &self.features2, &archive.features2))
            .or_else(|| {
                let (said, is) = (odd(self, archive), odd(archive, self));
                differs("dependency", &said, &is)
            })
    }
}

impl Dependency {
    /// As two sources of it are compared: one requirement has many spellings.
    pub(super) fn normal(mut self) -> Self {
        if let Some(read) = version::requirement(&self.req) {
            self.req = read.to_string();
        }
        self.package = self.package.filter(|package| *package != self.name);
        self.registry = self.registry.filter(|url| !is_ours(url));
        self
    }
}

/// Whether the URL of an index is this registry's, on whichever node.
fn is_ours(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').ends_with("/cargo/~hosted/index")
}

/// Why a crate with this meta may not be published, if so.
pub(super) fn admits(meta: &[u8]) -> Result<(), String> {
    let meta = serde_json::from_slice::<Meta>(meta).map_err(|error| error.to_string())?;
    meta.unplaced().map_or(Ok(()), |dependency| Err(no_default(&dependency.name)))
}

/// Why a crate cannot be shown to anybody whose default registry may be another one.
fn no_default(dependency: &str) -> String {
    format!(
        "it needs {dependency} of cargo's default registry, and the Cargo.lock in the archive does \
         not say which that is: pack it with cargo 1.84 or later"
    )
}

/// How a meta writes the crate's name: of another spelling cargo would think that it is another
/// crate, or none.
pub(super) fn spelling(meta: &[u8]) -> Option<String> {
    serde_json::from_slice::<Meta>(meta).ok().map(|meta| meta.name)
}

/// The description as one line that no terminal can misread.
pub(super) fn describe(meta: &[u8]) -> String {
    let meta = serde_json::from_slice::<Meta>(meta).unwrap_or_default();
    let written = meta.description.unwrap_or_default();
    let line: String = written.chars().map(|c| if text::is_hidden(c) { ' ' } else { c }).collect();
    line.trim().chars().take(DESCRIPTION_MAX_CHARS).collect()
}
