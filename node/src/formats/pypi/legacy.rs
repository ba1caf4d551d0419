//! The handlers of the older JSON: `/{name}/json` and `/{name}/{version}/json`.
//!
//! poetry asks them of the index that is built into it, for every version that it locks and for
//! every file that it installs. A realm's is rendered from its view. An upstream's is put together
//! from its page, which says what there is and what can be had, and from its own such document;
//! where it has none, from the METADATA of one wheel: beside the wheel, or out of one that is held.
//! A whole wheel is never fetched for it: without METADATA it says that it does not know what is
//! required.
//!
//! Source: formats/pypi.md section 3.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use crdt::digest::to_hex;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::accept::VARY;
use super::dist::{Dist, Kind};
use super::metadata::METADATA_MAX_BYTES;
use super::mode::{self, Mode};
use super::outline::METADATA;
use super::page::{CoreMetadata, Page, PageFile};
use super::project_json::{self, Release, Shown};
use super::simple::{self, Asked, looked};
use super::upstream_model::Model;
use super::{FORMAT, hosted, name, upstream_page, version};
use crate::formats::{Context, url_segment};
use crate::http::error::Error;
use crate::http::ready::{Looked, Seed, Wish};
use crate::registry::{
    Document, Error as RegistryError, Metadata, Outcome, Side, Stamp, UpstreamDocument,
};

/// The code that renders: another number when the same project comes out as other bytes.
const RENDERER: &str = "pypi json 2";
const KIND: &str = "application/json";
/// Of an upstream's own document of one version: it is read into memory as a tree.
const TOLD_MAX_BYTES: u64 = 2 * 1024 * 1024;

/// `GET /{name}/json` and `/{name}/{version}/json`.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    (name, wanted): (&str, Option<&str>),
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, name)?;
    let wanted = wanted.map(|text| version::canonical(text).map_err(Error::invalid)).transpose()?;
    let mode = Mode::of(&head.headers);
    let parts = ["json", wanted.as_deref().unwrap_or_default(), mode.word()].map(str::to_owned);
    let look = move |asked: Asked, wish| look(asked, wish, (wanted.clone(), mode));
    let what: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut response = asked.answer((context, head), &what, false, look).await?;
    if mode == Mode::Canonical {
        mode::name_hosts(&context.registry, response.headers_mut())?;
    }
    Ok(response)
}

async fn look(
    asked: Asked,
    wish: Wish,
    (wanted, mode): (Option<String>, Mode),
) -> Result<Looked, Error> {
    let found = simple::document_of(&asked.registry, (asked.door, &asked.package), wish).await?;
    match found {
        Document::Hosted(metadata) => of_realm(&asked, &metadata, wanted.as_deref()),
        Document::Upstream(document) => of_upstream(&asked, *document, (wanted, mode)).await,
    }
}

fn of_realm(asked: &Asked, metadata: &Metadata, wanted: Option<&str>) -> Result<Looked, Error> {
    let mut page = hosted::page(metadata, &asked.url, &[]);
    for file in &mut page.files {
        let below = file.url.trim_start_matches("../");
        file.url = format!("{}/{below}", asked.url).into();
    }
    let releases = project_json::releases(&page);
    let latest = metadata.tags.get("latest").map(String::as_str);
    let release = wanted.or(latest).and_then(|version| find(&releases, version));
    let Some(release) = release else { return Err(not_offered(metadata, wanted)) };
    let sources = release.files.iter().filter(|(_, dist)| dist.kind != Kind::Wheel);
    let meta = release.wheels().chain(sources).find_map(|(file, dist)| {
        let meta = metadata.meta(&dist.version, &file.filename)?;
        (dist.kind == Kind::Wheel || project_json::is_settled(meta)).then_some(meta)
    });
    let all = wanted.is_none().then_some(releases.as_slice());
    let name = &page.name;
    let shown = Shown { name, release, meta, told: None, releases: all };
    let bytes = project_json::document(&shown).to_string().into_bytes();
    let stamp = metadata.stamp;
    Ok(made(bytes, stamp, (metadata.hidden.len(), VARY)))
}

