//! What of npm's upstreams `griot run` lets this node answer.
//!
//! Source: formats/npm.md section 2.

use axum::http::Method;

use super::name;
use crate::formats::{Passing, Proxied, Through, TrustSetting};

/// npm, pnpm and bun, yarn 1, and yarn from 2 on.
pub(super) const THROUGH: Through = Through {
    answers,
    name: name_of,
    variables: Proxied {
        https: &["npm_config_https_proxy", "YARN_HTTPS_PROXY"],
        http: &["npm_config_proxy", "YARN_HTTP_PROXY"],
        straight: &["npm_config_noproxy"],
        trust: &["NODE_EXTRA_CA_CERTS", "npm_config_cafile", "YARN_HTTPS_CA_FILE_PATH"],
        settings: &[
            TrustSetting::new(".npmrc", "cafile", '='),
            TrustSetting::new(".yarnrc", "cafile", ' '),
            TrustSetting::new(".yarnrc.yml", "httpsCaFilePath", ':'),
        ],
        ..Proxied::NONE
    },
    ..Through::PLAIN
};

fn answers(passing: &Passing<'_>) -> bool {
    match passing.rest.strip_prefix("-/") {
        Some(endpoint) => is_endpoint(passing.method, endpoint),
        // npm reads with `write=true` what it changes and sends back.
        None => passing.reads() && !passing.query.split('&').any(|pair| pair == "write=true"),
    }
}

/// npm's own endpoints: search, tags, signing keys, attestations and audits; not accounts, teams
/// and logins.
fn is_endpoint(method: &Method, endpoint: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => {
            matches!(endpoint, "ping" | "v1/search" | "npm/v1/keys")
                || endpoint.starts_with("npm/v1/attestations/")
                || endpoint.starts_with("package/") && endpoint.ends_with("/dist-tags")
        }
        Method::POST => endpoint.starts_with("npm/v1/security/"),
        _ => false,
    }
}

/// The first segment, or the first two of a scope.
fn name_of(rest: &str) -> Option<String> {
    let plain = rest.replace("%2f", "/").replace("%2F", "/");
    let segments = if plain.starts_with('@') { 2 } else { 1 };
    let written = plain.split('/').take(segments).collect::<Vec<_>>().join("/");
    name::canonical(&written).ok()
}
