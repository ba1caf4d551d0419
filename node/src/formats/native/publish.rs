//! `POST /api/packages/publish`: one multipart body with `metadata` and `file`.
//!
//! The file is streamed into the store while it arrives, whichever part comes first. Without a
//! format in the metadata the archive says what it is: a file that some format's extractor accepts
//! is that format's, any other is generic. Each format keeps its own checksums, so a file that
//! turns out to be another format's than it was staged for is staged once more.
//!
//! Does not decide who may publish where: see the registry.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use crdt::RealmId;
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::{failure, success};
use crate::formats::{ALL, Context, Format, text};
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{Publication, Registry, Scope, Staged};

const METADATA_MAX_BYTES: u64 = 64 * 1024;
/// The largest body: an artifact, and room for the parts around it.
const BODY_MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024 + 1024 * 1024;
/// Bytes copied at once when a file is staged again.
const COPY_BYTES: usize = 256 * 1024;

/// The part `metadata`; unknown fields are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    format: Option<String>,
    name: Option<String>,
    version: Option<String>,
    filename: Option<String>,
    realm: Option<RealmId>,
    tags: Vec<String>,
    claimed_time: Option<u64>,
}

/// What arrived.
struct Upload {
    metadata: Metadata,
    staged: Staged,
    staged_for: &'static Format,
    filename: Option<String>,
}

pub(super) async fn publish(
    context: &Context,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    let boundary = match may_send(context, head) {
        Ok(boundary) => boundary,
        Err(error) => return Ok(upload::refuse(&head.headers, body, failure(error)).await),
    };
    let chunks = upload::Chunks::new(&head.headers, body)?;
    let stream = futures::stream::try_unfold(chunks, |mut chunks| async move {
        let next = chunks.next().await?;
        Ok::<_, Error>(next.map(|bytes| (bytes, chunks)))
    });
    let sizes =
        SizeLimit::new().whole_stream(BODY_MAX_BYTES).for_field("metadata", METADATA_MAX_BYTES);
    let constraints = Constraints::new().allowed_fields(vec!["metadata", "file"]).size_limit(sizes);
    let multipart = Multipart::with_constraints(Box::pin(stream), boundary, constraints);
    let upload = read(context, multipart).await?;
    let publication = identify(context, upload).await?;
    let published = context.registry.publish(&context.who, publication).await?;
    let status = if published.new { StatusCode::CREATED } else { StatusCode::OK };
    success(status, &published)
}

/// What can be refused before the body is read; gives the boundary.
fn may_send(context: &Context, head: &Parts) -> Result<String, Error> {
    context.who.require(Scope::Publish)?;
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    multer::parse_boundary(kind.unwrap_or("")).map_err(|_| {
        Error::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send multipart/form-data with the parts `metadata` (JSON) and `file`",
        )
    })
}

async fn read(context: &Context, mut multipart: Multipart<'_>) -> Result<Upload, Error> {
    let (mut metadata, mut file) = (None, None);
    while let Some(field) = multipart.next_field().await.map_err(malformed)? {
        match field.name() {
            Some("metadata") if metadata.is_none() => {
                let bytes = field.bytes().await.map_err(malformed)?;
                let parsed: Metadata = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::invalid(format!("the part `metadata` cannot be read: {error}"))
                })?;
                may_publish(context, &parsed).await?;
                metadata = Some(parsed);
            }
            Some("file") if file.is_none() => {
                let named = field.file_name().map(ToOwned::to_owned);
                let format = expected(metadata.as_ref(), named.as_deref())?;
                file = Some((named, format, stage(&context.registry, format, field).await?));
            }
            name => {
                let name = name.unwrap_or("without a name").to_owned();
                return Err(Error::invalid(format!("the part `{name}` is there twice")));
            }
        }
    }
    let Some((filename, staged_for, staged)) = file else {
        return Err(Error::invalid("the part `file` is missing"));
    };
    Ok(Upload { metadata: metadata.unwrap_or_default(), staged, staged_for, filename })
}

/// Refuses before the file is read what its metadata already shows to be refused.
async fn may_publish(context: &Context, metadata: &Metadata) -> Result<(), Error> {
    let (Some(format), Some(name)) = (&metadata.format, &metadata.name) else { return Ok(()) };
    context.registry.check_publish(&context.who, format, name, metadata.realm).await?;
    Ok(())
}

/// The format that the file will most likely turn out to be.
fn expected(metadata: Option<&Metadata>, filename: Option<&str>) -> Result<&'static Format, Error> {
    if let Some(format) = metadata.and_then(|metadata| metadata.format.as_deref()) {
        return by_id(format);
    }
    let archive = filename.is_some_and(|name| name.ends_with(".tgz") || name.ends_with(".tar.gz"));
    let reads_archives = ALL.iter().copied().find(|format| format.rules.extract.is_some());
    reads_archives.filter(|_| archive).map_or_else(any_file, Ok)
}

