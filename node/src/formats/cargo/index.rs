//! What cargo reads of the registry itself: `config.json`, and a file for each crate with a line
//! for each version.
//!
//! A line is the version's meta with the checksum of its bytes and whether it is yanked. Lines
//! stand in the order of versions, so a yank changes its line where it is. Whatever is out of reach
//! of this node is left out whole. Files are kept ready (`http::ready`): after a publish the next
//! poll of cargo sees the new line, under another validator.
//!
//! cargo sends its token for an index only if `config.json` says so, and then for all of the
//! index. So doors that hold private realms ask for it, and others never do: see the README.
//!
//! Source: cargo's `registry-index.md`; formats/cargo.md sections 1 to 3.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use crdt::PackageId;
use crdt::digest::to_hex;
use futures::FutureExt as _;
use serde::Serialize;
use serde_json::json;

use super::meta::{Dependency, Features, Meta};
use super::upstream_rules::INDEX;
use super::{FORMAT, MOUNT, name, upstream_index, version};
use crate::formats::Context;
use crate::http::body;
use crate::http::error::Error;
use crate::http::ready::{Ask, Label, Look, Looked, Made, Plain, Seed, Wish};
use crate::registry::{Document, DocumentAsk, Door, Metadata, Registry};

/// The code that renders: another number when the same crate comes out as other bytes.
const RENDERER: &str = "cargo lines 1";
const KIND: &str = "text/plain; charset=utf-8";

/// `index/config.json`.
pub(super) fn config(context: &Context, head: &Parts) -> Result<Response<Body>, Error> {
    let hides = context.door != Door::Upstream && context.registry.hides_some()?;
    if hides && context.who.is_anonymous() {
        let message = "this registry has private crates, so it is read with a token";
        return Err(Error::new(StatusCode::UNAUTHORIZED, message)
            .with_hint("griot token create --scope read"));
    }
    let door = context.door_url(MOUNT);
    let dl =
        format!("{door}/dl/{{crate}}/{{version}}/{{sha256-checksum}}/{{crate}}-{{version}}.crate");
    let mut config = json!({ "dl": dl, "api": door });
    if hides {
        config["auth-required"] = json!(true);
    }
    let bytes = config.to_string().into_bytes();
    Ok(body::document(&head.method, &head.headers, "application/json", bytes))
}

/// `index/se/rd/serde`.
pub(super) async fn file(
    context: &Context,
    head: &Parts,
    path: &[&str],
) -> Result<Response<Body>, Error> {
    let written = path.last().copied().unwrap_or_default();
    let normal = name::canonical(written).ok();
    let normal = normal.filter(|normal| name::index_path(normal) == path.join("/"));
    let Some(normal) = normal else {
        let message = format!("no crate has its index file at {:.80}", path.join("/"));
        return Err(Error::new(StatusCode::NOT_FOUND, message));
    };
    let package = context.registry.package_id(FORMAT.id, &normal)?;
    context.check_read(&package)?;
    let door = match context.door {
        Door::Virtual => "virtual",
        Door::Hosted => "hosted",
        Door::Upstream => "upstream",
    };
    let key = format!("{}\nindex\n{door}\n{normal}", FORMAT.id);
    let wish = Wish { refresh: says_no_cache(head), wanted: true };
    let ask = Ask { key: &key, package: &package, early: true, wish };
    let asked = Asked {
        registry: context.registry.clone(),
        door: context.door,
        package: package.clone(),
        part: context.ready.part(),
    };
    let look = || -> Look { Arc::new(move |wish| look(asked.clone(), wish).boxed()) };
    context.ready.answer(&context.registry, head, ask, look).await
}

