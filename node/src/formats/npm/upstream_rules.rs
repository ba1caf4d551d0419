//! How an upstream of npm is asked, and how its word is compared with the bytes: pure.
//!
//! Source: formats/npm.md sections 1 and 2.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::metadata::ABBREVIATED;
use super::upstream_outline::{self, DOCUMENT_MAX_BYTES};
use super::{name, signature, version};
use crate::formats::url_segment;
use crate::registry::{UpstreamRules, Variant};

/// The form with all that the upstream says.
pub(super) const FULL: &str = "full";
/// The form that an install reads.
pub(super) const SHORT: &str = "abbreviated";

/// What the registry must know.
pub(super) const RULES: UpstreamRules = UpstreamRules {
    variants: &[
        Variant { name: FULL, accept: "application/json" },
        Variant { name: SHORT, accept: ABBREVIATED },
    ],
    document,
    file,
    locate: None,
    version_of,
    outline: upstream_outline::outline,
    document_bytes_max: DOCUMENT_MAX_BYTES,
    token_scheme: Some("Bearer"),
    signatures: Some(signature::RULES),
    differs,
};

/// `@scope%2fname`, as npm itself writes it.
pub(super) fn document(name: &str) -> String {
    let parts: Vec<String> = name.split('/').map(url_segment).collect();
    parts.join("%2f")
}

/// `@scope/name/-/name-1.0.0.tgz`.
fn file(name: &str, file: &str) -> String {
    let parts: Vec<String> = name.split('/').map(url_segment).collect();
    format!("{}/-/{}", parts.join("/"), url_segment(file))
}

/// `-/npm/v1/attestations/@scope%2fname@1.0.0`.
pub(super) fn attestations(name: &str, version: &str) -> String {
    format!("-/npm/v1/attestations/{}@{}", document(name), url_segment(version))
}

fn version_of(package: &str, file: &str) -> Option<String> {
    version::canonical(name::version_in(package, file)?).ok()
}

/// What an install would do otherwise by the document than by the archive.
///
/// Not compared is what an upstream works out by itself: optional dependencies stand among the
/// dependencies too, a script for `binding.gyp` is added, and a document may leave all scripts out.
fn differs(declared: &[u8], meta: &[u8]) -> Option<String> {
    let parse = |bytes| serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    let (Some(declared), Some(meta)) = (parse(declared), parse(meta)) else {
        return Some("one of them is not an object".to_owned());
    };
    let said = |fields: &Map<String, Value>, key: &str| {
        fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if said(&declared, "name") != said(&meta, "name") {
        return Some("the name is another one".to_owned());
    }
    if version::canonical(&said(&declared, "version")).ok() != Some(said(&meta, "version")) {
        return Some("the version is another one".to_owned());
    }
    let needs = dependencies(&declared, &["dependencies", "optionalDependencies"]);
    let needed = dependencies(&meta, &["dependencies", "optionalDependencies"]);
    if let Some(name) = first_difference(&needs, &needed) {
        return Some(format!("the dependency {name} is not the same in both"));
    }
    let peers = dependencies(&declared, &["peerDependencies"]);
    if let Some(name) = first_difference(&peers, &dependencies(&meta, &["peerDependencies"])) {
        return Some(format!("the peer dependency {name} is not the same in both"));
    }
    hidden_script(&declared, &meta)
        .map(|script| format!("the archive runs the script {script}, the document does not say so"))
}

fn dependencies<'f>(fields: &'f Map<String, Value>, keys: &[&str]) -> BTreeMap<&'f str, &'f str> {
    let maps = keys.iter().filter_map(|key| fields.get(*key).and_then(Value::as_object));
    maps.flatten().filter_map(|(name, range)| Some((name.as_str(), range.as_str()?))).collect()
}

fn first_difference<'m>(
    a: &BTreeMap<&'m str, &'m str>,
    b: &BTreeMap<&'m str, &'m str>,
) -> Option<&'m str> {
    let differs = |name: &&&'m str| a.get(**name) != b.get(**name);
    a.keys().chain(b.keys()).find(differs).copied()
}

/// A script of the archive that runs at an install, and of which the document knows nothing.
fn hidden_script(declared: &Map<String, Value>, meta: &Map<String, Value>) -> Option<String> {
    let says = declared.get("hasInstallScript").and_then(Value::as_bool).unwrap_or(false);
    let scripts = |fields: &Map<String, Value>, script: &str| {
        fields.get("scripts").and_then(|scripts| scripts.get(script)).cloned()
    };
    ["preinstall", "install", "postinstall"]
        .into_iter()
        .filter(|script| {
            let (ours, theirs) = (scripts(meta, script), scripts(declared, script));
            let made = *script == "install" && meta.get("gypfile") == Some(&Value::Bool(true));
            ours.is_some() && !made && if theirs.is_some() { ours != theirs } else { !says }
        })
        .map(ToOwned::to_owned)
        .next()
}
