//! Which request of cargo is which: parse the path, and hand it to the file that knows.
//!
//! ```text
//!  index/config.json   index/se/rd/serde          what cargo resolves with
//!  dl/{crate}/{version}/{sha256}/{file}           the bytes
//!  api/v1/crates…      me                         publish, yank, owners, search; where tokens are
//! ```
//!
//! Source: formats/cargo.md section 2.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::PackageId;
use serde_json::{Value, json};

use super::{FORMAT, MOUNT, download, index, owners, publish, search};
use crate::formats::Context;
use crate::http::body::document;
use crate::http::error::{Error, settle};
use crate::http::upload;

/// What a yank over HTTP says, since cargo has no reason to give.
const REASON: &str = "yanked";

/// Answers everything below `/cargo/`.
pub(super) async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = settle(route(&context, &head, body).await);
    let status = response.status();
    if status.is_server_error() {
        // cargo repeats any 5xx; what this node cannot do now is shown at once instead.
        *response.status_mut() = StatusCode::FAILED_DEPENDENCY;
    }
    if status == StatusCode::UNAUTHORIZED {
        let login = format!("Cargo login_url=\"{}/me\"", context.door_url(MOUNT));
        if let Ok(login) = HeaderValue::from_str(&login) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, login);
        }
    }
    response
}

async fn route(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let parts = context.path.parts();
    if let (["api", "v1", "crates", "new"], &Method::PUT) = (parts.as_slice(), &head.method) {
        return publish::put(context, head, body).await;
    }
    let answer = settle(without_body(context, head, &parts).await);
    Ok(upload::refuse(&head.headers, body, answer).await)
}

async fn without_body(
    context: &Context,
    head: &Parts,
    parts: &[&str],
) -> Result<Response<Body>, Error> {
    let method = &head.method;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match parts {
        ["index" | "dl" | "me", ..] | ["api", "v1", "crates"] if !reads => {
            Err(Error::method_not_allowed("GET, HEAD"))
        }
        ["index", "config.json"] => index::config(context, head),
        ["index", path @ ..] => index::file(context, head, path).await,
        ["dl", name, version, sha256] | ["dl", name, version, sha256, _] => {
            download::serve(context, head, (name, version), Some(sha256)).await
        }
        ["api", "v1", "crates", name, version, "download"] if reads => {
            download::serve(context, head, (name, version), None).await
        }
        ["api", "v1", "crates"] => search::serve(context).await,
        ["api", "v1", "crates", "new"] => Err(Error::method_not_allowed("PUT")),
        ["api", "v1", "crates", name, "owners"] => owners::serve(context, method, name).await,
        ["api", "v1", "crates", name, version, "yank"] if method == Method::DELETE => {
            yank(context, name, version, Some(REASON)).await
        }
        ["api", "v1", "crates", name, version, "unyank"] if method == Method::PUT => {
            yank(context, name, version, None).await
        }
        ["api", "v1", "crates", _, _, "yank"] => Err(Error::method_not_allowed("DELETE")),
        ["api", "v1", "crates", _, _, "unyank"] => Err(Error::method_not_allowed("PUT")),
        ["me"] => Ok(me(head)),
        _ => Err(Error::no_such_path()),
    }
}

async fn yank(
    context: &Context,
    name: &str,
    version: &str,
    reason: Option<&str>,
) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    if context.registry.is_upstreams(context.door, &package)? {
        return Err(not_ours(name));
    }
    context.registry.yank(&context.who, &package, version, reason).await?;
    Ok(answer(&json!({ "ok": true })))
}

/// Where `cargo login` sends people.
fn me(head: &Parts) -> Response<Body> {
    let text = "Tokens are made at the node itself:\n\n    griot token create --scope publish\n";
    document(&head.method, &head.headers, "text/plain; charset=utf-8", text.into())
}

/// A name that cannot exist is absent.
pub(super) fn readable(context: &Context, name: &str) -> Result<PackageId, Error> {
    context
        .registry
        .package_id(FORMAT.id, name)
        .map_err(|error| Error { status: StatusCode::NOT_FOUND, ..Error::from(error) })
}

/// A small answer in JSON.
pub(super) fn answer(body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The answer to whoever wants to change a crate of an upstream.
pub(super) fn not_ours(name: &str) -> Error {
    let message = format!("{name} is the upstream's: this node mirrors it and forwards nothing");
    Error::new(StatusCode::CONFLICT, message).with_hint(format!(
        "your own crates are published to sparse+…/{MOUNT}/~hosted/index/; to take this name for \
         one: griot route add {}:{name} REALM",
        FORMAT.id
    ))
}
