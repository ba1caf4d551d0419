//! A large file on its way to the node, in an upload that goes on where it was cut.
//!
//! The upload is found again by its label, which is the file's digest: whatever cut the first try,
//! the line, the command or the node, the same command goes on with it, and a file that was changed
//! in between begins anew. The digest is compared with what arrived before anything is published.
//!
//! Source: docs/reference/http.md, "Uploads in several requests".

use std::io::{Read as _, Seek as _, SeekFrom};

use futures::StreamExt as _;
use indicatif::ProgressBar;
use node::formats::url_segment;
use node::registry::Published;
use reqwest::{Body, Method, Response};
use tokio_util::io::ReaderStream;
use url::form_urlencoded::Serializer;

use crate::client::{self, Node};
use crate::output::{Failure, Output, size};

/// Smaller files are sent in one request: they are there before it would matter.
pub(crate) const ABOVE_BYTES: u64 = 64 << 20;
/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What the file will be.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) tags: Vec<String>,
    pub(crate) realm: Option<String>,
}

/// An upload as the node answers about it.
#[derive(Debug)]
struct Upload {
    id: String,
    offset: u64,
}

/// Sends what is not there yet, then publishes the whole.
pub(crate) async fn publish(
    node: &Node,
    output: Output,
    place: &Place,
    (file, length): (std::fs::File, u64),
) -> Result<Published, Failure> {
    let (file, digest) = hashed(file).await?;
    let upload = start(node, place, &digest, length).await?;
    if upload.offset > 0 {
        let (had, all) = (size(upload.offset), size(length));
        output.say(format!("going on at {had} of {all}: the rest was sent before"));
    }
    let bar = output.progress(&place.filename, length);
    let sent = send(node, &upload, (file, length), &bar).await;
    bar.finish_and_clear();
    sent?;
    finish(node, place, &upload.id, &digest).await
}

/// The file's name for the node, `blake3:HEX`; the file is at its start afterwards.
async fn hashed(mut file: std::fs::File) -> Result<(std::fs::File, String), Failure> {
    let work = move || {
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; CHUNK_BYTES]);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok::<_, std::io::Error>((file, format!("blake3:{}", hasher.finalize())));
            }
            hasher.update(&buffer[..read]);
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Failure::new(format!("the file was not read: {error}")))??)
}

/// Starts the upload, or finds the one that was started before.
async fn start(node: &Node, place: &Place, digest: &str, length: u64) -> Result<Upload, Failure> {
    let mut query = Serializer::new(String::new());
    query.append_pair("label", digest).append_pair("size", &length.to_string());
    query.append_pair("name", &place.name).append_pair("version", &place.version);
    query.append_pair("file", &place.filename).extend_pairs(place.realm.iter().map(realm));
    let path = format!("/generic/~uploads/?{}", query.finish());
    let request = node.request(Method::POST, &path).header("content-length", 0);
    let answer = client::refuse(node.send(request).await?).await?;
    let location = header(&answer, "location")?;
    let id = location.rsplit('/').next().unwrap_or_default().to_owned();
    let offset = header(&answer, "upload-offset")?.parse().map_err(|_| unclear())?;
    Ok(Upload { id, offset })
}

fn realm(realm: &String) -> (&'static str, &String) {
    ("realm", realm)
}

fn header(answer: &Response, name: &str) -> Result<String, Failure> {
    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
    value.map(str::to_owned).ok_or_else(unclear)
}

fn unclear() -> Failure {
    Failure::new("the node does not say where the upload is")
        .hint("is the node of the same version? griot --version; griot status")
}

/// Sends the bytes from the upload's offset on.
async fn send(
    node: &Node,
    upload: &Upload,
    (mut file, length): (std::fs::File, u64),
    bar: &ProgressBar,
) -> Result<(), Failure> {
    if upload.offset >= length {
        return Ok(());
    }
    file.seek(SeekFrom::Start(upload.offset))?;
    bar.set_position(upload.offset);
    bar.reset_eta();
    let counted = bar.clone();
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES)
        .inspect(move |chunk| counted.inc(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64)));
    let request = node
        .request(Method::PATCH, &format!("/generic/~uploads/{}", upload.id))
        .header("content-length", length - upload.offset)
        .header("content-range", format!("{}-{}", upload.offset, length - 1))
        .body(Body::wrap_stream(stream));
    let again = |failure: Failure| failure.hint("type it again: it goes on where it was cut");
    client::refuse(node.send(request).await.map_err(again)?).await?;
    Ok(())
}

/// Makes the upload the file of its version.
async fn finish(node: &Node, place: &Place, id: &str, digest: &str) -> Result<Published, Failure> {
    let parts = [&place.name, &place.version, &place.filename].map(|part| url_segment(part));
    let mut query = Serializer::new(String::new());
    query.append_pair("upload", id).append_pair("digest", digest);
    query.extend_pairs(place.realm.iter().map(realm));
    query.extend_pairs(place.tags.iter().map(|tag| ("tag", tag)));
    let path = format!("/generic/{}?{}", parts.join("/"), query.finish());
    let request = node.request(Method::PUT, &path).header("content-length", 0);
    client::read(node.send(request).await?).await
}
