//! What of PyPI's upstreams `griot run` lets this node answer: pages, and files on any host that a
//! page has named, if the node knows them.
//!
//! Source: formats/pypi.md section 2.

use super::name;
use crate::formats::{Beside, FilesElsewhere, Passing, Proxied, Through, TrustSetting};

/// pip, uv, poetry and twine.
pub(super) const THROUGH: Through = Through {
    answers,
    name: |rest| name::canonical(rest.split('/').next()?).ok(),
    files: Some(FilesElsewhere {
        // A node that knows no host yet reads a page that every index has.
        hosts: &["/hosts", "/simple/pip/"],
        at: "/at?url=",
        beside,
    }),
    variables: Proxied {
        // requests, so poetry and twine; pip.
        trust: &["REQUESTS_CA_BUNDLE", "PIP_CERT"],
        // pip takes an empty one for none, and then looks at the common variables.
        off: &["PIP_PROXY"],
        settings: &[
            TrustSetting::new(".pip/pip.conf", "cert", '='),
            TrustSetting::new(".config/pip/pip.conf", "cert", '='),
        ],
        ..Proxied::NONE
    },
};

/// The page of a project, and the list of all.
fn answers(passing: &Passing<'_>) -> bool {
    passing.reads() && passing.rest.trim_end_matches('/').split('/').count() == 1
}

/// What the node has beside an index.
fn beside(base: &str, path: &str) -> Option<Beside> {
    project_json(base, path).or_else(|| own_file(base, path))
}

/// The older JSON of a project or of its version, which lies beside an index: poetry asks for it.
fn project_json(base: &str, path: &str) -> Option<Beside> {
    let parent = base.strip_suffix("simple/")?;
    let rest = path.strip_prefix(parent)?.strip_prefix("pypi/")?.strip_suffix("/json")?;
    let is_one = !rest.is_empty() && rest.split('/').count() <= 2;
    is_one.then(|| Beside { path: format!("/{rest}/json"), about: Some(rest.to_owned()) })
}

/// A file of the node itself, which its pages name relative to the index: those of a realm's
/// projects do so here, too.
fn own_file(base: &str, path: &str) -> Option<Beside> {
    let parent = base.trim_end_matches('/').rsplit_once('/')?.0;
    let rest = path.strip_prefix(parent)?.strip_prefix("/files/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let [_, sum, _] = parts.as_slice() else { return None };
    let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sum.then(|| Beside { path: format!("/files/{rest}"), about: None })
}
