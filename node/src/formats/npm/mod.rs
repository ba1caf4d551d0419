//! What npm, pnpm, yarn and bun speak.
//!
//! Files: `name.rs`, `version.rs`, `upstream_rules.rs` rules (pure); `manifest.rs` archive → meta
//! (pure); `metadata.rs` a realm's view → packument (pure); `upstream_outline.rs`,
//! `dist.rs`, `spans.rs` an upstream's packument → what is in it and where; `render.rs`
//! its bytes → what a client reads, in `mode.rs`'s sense; `signature.rs` the upstream's
//! signatures (pure); `attachment.rs` a publish body, byte by byte (pure); `publish.rs` such a body
//! into the store; `pack.rs` a folder → `.tgz`. The handlers: `routes.rs`, and behind it
//! `packument.rs`, `tarball.rs`, `change.rs`, `audit.rs`, `search.rs`, `attestation.rs`,
//! `accounts.rs`.
//!
//! Discrepancies: unpublish withdraws this node's signature, and a version never comes back with
//! other bytes; deprecation is a yank, so it leaves new resolution where every client agrees to
//! that; there are no accounts, stars or teams, and the owners shown are the signers; an audit that
//! cannot be answered is a 424, never an empty report; a package of an upstream is changed by
//! nobody here, and nothing is forwarded.
//!
//! Source: formats/npm.md.
#![doc = include_str!("README.md")]

use crate::http::path::PathQuery;
use crate::registry::{Hashes, Rules};

use super::Format;

mod accounts;
mod asked;
mod attachment;
mod attestation;
mod audit;
mod change;
mod dist;
mod link;
mod lockfile;
mod manifest;
mod metadata;
mod mode;
mod name;
mod pack;
mod packlist;
mod packument;
mod pieces;
mod publish;
mod render;
mod routes;
mod search;
mod signature;
mod spans;
mod tarball;
#[cfg(test)]
mod tests;
mod through;
mod upstream_outline;
mod upstream_rules;
#[cfg(test)]
mod upstream_tests;
mod version;
mod whole;

/// What npm, pnpm, yarn and bun speak.
pub static FORMAT: Format = Format {
    id: "npm",
    title: "npm",
    readme: include_str!("README.md"),
    mount: MOUNT,
    claims_root,
    serve: |context, request| Box::pin(routes::serve(context, request)),
    rules: Rules {
        format: "npm",
        canonical_name: name::canonical,
        publishable: name::publishable,
        canonical_version: version::canonical,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: version::resolve,
        hashes: Hashes { sha512: true, sha1: true, md5: false },
        files_may_join: false,
        file_name: Some(name::file_name),
        extract: Some(manifest::extract),
        admits: |_| Ok(()),
        spelling: None,
        tag_name: change::check_tag,
        upstream: Some(upstream_rules::RULES),
        describe: manifest::describe,
        twins: |_| Vec::new(),
    },
    install: |base, name, version| format!("npm install {name}@{version} --registry {base}/npm/"),
    pack: pack::pack,
    lockfiles: lockfile::LOCKFILES,
    links: link::LINKS,
    through: through::THROUGH,
};

const MOUNT: &str = "npm";

/// `npm pack`, npx and `npm cache add` ask for tarballs at the root, whatever the registry's path.
fn claims_root(path: &PathQuery) -> bool {
    tarball::of_path(&path.parts()).is_some()
}
