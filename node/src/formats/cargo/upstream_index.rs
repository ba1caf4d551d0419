//! What is shown of an upstream's index file: its bytes from the first to the last; while the
//! upstream is away, without the lines of what nobody near has.
//!
//! Nothing in a line is touched. The validator is a hash of the file and of what is left out, so it
//! is the same at every node that shows the same bytes.
//!
//! Source: formats/cargo.md sections 1 and 6; formats/README.md section 1.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::sync::Arc;

use axum::http::StatusCode;
use crdt::PackageId;
use futures::FutureExt as _;

use super::outline::{self, Table};
use super::upstream_rules::INDEX;
use crate::formats::splice::{Segment, Splice, wide};
use crate::formats::spliced::{Prepare, Render, Spliced};
use crate::http::error::Error;
use crate::http::ready::{Label, Looked};
use crate::registry::{
    Document, DocumentAsk, Door, Error as RegistryError, Outline, Registry, UpstreamDocument,
};

/// Its media type.
pub(super) const KIND: &str = "text/plain; charset=utf-8";
/// The code that renders: another number when the same file comes out as other bytes.
const RENDERER: &str = "cargo index 1";
const READ_BYTES: usize = 64 * 1024;
/// Which headers of a request the bytes depend on.
pub(super) const VARY: &str = "Accept-Encoding";

/// Normal version and file.
type Slots = BTreeSet<(String, String)>;

/// An index file, ready to be answered with; `part` as [`crate::http::ready::Ready::part`].
///
/// # Errors
/// 424 if all that it has is out of reach: an empty file would read as "no such crate".
pub(super) fn looked(
    registry: &Registry,
    part: usize,
    document: UpstreamDocument,
) -> Result<Looked, Error> {
    let all = files(&document.outline);
    let near = document.files.clone().filter(|near| near.len() < all);
    let hidden = near.as_ref().map_or(0, |near| all - near.len());
    if hidden == all && all > 0 {
        return Err(all_hidden(&document.package.name, all));
    }
    let (kind, etag) = (KIND.into(), etag(&document, near.as_ref()));
    let label = Label { kind, etag, vary: VARY.into(), hidden };
    let prepare = near.map(|near| prepare(registry, &document, near));
    let (registry, document) = (registry.clone(), Arc::new(document));
    Ok(Spliced { registry, document, part, label, renderer: RENDERER, prepare }.looked())
}

/// How many files an outline has.
fn files(outline: &Outline) -> usize {
    outline.versions.iter().map(|version| version.files.len()).sum()
}

fn all_hidden(name: &str, all: usize) -> Error {
    let versions =
        if all == 1 { "its one version".to_owned() } else { format!("all {all} versions") };
    let message = format!(
        "{name}: the upstream is out of reach, and {versions} cannot be had now, neither here nor \
         from a peer"
    );
    let hint = format!("griot info {name} --format cargo");
    Error::new(StatusCode::FAILED_DEPENDENCY, message).with_hint(hint)
}

/// Everything that the bytes depend on.
fn etag(document: &UpstreamDocument, near: Option<&Slots>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(RENDERER.as_bytes()).update(document.digest.as_bytes());
    for (version, file) in near.into_iter().flatten() {
        for text in [version, file] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    format!("\"{}\"", &hasher.finalize().to_hex()[..32])
}

fn prepare(registry: &Registry, document: &UpstreamDocument, near: Slots) -> Prepare {
    let (registry, near) = (registry.clone(), Arc::new(near));
    let (digest, package) = (document.digest, document.package.name.clone());
    Arc::new(move || {
        let (registry, near, package) = (registry.clone(), Arc::clone(&near), package.clone());
        async move {
            let file = registry.open_document(&digest).await?.into_std().await;
            let read =
                move || outline::scan(&package, &mut BufReader::with_capacity(READ_BYTES, file));
            let scanned = tokio::task::spawn_blocking(read).await;
            let scanned = scanned.unwrap_or_else(|_| Err("it could not be read".to_owned()));
            let (_, table) = scanned.map_err(RegistryError::not_here)?;
            let render: Render = Box::new(move || Ok(lines(&table, &near)));
            Ok(render)
        }
        .boxed()
    })
}

/// The lines of what is near, each as it is.
pub(super) fn lines(table: &Table, near: &Slots) -> Vec<Segment> {
    let mut splice = Splice::new(Vec::new());
    for line in &table.lines {
        if line.slot.as_ref().is_some_and(|slot| near.contains(slot)) {
            splice.copy(wide(line.place));
        }
    }
    splice.segments()
}

/// The file of a version whose line in an upstream's index has that checksum; absent where the
/// name comes from a realm, or no line has it. Only where versions differ by build metadata alone
/// is it another one than [`name::file_name`] of the normal version.
///
/// # Errors
/// Those of the document.
pub(super) async fn file_with(
    (registry, door): (&Registry, Door),
    package: &PackageId,
    version: &str,
    sha256: &[u8; 32],
) -> Result<Option<String>, Error> {
    let ask = DocumentAsk { variant: INDEX, refresh: false, wanted: true };
    let Document::Upstream(found) = registry.document(door, package, ask).await? else {
        return Ok(None);
    };
    let of = found.outline.versions.iter().find(|of| of.version == version);
    let mut files = of.into_iter().flat_map(|of| &of.files);
    let file = files.find(|file| file.declared.sha256.as_ref() == Some(sha256));
    Ok(file.map(|file| file.file.clone()))
}
