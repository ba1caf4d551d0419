//! What cargo speaks: a sparse index, and the web API of a registry.
//!
//! Files: `name.rs`, `version.rs` rules, `meta.rs` what is known of a version, `manifest.rs`
//! archive → meta, `upstream_rules.rs` and `declared.rs` how an upstream is asked and compared,
//! `outline.rs` its index file → what is in it and where (all pure); `upstream_index.rs` its bytes
//! → what a client reads; `link.rs` the settings of cargo and `lockfile.rs` its lockfile (pure);
//! `pack.rs` a folder → `.crate`. The handlers: `routes.rs`, and behind it `index.rs`,
//! `download.rs`, `publish.rs`, `owners.rs`, `search.rs`.
//!
//! Discrepancies: there are no accounts, so owners are keys and are changed by a grant; the lines
//! of an index stand in the order of versions; of what is published the archive counts, and a
//! document that says something else is refused; a crate that is published with the same bytes
//! again is a success with a warning; without a private realm no token is asked for to read, and
//! with one for everything that realms have.
//!
//! Source: formats/cargo.md.
#![doc = include_str!("README.md")]

use crate::registry::{Hashes, Rules};

use super::Format;

mod declared;
mod download;
mod index;
mod link;
mod lockfile;
mod manifest;
mod meta;
mod name;
mod outline;
mod owners;
mod pack;
mod publish;
mod routes;
mod search;
#[cfg(test)]
mod tests;
mod through;
mod upstream_index;
mod upstream_rules;
#[cfg(test)]
mod upstream_tests;
mod version;

/// What cargo speaks.
pub static FORMAT: Format = Format {
    id: "cargo",
    title: "Cargo",
    readme: include_str!("README.md"),
    mount: MOUNT,
    claims_root: |_| false,
    serve: |context, request| Box::pin(routes::serve(context, request)),
    rules: Rules {
        format: "cargo",
        canonical_name: name::canonical,
        publishable: name::publishable,
        canonical_version: version::canonical,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: version::resolve,
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: false,
        file_name: Some(name::file_name),
        extract: Some(manifest::extract),
        admits: meta::admits,
        spelling: Some(meta::spelling),
        tag_name: |_| Ok(()),
        upstream: Some(upstream_rules::RULES),
        describe: meta::describe,
        twins: name::twins,
    },
    install: |base, name, version| {
        let index = format!("registries.griot.index=\"sparse+{base}/{MOUNT}/~hosted/index/\"");
        format!("cargo add {name}@{version} --registry griot --config '{index}'")
    },
    pack: pack::pack,
    lockfiles: lockfile::LOCKFILES,
    links: link::LINKS,
    through: through::THROUGH,
};

const MOUNT: &str = "cargo";