/// Whether the client wants to know what the upstream says now.
fn says_no_cache(head: &Parts) -> bool {
    let control = body::joined(&head.headers, header::CACHE_CONTROL).unwrap_or_default();
    control.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// Where an index file is looked up.
#[derive(Clone)]
struct Asked {
    registry: Registry,
    door: Door,
    package: PackageId,
    /// The largest document that is held as it is, in bytes.
    part: usize,
}

async fn look(asked: Asked, wish: Wish) -> Result<Looked, Error> {
    let Asked { registry, door, package, part } = asked;
    let Wish { refresh, wanted } = wish;
    let ask = DocumentAsk { variant: INDEX, refresh, wanted };
    match registry.document(door, &package, ask).await? {
        Document::Hosted(metadata) => hosted(&metadata),
        Document::Upstream(found) => upstream_index::looked(&registry, part, *found),
    }
}

fn hosted(metadata: &Metadata) -> Result<Looked, Error> {
    let (text, hidden) = (lines(metadata), metadata.hidden.len());
    if text.is_empty() {
        return Err(empty(metadata));
    }
    let seed = Seed::of(RENDERER, &[text.as_bytes(), &(hidden as u64).to_le_bytes()]);
    let render = Box::new(move || {
        let (etag, vary) = (body::etag_of(text.as_bytes()), "Accept-Encoding".into());
        let label = Label { kind: KIND.into(), etag, vary, hidden };
        let plain = Plain::Held(text.into_bytes().into());
        async move { Ok(Made { label, plain, read: None, lies: false }) }.boxed()
    });
    let stamp = metadata.stamp;
    Ok(Looked { seed, stamp, age: None, stale: false, render, lies: None })
}

/// An empty file would read as a crate without versions, which cargo remembers.
fn empty(metadata: &Metadata) -> Error {
    let name = &metadata.view.package.name;
    let hint = format!("griot info {name} --format {}", FORMAT.id);
    let (status, message) = if metadata.hidden.is_empty() {
        (StatusCode::NOT_FOUND, format!("no version of {name} stands"))
    } else {
        let hidden = metadata.hidden.join(", ");
        let message = format!("{name}: {hidden} cannot be had now, neither here nor from a peer");
        (StatusCode::FAILED_DEPENDENCY, message)
    };
    Error::new(status, message).with_hint(hint)
}

/// The whole file, lowest version first.
fn lines(metadata: &Metadata) -> String {
    let mut text = String::new();
    for normal in &metadata.offered {
        let Some(found) = metadata.view.versions.get(normal) else { continue };
        let content = found.files.get(&name::file_name(&metadata.view.package.name, normal));
        let content = content.and_then(|file| file.serves.as_ref());
        if let (Some(content), Some(meta)) = (content, meta(metadata, normal)) {
            text.push_str(&line(&meta, &content.checksums.sha256, found.yanked.is_some()));
            text.push('\n');
        }
    }
    text
}

/// What is known of a version; nothing if its publisher said something else than the index does, or
/// not enough for a line.
pub(super) fn meta(metadata: &Metadata, normal: &str) -> Option<Meta> {
    let package = &metadata.view.package.name;
    let bytes = metadata.meta(normal, &name::file_name(package, normal))?;
    let meta = serde_json::from_slice::<Meta>(bytes).ok()?;
    let same = name::canonical(&meta.name).as_ref() == Ok(package)
        && version::canonical(&meta.vers).as_deref() == Ok(normal);
    (same && meta.unplaced().is_none()).then_some(meta)
}

/// In the order of keys that indexes have.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    vers: &'a str,
    deps: &'a [Dependency],
    cksum: String,
    features: &'a Features,
    yanked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features2: Option<&'a Features>,
}

/// One line, without its end; the same bytes for the same version.
pub(super) fn line(meta: &Meta, sha256: &[u8; 32], yanked: bool) -> String {
    let features2 = Some(&meta.features2).filter(|features| !features.is_empty());
    let line = Line {
        name: &meta.name,
        vers: &meta.vers,
        deps: &meta.deps,
        cksum: to_hex(sha256),
        features: &meta.features,
        yanked,
        links: meta.links.as_deref(),
        rust_version: meta.rust_version.as_deref(),
        v: features2.map(|_| 2),
        features2,
    };
    serde_json::to_string(&line).expect("plain fields are JSON")
}
