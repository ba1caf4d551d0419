//! What a folder of generic files holds: of a package, of a version, and as a list of checksums.
//!
//! Kept ready until something changes (`http::ready`): scripts ask for them in loops. Does not say
//! which files can be had now: what is listed is what stands.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use crdt::derive::VersionView;
use crdt::digest::to_hex;
use crdt::{PackageId, SlotState};
use futures::FutureExt as _;
use serde_json::{Value, json};

use super::routes::{FORMAT, url};
use crate::formats::Context;
use crate::http::body::etag_of;
use crate::http::error::Error;
use crate::http::ready::{Ask, Label, Look, Looked, Made, Plain, Seed, Wish};
use crate::registry::{Door, Metadata, Registry};

/// The code that renders: another number when the same package comes out as other bytes.
const RENDERER: &str = "generic 1";

/// What is listed.
#[derive(Debug, Clone)]
pub(super) enum Of {
    /// All versions.
    Package,
    /// One.
    Version(String),
    /// The checksums of one's files, as `sha256sum -c` reads them.
    Sums(String),
}

impl Of {
    const fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Package => ("package", ""),
            Self::Version(version) => ("version", version.as_str()),
            Self::Sums(version) => ("sums", version.as_str()),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Package | Self::Version(_) => "application/json",
            Self::Sums(_) => "text/plain; charset=utf-8",
        }
    }
}

/// Answers with what is ready, or with what is found now.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    name: &str,
    of: Of,
) -> Result<Response<Body>, Error> {
    let package = context.registry.package_id(FORMAT, name)?;
    context.check_read(&package)?;
    let (door, base) = (context.door, context.door_url(FORMAT));
    let (what, version) = of.parts();
    // The version is the client's own words, so it comes last.
    let key = format!("{FORMAT}\n{what}\n{base}\n{}\n{version}", package.name);
    let ask = Ask { key: &key, package: &package, early: true, wish: Wish::default() };
    let (registry, of_package) = (context.registry.clone(), package.clone());
    let look = || -> Look {
        Arc::new(move |_| {
            let (registry, package) = (registry.clone(), of_package.clone());
            look(registry, (door, base.clone()), package, of.clone()).boxed()
        })
    };
    context.ready.answer(&context.registry, head, ask, look).await
}

async fn look(
    registry: Registry,
    (door, base): (Door, String),
    package: PackageId,
    of: Of,
) -> Result<Looked, Error> {
    let metadata = registry.metadata(door, &package).await?;
    let text = text(&metadata, &base, &of)?;
    let kind = of.kind();
    // It is made faster than a hash of what it is made from.
    let seed = Seed::of(RENDERER, &[kind.as_bytes(), text.as_bytes()]);
    let render = Box::new(move || {
        let (etag, vary) = (etag_of(text.as_bytes()), "Accept-Encoding".into());
        let label = Label { kind: kind.into(), etag, vary, hidden: 0 };
        let plain = Plain::Held(text.into_bytes().into());
        async move { Ok(Made { label, plain, read: None, lies: false }) }.boxed()
    });
    let stamp = metadata.stamp;
    Ok(Looked { seed, stamp, age: None, stale: false, render, lies: None })
}

fn text(metadata: &Metadata, base: &str, of: &Of) -> Result<String, Error> {
    let package = &metadata.view.package;
    Ok(match of {
        Of::Package => {
            let versions: Vec<Value> = ordered(metadata)
                .into_iter()
                .map(|(version, view)| describe_version(base, package, version, view))
                .collect();
            json!({ "name": package.name, "tags": metadata.tags, "versions": versions }).to_string()
        }
        Of::Version(version) => {
            let (normal, view) = find(metadata, version)?;
            describe_version(base, package, normal, view).to_string()
        }
        Of::Sums(version) => {
            let (_, view) = find(metadata, version)?;
            let mut text = String::new();
            for (file, slot) in &view.files {
                if let Some(content) = &slot.serves {
                    // Writing into a string does not fail.
                    let _ = writeln!(text, "{}  {file}", to_hex(&content.checksums.sha256));
                }
            }
            text
        }
    })
}

/// Versions in natural order, lowest first.
fn ordered(metadata: &Metadata) -> Vec<(&String, &VersionView)> {
    let mut versions: Vec<_> = metadata.view.versions.iter().collect();
    versions.sort_by(|(a, _), (b, _)| super::version::compare(a, b));
    versions
}

fn find<'m>(metadata: &'m Metadata, version: &str) -> Result<(&'m String, &'m VersionView), Error> {
    let version = super::name::canonical_version(version).map_err(Error::invalid)?;
    metadata.view.versions.get_key_value(&version).ok_or_else(|| {
        let name = &metadata.view.package.name;
        Error::new(StatusCode::NOT_FOUND, format!("{name} has no version {version}"))
    })
}

fn describe_version(base: &str, package: &PackageId, version: &str, view: &VersionView) -> Value {
    let files: Vec<Value> = view
        .files
        .iter()
        .filter_map(|(file, slot)| {
            let content = slot.serves.as_ref()?;
            Some(json!({
                "filename": file,
                "size": content.size,
                "sha256": to_hex(&content.checksums.sha256),
                "digest": content.blake3,
                "url": url(base, package, Some(version), Some(file)),
            }))
        })
        .collect();
    let state = match (view.state, &view.yanked) {
        (SlotState::Ok, Some(_)) => "yanked",
        (SlotState::Ok, None) => "ok",
        (SlotState::DisputedPinned, _) => "disputed-pinned",
        (SlotState::Disputed, _) => "disputed",
        (SlotState::PinnedUnsupported, _) => "pinned-unsupported",
    };
    json!({
        "version": version, "state": state, "yanked": view.yanked, "files": files,
        "url": url(base, package, Some(version), None),
    })
}
