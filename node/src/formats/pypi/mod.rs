//! What pip, uv, poetry and twine speak.
//!
//! Files: `name.rs`, `version.rs`, `specifier.rs`, `dist.rs` rules (pure); `metadata.rs` and
//! `zipped.rs` archive → meta (pure); `page.rs` one model of a page → HTML and JSON, `accept.rs`
//! which of them, `project_json.rs` the same → the older JSON (pure); `hosted.rs` a realm's view →
//! that model; `upstream_rules.rs` how an upstream is asked; `outline.rs` with `html.rs`,
//! `html_tags.rs` and `upstream_json.rs` its page → what is in it; `upstream_places.rs` and where;
//! `upstream_page.rs` its bytes → what a client reads, in `mode.rs`'s sense, and
//! `upstream_model.rs` → the model. The handlers: `routes.rs`, and behind it `simple.rs` (pages),
//! `legacy.rs` (the older JSON), `names.rs` (the list of all), `files.rs`, `upstream_files.rs`,
//! `upload.rs`, `provenance.rs`.
//!
//! Discrepancies: a yank is of a version, so it shows on each of its files; there is no yank over
//! HTTP (no client has one), nor XML-RPC, nor a search; attestations are kept and shown as they
//! came, and judged by nobody here; a project of an upstream is changed by nobody here, and nothing
//! is forwarded.
//!
//! Source: formats/pypi.md.
#![doc = include_str!("README.md")]

use crate::registry::{Hashes, Rules};

use super::Format;

mod accept;
mod dist;
mod files;
mod hosted;
mod html;
mod html_tags;
mod legacy;
mod link;
mod lockfile;
mod metadata;
mod mode;
mod name;
mod names;
mod outline;
mod pack;
mod page;
mod project_json;
mod provenance;
mod routes;
mod simple;
mod specifier;
#[cfg(test)]
mod tests;
mod through;
mod upload;
mod upstream_files;
mod upstream_json;
mod upstream_model;
mod upstream_page;
mod upstream_places;
mod upstream_rules;
#[cfg(test)]
mod upstream_tests;
mod version;
mod zipped;

/// What pip, uv, poetry and twine speak.
pub static FORMAT: Format = Format {
    id: "pypi",
    title: "PyPI",
    readme: include_str!("README.md"),
    mount: MOUNT,
    claims_root: |_| false,
    serve: |context, request| Box::pin(routes::serve(context, request)),
    rules: Rules {
        format: "pypi",
        canonical_name: name::canonical,
        publishable: name::publishable,
        canonical_version: version::canonical,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: version::resolve,
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: true,
        file_name: None,
        extract: Some(metadata::extract),
        admits: metadata::admits,
        spelling: None,
        tag_name: |_| Ok(()),
        upstream: Some(upstream_rules::RULES),
        describe: metadata::describe,
        twins: |_| Vec::new(),
    },
    install: |base, name, version| {
        format!("pip install {name}=={version} --index-url {base}/pypi/simple/")
    },
    pack: pack::pack,
    lockfiles: lockfile::LOCKFILES,
    links: link::LINKS,
    through: through::THROUGH,
};

const MOUNT: &str = "pypi";
