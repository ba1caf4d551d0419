//! What cargo speaks: the sparse index and the web API of a registry.
//!
//! Files: `name.rs`, `version.rs`, `upstream_rules.rs`, `declared.rs` rules (pure); `outline.rs` an
//! upstream's index file → what is in it and where; `upstream_index.rs` its bytes → what a client
//! reads; `routes.rs` the handlers.
//!
//! Source: formats/cargo.md.
#![doc = include_str!("README.md")]

use crate::registry::{Hashes, Rules};

use super::Format;

mod declared;
mod link;
mod lockfile;
mod name;
mod outline;
mod routes;
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
        publishable: |_| Ok(()),
        canonical_version: version::canonical,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: version::resolve,
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: false,
        file_name: Some(name::file_name),
        extract: None,
        upstream: Some(upstream_rules::RULES),
        describe: |_| String::new(),
        twins: |_| Vec::new(),
    },
    install: |_, name, version| format!("cargo add {name}@{version}"),
    pack: |_| None,
    lockfiles: lockfile::LOCKFILES,
    links: link::LINKS,
};

const MOUNT: &str = "cargo";
