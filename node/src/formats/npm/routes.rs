//! The handlers of npm: parse the path, call the registry, render.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::PackageId;
use serde_json::{Value, json};

use super::{FORMAT, MOUNT, metadata, name, packument, publish, version};
use crate::formats::Context;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{Door, Error as RegistryError, Metadata, Outcome};

/// A tag in a body, an audit request: everything small.
const SMALL_MAX_BYTES: u64 = 1024 * 1024;
const SEARCH_SIZE: usize = 20;
const SEARCH_SIZE_MAX: usize = 250;

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

async fn route(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let parts = context.path.parts();
    match undoubled(context.door, &parts) {
        // The package `npm` asked for at the root has the path of this format's mount.
        ["-", file] if file.ends_with(".tgz") => tarball(context, head, MOUNT, file).await,
        ["-", rest @ ..] => endpoint(context, head, body, rest).await,
        parts => match name::split(parts) {
            Some((name, rest)) => package(context, head, body, (&name, rest)).await,
            None => Err(Error::no_such_path()),
        },
    }
}

/// npm 8 to 10 with `replace-registry-host=always` put the registry's path before the whole path of
/// a tarball, which begins with it already: `/npm/npm/demo/-/demo-1.0.0.tgz`.
fn undoubled<'p, 's>(door: Door, parts: &'p [&'s str]) -> &'p [&'s str] {
    let mount: &[&str] = match door {
        Door::Virtual => &[MOUNT],
        Door::Hosted => &[MOUNT, "~hosted"],
        Door::Upstream => &[MOUNT, "~upstream"],
    };
    let rest = parts.strip_prefix(mount);
    let is_tarball = |rest: &&[&str]| matches!(name::split(rest), Some((_, ["-", _])));
    rest.filter(is_tarball).unwrap_or(parts)
}

/// What lies under a package's name.
async fn package(
    context: &Context,
    head: &Parts,
    body: Body,
    (name, rest): (&str, &[&str]),
) -> Result<Response<Body>, Error> {
    let reading = matches!(head.method, Method::GET | Method::HEAD);
    match rest {
        [] if reading => packument::packument(context, head, name).await,
        ["-", file] | ["-", _, file] if reading => tarball(context, head, name, file).await,
        [wanted] if reading => packument::manifest(context, head, name, wanted).await,
        [] if head.method == Method::PUT => put(context, head, body, (name, None)).await,
        ["-rev", rev] if head.method == Method::PUT => {
            put(context, head, body, (name, Some(rev))).await
        }
        ["-rev", rev] if head.method == Method::DELETE => unpublish(context, name, None, rev).await,
        ["-", file, "-rev", rev] | ["-", _, file, "-rev", rev] if head.method == Method::DELETE => {
            unpublish(context, name, Some(file), rev).await
        }
        [] => Err(Error::method_not_allowed("GET, HEAD, PUT")),
        ["-rev", _] => Err(Error::method_not_allowed("PUT, DELETE")),
        [_] | ["-", ..] => Err(Error::method_not_allowed("GET, HEAD")),
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
    match (rest, &head.method) {
        (["ping"], &Method::GET | &Method::HEAD) => Ok(answer(StatusCode::OK, &json!({}))),
        (["whoami"], &Method::GET | &Method::HEAD) => whoami(context),
        (["v1", "search"], &Method::GET | &Method::HEAD) => search(context).await,
        (["package", tail @ ..], _) => dist_tags(context, head, body, tail).await,
        // 405 is silent in `npm install`; an empty report would read as "no vulnerabilities".
        (["npm", "v1", "security", ..], _) => {
            let message = "npm audit needs an upstream, and none is configured";
            let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, message);
            Ok(upload::refuse(&head.headers, body, error.into_response()).await)
        }
        (["user", "token", token], &Method::DELETE) => logout(context, head, token).await,
        (["user", ..], &Method::PUT) => {
            let message = "accounts are not made over HTTP: this node gives tokens";
            let error = Error::new(StatusCode::FORBIDDEN, message)
                .with_hint("griot token create --scope publish");
            Ok(upload::refuse(&head.headers, body, error.into_response()).await)
        }
        _ => Ok(upload::refuse(&head.headers, body, Error::no_such_path().into_response()).await),
    }
}

