//! Any file, under a name and a version, over plain HTTP.
//!
//! Files: `name.rs` what names and versions may be (pure); `version.rs` their order
//! (pure); `routes.rs` the handlers.
//!
//! Discrepancies: a package has names and versions, so a path is always
//! `{name}/{version}/{file}`; there is no free tree of paths. `SHA256SUMS` is rendered, so no file
//! may be called that. There is no `Last-Modified`: no clock says anything here, the ETag does.
//!
//! Source: formats/generic.md.
#![doc = include_str!("README.md")]

use crate::registry::{Hashes, Rules};

use super::{Format, Through, url_segment};

mod listing;
mod name;
mod routes;
#[cfg(test)]
mod tests;
mod version;

/// Any file under a name and a version.
pub static FORMAT: Format = Format {
    id: "generic",
    title: "Generic files",
    readme: include_str!("README.md"),
    mount: "generic",
    claims_root: |_| false,
    serve: |context, request| Box::pin(routes::serve(context, request)),
    rules: Rules {
        format: "generic",
        canonical_name: name::canonical_name,
        publishable: |_| Ok(()),
        canonical_version: name::canonical_version,
        compare_versions: version::compare,
        is_prerelease: version::is_prerelease,
        resolve: version::resolve,
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: true,
        file_name: None,
        extract: None,
        admits: |_| Ok(()),
        spelling: None,
        tag_name: |_| Ok(()),
        upstream: None,
        describe: |_| String::new(),
        twins: |_| Vec::new(),
    },
    install: |base, name, version| {
        // The native route finds the file of a version, and says what it is called.
        let (name, version) = (url_segment(name), url_segment(version));
        format!("curl -OJ '{base}/api/packages/{name}/{version}/download?format=generic'")
    },
    // Nothing in a file says what it is called: `griot publish --format generic --name N --version
    // V`.
    pack: |_| None,
    lockfiles: &[],
    links: &[],
    through: Through::PLAIN,
};
