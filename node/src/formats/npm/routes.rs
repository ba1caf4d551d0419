//! Which request of npm is which: parse the path, and hand it to the file that knows.
//!
//! Source: formats/npm.md section 2.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::PackageId;
use serde_json::{Value, json};

use super::{
    FORMAT, accounts, attestation, audit, change, name, packument, search, tarball, whole,
};
use crate::formats::Context;
use crate::http::error::Error;
use crate::http::upload;

/// Answers everything below `/npm/`, and tarballs at the root.
pub(super) async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let answer = route(&context, &head, body).await;
    answer.unwrap_or_else(|mut error| {
        // npm retries any 5xx for a minute; what this node cannot do now is shown at once instead.
        if error.status.is_server_error() {
            error.status = StatusCode::FAILED_DEPENDENCY;
        }
        error.into_response()
    })
}

const fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn route(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let parts = context.path.parts();
    if let Some((name, file)) = tarball::of_path(&parts).filter(|_| reads(&head.method)) {
        return tarball::serve(context, head, &name, file).await;
    }
    // The URLs of an upstream's attestations keep its path when npm puts our host into them.
    let endpoints = parts.windows(3).position(|three| three == ["-", "npm", "v1"]);
    match &parts[endpoints.unwrap_or(0)..] {
        ["-", rest @ ..] => endpoint(context, head, body, rest).await,
        parts => match name::split(parts) {
            Some((name, rest)) => package(context, head, body, (&name, rest)).await,
            None => Err(Error::no_such_path()),
        },
    }
}

/// What lies under a package's name.
async fn package(
    context: &Context,
    head: &Parts,
    body: Body,
    (name, rest): (&str, &[&str]),
) -> Result<Response<Body>, Error> {
    let (reading, method) = (reads(&head.method), &head.method);
    match rest {
        [] if reading => whole::packument(context, head, name).await,
        [wanted] if reading => packument::manifest(context, head, name, wanted).await,
        [] if method == Method::PUT => change::put(context, head, body, (name, None)).await,
        ["-rev", rev] if method == Method::PUT => {
            change::put(context, head, body, (name, Some(rev))).await
        }
        ["-rev", rev] if method == Method::DELETE => {
            change::unpublish(context, name, None, rev).await
        }
        ["-", file, "-rev", rev] | ["-", _, file, "-rev", rev] if method == Method::DELETE => {
            change::unpublish(context, name, Some(file), rev).await
        }
        [] => Err(Error::method_not_allowed("GET, HEAD, PUT")),
        ["-rev", _] => Err(Error::method_not_allowed("PUT, DELETE")),
        [_] | ["-", _] => Err(Error::method_not_allowed("GET, HEAD")),
        _ => Err(Error::no_such_path()),
    }
}

/// What lies under `/-/`.
async fn endpoint(
    context: &Context,
    head: &Parts,
    body: Body,
    rest: &[&str],
) -> Result<Response<Body>, Error> {
    let refused = match (rest, reads(&head.method), &head.method) {
        (["ping"], true, _) => return Ok(answer(StatusCode::OK, &json!({}))),
        (["whoami"], true, _) => return accounts::whoami(context),
        (["v1", "search"], true, _) => return search::serve(context).await,
        (["package", tail @ ..], ..) => return change::dist_tags(context, head, body, tail).await,
        (["npm", "v1", "security", tail @ ..], _, &Method::POST) => {
            return audit::serve(context, head, body, tail).await;
        }
        (["npm", "v1", "security", ..], ..) => Error::method_not_allowed("POST"),
        (["npm", "v1", "keys"], true, _) => return attestation::keys(context).await,
        (["npm", "v1", "attestations", tail @ ..], true, _) => {
            return attestation::serve(context, tail).await;
        }
        (["npm", "v1", what, ..], ..) => accounts::elsewhere(what),
        (["team" | "org", ..], ..) => accounts::elsewhere("team"),
        (["user", "token", token], _, &Method::DELETE) => {
            return accounts::logout(context, head, token).await;
        }
        (["user", id], true, _) => return accounts::user(context, id),
        (["user", ..], _, &Method::PUT) => accounts::no_login(),
        _ => Error::no_such_path(),
    };
    Ok(upload::refuse(&head.headers, body, refused.into_response()).await)
}

/// A name that cannot exist is absent for a reader, and wrong for a writer.
pub(super) fn readable(context: &Context, name: &str) -> Result<PackageId, Error> {
    context
        .registry
        .package_id(FORMAT.id, name)
        .map_err(|error| Error { status: StatusCode::NOT_FOUND, ..Error::from(error) })
}

/// A small answer in JSON.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
