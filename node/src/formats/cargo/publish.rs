//! `cargo publish`: one body with a JSON document and the crate behind it, each with its length
//! before it.
//!
//! The crate goes into the store while it arrives. What the archive says of itself is what counts;
//! a document that says something else is refused, so nobody can be shown other dependencies than
//! those that are built. The line is in the index before the answer is sent.
//!
//! Source: cargo's `registry-web-api.md`; formats/cargo.md sections 2 and 3.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::{Buf as _, Bytes};
use crdt::PackageId;
use serde::Deserialize;
use serde_json::json;

use super::meta::{Dependency, Features, Meta};
use super::routes::{answer, not_ours};
use super::{FORMAT, index, name, version};
use crate::formats::Context;
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{Extracted, Publication, Published, Scope, Staged};

/// The longest document; it holds the whole readme.
const DOCUMENT_MAX_BYTES: u32 = 8 * 1024 * 1024;

/// What matters of the document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    name: String,
    vers: String,
    deps: Vec<SaidDependency>,
    features: Features,
    links: Option<String>,
    rust_version: Option<String>,
}

/// Some names are other ones than in the index.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidDependency {
    name: String,
    version_req: String,
    features: Vec<String>,
    optional: bool,
    default_features: bool,
    target: Option<String>,
    kind: String,
    registry: Option<String>,
    explicit_name_in_toml: Option<String>,
}

/// `PUT api/v1/crates/new`.
pub(super) async fn put(
    context: &Context,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    let allowed = context.who.require(Scope::Publish).map_err(Error::from);
    let plain = || Ok::<_, Error>(upload::Inflate::new(&head.headers, 0)?.is_plain());
    let allowed = allowed.and_then(|()| match plain()? {
        true => Ok(()),
        false => Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body as it is")),
    });
    if let Err(error) = allowed {
        // Nothing of the body was read yet; the client must still see why.
        return Ok(upload::refuse(&head.headers, body, error.into_response()).await);
    }
    let mut frames = Frames::new(&head.headers, body)?;
    match receive(context, &mut frames).await {
        Ok((said, package, staged)) => {
            let published = publish(context, said, package, staged).await?;
            Ok(answer(&json!({ "warnings": warnings(&published) })))
        }
        Err(error) => {
            frames.chunks.drain().await;
            Err(error)
        }
    }
}

/// Document first: it says whether the crate behind it may come at all.
async fn receive(
    context: &Context,
    frames: &mut Frames,
) -> Result<(Said, PackageId, Staged), Error> {
    let length = frames.length().await?;
    if length > DOCUMENT_MAX_BYTES {
        return Err(Error::too_large(DOCUMENT_MAX_BYTES.into()));
    }
    let document = frames.exactly(length).await?;
    let said: Said = serde_json::from_slice(&document)
        .map_err(|error| Error::invalid(format!("the document cannot be read: {error}")))?;
    let package = check(context, &said).await?;
    let length = frames.length().await?;
    let mut writer = context.registry.stage(FORMAT.id).await?;
    upload::expect(&mut writer, length.into()).await?;
    let mut left = length;
    while left > 0 {
        let bytes = frames.some(left).await?;
        left -= u32::try_from(bytes.len()).unwrap_or(left);
        upload::write(&mut writer, bytes).await?;
    }
    frames.end().await?;
    Ok((said, package, upload::finish(writer).await?))
}

/// All that can be refused before the crate comes.
async fn check(context: &Context, said: &Said) -> Result<PackageId, Error> {
    let registry = &context.registry;
    let package = registry.package_id(FORMAT.id, &said.name)?;
    version::canonical(&said.vers).map_err(Error::invalid)?;
    if registry.is_upstreams(context.door, &package)? {
        return Err(not_ours(&said.name));
    }
    registry.check_publish(&context.who, FORMAT.id, &package.name, None).await?;
    // cargo would take it for another crate, or for none.
    let there = registry.metadata(context.door, &package).await.ok();
    let there = there.and_then(|there| {
        there.offered.iter().rev().find_map(|normal| index::meta(&there, normal))
    });
    match there {
        Some(there) if there.name != said.name => {
            let message = format!("the crate is called {} here, not {}", there.name, said.name);
            Err(Error::new(StatusCode::CONFLICT, message)
                .with_hint(format!("write name = {:?} in Cargo.toml", there.name)))
        }
        _ => Ok(package),
    }
}

