//! `griot export`: a package's automerge document, and the signatures that stand beside it.
//!
//! The document is one that any automerge tool opens: a change for each statement, its payload
//! under its key. Signatures are no part of a statement's id and so not of the document.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use node::daemon::admin::packages::{Document, Named};
use serde::Serialize;

use super::Context;
use crate::args::Export;
use crate::output::Failure;

#[derive(Serialize)]
struct Exported {
    realm: crdt::RealmId,
    package: crdt::PackageId,
    document: PathBuf,
    signatures: PathBuf,
}

pub(super) async fn run(context: &Context, order: Export) -> Result<(), Failure> {
    let named = Named { name: order.package, version: None, format: order.format };
    let document: Document = context.node()?.post("document", &named).await?;
    let bytes = BASE64_STANDARD
        .decode(&document.automerge)
        .map_err(|error| Failure::new(format!("the node's answer is no base64: {error}")))?;
    let signatures = serde_json::to_vec_pretty(&document.signatures)
        .map_err(|error| Failure::new(format!("the signatures are no JSON: {error}")))?;
    let (to, beside) = match order.automerge {
        Some(file) => {
            let mut beside = file.clone().into_os_string();
            beside.push(".signatures.json");
            (file, PathBuf::from(beside))
        }
        None => in_folder(order.to, &document.package)?,
    };
    let Document { realm, package, .. } = document;
    let exported = Exported { realm, package, document: to, signatures: beside };
    fs_err::write(&exported.document, bytes)?;
    fs_err::write(&exported.signatures, signatures)?;
    context.output.data(&exported, |exported| {
        let files = [&exported.document, &exported.signatures];
        files.map(|file| file.display().to_string()).to_vec()
    })
}

/// Files that are named for the package, in a folder that is made.
fn in_folder(
    to: Option<PathBuf>,
    package: &crdt::PackageId,
) -> Result<(PathBuf, PathBuf), Failure> {
    let folder = to.unwrap_or_else(|| PathBuf::from("."));
    fs_err::create_dir_all(&folder)?;
    let name = package.name.replace(['/', '\\', ':'], "-");
    let stem = format!("{}-{}", package.format, name.trim_start_matches('.'));
    let file = |ending| folder.join(format!("{stem}.{ending}"));
    Ok((file("automerge"), file("signatures.json")))
}
