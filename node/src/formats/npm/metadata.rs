//! A package → the packument that clients read: pure, the same bytes for the same view.
//!
//! A version's manifest is its meta, as extracted from the archive, with what only the registry
//! knows: `dist` (checksums of the bytes, the URL of this node), `deprecated`. Nothing that a meta
//! says of itself about those counts. The abbreviated form keeps the fields that an install reads.
//! Versions outside the offline view are left out; what is asked for by its exact number is not
//! here.
//!
//! Source: npm's `package-metadata.md`; formats/npm.md sections 1 to 3.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::Content;
use crdt::derive::VersionView;
use crdt::digest::to_hex;
use serde_json::{Map, Value, json};

use super::attestation::{self, Attested};
use super::name;
use crate::registry::Metadata;

/// The media type that asks for the abbreviated form.
pub(super) const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Which fields a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of them.
    Full,
    /// Those that an install reads.
    Abbreviated,
}

/// Fields of a manifest in the abbreviated form.
pub(super) const INSTALL_FIELDS: [&str; 21] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "acceptDependencies",
    "bin",
    "directories",
    "dist",
    "engines",
    "cpu",
    "os",
    "libc",
    "funding",
    "hasInstallScript",
    "_hasShrinkwrap",
];

/// Fields of the newest version that the full document shows for the whole package.
const PACKAGE_FIELDS: [&str; 9] = [
    "description",
    "homepage",
    "keywords",
    "repository",
    "author",
    "bugs",
    "license",
    "contributors",
    "funding",
];

/// The form that a client asks for. Header lines are joined by the caller.
pub(super) fn form(accept: Option<&str>) -> Form {
    let quality = |wanted: &str| {
        accept.unwrap_or_default().split(',').find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q="));
            Some(q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        })
    };
    match (quality(ABBREVIATED), quality("application/json")) {
        (Some(short), full) if short > 0.0 && short >= full.unwrap_or(0.0) => Form::Abbreviated,
        _ => Form::Full,
    }
}

/// The revision that `-rev` paths check.
pub(super) fn rev(metadata: &Metadata) -> String {
    format!("1-{}", metadata.revision)
}

/// What a document says beside the view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    /// URL of the door that was asked, without a slash at its end.
    pub(super) door: &'a str,
    /// The versions with a bundle of attestations here.
    pub(super) attested: &'a Attested,
}

/// The whole document.
pub(super) fn packument(metadata: &Metadata, beside: Beside<'_>, form: Form) -> Vec<u8> {
    let name = &metadata.view.package.name;
    let mut versions = Map::new();
    let mut times = BTreeMap::new();
    for version in &metadata.offered {
        let Some(manifest) = manifest(metadata, beside, version) else { continue };
        let shown = if form == Form::Full { manifest } else { abbreviated(manifest) };
        versions.insert(version.clone(), Value::Object(shown));
        times.insert(version.clone(), metadata.view.versions[version].claimed_time);
    }
    let tags: BTreeMap<_, _> =
        metadata.tags.iter().filter(|(_, version)| versions.contains_key(*version)).collect();
    let modified = timestamp(times.values().max().copied().unwrap_or(0));
    if form == Form::Abbreviated {
        let document = json!({
            "name": name, "modified": modified, "dist-tags": tags, "versions": versions,
        });
        return document.to_string().into_bytes();
    }
    let mut time = Map::new();
    time.insert("created".to_owned(), json!(timestamp(times.values().min().copied().unwrap_or(0))));
    time.insert("modified".to_owned(), json!(modified));
    time.extend(times.into_iter().map(|(version, at)| (version, json!(timestamp(at)))));
    let mut document = json!({
        "_id": name, "_rev": rev(metadata), "name": name, "dist-tags": tags, "time": time,
        "maintainers": signers(metadata),
    });
    let newest = tags.get(&"latest".to_owned()).and_then(|version| versions.get(*version));
    for field in PACKAGE_FIELDS {
        if let Some(value) = newest.and_then(|newest| newest.get(field)) {
            document[field] = value.clone();
        }
    }
    document["versions"] = Value::Object(versions);
    document.to_string().into_bytes()
}

/// One version's manifest; `None` if this node serves no bytes for it or does not know its meta.
pub(super) fn manifest(
    metadata: &Metadata,
    Beside { door, attested }: Beside<'_>,
    version: &str,
) -> Option<Map<String, Value>> {
    let name = &metadata.view.package.name;
    let view = metadata.view.versions.get(version)?;
    // Only the one file that a version may have is rendered, whatever else was signed.
    let file = name::file_name(name, version);
    let content = view.files.get(&file)?.serves.as_ref()?;
    let mut manifest: Map<String, Value> =
        serde_json::from_slice(metadata.meta(version, &file)?).ok()?;
    manifest.insert("_id".to_owned(), json!(format!("{name}@{version}")));
    manifest.insert("name".to_owned(), json!(name));
    manifest.insert("version".to_owned(), json!(version));
    let mut dist = dist(content, &format!("{door}/{name}/-/{file}"));
    if let Some(predicate) = attested.get(version) {
        dist["attestations"] = attestation::in_dist(name, version, predicate, door);
    }
    manifest.insert("dist".to_owned(), dist);
    manifest.remove("deprecated");
    if let Some(reason) = deprecated(view) {
        manifest.insert("deprecated".to_owned(), json!(reason));
    }
    Some(manifest)
}

/// Who signed what is offered: as near to npm's owners as there is.
fn signers(metadata: &Metadata) -> Vec<Value> {
    let offered = metadata.offered.iter().filter_map(|v| metadata.view.versions.get(v));
    let candidates = offered.flat_map(|version| version.files.values()).flat_map(|f| &f.candidates);
    let keys: BTreeSet<String> =
        candidates.flat_map(|found| &found.signers).map(ToString::to_string).collect();
    keys.into_iter().map(|key| json!({ "name": key, "email": "" })).collect()
}

/// The text that clients warn with, if the version is yanked.
pub(super) fn deprecated(view: &VersionView) -> Option<&str> {
    match view.yanked.as_deref() {
        // An empty text would read as "not deprecated".
        Some("") => Some("yanked"),
        reason => reason,
    }
}

fn abbreviated(manifest: Map<String, Value>) -> Map<String, Value> {
    manifest.into_iter().filter(|(key, _)| INSTALL_FIELDS.contains(&key.as_str())).collect()
}

fn dist(content: &Content, tarball: &str) -> Value {
    let mut dist = json!({ "tarball": tarball });
    if let Some(sha512) = &content.checksums.sha512 {
        dist["integrity"] = json!(format!("sha512-{}", STANDARD.encode(sha512)));
    }
    if let Some(sha1) = &content.checksums.sha1 {
        dist["shasum"] = json!(to_hex(sha1));
    }
    dist
}

/// As JavaScript writes it; a claimed time beyond its years is shown as the epoch.
pub(super) fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
