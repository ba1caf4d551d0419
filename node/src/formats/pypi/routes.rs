//! Which request of a Python client is which: parse the path, and hand it to the file that knows.
//!
//! Source: formats/pypi.md sections 2 and 3.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::PackageId;

use super::{FORMAT, files, legacy, mode, name, names, simple, upload, upstream_files};
use crate::formats::{Context, url_segment};
use crate::http::error::Error;

/// Answers everything below `/pypi/`.
pub(super) async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let answer = route(&context, &head, body).await;
    answer.unwrap_or_else(|mut error| {
        // Clients retry any 5xx for some seconds; what cannot be had now is shown at once instead.
        if error.status.is_server_error() {
            error.status = StatusCode::FAILED_DEPENDENCY;
        }
        error.into_response()
    })
}

async fn route(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let parts = context.path.parts();
    let reading = matches!(head.method, Method::GET | Method::HEAD);
    match (parts.as_slice(), reading) {
        (["legacy"], _) if head.method == Method::POST => upload::serve(context, head, body).await,
        (["legacy"], _) => Err(upload::refuse(head, body, "POST").await),
        (_, false) => Err(upload::refuse(head, body, "GET, HEAD").await),
        (["simple"], _) if !context.path.folder => Ok(moved(context, None)),
        (["simple"], _) => names::serve(context, head).await,
        (["simple", written], _) => {
            let normal = name::canonical(written).map_err(|_| absent(written))?;
            if normal == *written && context.path.folder {
                return simple::page(context, head, &normal).await;
            }
            Ok(moved(context, Some(&normal)))
        }
        (["files", project, sha256, file], _) => {
            files::serve(context, head, (project, sha256, file)).await
        }
        (["hosts"], _) => mode::hosts(&context.registry),
        (["at"], _) => upstream_files::at(context, head).await,
        ([project, "json"], _) => legacy::serve(context, head, (project, None)).await,
        ([project, version, "json"], _) => {
            legacy::serve(context, head, (project, Some(version))).await
        }
        _ => Err(Error::no_such_path()),
    }
}

/// To the page of a project, or to the list of all: relative to what was asked for, because who
/// asks may know this node by another base, or by that of an upstream.
fn moved(context: &Context, name: Option<&str>) -> Response<Body> {
    let below = name.map_or_else(|| "simple/".to_owned(), |name| format!("{name}/"));
    // `./`: a name is no scheme.
    let mut path = if context.path.folder { format!("../{below}") } else { format!("./{below}") };
    if let Some(format) = context.path.parameter("format") {
        path.push_str("?format=");
        path.push_str(&url_segment(&format.replace(' ', "+")));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(path) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// A name that cannot exist is absent for a reader.
pub(super) fn readable(context: &Context, name: &str) -> Result<PackageId, Error> {
    context
        .registry
        .package_id(FORMAT.id, name)
        .map_err(|error| Error { status: StatusCode::NOT_FOUND, ..Error::from(error) })
}

fn absent(name: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("{name:?} is no name that a project can have"))
}
