//! What pip, uv, poetry, twine and build speak.
//!
//! Source: formats/pypi.md.
#![doc = include_str!("README.md")]

use crate::registry::{Hashes, Rules};

use super::Format;

mod accept;
mod dist;
mod html;
mod name;
mod outline;
mod page;
mod routes;
mod specifier;
mod upstream_json;
mod upstream_rules;
#[cfg(test)]
mod upstream_tests;
mod version;

/// What pip, uv, poetry, twine and build speak.
pub static FORMAT: Format = Format {
    id: "pypi",
    title: "PyPI",
    readme: include_str!("README.md"),
    mount: "pypi",
    claims_root: |_| false,
    serve: |context, request| Box::pin(routes::serve(context, request)),
    rules: Rules {
        format: "pypi",
        canonical_name: name::canonical,
        publishable: name::publishable,
        canonical_version: version::canonical,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: specifier::resolve,
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: true,
        file_name: None,
        extract: None,
        upstream: Some(upstream_rules::RULES),
        describe: |_| String::new(),
        twins: |_| Vec::new(),
    },
    install: |base, name, version| {
        format!("pip install --index-url {base}/pypi/simple/ {name}=={version}")
    },
    pack: |_| None,
    lockfiles: &[],
    links: &[],
};
