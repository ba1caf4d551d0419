//! The handlers of generic files: parse, call the registry, render.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use crdt::digest::to_hex;
use crdt::{Content, PackageId, RealmId};

use super::listing::{self, Of};
use crate::formats::text::{SUMS, file_name};
use crate::formats::{Context, url_segment};
use crate::http::body::{self, Label};
use crate::http::error::{Error, settle};
use crate::http::sessions::Uploads;
use crate::http::{arriving, range, upload};
use crate::registry::{Error as RegistryError, Obtained, Outcome, Publication};

pub(super) const FORMAT: &str = "generic";
const KIND: &str = "application/octet-stream";
/// Uploads in several requests; no name begins so.
const UPLOADS: &str = "~uploads";
/// The parameter of a PUT that names such an upload in place of a body.
const UPLOAD: &str = "upload";

/// A file by its place.
struct Place {
    package: PackageId,
    version: String,
    file: String,
}

/// Answers everything below `/generic/`.
pub(super) async fn serve(context: Context, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    settle(route(&context, &head, body).await)
}

async fn route(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let parts = context.path.parts();
    match (parts.as_slice(), &head.method) {
        ([name, version, file], &Method::PUT) if !context.path.folder => {
            let place = place(context, name, version, file);
            put(context, head, body, place).await
        }
        ([UPLOADS], &Method::POST) => start(context, head, body).await,
        ([UPLOADS, id], _) => upload_session(context, head, body, id).await,
        ([UPLOADS, ..], _) => Err(Error::no_such_path()),
        ([name, version, SUMS], &Method::GET | &Method::HEAD) => {
            listing::serve(context, head, name, Of::Sums((*version).to_owned())).await
        }
        ([name, version, file], &Method::GET | &Method::HEAD) => {
            get(context, head, place(context, name, version, file)?).await
        }
        ([name, version, file], &Method::DELETE) => {
            delete(context, place(context, name, version, file)?).await
        }
        ([name], &Method::GET | &Method::HEAD) => {
            listing::serve(context, head, name, Of::Package).await
        }
        ([name, version], &Method::GET | &Method::HEAD) => {
            listing::serve(context, head, name, Of::Version((*version).to_owned())).await
        }
        ([_, _, _], _) => Err(Error::method_not_allowed("GET, HEAD, PUT, DELETE")),
        ([_] | [_, _], _) => Err(Error::method_not_allowed("GET, HEAD")),
        _ => Err(Error::no_such_path()),
    }
}

fn place(context: &Context, name: &str, version: &str, file: &str) -> Result<Place, Error> {
    let package = context.registry.package_id(FORMAT, name)?;
    let version = super::name::canonical_version(version).map_err(Error::invalid)?;
    let file = file_name(file).map_err(Error::invalid)?;
    Ok(Place { package, version, file })
}