fn made(bytes: Vec<u8>, stamp: Option<Stamp>, (hidden, vary): (usize, &'static str)) -> Looked {
    let seed = Seed::of(RENDERER, &[&bytes]);
    looked((seed, stamp), (KIND, vary, hidden), move || bytes)
}

fn find<'r, 'p>(releases: &'r [Release<'p>], version: &str) -> Option<&'r Release<'p>> {
    releases.iter().find(|release| version::is_same(&release.version, version))
}

fn not_offered(metadata: &Metadata, wanted: Option<&str>) -> Error {
    let name = &metadata.view.package.name;
    let is_it = |version: &&String| wanted.is_none_or(|wanted| version::is_same(version, wanted));
    let Some(version) = metadata.hidden.iter().rfind(is_it) else { return absent(name, wanted) };
    let message = format!("{name} {version} cannot be had now, neither here nor from a peer");
    Error::new(StatusCode::FAILED_DEPENDENCY, message)
        .with_hint(format!("griot info {name} --format {}", FORMAT.id))
}

/// The answer for a version that is not there, or for a project without one.
fn absent(name: &str, wanted: Option<&str>) -> Error {
    let message = format!("{name} has no version {}", wanted.unwrap_or("that can be had"));
    Error::new(StatusCode::NOT_FOUND, message)
}

async fn of_upstream(
    asked: &Asked,
    document: UpstreamDocument,
    (wanted, mode): (Option<String>, Mode),
) -> Result<Looked, Error> {
    mode::note_hosts(&asked.registry, &document).await?;
    let document = Arc::new(document);
    let model = Model { document: Arc::clone(&document), mode, added: Arc::default() };
    let mut page = model.read(&asked.registry, |page| page).await?;
    absolute(&mut page, &asked.url, (&document, mode));
    let found = {
        let releases = project_json::releases(&page);
        let release = match wanted.as_deref() {
            Some(wanted) => find(&releases, wanted),
            None => project_json::latest(&releases),
        };
        let Some(release) = release else { return Err(not_listed(&document, wanted.as_deref())) };
        Found::of(release)
    };
    let told = told(asked, &found.version).await;
    let meta = match &told {
        Some(_) => None,
        None => metadata(asked, &found.wheels).await?,
    };
    let render = move || rendered(&page, &found.version, (meta, told), wanted.is_none());
    let rendered = tokio::task::spawn_blocking(render).await.ok().flatten();
    let gone = || RegistryError::not_here("the document could not be rendered");
    // What it is made from changes without the page: the stamp would not vouch for it.
    let looked = made(rendered.ok_or_else(gone)?, None, (document.hidden(), mode::VARY));
    Ok(Looked { age: Some(document.age), stale: document.stale, ..looked })
}

/// A version of an upstream, and what is asked of its wheels.
struct Found {
    version: String,
    wheels: Vec<Wheel>,
}

struct Wheel {
    /// Version and name.
    slot: (String, String),
    sha256: Option<String>,
    /// Whether its METADATA lies beside it.
    beside: bool,
}

impl Found {
    fn of(release: &Release<'_>) -> Self {
        let wheel = |(file, dist): &(&PageFile<'_>, Dist)| Wheel {
            slot: (dist.version.clone(), file.filename.to_string()),
            sha256: file.sha256.clone(),
            beside: file.core_metadata != CoreMetadata::No,
        };
        Self { version: release.version.clone(), wheels: release.wheels().map(wheel).collect() }
    }
}

fn rendered(
    page: &Page<'_>,
    version: &str,
    (meta, told): (Option<Vec<u8>>, Option<Value>),
    whole: bool,
) -> Option<Vec<u8>> {
    let releases = project_json::releases(page);
    let shown = Shown {
        name: &page.name,
        release: find(&releases, version)?,
        meta: meta.as_deref(),
        told: told.as_ref(),
        releases: whole.then_some(releases.as_slice()),
    };
    Some(project_json::document(&shown).to_string().into_bytes())
}

