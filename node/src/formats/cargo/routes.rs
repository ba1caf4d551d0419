//! Which request of cargo is which: config, index files, downloads.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::PackageId;
use futures::FutureExt as _;
use serde_json::json;

use super::upstream_rules::INDEX;
use super::{FORMAT, MOUNT, name, upstream_index, version};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::http::ready::{Ask, Look, Wish};
use crate::registry::{Document, DocumentAsk, Obtained};

/// Answers everything below `/cargo/`.
pub(super) async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, _) = request.into_parts();
    let answer = route(&context, &head).await;
    answer.unwrap_or_else(|mut error| {
        // cargo retries any 5xx for ten seconds.
        if error.status.is_server_error() {
            error.status = StatusCode::FAILED_DEPENDENCY;
        }
        error.into_response()
    })
}

async fn route(context: &Context, head: &Parts) -> Result<Response<Body>, Error> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Error::method_not_allowed("GET, HEAD"));
    }
    match context.path.parts().as_slice() {
        ["index", "config.json"] => Ok(config(context)),
        ["index", path @ .., name] => index(context, head, (path, name)).await,
        ["dl", name, version, sum, _] => download(context, head, (name, version, sum)).await,
        _ => Err(Error::no_such_path()),
    }
}

fn config(context: &Context) -> Response<Body> {
    let door = context.door_url(MOUNT);
    let dl =
        format!("{door}/dl/{{crate}}/{{version}}/{{sha256-checksum}}/{{crate}}-{{version}}.crate");
    let mut response = Response::new(Body::from(json!({ "dl": dl, "api": door }).to_string()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn package(context: &Context, name: &str) -> Result<PackageId, Error> {
    let package = context.registry.package_id(FORMAT.id, name);
    let absent = |error| Error { status: StatusCode::NOT_FOUND, ..Error::from(error) };
    let package = package.map_err(absent)?;
    context.check_read(&package)?;
    Ok(package)
}

async fn index(
    context: &Context,
    head: &Parts,
    (path, name): (&[&str], &str),
) -> Result<Response<Body>, Error> {
    let package = package(context, name)?;
    if name::prefix(&package.name) != path.join("/").to_ascii_lowercase() {
        return Err(Error::no_such_path());
    }
    let (door, registry) = (context.door, context.registry.clone());
    let part = context.ready.part();
    let key = format!("cargo\n{} {}", context.door_url(MOUNT), package.name);
    let control = body::joined(&head.headers, header::CACHE_CONTROL).unwrap_or_default();
    let wish = Wish { refresh: control.contains("no-cache"), wanted: true };
    let ask = Ask { key: &key, package: &package, early: true, wish };
    let of = package.clone();
    let look = || -> Look {
        Arc::new(move |wish| {
            let (registry, package) = (registry.clone(), of.clone());
            async move {
                let Wish { refresh, wanted } = wish;
                let ask = DocumentAsk { variant: INDEX, refresh, wanted };
                match registry.document(door, &package, ask).await? {
                    Document::Upstream(found) => upstream_index::looked(&registry, part, *found),
                    Document::Hosted(_) => Err(Error::no_such_path()),
                }
            }
            .boxed()
        })
    };
    context.ready.answer(&context.registry, head, ask, look).await
}

async fn download(
    context: &Context,
    head: &Parts,
    (name, written, sum): (&str, &str, &str),
) -> Result<Response<Body>, Error> {
    let package = package(context, name)?;
    let normal = version::canonical(written);
    let normal = normal.map_err(|why| Error::new(StatusCode::NOT_FOUND, why))?;
    let sum = crdt::digest::from_hex::<32>(sum).ok_or_else(Error::no_such_path)?;
    let mut file = name::file_name(&package.name, &normal);
    let (registry, door) = (&context.registry, context.door);
    if written != normal {
        let found = upstream_index::file_with((registry, door), &package, &normal, &sum).await?;
        file = found.unwrap_or(file);
    }
    let found = if arriving::may_flow(head) {
        registry.obtain(door, &package, &normal, &file).await?
    } else {
        Obtained::Held(Box::new(registry.artifact(door, &package, &normal, &file).await?))
    };
    let artifact = match found {
        Obtained::Held(artifact) => *artifact,
        Obtained::Arriving(file) => {
            return Ok(arriving::arriving(*file, "application/octet-stream", false));
        }
    };
    if artifact.info.checksums.sha256 != sum {
        let message = format!("{file} is held with another checksum than that of the index");
        return Err(Error::new(StatusCode::NOT_FOUND, message));
    }
    let label = Label {
        content_type: "application/octet-stream",
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}
