//! The older document of a project, or of one version, in JSON: what tools read of it. Pure.
//!
//! It is rendered from the model of a page and one file's core metadata, for realms and upstreams
//! alike. Fields that nobody knows are `null`: of `requires_dist` that means "look into the files",
//! and an empty list means that nothing is required. A file without a checksum is left out, because
//! poetry cannot read one.
//!
//! Source: the JSON API of PyPI; poetry's `pypi_repository`; formats/pypi.md section 3.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::dist::{self, Dist, Kind};
use super::metadata::Head;
use super::page::{Page, PageFile};
use super::version;

/// A version with its files.
#[derive(Debug)]
pub(super) struct Release<'p> {
    /// Normal, as the first of its files has it.
    pub(super) version: String,
    /// With what their names say.
    pub(super) files: Vec<(&'p PageFile<'p>, Dist)>,
}

impl<'p> Release<'p> {
    /// Why all of its files are yanked, if they are.
    fn why_yanked(&self) -> Option<&'p str> {
        let mut why = None;
        for (file, _) in &self.files {
            let said = file.yanked.as_deref()?;
            why = why.filter(|why: &&str| !why.is_empty()).or(Some(said));
        }
        why
    }

    /// Those of its files that are wheels.
    pub(super) fn wheels(&self) -> impl Iterator<Item = &(&'p PageFile<'p>, Dist)> {
        self.files.iter().filter(|(_, dist)| dist.kind == Kind::Wheel)
    }
}

/// The versions that have files, lowest first; `1.0` and `1.0.0` are one.
pub(super) fn releases<'p>(page: &'p Page<'p>) -> Vec<Release<'p>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for file in &page.files {
        if let Some(dist) = dist::parse(&page.name, &file.filename) {
            all.entry(dist.version.clone()).or_default().push((file, dist));
        }
    }
    let all = all.into_iter().map(|(version, files)| Release { version, files });
    let mut all: Vec<Release<'p>> = all.collect();
    all.sort_by(|a, b| version::compare(&a.version, &b.version));
    all.dedup_by(|later, first| {
        let same = version::is_same(&later.version, &first.version);
        if same {
            first.files.append(&mut later.files);
        }
        same
    });
    all
}

/// The one that who names none is shown: the highest that is final and not yanked, else the highest
/// that is not yanked, else the highest.
pub(super) fn latest<'r, 'p>(releases: &'r [Release<'p>]) -> Option<&'r Release<'p>> {
    let is_final = |found: &Release<'_>| !version::is_prerelease(&found.version);
    let rank = |found: &&Release<'_>| (found.why_yanked().is_none(), is_final(found));
    releases.iter().max_by_key(rank)
}

/// What is rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The project's normal name.
    pub(super) name: &'a str,
    /// What `info` and `urls` are of; the URLs in it are absolute.
    pub(super) release: &'a Release<'a>,
    /// Core metadata of one of its files, if there is any that can be trusted to be of all.
    pub(super) meta: Option<&'a [u8]>,
    /// What the upstream's own such document says of the version.
    pub(super) told: Option<&'a Value>,
    /// All, where they are to be listed.
    pub(super) releases: Option<&'a [Release<'a>]>,
}

/// The document.
pub(super) fn document(shown: &Shown<'_>) -> Value {
    let urls = |release| urls(release, shown.told);
    let mut document = json!({
        "info": info(shown), "urls": urls(shown.release), "last_serial": 0,
        "vulnerabilities": [],
    });
    if let Some(releases) = shown.releases {
        let all = releases.iter().map(|release| (release.version.clone(), json!(urls(release))));
        document["releases"] = Value::Object(all.collect());
    }
    document
}

fn info(shown: &Shown<'_>) -> Value {
    let yanked = shown.release.why_yanked();
    let mut info = match shown.told.and_then(|told| told.get("info")?.as_object()) {
        Some(told) => told.clone(),
        None => described(shown),
    };
    info.insert("yanked".to_owned(), json!(yanked.is_some()));
    info.insert("yanked_reason".to_owned(), json!(yanked.filter(|why| !why.is_empty())));
    Value::Object(info)
}

