//! What pip, uv, poetry and twine speak: for now their settings and their lockfiles.
//!
//! Source: formats/pypi.md.

use axum::body::Body;
use axum::http::{Response, StatusCode};

use crate::registry::{Hashes, Rules};

use super::Format;

mod link;
mod lockfile;
mod pack;

/// What pip, uv, poetry and twine speak.
pub static FORMAT: Format = Format {
    id: "pypi",
    title: "PyPI",
    readme: include_str!("README.md"),
    mount: "pypi",
    claims_root: |_| false,
    serve: |_, _| {
        Box::pin(async {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        })
    },
    rules: Rules {
        format: "pypi",
        canonical_name: |name| Ok(name.to_lowercase()),
        publishable: |_| Ok(()),
        canonical_version: |version| Ok(version.to_owned()),
        compare_versions: |a, b| a.cmp(b),
        is_prerelease: |_| false,
        resolve: |range, versions| Ok(versions.iter().find(|version| *version == range).cloned()),
        hashes: Hashes { sha512: false, sha1: false, md5: false },
        files_may_join: true,
        file_name: None,
        extract: None,
        upstream: None,
        describe: |_| String::new(),
        twins: |_| Vec::new(),
    },
    install: |base, name, version| {
        format!("pip install {name}=={version} --index-url {base}/pypi/simple/")
    },
    pack: pack::pack,
    lockfiles: lockfile::LOCKFILES,
    links: link::LINKS,
};