async fn put(
    context: &Context,
    head: &Parts,
    body: Body,
    place: Result<Place, Error>,
) -> Result<Response<Body>, Error> {
    let place = match may_put(context, head, place).await {
        Ok(place) => place,
        // Nothing of the body was read yet; the client must still see why.
        Err(error) => return Ok(upload::refuse(&head.headers, body, error.into_response()).await),
    };
    let staged = match context.path.parameter(UPLOAD) {
        Some(id) => {
            let url = uploads_url(context);
            uploads(context, &url).finish(id, &context.path, (&head.headers, body)).await?
        }
        None => {
            let writer = context.registry.stage(FORMAT).await?;
            upload::receive(&head.headers, body, writer).await?
        }
    };
    let etag = etag(&staged.info().checksums.sha256);
    let publication = Publication {
        format: FORMAT,
        name: place.package.name.clone(),
        version: place.version.clone(),
        files: vec![(place.file.clone(), staged)],
        tags: tags(context),
        realm: realm(context)?,
        claimed_time: None,
    };
    let published = context.registry.publish(&context.who, publication).await?;
    let document = serde_json::to_vec(&published).expect("plain fields are JSON");
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = if published.new { StatusCode::CREATED } else { StatusCode::OK };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let url =
        url(&context.door_url(FORMAT), &place.package, Some(&place.version), Some(&place.file));
    for (name, value) in [(header::ETAG, etag), (header::LOCATION, url)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

async fn start(context: &Context, head: &Parts, body: Body) -> Result<Response<Body>, Error> {
    let url = uploads_url(context);
    let started = async {
        may_start(context).await?;
        uploads(context, &url).start(&context.path).await
    };
    let answer = settle(started.await);
    Ok(upload::refuse(&head.headers, body, answer).await)
}

/// Where the query says what the upload will be, it is refused now and not at its end.
async fn may_start(context: &Context) -> Result<(), Error> {
    let parameters = ["name", "version", "file"].map(|name| context.path.parameter(name));
    let [Some(name), Some(version), Some(file)] = parameters else { return Ok(()) };
    let place = place(context, name, version, file)?;
    let name = &place.package.name;
    context.registry.check_publish(&context.who, FORMAT, name, realm(context)?).await?;
    let size = context.path.parameter("size").and_then(|text| text.parse().ok());
    refuse_other_size(context, size, &place).await
}

async fn upload_session(
    context: &Context,
    head: &Parts,
    body: Body,
    id: &str,
) -> Result<Response<Body>, Error> {
    let url = uploads_url(context);
    let uploads = uploads(context, &url);
    match head.method {
        Method::PATCH => uploads.append(id, &head.headers, body).await,
        Method::GET | Method::HEAD => uploads.status(id),
        Method::DELETE => uploads.cancel(id).await,
        _ => Err(Error::method_not_allowed("GET, HEAD, PATCH, DELETE")),
    }
}

fn uploads<'a>(context: &'a Context, url: &'a str) -> Uploads<'a> {
    Uploads { registry: &context.registry, who: &context.who, format: FORMAT, url }
}

fn uploads_url(context: &Context) -> String {
    format!("{}/{UPLOADS}", context.door_url(FORMAT))
}

/// Tags that the query asks for.
fn tags(context: &Context) -> Vec<String> {
    let query = context.path.query.iter();
    query.filter(|(key, _)| key == "tag").map(|(_, tag)| tag.clone()).collect()
}

/// The realm that the query asks for.
fn realm(context: &Context) -> Result<Option<RealmId>, Error> {
    let asked = context.path.parameter("realm").map(str::parse);
    asked.transpose().map_err(|_| Error::invalid("the realm is not the id of one"))
}

/// All that can be refused before the body is read.
async fn may_put(
    context: &Context,
    head: &Parts,
    place: Result<Place, Error>,
) -> Result<Place, Error> {
    let place = place?;
    let name = &place.package.name;
    context.registry.check_publish(&context.who, FORMAT, name, realm(context)?).await?;
    if context.path.parameter(UPLOAD).is_none() {
        let size = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let size = size.and_then(|text| text.trim().parse().ok());
        refuse_other_size(context, size, &place).await?;
    }
    let create_only = body::joined(&head.headers, header::IF_NONE_MATCH);
    let only_over = body::joined(&head.headers, header::IF_MATCH);
    if create_only.is_none() && only_over.is_none() {
        return Ok(place);
    }
    let current = current_etag(context, &place).await?;
    let refused = create_only
        .is_some_and(|list| current.as_ref().is_some_and(|etag| range::names(&list, etag)))
        || only_over
            .is_some_and(|list| !current.is_some_and(|etag| range::names_strongly(&list, &etag)));
    if refused {
        let message = format!("{name} {} {}: the precondition fails", place.version, place.file);
        return Err(Error::new(StatusCode::PRECONDITION_FAILED, message));
    }
    Ok(place)
}

/// A version never changes: a file of another size is refused before it comes.
async fn refuse_other_size(
    context: &Context,
    size: Option<u64>,
    place: &Place,
) -> Result<(), Error> {
    let Some(size) = size else { return Ok(()) };
    // What is served here need not be of the realm that was asked for.
    if context.who.realm.is_some() || realm(context)?.is_some() {
        return Ok(());
    }
    let held = current(context, place).await?;
    if held.is_none_or(|content| content.size == size) {
        return Ok(());
    }
    let (name, version, file) = (&place.package.name, &place.version, &place.file);
    let message =
        format!("{name} {version} has {file} with other bytes, and a version never changes");
    Err(Error::new(StatusCode::CONFLICT, message).with_hint("publish it as another version"))
}

/// The ETag of what is served at a place now, if anything is.
async fn current_etag(context: &Context, place: &Place) -> Result<Option<String>, Error> {
    let content = current(context, place).await?;
    Ok(content.map(|content| etag(&content.checksums.sha256)))
}

/// What is served at a place now.
async fn current(context: &Context, place: &Place) -> Result<Option<Content>, Error> {
    let metadata = match context.registry.metadata(context.door, &place.package).await {
        Ok(metadata) => metadata,
        Err(RegistryError { outcome: Outcome::NotFound | Outcome::NotHere, .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let version = metadata.view.versions.get(&place.version);
    let file = version.and_then(|version| version.files.get(&place.file));
    Ok(file.and_then(|file| file.serves.clone()))
}

async fn get(context: &Context, head: &Parts, place: Place) -> Result<Response<Body>, Error> {
    let Place { package, version, file } = place;
    context.check_read(&package)?;
    let (registry, door) = (&context.registry, context.door);
    let artifact = if arriving::may_flow(head) {
        match registry.obtain(door, &package, &version, &file).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, true)),
        }
    } else {
        registry.artifact(door, &package, &version, &file).await?
    };
    let label = Label {
        content_type: KIND,
        etag: etag(&artifact.info.checksums.sha256),
        attachment: Some(file),
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

async fn delete(context: &Context, place: Place) -> Result<Response<Body>, Error> {
    let Place { package, version, file } = place;
    let reason = "deleted over HTTP";
    let one = (version.as_str(), Some(file.as_str()));
    context.registry.withdraw(&context.who, &package, one, reason).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub(super) fn url(
    base: &str,
    package: &PackageId,
    version: Option<&str>,
    file: Option<&str>,
) -> String {
    let mut url = format!("{base}/{}/", url_segment(&package.name));
    if let Some(version) = version {
        url.push_str(&format!("{}/", url_segment(version)));
    }
    if let Some(file) = file {
        url.push_str(&url_segment(file));
    }
    url
}

fn etag(sha256: &[u8; 32]) -> String {
    format!("\"sha256:{}\"", to_hex(sha256))
}
