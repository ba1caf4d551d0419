//! Reading through the native API: info, download, resolve, search, blobs.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode};
use crdt::{Digest, PackageId};
use serde_json::json;

use super::{failure, success};
use crate::formats::Context;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::http::{arriving, upload};
use crate::registry::{Door, Info, Obtained, Registry};

const KIND: &str = "application/octet-stream";
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 250;
/// Which of several files of a version is meant when none is named, by the end of its name.
const PREFERRED: [&str; 5] = [".tar.gz", ".tgz", ".zip", ".whl", ".vixpkg"];

/// Answers everything below `/api/`.
pub async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let parts = context.path.parts();
    if parts == ["packages", "publish"] && head.method == Method::POST {
        return super::publish::publish(&context, &head, body).await.unwrap_or_else(failure);
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let allow = if parts == ["packages", "publish"] { "POST" } else { "GET, HEAD" };
        let answer = failure(Error::method_not_allowed(allow));
        return upload::refuse(&head.headers, body, answer).await;
    }
    let answer = match parts.as_slice() {
        ["packages", name @ .., version, "download"] if !name.is_empty() => {
            download(&context, &head, &name.join("/"), version).await
        }
        ["packages", name @ .., "resolve"] if !name.is_empty() => {
            resolve(&context, &name.join("/")).await
        }
        ["packages", name @ ..] if !name.is_empty() => info(&context, &name.join("/")).await,
        ["search"] => search(&context).await,
        ["blobs", digest] => blob(&context, &head, digest).await,
        _ => Err(Error::no_such_path()),
    };
    answer.unwrap_or_else(failure)
}

/// The package under each format that has it, or under the one that was asked for.
async fn packages(context: &Context, name: &str) -> Result<Vec<PackageId>, Error> {
    let registry = &context.registry;
    let asked = context.path.parameter("format");
    let formats = match asked {
        Some(format) => vec![format.to_owned()],
        None => registry.formats_of(name).await?,
    };
    let mut packages = Vec::new();
    for format in &formats {
        let package = registry.package_id(format, name)?;
        match context.check_read(&package) {
            Ok(()) => packages.push(package),
            Err(error) if asked.is_some() => return Err(error),
            Err(_) => {}
        }
    }
    if packages.is_empty() {
        let message = format!("no package {name} is known here");
        return Err(
            Error::new(StatusCode::NOT_FOUND, message).with_hint(format!("griot search {name}"))
        );
    }
    Ok(packages)
}

/// The one package that is meant.
async fn package(context: &Context, name: &str) -> Result<PackageId, Error> {
    let mut found = packages(context, name).await?;
    let package = found.remove(0);
    if found.is_empty() {
        return Ok(package);
    }
    let message = format!("{name} exists in several formats, {} among them", package.format);
    Err(Error::invalid(message).with_hint(format!("add ?format={}", package.format)))
}

async fn info(context: &Context, name: &str) -> Result<Response<Body>, Error> {
    let mut infos: Vec<Info> = Vec::new();
    for package in packages(context, name).await? {
        infos.push(context.registry.info(&package).await?);
    }
    let formats: Vec<_> = infos.iter().map(|info| info.format.clone()).collect();
    match infos.as_slice() {
        [info] => success(StatusCode::OK, info),
        infos => {
            success(StatusCode::OK, &json!({ "name": name, "formats": formats, "packages": infos }))
        }
    }
}

async fn download(
    context: &Context,
    head: &Parts,
    name: &str,
    version: &str,
) -> Result<Response<Body>, Error> {
    let package = package(context, name).await?;
    let file = match context.path.parameter("file") {
        Some(file) => file.to_owned(),
        None => preferred_file(&context.registry, &package, version).await?,
    };
    let registry = &context.registry;
    let artifact = if arriving::may_flow(head) {
        match registry.obtain(Door::Virtual, &package, version, &file).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, true)),
        }
    } else {
        registry.artifact(Door::Virtual, &package, version, &file).await?
    };
    let label = label(&artifact.info.digest, file);
    body::blob(&head.method, &head.headers, artifact, &label).await
}

async fn preferred_file(
    registry: &Registry,
    package: &PackageId,
    version: &str,
) -> Result<String, Error> {
    let rules = registry.rules(&package.format);
    let normal = rules.map_or_else(|| Ok(version.to_owned()), |r| (r.canonical_version)(version));
    let normal = normal.map_err(Error::invalid)?;
    let metadata = registry.metadata(Door::Virtual, package).await?;
    let files = metadata.view.versions.get(&normal).map(|found| &found.files);
    let rank = |file: &&String| {
        let found = PREFERRED.iter().position(|end| file.ends_with(end));
        (found.unwrap_or(PREFERRED.len()), (*file).clone())
    };
    files.and_then(|files| files.keys().min_by_key(rank)).cloned().ok_or_else(|| {
        let message = format!("{} has no version {version}", package.name);
        Error::new(StatusCode::NOT_FOUND, message)
    })
}

async fn resolve(context: &Context, name: &str) -> Result<Response<Body>, Error> {
    let package = package(context, name).await?;
    let metadata = context.registry.metadata(Door::Virtual, &package).await?;
    let range = context.path.parameter("range").unwrap_or("*");
    let version = context.registry.resolve(&metadata, range)?;
    let info = context.registry.info(&package).await?;
    // `info` shows a version as its publisher wrote it; `version` is the normal form.
    let rules = context.registry.rules(&package.format);
    let normal = |written: &str| rules.and_then(|rules| (rules.canonical_version)(written).ok());
    let found = info.versions.into_iter().find(|v| normal(&v.version).as_ref() == Some(&version));
    let data = json!({
        "format": package.format, "name": package.name, "range": range, "version": version,
        "artifacts": found.map(|found| found.artifacts).unwrap_or_default(),
    });
    success(StatusCode::OK, &data)
}

async fn search(context: &Context) -> Result<Response<Body>, Error> {
    let path = &context.path;
    let query = path.parameter("q").unwrap_or("");
    let limit = number(context, "limit")?.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let offset = number(context, "offset")?.unwrap_or(0);
    let page = (limit, offset);
    let (rows, total) =
        context.registry.search(&context.who, query, path.parameter("format"), page).await?;
    let results: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "format": row.package.format, "name": row.package.name, "realm": row.realm,
                "latest": row.latest, "versions": row.versions, "description": row.description,
            })
        })
        .collect();
    let data = json!({ "results": results, "total": total, "limit": limit, "offset": offset });
    success(StatusCode::OK, &data)
}

fn number(context: &Context, name: &str) -> Result<Option<usize>, Error> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Error::invalid(format!("the parameter {name} is not a number")))
    };
    context.path.parameter(name).map(parse).transpose()
}

async fn blob(context: &Context, head: &Parts, digest: &str) -> Result<Response<Body>, Error> {
    let digest: Digest = digest
        .parse()
        .map_err(|_| Error::invalid("a digest is the 64 hexadecimal digits of a BLAKE3 hash"))?;
    context.registry.check_read_digest(&context.who, &digest)?;
    let artifact = if arriving::may_flow(head) {
        match context.registry.obtain_digest(&digest).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, true)),
        }
    } else {
        context.registry.by_digest(&digest).await?
    };
    let label = label(&digest, artifact.filename.clone());
    body::blob(&head.method, &head.headers, artifact, &label).await
}

fn label(digest: &Digest, filename: String) -> Label {
    Label {
        content_type: KIND,
        etag: format!("\"{digest}\""),
        attachment: Some(filename),
        immutable: true,
    }
}
