//! `POST legacy/`: one multipart body with a file and what its client says of it.
//!
//! Fields come in any order; the file is staged and hashed while it arrives, whichever place it
//! has. What the form says (project, version, checksums) is compared with the bytes and with the
//! metadata in them. The same bytes once more are a success; other bytes are refused in the words
//! that clients look for. A file may join a version of before.
//!
//! Source: formats/pypi.md section 2; the upload API, as the public index documents it.

use std::collections::BTreeMap;
use std::io::Read as _;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use crdt::digest::to_hex;
use crdt::{PackageId, RealmId};
use md5::Digest as _;
use multer::{Constraints, Field, Multipart, SizeLimit};

use super::dist::{self, Kind};
use super::{FORMAT, provenance, version};
use crate::formats::{Context, text};
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{Error as RegistryError, Outcome, Publication, Published, Scope, Staged};

/// The largest artifact.
const FILE_MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The largest body: an artifact, and room for the description and the parts around it.
const BODY_MAX_BYTES: u64 = FILE_MAX_BYTES + 16 * 1024 * 1024;
/// The longest field that is read.
const FIELD_MAX_BYTES: u64 = 4 * 1024;
/// The most fields: every keyword and dependency has one.
const FIELDS_MAX: usize = 10_000;
/// The fields that are read; the others repeat what is in the file.
const FIELDS: [&str; 6] = [":action", "name", "version", "filetype", "sha256_digest", "md5_digest"];
/// Bytes that are read at once where a file is hashed again.
const HASHED_AT_ONCE_BYTES: usize = 256 * 1024;
const ATTESTATIONS: &str = "attestations";
const CONTENT: &str = "content";

/// What arrived.
#[derive(Default)]
struct Form {
    fields: BTreeMap<&'static str, String>,
    attestations: Option<Vec<u8>>,
    content: Option<(String, Staged)>,
}

impl Form {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, Error> {
        self.field(name).ok_or_else(|| Error::invalid(format!("the field {name} is missing")))
    }
}

/// Answers an upload of twine, uv, poetry and the like.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    let boundary = match may_send(context, head) {
        Ok(boundary) => boundary,
        Err(error) => return Ok(upload::refuse(&head.headers, body, told(error)).await),
    };
    let mut chunks = upload::Chunks::new(&head.headers, body)?;
    let form = match read(context, &mut chunks, boundary).await {
        Ok(form) => form,
        Err(error) => {
            chunks.drain().await;
            return Ok(told(error));
        }
    };
    Ok(match publish(context, form).await {
        Ok(published) => done(&published),
        Err(error) => told(error),
    })
}

/// The refusal of another method, when its body has passed by.
pub(super) async fn refuse(head: &Parts, body: Body, allow: &'static str) -> Error {
    if let Ok(mut chunks) = upload::Chunks::new(&head.headers, body) {
        chunks.refuse(&head.headers).await;
    }
    Error::method_not_allowed(allow)
}

/// What can be refused before the body is read; gives the boundary.
fn may_send(context: &Context, head: &Parts) -> Result<String, Error> {
    context.who.require(Scope::Publish)?;
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    multer::parse_boundary(kind.unwrap_or("")).map_err(|_| {
        Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send multipart/form-data, as twine does")
    })
}

async fn read(
    context: &Context,
    chunks: &mut upload::Chunks,
    boundary: String,
) -> Result<Form, Error> {
    let announced = chunks.announced();
    if announced.is_some_and(|bytes| bytes > BODY_MAX_BYTES) {
        return Err(Error::too_large(BODY_MAX_BYTES));
    }
    let stream = futures::stream::try_unfold(chunks, |chunks| async move {
        let next = chunks.next().await?;
        Ok::<_, Error>(next.map(|bytes| (bytes, chunks)))
    });
    let sizes = SizeLimit::new().whole_stream(BODY_MAX_BYTES);
    let constraints = Constraints::new().size_limit(sizes);
    let mut multipart = Multipart::with_constraints(Box::pin(stream), boundary, constraints);
    let mut form = Form::default();
    for _ in 0..FIELDS_MAX {
        match multipart.next_field().await.map_err(malformed)? {
            Some(field) => take(context, &mut form, field, announced).await?,
            None => return Ok(form),
        }
    }
    Err(Error::invalid(format!("the body has more than {FIELDS_MAX} fields")))
}