fn by_id(id: &str) -> Result<&'static Format, Error> {
    ALL.iter().copied().find(|format| format.id == id).ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|format| format.id).collect();
        Error::invalid(format!("there is no format {id:?}"))
            .with_hint(format!("use one of: {}", known.join(", ")))
    })
}

async fn stage(
    registry: &Registry,
    format: &Format,
    mut field: Field<'_>,
) -> Result<Staged, Error> {
    let mut writer = registry.stage(format.id).await?;
    while let Some(bytes) = field.chunk().await.map_err(malformed)? {
        upload::write(&mut writer, bytes).await?;
    }
    upload::finish(writer).await
}

/// Format, name and version: as the metadata says, else as the archive says.
async fn identify(context: &Context, upload: Upload) -> Result<Publication, Error> {
    let Upload { metadata, staged, staged_for, filename } = upload;
    let filename = metadata.filename.clone().or(filename);
    let (format, said) = match &metadata.format {
        Some(format) => {
            let format = by_id(format)?;
            let needed = metadata.name.is_none() || metadata.version.is_none();
            (format, if needed { says(format, &staged, filename.as_deref()).await } else { None })
        }
        None => recognise(&staged, filename.as_deref()).await?,
    };
    let (name, version) = said.unzip();
    let missing = |what: &str| {
        Error::invalid(format!("the metadata has no {what}, and the file does not say one"))
            .with_hint("griot publish FILE --format generic --name N --version V")
    };
    let name = metadata.name.or(name).ok_or_else(|| missing("name"))?;
    let version = metadata.version.or(version).ok_or_else(|| missing("version"))?;
    let staged = if format.rules.hashes == staged_for.rules.hashes {
        staged
    } else {
        stage_again(&context.registry, format, staged).await?
    };
    let filename = file_name(format, &name, &version, filename)?;
    Ok(Publication {
        format: format.id,
        name,
        version,
        files: vec![(filename, staged)],
        tags: metadata.tags,
        realm: metadata.realm,
        claimed_time: metadata.claimed_time,
    })
}

/// The format of files that do not say what they are.
fn any_file() -> Result<&'static Format, Error> {
    let any = ALL.iter().copied().find(|format| format.rules.extract.is_none());
    any.ok_or_else(|| Error::invalid("no format takes a file that does not say what it is"))
}

/// The first format whose extractor accepts the file; the one for any file if none does.
async fn recognise(
    staged: &Staged,
    filename: Option<&str>,
) -> Result<(&'static Format, Option<(String, String)>), Error> {
    for format in ALL {
        if let Some(said) = says(format, staged, filename).await {
            return Ok((format, Some(said)));
        }
    }
    Ok((any_file()?, None))
}

/// Name and version that the format reads in the file.
async fn says(
    format: &'static Format,
    staged: &Staged,
    filename: Option<&str>,
) -> Option<(String, String)> {
    let extract = format.rules.extract?;
    let mut file = staged.open().ok()?;
    let filename = filename.unwrap_or_default().to_owned();
    let extracted =
        tokio::task::spawn_blocking(move || extract(&mut file, &filename)).await.ok()?;
    extracted.ok().map(|extracted| (extracted.name, extracted.version))
}

fn file_name(
    format: &Format,
    name: &str,
    version: &str,
    given: Option<String>,
) -> Result<String, Error> {
    let rules = &format.rules;
    if let Some(fixed) = rules.file_name {
        let name = (rules.canonical_name)(name).map_err(Error::invalid)?;
        let version = (rules.canonical_version)(version).map_err(Error::invalid)?;
        return Ok(fixed(&name, &version));
    }
    let given = given.ok_or_else(|| {
        Error::invalid("neither the metadata nor the part `file` gives a file name")
    })?;
    text::file_name(&given).map_err(Error::invalid)
}

async fn stage_again(
    registry: &Registry,
    format: &Format,
    staged: Staged,
) -> Result<Staged, Error> {
    let unreadable = |_| Error::invalid("the file that was just received cannot be read");
    let file = staged.open().map_err(crate::registry::Error::from)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut writer = registry.stage(format.id).await?;
    loop {
        let mut bytes = bytes::BytesMut::with_capacity(COPY_BYTES);
        if file.read_buf(&mut bytes).await.map_err(unreadable)? == 0 {
            return upload::finish(writer).await;
        }
        upload::write(&mut writer, Bytes::from(bytes)).await?;
    }
}

fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::FieldSizeExceeded { limit, .. }
        | multer::Error::StreamSizeExceeded { limit } => Error::too_large(limit),
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(_) => Error::invalid("the body broke off before its end; nothing was stored"),
        },
        multer::Error::UnknownField { field_name } => Error::invalid(format!(
            "there is no part {:?}: send `metadata` and `file`",
            field_name.unwrap_or_default()
        )),
        other => Error::invalid(format!("the body is not well-formed multipart: {other}")),
    }
}