/// Out of core metadata, and out of the page where there is none.
fn described(shown: &Shown<'_>) -> Map<String, Value> {
    let Shown { name, release, meta, .. } = *shown;
    let head = meta.and_then(|meta| Head::of(meta).ok());
    let is_known = head.is_some();
    let head = head.unwrap_or_default();
    let mut files = release.files.iter();
    let of_page = || files.find_map(|(file, _)| file.requires_python.as_deref());
    let requires: Vec<&str> = head.all("Requires-Dist").collect();
    let mut info = Map::new();
    let mut put = |key: &str, value: Value| info.insert(key.to_owned(), value);
    put("name", json!(head.first("Name").unwrap_or(name)));
    put("version", json!(release.version));
    put("summary", json!(head.first("Summary")));
    put("license", json!(head.first("License")));
    put("license_expression", json!(head.first("License-Expression")));
    put("author", json!(head.first("Author")));
    put("author_email", json!(head.first("Author-email")));
    put("home_page", json!(head.first("Home-page")));
    put("keywords", json!(head.first("Keywords")));
    put("classifiers", json!(head.all("Classifier").collect::<Vec<_>>()));
    put("requires_python", json!(head.first("Requires-Python").or_else(of_page)));
    put("requires_dist", if is_known { json!(requires) } else { Value::Null });
    info
}

fn urls(release: &Release<'_>, told: Option<&Value>) -> Vec<Value> {
    release.files.iter().filter_map(|(file, dist)| url(file, dist.kind, told)).collect()
}

fn url(file: &PageFile<'_>, kind: Kind, told: Option<&Value>) -> Option<Value> {
    let sha256 = file.sha256.as_deref()?;
    let mut out = match told_of(told, &file.filename, sha256) {
        Some(told) => told.clone(),
        None => listed(file, kind),
    };
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("filename", json!(file.filename));
    put("url", json!(file.url));
    let why = file.yanked.as_deref();
    put("yanked", json!(why.is_some()));
    put("yanked_reason", json!(why.filter(|why| !why.is_empty())));
    Some(Value::Object(out))
}

/// What the upstream's own document says of the same bytes.
fn told_of<'t>(
    told: Option<&'t Value>,
    name: &str,
    sha256: &str,
) -> Option<&'t Map<String, Value>> {
    let all = told?.get("urls")?.as_array()?.iter().filter_map(Value::as_object);
    let is = |file: &&Map<String, Value>| {
        let sum = file.get("digests").and_then(|digests| digests.get("sha256"));
        file.get("filename").and_then(Value::as_str) == Some(name)
            && sum.and_then(Value::as_str).is_some_and(|sum| sum.eq_ignore_ascii_case(sha256))
    };
    all.into_iter().find(is)
}

fn listed(file: &PageFile<'_>, kind: Kind) -> Map<String, Value> {
    let time = file.upload_time.as_deref();
    // The older of the two has neither a zone nor parts of a second.
    let plain = time.and_then(|time| time.get(..19));
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("digests", json!({ "sha256": file.sha256 }));
    put("size", json!(file.size));
    put("packagetype", json!(package_type(&file.filename, kind)));
    put("python_version", json!(python_version(&file.filename, kind)));
    put("requires_python", json!(file.requires_python));
    put("upload_time", json!(plain));
    put("upload_time_iso_8601", json!(time));
    out
}

fn package_type(name: &str, kind: Kind) -> &'static str {
    match (kind, name.rsplit('.').next()) {
        (Kind::Wheel, _) => "bdist_wheel",
        (Kind::Sdist, _) => "sdist",
        (Kind::Other, Some("egg")) => "bdist_egg",
        (Kind::Other, Some("exe")) => "bdist_wininst",
        (Kind::Other, Some("msi")) => "bdist_msi",
        (Kind::Other, Some("rpm")) => "bdist_rpm",
        (Kind::Other, _) => "bdist_dumb",
    }
}

/// The first of a wheel's tags.
fn python_version(name: &str, kind: Kind) -> &str {
    match kind {
        Kind::Wheel => name.rsplit('-').nth(2).unwrap_or("any"),
        Kind::Sdist => "source",
        Kind::Other => "any",
    }
}

/// Whether what an sdist's metadata requires is what its wheels will require.
pub(super) fn is_settled(meta: &[u8]) -> bool {
    let Ok(head) = Head::of(meta) else { return false };
    let dynamic = head.all("Dynamic").any(|field| field.eq_ignore_ascii_case("Requires-Dist"));
    let version = head.first("Metadata-Version").unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    number >= (2, 2) && !dynamic
}
