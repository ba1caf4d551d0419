//! From a request to its format: the path once parsed, the token once read, the door once chosen.
//!
//! ```text
//!  /{mount}/…             a format, by routes
//!  /{mount}/~hosted/…     the same, realms alone
//!  /{mount}/~upstream/…   the same, the upstream alone
//!  /api/…                 the native routes
//!  elsewhere              a format that claims the path (npm's root tarballs), else 404
//! ```
//!
//! Host and Origin were checked before, by `http::origin`; the daemon's own paths never come here.
//! A path is never handed on undecoded.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, header};

use super::{ALL, Context, native};
use crate::http::auth::Tokens;
use crate::http::error::Error;
use crate::http::origin;
use crate::http::path::PathQuery;
use crate::http::ready::Ready;
use crate::http::upload;
use crate::registry::{Door, Principal, Registry};

/// What the dispatcher needs: made by the daemon.
#[derive(Debug, Clone)]
pub struct Front {
    /// The use-cases.
    pub registry: Registry,
    /// Who may do what.
    pub tokens: Tokens,
    /// The `host:port` names that we answer to, filled once the listener is bound.
    pub hosts: Arc<Vec<String>>,
    /// Documents ready to be sent.
    pub ready: Ready,
}

impl Front {
    /// The node's own address as the client wrote it, where that is in the list of our names.
    #[must_use]
    pub fn base(&self, request: &Request<Body>) -> String {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(axum::http::uri::Authority::as_str).or(host);
        let known = host.and_then(|host| origin::known(&self.hosts, host));
        let known = known.or_else(|| self.hosts.first().map(String::as_str));
        format!("http://{}", known.unwrap_or("localhost"))
    }
}

/// Answers every request that is not the daemon's own.
pub async fn serve(front: Front, request: Request<Body>) -> Response<Body> {
    let path = match PathQuery::parse(request.uri()) {
        Ok(path) => path,
        Err(error) => return answer_unread(request, Error::from(error).into_response()).await,
    };
    let is_native = path.segments.first().is_some_and(|first| first == native::MOUNT);
    let who = match front.tokens.principal(request.headers()) {
        Ok(who) => who,
        Err(error) => {
            let error = Error::from(error);
            let style = if is_native { native::failure } else { Error::into_response };
            return answer_unread(request, style(error)).await;
        }
    };
    let base = front.base(&request);
    if is_native {
        let context = context(front, who, Door::Virtual, path.below(1), base);
        return native::serve(context, request).await;
    }
    let mounted = path.segments.first().and_then(|first| ALL.iter().find(|f| f.mount == first));
    if let Some(format) = mounted {
        let (door, depth) = match path.segments.get(1).map(String::as_str) {
            Some("~hosted") => (Door::Hosted, 2),
            Some("~upstream") => (Door::Upstream, 2),
            _ => (Door::Virtual, 1),
        };
        let context = context(front, who, door, path.below(depth), base);
        return (format.serve)(context, request).await;
    }
    if let Some(format) = ALL.iter().find(|format| (format.claims_root)(&path)) {
        let context = context(front, who, Door::Virtual, path, base);
        return (format.serve)(context, request).await;
    }
    answer_unread(request, Error::no_such_path().into_response()).await
}

fn context(front: Front, who: Principal, door: Door, path: PathQuery, base: String) -> Context {
    let Front { registry, tokens, ready, .. } = front;
    Context { registry, who, tokens, door, path, base, ready }
}

async fn answer_unread(request: Request<Body>, answer: Response<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    upload::refuse(&head.headers, body, answer).await
}