/// A name that cannot exist is absent for a reader, and wrong for a writer.
fn readable(context: &Context, name: &str) -> Result<PackageId, Error> {
    context
        .registry
        .package_id(FORMAT.id, name)
        .map_err(|error| Error { status: StatusCode::NOT_FOUND, ..Error::from(error) })
}

async fn tarball(
    context: &Context,
    head: &Parts,
    name: &str,
    file: &str,
) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    let version = version_of(&package, file)?;
    let file = name::file_name(&package.name, &version);
    let artifact = context.registry.artifact(context.door, &package, &version, &file).await?;
    let label = Label {
        content_type: "application/octet-stream",
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

fn version_of(package: &PackageId, file: &str) -> Result<String, Error> {
    let version = name::version_in(&package.name, file);
    version.and_then(|version| version::canonical(version).ok()).ok_or_else(|| {
        let message = format!("{file:?} is not a tarball of {}", package.name);
        Error::new(StatusCode::NOT_FOUND, message)
    })
}

async fn put(
    context: &Context,
    head: &Parts,
    body: Body,
    (name, rev): (&str, Option<&str>),
) -> Result<Response<Body>, Error> {
    let allowed = async {
        let package = context.registry.package_id(FORMAT.id, name)?;
        publish::may_put(context, &package).await?;
        if let Some(rev) = rev {
            check_rev(&context.registry.metadata(context.door, &package).await?, rev)?;
        }
        Ok::<_, Error>(package)
    };
    let package = match allowed.await {
        Ok(package) => package,
        // Nothing of the body was read yet; the client must still see why.
        Err(error) => return Ok(upload::refuse(&head.headers, body, error.into_response()).await),
    };
    let upload = publish::read(&context.registry, &head.headers, body).await?;
    let status = publish::apply(context, &package, upload, rev.is_some()).await?;
    Ok(answer(status, &json!({ "ok": true, "success": true, "id": package.name })))
}

fn check_rev(metadata: &Metadata, rev: &str) -> Result<(), Error> {
    if metadata::rev(metadata) == rev {
        return Ok(());
    }
    let message = "the package has changed meanwhile: its revision is another one";
    Err(Error::new(StatusCode::CONFLICT, message).with_hint("run the same command once more"))
}

/// Withdraws one version, named by its tarball, or all of them.
async fn unpublish(
    context: &Context,
    name: &str,
    file: Option<&str>,
    rev: &str,
) -> Result<Response<Body>, Error> {
    let package = context.registry.package_id(FORMAT.id, name)?;
    publish::may_put(context, &package).await?;
    let done = answer(StatusCode::OK, &json!({ "ok": true }));
    let metadata = match context.registry.metadata(context.door, &package).await {
        Ok(metadata) => metadata,
        // npm takes the last version from the document first, and its tarball afterwards.
        Err(RegistryError { outcome: Outcome::NotFound, .. }) if file.is_some() => return Ok(done),
        Err(error) => return Err(error.into()),
    };
    check_rev(&metadata, rev)?;
    let versions = match file {
        Some(file) => vec![version_of(&package, file)?],
        None => metadata.offered.clone(),
    };
    for version in versions.iter().filter(|version| metadata.view.versions.contains_key(*version)) {
        publish::withdraw(context, &package, version).await?;
    }
    Ok(done)
}

/// `{pkg}/dist-tags` and `{pkg}/dist-tags/{tag}`.
async fn dist_tags(
    context: &Context,
    head: &Parts,
    body: Body,
    tail: &[&str],
) -> Result<Response<Body>, Error> {
    let Some((name, rest)) = name::split(tail) else { return Err(Error::no_such_path()) };
    let package = readable(context, &name)?;
    match (rest, &head.method) {
        (["dist-tags"], &Method::GET | &Method::HEAD) => {
            let metadata = context.registry.metadata(context.door, &package).await?;
            Ok(answer(StatusCode::OK, &json!(metadata.tags)))
        }
        (["dist-tags", tag], &Method::PUT | &Method::POST) => {
            let allowed = publish::may_put(context, &package).await.and_then(|()| check_tag(tag));
            if let Err(error) = allowed {
                return Ok(upload::refuse(&head.headers, body, error.into_response()).await);
            }
            let bytes = upload::small(&head.headers, body, SMALL_MAX_BYTES).await?;
            let version: String = serde_json::from_slice(&bytes)
                .map_err(|_| Error::invalid("the body is a version as a JSON string"))?;
            let version = version::canonical(&version).map_err(Error::invalid)?;
            let registry = &context.registry;
            registry.set_tag(&context.who, &package, tag, Some(&version)).await?;
            Ok(answer(StatusCode::CREATED, &json!({ "ok": true })))
        }
        (["dist-tags", "latest"], &Method::DELETE) => {
            Err(Error::invalid("the tag latest can be moved, not removed"))
        }
        (["dist-tags", tag], &Method::DELETE) => {
            context.registry.set_tag(&context.who, &package, tag, None).await?;
            Ok(answer(StatusCode::OK, &json!({ "ok": true })))
        }
        (["dist-tags"], _) => Err(Error::method_not_allowed("GET, HEAD")),
        (["dist-tags", _], _) => Err(Error::method_not_allowed("PUT, DELETE")),
        _ => Err(Error::no_such_path()),
    }
}

fn check_tag(tag: &str) -> Result<(), Error> {
    const TAG_MAX_BYTES: usize = 128;
    if tag.len() > TAG_MAX_BYTES || version::is_range(tag) || tag.contains(char::is_whitespace) {
        return Err(Error::invalid(format!("{tag:?} would be taken for a range, not for a tag")));
    }
    Ok(())
}

fn whoami(context: &Context) -> Result<Response<Body>, Error> {
    if context.who.is_anonymous() {
        return Err(Error::new(StatusCode::UNAUTHORIZED, "no token was sent")
            .with_hint("griot token create --scope publish"));
    }
    Ok(answer(StatusCode::OK, &json!({ "username": context.who.name })))
}

/// `npm logout`: whoever sends a token may give it up, and no other one.
async fn logout(context: &Context, head: &Parts, token: &str) -> Result<Response<Body>, Error> {
    if context.who.is_anonymous() {
        return Err(Error::new(StatusCode::UNAUTHORIZED, "no token was sent"));
    }
    if !context.tokens.give_up(&head.headers, token).await? {
        let message = "npm logout gives up the token that it sends, and no other";
        return Err(Error::new(StatusCode::FORBIDDEN, message).with_hint("griot token revoke ID"));
    }
    Ok(answer(StatusCode::OK, &json!({ "ok": true })))
}

async fn search(context: &Context) -> Result<Response<Body>, Error> {
    let number = |key: &str, default: usize| {
        context.path.parameter(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let text = context.path.parameter("text").unwrap_or_default();
    let size = number("size", SEARCH_SIZE).min(SEARCH_SIZE_MAX);
    let from = number("from", 0);
    let (rows, total) = context.registry.search(text, Some(FORMAT.id), size, from).await?;
    let objects: Vec<Value> = rows
        .iter()
        .map(|row| {
            let name = &row.package.name;
            let scope = name.strip_prefix('@').and_then(|name| name.split_once('/'));
            json!({
                "package": {
                    "name": name,
                    "scope": scope.map_or("unscoped", |(scope, _)| scope),
                    "version": row.latest.as_deref().unwrap_or_default(),
                    "description": row.description,
                    "keywords": [],
                    "maintainers": [],
                    "publisher": { "username": row.realm },
                    "links": {},
                },
                "score": {
                    "final": 1,
                    "detail": { "quality": 1, "popularity": 1, "maintenance": 1 },
                },
                "searchScore": 1,
            })
        })
        .collect();
    let found = json!({ "objects": objects, "total": total, "time": "" });
    Ok(answer(StatusCode::OK, &found))
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