/// One field: kept, staged, or let by.
async fn take(
    context: &Context,
    form: &mut Form,
    mut field: Field<'_>,
    announced: Option<u64>,
) -> Result<(), Error> {
    let name = field.name().unwrap_or_default().to_owned();
    if let Some(known) = FIELDS.iter().copied().find(|known| *known == name) {
        let bytes = small(field, FIELD_MAX_BYTES).await?;
        let value = String::from_utf8(bytes)
            .map_err(|_| Error::invalid(format!("the field {name} is not UTF-8")))?;
        if form.fields.insert(known, value.trim().to_owned()).is_some() {
            return Err(Error::invalid(format!("the field {name} is there twice")));
        }
    } else if name == ATTESTATIONS {
        form.attestations = Some(small(field, provenance::ATTESTATIONS_MAX_BYTES).await?);
    } else if name == CONTENT {
        if form.content.is_some() {
            return Err(Error::invalid("the body holds several files"));
        }
        if let Some(name) = form.field("name") {
            may_publish(context, name).await?;
        }
        let file = field.file_name().unwrap_or_default().to_owned();
        form.content = Some((file, stage(context, field, announced).await?));
    } else {
        while field.chunk().await.map_err(malformed)?.is_some() {}
    }
    Ok(())
}

async fn small(mut field: Field<'_>, limit: u64) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    while let Some(bytes) = field.chunk().await.map_err(malformed)? {
        out.extend_from_slice(&bytes);
        if out.len() as u64 > limit {
            let name = field.name().unwrap_or_default();
            let message = format!("the field {name} is larger than {limit} bytes");
            return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
    }
    Ok(out)
}

async fn stage(
    context: &Context,
    mut field: Field<'_>,
    announced: Option<u64>,
) -> Result<Staged, Error> {
    let mut writer = context.registry.stage(FORMAT.id).await?;
    if let Some(room) = announced {
        // Of all of the body, at most; what is not used is given back.
        upload::expect(&mut writer, room.min(FILE_MAX_BYTES)).await?;
    }
    while let Some(bytes) = field.chunk().await.map_err(malformed)? {
        upload::write(&mut writer, bytes).await?;
    }
    upload::finish(writer).await
}

/// Refuses before the file is read what its name already shows to be refused.
async fn may_publish(context: &Context, name: &str) -> Result<(PackageId, RealmId), Error> {
    let package = context.registry.package_id(FORMAT.id, name)?;
    if context.registry.is_upstreams(context.door, &package)? {
        let message =
            format!("{name} is the upstream's: this node mirrors it and forwards nothing");
        let route = format!("griot route add {}:{} REALM", FORMAT.id, package.name);
        let hint = format!("to publish your own under this name: {route}");
        return Err(Error::new(StatusCode::CONFLICT, message).with_hint(hint));
    }
    let realm = context.registry.check_publish(&context.who, FORMAT.id, name, None).await?;
    Ok((package, realm))
}

async fn publish(context: &Context, mut form: Form) -> Result<Published, Error> {
    if form.field(":action").is_some_and(|action| action != "file_upload") {
        return Err(Error::invalid("the only action here is file_upload"));
    }
    let (file, staged) =
        form.content.take().ok_or_else(|| Error::invalid("the field content is missing"))?;
    let file = text::file_name(&file).map_err(Error::invalid)?;
    let (package, realm) = may_publish(context, form.required("name")?).await?;
    let written = form.required("version")?.to_owned();
    let normal = version::canonical(&written).map_err(Error::invalid)?;
    check_name(&form, &package, (&file, &normal))?;
    let staged = check_checksums(&form, staged).await?;
    let attestations = form.attestations.as_deref().map(provenance::parse).transpose()?;
    refuse_yanked(context, &package, (&normal, &file), &staged).await?;
    let sha256 = to_hex(&staged.info().checksums.sha256);
    let publication = Publication {
        format: FORMAT.id,
        name: package.name.clone(),
        version: written,
        files: vec![(file.clone(), staged)],
        tags: Vec::new(),
        realm: None,
        claimed_time: None,
    };
    if let Some(attestations) = attestations {
        let place = (&package, &*sha256, &*file);
        provenance::keep(&context.registry, place, realm, &attestations).await?;
    }
    let published = context.registry.publish(&context.who, publication).await;
    published.map_err(|error| exists(&file, error))
}

