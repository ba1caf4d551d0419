//! The handlers that change a package: PUT in its four meanings, unpublish, tags.
//!
//! What a body means is decided in `publish.rs`. A package of an upstream is changed by nobody
//! here: 409, and nothing is forwarded.
//!
//! Source: formats/npm.md sections 2 and 4.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use serde_json::json;

use super::routes::{answer, readable};
use super::{FORMAT, metadata, name, packument, publish, tarball, version};
use crate::formats::Context;
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{Error as RegistryError, Metadata, Outcome};

/// A tag in a body.
const TAG_BODY_MAX_BYTES: u64 = 64 * 1024;

/// `PUT /{pkg}` and `PUT /{pkg}/-rev/{rev}`.
pub(super) async fn put(
    context: &Context,
    head: &Parts,
    body: Body,
    (name, rev): (&str, Option<&str>),
) -> Result<Response<Body>, Error> {
    let allowed = async {
        let package = context.registry.package_id(FORMAT.id, name)?;
        if context.registry.is_upstreams(context.door, &package)? {
            return Err(packument::not_ours(name));
        }
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
pub(super) async fn unpublish(
    context: &Context,
    name: &str,
    file: Option<&str>,
    rev: &str,
) -> Result<Response<Body>, Error> {
    let package = context.registry.package_id(FORMAT.id, name)?;
    if context.registry.is_upstreams(context.door, &package)? {
        return Err(packument::not_ours(name));
    }
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
        Some(file) => vec![tarball::version_of(&package, file)?],
        None => metadata.offered.clone(),
    };
    let held = versions.iter().filter(|version| metadata.view.versions.contains_key(*version));
    publish::withdraw_all(context, &package, held).await?;
    Ok(done)
}

/// `{pkg}/dist-tags` and `{pkg}/dist-tags/{tag}`.
pub(super) async fn dist_tags(
    context: &Context,
    head: &Parts,
    body: Body,
    tail: &[&str],
) -> Result<Response<Body>, Error> {
    let Some((name, rest)) = name::split(tail) else { return Err(Error::no_such_path()) };
    let package = readable(context, &name)?;
    match (rest, &head.method) {
        (["dist-tags"], &Method::GET | &Method::HEAD) => {
            packument::tags(context, head, &name).await
        }
        (["dist-tags", tag], &Method::PUT | &Method::POST) => {
            let allowed = async {
                if context.registry.is_upstreams(context.door, &package)? {
                    return Err(packument::not_ours(&name));
                }
                publish::may_put(context, &package).await?;
                check_tag(tag).map_err(Error::invalid)
            };
            let allowed = allowed.await;
            if let Err(error) = allowed {
                return Ok(upload::refuse(&head.headers, body, error.into_response()).await);
            }
            let bytes = upload::small(&head.headers, body, TAG_BODY_MAX_BYTES).await?;
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
            if context.registry.is_upstreams(context.door, &package)? {
                return Err(packument::not_ours(&name));
            }
            context.registry.set_tag(&context.who, &package, tag, None).await?;
            Ok(answer(StatusCode::OK, &json!({ "ok": true })))
        }
        (["dist-tags"], _) => Err(Error::method_not_allowed("GET, HEAD")),
        (["dist-tags", _], _) => Err(Error::method_not_allowed("PUT, DELETE")),
        _ => Err(Error::no_such_path()),
    }
}

/// Why a tag may not be called so, if so.
pub(super) fn check_tag(tag: &str) -> Result<(), String> {
    const TAG_MAX_BYTES: usize = 128;
    if tag.len() > TAG_MAX_BYTES || version::is_range(tag) || tag.contains(char::is_whitespace) {
        return Err(format!("{tag:?} would be taken for a range, not for a tag"));
    }
    Ok(())
}