async fn publish(
    context: &Context,
    said: Said,
    package: PackageId,
    staged: Staged,
) -> Result<Published, Error> {
    let (written, said) = (said.vers.clone(), Meta::from(said));
    let normal = version::canonical(&written).map_err(Error::invalid)?;
    let file = name::file_name(&package.name, &normal);
    let publication = Publication {
        format: FORMAT.id,
        name: package.name,
        version: written,
        files: vec![(file, staged)],
        tags: Vec::new(),
        realm: None,
        claimed_time: None,
    };
    let fits = move |archive: &Extracted| {
        let archive: Meta = serde_json::from_slice(&archive.meta).map_err(|e| e.to_string())?;
        let why = said.contradiction(&archive);
        why.map_or(Ok(()), |why| Err(format!("the document contradicts the archive: {why}")))
    };
    Ok(context.registry.publish_if(&context.who, publication, fits).await?)
}

/// What cargo prints after a publish.
fn warnings(published: &Published) -> serde_json::Value {
    let Published { name, version, needs, new, .. } = published;
    let mut other = Vec::new();
    if !new {
        other.push(format!("{name} {version} was here already, with these same bytes"));
    }
    if *needs > 0 {
        other.push(format!(
            "{name} {version} shows once {needs} more of its publishers have signed it: griot \
             endorse {name}@{version} --format {}",
            FORMAT.id
        ));
    }
    json!({ "invalid_categories": [], "invalid_badges": [], "other": other })
}

impl From<Said> for Meta {
    fn from(said: Said) -> Self {
        let Said { name, vers, deps, features, links, rust_version } = said;
        let mut deps: Vec<_> = deps.into_iter().map(Dependency::from).collect();
        deps.sort();
        let mut meta = Self { name, vers, deps, links, rust_version, ..Self::default() };
        meta.set_features(features);
        meta
    }
}

impl From<SaidDependency> for Dependency {
    fn from(said: SaidDependency) -> Self {
        let renamed = said.explicit_name_in_toml.is_some();
        let package = renamed.then(|| said.name.clone());
        Self {
            name: said.explicit_name_in_toml.unwrap_or(said.name),
            req: said.version_req,
            features: said.features,
            optional: said.optional,
            default_features: said.default_features,
            target: said.target,
            kind: said.kind,
            registry: said.registry,
            package,
        }
        .normal()
    }
}

/// A body, read in the pieces that its lengths say.
struct Frames {
    chunks: upload::Chunks,
    /// Came already, and was not read.
    held: Bytes,
}

impl Frames {
    fn new(headers: &HeaderMap, body: Body) -> Result<Self, Error> {
        Ok(Self { chunks: upload::Chunks::new(headers, body)?, held: Bytes::new() })
    }

    /// Some of the next bytes, no more than `most`.
    async fn some(&mut self, most: u32) -> Result<Bytes, Error> {
        while self.held.is_empty() {
            let next = self.chunks.next().await?;
            self.held = next.ok_or_else(|| {
                Error::invalid("the body ends before the crate does; nothing was stored")
            })?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.held.split_to(self.held.len().min(most)))
    }

    /// So many bytes, which the caller has bounded.
    async fn exactly(&mut self, count: u32) -> Result<Vec<u8>, Error> {
        let (mut out, mut left) = (Vec::new(), count);
        while left > 0 {
            let bytes = self.some(left).await?;
            left -= u32::try_from(bytes.len()).unwrap_or(left);
            out.extend_from_slice(&bytes);
        }
        Ok(out)
    }

    async fn length(&mut self) -> Result<u32, Error> {
        Ok(self.exactly(4).await?.as_slice().get_u32_le())
    }

    async fn end(&mut self) -> Result<(), Error> {
        while self.held.is_empty() {
            match self.chunks.next().await? {
                Some(bytes) => self.held = bytes,
                None => return Ok(()),
            }
        }
        Err(Error::invalid("bytes follow the crate; nothing was stored"))
    }
}