/// The file's name must be one of this version, and of the kind that the form says.
fn check_name(form: &Form, package: &PackageId, (file, normal): (&str, &str)) -> Result<(), Error> {
    let found = dist::parse(&package.name, file).filter(|found| found.version == normal);
    let kind = found.map(|found| found.kind);
    let fits = match form.field("filetype") {
        Some("bdist_wheel") => kind == Some(Kind::Wheel),
        Some("sdist") => kind == Some(Kind::Sdist),
        Some(other) => {
            return Err(Error::invalid(format!("files of the kind {other:?} are not taken"))
                .with_hint("build a wheel or an sdist: python3 -m build"));
        }
        None => matches!(kind, Some(Kind::Wheel | Kind::Sdist)),
    };
    if fits {
        return Ok(());
    }
    let name = &package.name;
    Err(Error::invalid(format!("{file:?} is not the name of a wheel or sdist of {name} {normal}"))
        .with_hint("build it anew: python3 -m build"))
}

/// Compares the checksums of the form with the bytes; MD5 where there is no better one.
async fn check_checksums(form: &Form, staged: Staged) -> Result<Staged, Error> {
    let differs = |said: &str, is: &str| (!said.eq_ignore_ascii_case(is)).then_some(());
    let wrong = |which: &str| {
        Error::invalid(format!("the file does not have the {which} that the form says"))
    };
    if let Some(said) = form.field("sha256_digest") {
        let sha256 = to_hex(&staged.info().checksums.sha256);
        return differs(said, &sha256).map_or(Ok(staged), |()| Err(wrong("sha256_digest")));
    }
    let Some(said) = form.field("md5_digest") else { return Ok(staged) };
    let sum = move || {
        let mut hasher = md5::Md5::new();
        let mut file = staged.open().map_err(std::io::Error::other)?;
        let mut block = vec![0; HASHED_AT_ONCE_BYTES];
        loop {
            match file.read(&mut block)? {
                0 => break,
                count => hasher.update(&block[..count]),
            }
        }
        Ok::<_, std::io::Error>((to_hex(&hasher.finalize()), staged))
    };
    let done = tokio::task::spawn_blocking(sum).await.map_err(std::io::Error::other);
    let (md5, staged) = done
        .and_then(|done| done)
        .map_err(|_| Error::invalid("the file that was just received cannot be read"))?;
    differs(said, &md5).map_or(Ok(staged), |()| Err(wrong("md5_digest")))
}

/// A yank is of all releases of a version: a file that joins would bring the others back.
async fn refuse_yanked(
    context: &Context,
    package: &PackageId,
    (normal, file): (&str, &str),
    staged: &Staged,
) -> Result<(), Error> {
    let metadata = match context.registry.metadata(context.door, package).await {
        Ok(metadata) => metadata,
        Err(RegistryError { outcome: Outcome::NotFound | Outcome::NotHere, .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(found) = metadata.view.versions.get(normal).filter(|v| v.yanked.is_some()) else {
        return Ok(());
    };
    let served = found.files.get(file).and_then(|slot| slot.serves.as_ref());
    if served.is_some_and(|content| content.blake3 == staged.info().digest) {
        return Ok(());
    }
    let name = &package.name;
    Err(Error::invalid(format!("{name} {normal} is yanked: a new file would bring it back"))
        .with_hint(format!("griot unyank {name}@{normal} --format {}", FORMAT.id)))
}

/// In the words by which clients know that they need not upload it.
fn exists(file: &str, error: RegistryError) -> Error {
    if error.outcome != Outcome::Conflict {
        return error.into();
    }
    let message = format!("File already exists ({file}) with other bytes: {}", error.message);
    Error { message, hint: error.hint, ..Error::invalid("") }
}

fn done(published: &Published) -> Response<Body> {
    let document = serde_json::to_vec(published).expect("plain fields are JSON");
    let mut response = Response::new(Body::from(document));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// twine shows the status line alone: the sentence goes into it, too.
fn told(error: Error) -> Response<Body> {
    let line = error.sentence();
    let mut response = error.into_response();
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(line) {
        response.extensions_mut().insert(reason);
    }
    response
}

fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::FieldSizeExceeded { limit, .. }
        | multer::Error::StreamSizeExceeded { limit } => Error::too_large(limit),
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(_) => Error::invalid("the body broke off before its end; nothing was stored"),
        },
        other => Error::invalid(format!("the body is not well-formed multipart: {other}")),
    }
}
