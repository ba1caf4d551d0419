//! Whose file URLs a client is shown: the upstream's own, or this node's.
//!
//! A lockfile must come out the same with and without the node, and uv and pip write down the URLs
//! that a page has. So the proxy of `griot run` asks for the upstream's, and everybody else gets
//! this node's, relative to the page. The proxy must see the files pass as well, wherever they are:
//! it is told the hosts that pages of adopted upstreams have named so far, when it starts
//! (`GET hosts`) and with each page.
//!
//! Source: formats/README.md section 3; formats/pypi.md section 5.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use url::Url;

use super::FORMAT;
use crate::http::error::Error;
use crate::registry::{Registry, UpstreamDocument};

/// What this node's proxy sends to have the upstream's URLs.
const URLS: &str = "x-griot-urls";
/// Where the files of pages with the upstream's URLs are: `scheme://host:port`, with commas.
const HOSTS: HeaderName = HeaderName::from_static("x-griot-hosts");
/// The note that keeps them.
const NOTE: &str = "file-hosts";
/// More than any upstream has; a page that names others is a liar's.
const HOSTS_MAX: usize = 32;

/// The request headers that change a page.
pub(super) const VARY: &str = "Accept, Accept-Encoding, X-Griot-Urls";

/// Whose URLs a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The upstream's, untouched.
    Canonical,
    /// This node's.
    Own,
}

impl Mode {
    /// Chosen by the request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let urls = headers.get(URLS).and_then(|value| value.to_str().ok());
        if urls == Some("canonical") { Self::Canonical } else { Self::Own }
    }

    /// As it goes into keys and ETags.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Own => "self",
        }
    }
}

/// Remembers the hosts that a page names.
///
/// # Errors
/// When the store fails.
pub(super) async fn note_hosts(
    registry: &Registry,
    document: &UpstreamDocument,
) -> Result<(), Error> {
    let files = document.outline.versions.iter().flat_map(|version| &version.files);
    let urls = files.map(|file| file.url.as_str()).chain(document.moved.as_deref());
    let heads: BTreeSet<&str> = urls.filter_map(host_of).collect();
    let sites = heads.into_iter().filter_map(|head| site(&Url::parse(head).ok()?));
    let known = noted(registry)?;
    let mut all = known.clone();
    for site in sites {
        if all.len() < HOSTS_MAX {
            all.insert(site);
        }
    }
    if all != known {
        let text = all.into_iter().collect::<Vec<_>>().join(", ");
        registry.put_note(FORMAT.id, NOTE, text.into_bytes()).await?;
    }
    Ok(())
}

/// Tells the proxy of them.
///
/// # Errors
/// When the store fails.
pub(super) fn name_hosts(registry: &Registry, headers: &mut HeaderMap) -> Result<(), Error> {
    let known = noted(registry)?;
    let text = known.into_iter().collect::<Vec<_>>().join(", ");
    if let Some(value) = HeaderValue::from_str(&text).ok().filter(|value| !value.is_empty()) {
        headers.insert(HOSTS, value);
    }
    Ok(())
}

/// `GET hosts`: tells of them alone.
///
/// # Errors
/// When the store fails.
pub(super) fn hosts(registry: &Registry) -> Result<Response<Body>, Error> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    name_hosts(registry, response.headers_mut())?;
    Ok(response)
}

fn noted(registry: &Registry) -> Result<BTreeSet<String>, Error> {
    let note = registry.note(FORMAT.id, NOTE)?.unwrap_or_default();
    let text = String::from_utf8(note).unwrap_or_default();
    let sites = text.split(',').map(|site| site.trim().to_owned());
    Ok(sites.filter(|site| !site.is_empty()).collect())
}

/// `scheme://host` of an absolute URL, as it is written.
fn host_of(url: &str) -> Option<&str> {
    let after = url.find("://")? + 3;
    let end = url[after..].find(['/', '?', '#']).map_or(url.len(), |at| after + at);
    Some(&url[..end])
}

/// With its port, for a web server.
fn site(url: &Url) -> Option<String> {
    let web = matches!(url.scheme(), "http" | "https");
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    web.then(|| format!("{}://{host}:{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_by_the_beginning_of_a_url() {
        for (url, found) in [
            ("https://files.test/a/b.whl", Some("https://files.test:443")),
            ("http://Files.test:8080?x", Some("http://files.test:8080")),
            ("http://user:pw@files.test/", Some("http://files.test:80")),
            ("ftp://files.test/a", None),
            ("../../a.whl", None),
            ("https://", None),
        ] {
            let head = host_of(url).and_then(|head| site(&Url::parse(head).ok()?));
            assert_eq!(head.as_deref(), found, "{url}");
        }
    }
}
