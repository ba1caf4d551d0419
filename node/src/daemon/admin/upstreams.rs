//! `upstreams`: the outside registries that this node asks.
//!
//! A credential comes in and is never given out again. The site's `route` statements are signed by
//! the command, not here.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Admin, Done, Failure, Json, Read};
use crate::registry::{UpstreamChoice, UpstreamRow, origin_of};

/// An upstream to adopt.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UpstreamOrder {
    /// The format that it speaks.
    pub format: String,
    /// Base URL.
    pub url: String,
    /// A token, or the whole value of `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Ids or URLs of the same registry.
    #[serde(default)]
    pub same_as: Vec<String>,
    /// Only for these names: exact, or prefix and `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether it takes the place of the format's default.
    #[serde(default)]
    pub default: bool,
}

impl std::fmt::Debug for UpstreamOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamOrder").field("format", &self.format).finish_non_exhaustive()
    }
}

/// An upstream to give up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamName {
    /// The format that it speaks.
    pub format: String,
    /// Its URL or its id.
    pub which: String,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
) -> Result<Json<Vec<UpstreamRow>>, Failure> {
    Ok(Json(admin.registry.upstream_list()?))
}

pub(super) async fn add(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<UpstreamOrder>,
) -> Result<Json<UpstreamRow>, Failure> {
    refuse_itself(&admin, &order.url)?;
    let same_as = order.same_as.iter().map(|which| origin_of(which)).collect::<Result<_, _>>()?;
    let choice = UpstreamChoice {
        format: order.format,
        url: order.url,
        credential: order.credential,
        same_as,
        pattern: order.pattern,
        default: order.default,
    };
    let adopted = admin.registry.upstream_add(choice).await?;
    let mut rows = admin.registry.upstream_list()?.into_iter();
    let row = rows.find(|row| {
        row.of == "own" && row.format == adopted.format && row.origin == adopted.origin
    });
    row.map(Json).ok_or_else(|| Failure::not_found("the upstream was given up in between"))
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Read(name): Read<UpstreamName>,
) -> Result<Json<Done>, Failure> {
    let gone = admin.registry.upstream_remove(&name.format, &name.which).await?;
    Ok(Json(Done { changed: gone.is_some() }))
}

/// A node that is its own upstream would ask itself for ever.
pub(super) fn refuse_itself(admin: &Admin, url: &str) -> Result<(), Failure> {
    if is_at(&admin.http, url) {
        return Err(Failure::invalid(format!("{url:.200} is this node itself"))
            .hint("an upstream is the registry that the client used before: griot upstream list"));
    }
    Ok(())
}

/// Whether the URL is on the host and port of `node`, by any of the names of this machine.
fn is_at(node: &str, url: &str) -> bool {
    let (Ok(node), Ok(url)) = (url::Url::parse(node), url::Url::parse(url)) else { return false };
    let ports = node.port_or_known_default() == url.port_or_known_default();
    ports && (node.host() == url.host() || is_loopback(&node) && is_loopback(&url))
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_node_is_recognised_under_each_of_its_names() {
        let node = "http://127.0.0.1:7878";
        for url in ["http://127.0.0.1:7878/npm/", "http://localhost:7878", "http://[::1]:7878/"] {
            assert!(is_at(node, url), "{url}");
        }
        for url in ["http://127.0.0.1:7979/", "https://packages.test/", "nonsense"] {
            assert!(!is_at(node, url), "{url}");
        }
    }

    #[test]
    fn a_credential_is_not_in_the_debug_text() {
        let order = UpstreamOrder { credential: Some("s3cret".into()), ..Default::default() };
        assert!(!format!("{order:?}").contains("s3cret"));
    }
}