/// The answer for a version that the page does not show now, or for a page that shows none.
fn not_listed(document: &UpstreamDocument, wanted: Option<&str>) -> Error {
    let name = &document.package.name;
    let mut all = document.outline.versions.iter().map(|known| known.version.as_str());
    let is_known = match wanted {
        Some(wanted) => all.any(|known| version::is_same(known, wanted)),
        None => all.next().is_some(),
    };
    match wanted {
        None if is_known => upstream_page::all_hidden(document),
        Some(version) if is_known => Error::new(
            StatusCode::FAILED_DEPENDENCY,
            format!(
                "{name}: the upstream is out of reach, and no file of the version {version} is \
                 held, neither here nor by a peer"
            ),
        )
        .with_hint(format!("griot why {name} --format {}", FORMAT.id)),
        _ => absent(name, wanted),
    }
}

/// URLs that need no page to be understood.
fn absolute(page: &mut Page<'_>, door: &str, (document, mode): (&UpstreamDocument, Mode)) {
    let below = format!("{}/", url_segment(&document.package.name));
    let base = Url::parse(&document.base).and_then(|base| base.join(&below)).ok();
    for file in &mut page.files {
        let found = match mode {
            Mode::Own => Some(format!("{door}/{}", file.url.trim_start_matches("../"))),
            Mode::Canonical => {
                base.as_ref().and_then(|base| base.join(&file.url).ok()).map(String::from)
            }
        };
        file.url = found.map_or_else(|| std::mem::take(&mut file.url), Cow::Owned);
    }
}

/// The upstream's own such document of a version, if it has one that is of this version.
async fn told(asked: &Asked, shown: &str) -> Option<Value> {
    let project = &asked.package.name;
    let (name, number) = (url_segment(project), url_segment(shown));
    let side = Side {
        key: &format!("json {project} {shown}"),
        // Beside the index, as on the host that has both.
        path: &format!("../pypi/{name}/{number}/json"),
        accept: KIND,
        never_html: true,
        limit: TOLD_MAX_BYTES,
    };
    let found = asked.registry.side_document(FORMAT.id, Some(&asked.package), side).await.ok()?;
    let told: Value = serde_json::from_slice(&found.bytes).ok()?;
    let text = |key: &str| told.get("info")?.get(key)?.as_str().map(str::to_owned);
    let is_it = name::canonical(&text("name")?).is_ok_and(|name| name == *project)
        && version::canonical(&text("version")?)
            .is_ok_and(|version| version::is_same(&version, shown));
    is_it.then_some(told)
}

/// METADATA of one wheel of the version, if that can be had without the wheel, or the wheel is
/// held.
async fn metadata(asked: &Asked, wheels: &[Wheel]) -> Result<Option<Vec<u8>>, Error> {
    let held = asked.registry.held_files(asked.door, &asked.package)?;
    for Wheel { slot, sha256, .. } in wheels {
        let Some(info) = held.get(slot) else { continue };
        let sum = to_hex(&info.checksums.sha256);
        if sha256.as_ref().is_some_and(|said| *said != sum) {
            continue;
        }
        let meta = asked.registry.meta_of(FORMAT.id, &slot.1, &info.digest).await?;
        if meta.is_some() {
            return Ok(meta);
        }
    }
    let Some(wheel) = wheels.iter().find(|wheel| wheel.beside) else { return Ok(None) };
    let (version, file) = (&wheel.slot.0, format!("{}{METADATA}", wheel.slot.1));
    let got = match asked.registry.artifact(asked.door, &asked.package, version, &file).await {
        Ok(got) => got,
        // Later it may be had: what would be said now would stand in a lockfile.
        Err(why) if why.outcome == Outcome::NotHere => return Err(why.into()),
        Err(_) => return Ok(None),
    };
    if got.info.size > METADATA_MAX_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = got.file.take(METADATA_MAX_BYTES).read_to_end(&mut bytes).await;
    Ok(read.is_ok().then_some(bytes))
}
