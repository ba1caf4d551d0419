//! `griot publish`: signs and publishes what a path holds.
//!
//! A folder or archive is recognised by its manifest: each format is asked. The bytes are streamed
//! to the node, which checks, signs with this node's publisher key, and admits. A new name in this
//! node's own realm then gets its route, signed here with the root key if that is at hand, so that
//! every node of the site takes the name from this realm alone.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use crdt::routes::Rule;
use crdt::statement::RouteSource;
use futures::stream::{self, StreamExt as _};
use node::daemon::admin::Done;
use node::daemon::admin::packages::{Named, TagOrder};
use node::daemon::admin::realms::RealmInfo;
use node::formats::{self, Packed, PackedBytes};
use node::registry::{Info, Published};
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::Context;
use super::follow::segment;
use crate::args::Publish;
use crate::client::Node;
use crate::output::{Code, Failure, Output, plain, short};
use crate::{resumable, sign};

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What the node is told beside the file.
#[derive(Debug, Serialize)]
struct Metadata {
    format: String,
    name: String,
    version: String,
    filename: String,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<String>,
}

/// One upload, ready to go.
struct Upload {
    metadata: Metadata,
    /// The tag that follows the highest version.
    tag: Option<&'static str>,
    file: std::fs::File,
    size: u64,
}

pub(super) async fn run(context: &Context, publish: Publish) -> Result<(), Failure> {
    let node = context.node()?;
    let realm = match &publish.realm {
        Some(realm) => {
            let info: RealmInfo = node.get(&format!("realms/{}", segment(realm))).await?;
            Some(info.realm.to_string())
        }
        None => None,
    };
    // Everything is looked at before anything is sent.
    let mut uploads = Vec::new();
    for path in &publish.paths {
        uploads.extend(open(path, &publish)?);
    }
    let mut all = Vec::new();
    for mut upload in uploads {
        upload.metadata.realm.clone_from(&realm);
        let tag = upload.tag.filter(|_| publish.tag.is_empty());
        let mut published = send(&node, context.output, upload).await?;
        if let Err(failure) = route(context, &node, &mut published).await {
            // The package is published: that must not look undone because of its route.
            context.output.say(format!("no route was added: {}", failure.message));
        }
        if let Some(tag) = tag {
            follow_up(context, &node, &published, tag).await;
        }
        all.push(published);
    }
    let lines = |all: &[Published]| all.iter().map(|one| line_of(one, all)).collect();
    match all.as_slice() {
        [one] => context.output.data(one, |one| vec![line(one)]),
        several => context.output.data(&several, |several| lines(several)),
    }
}

/// The line of one; with its file where several of one release are told.
fn line_of(published: &Published, all: &[Published]) -> String {
    let same = |other: &&Published| {
        (&other.format, &other.name, &other.version)
            == (&published.format, &published.name, &published.version)
    };
    let line = line(published);
    match published.files.as_slice() {
        [file] if all.iter().filter(same).count() > 1 => {
            format!("{}: {line}", plain(&file.filename))
        }
        _ => line,
    }
}

fn line(published: &Published) -> String {
    let Published { name, version, realm, .. } = published;
    let (what, then) = match published {
        Published { needs: 1, format, .. } => {
            ("signed", endorse("1 more signature", published, format))
        }
        Published { needs, format, .. } if *needs > 1 => {
            ("signed", endorse(&format!("{needs} more signatures"), published, format))
        }
        Published { new: true, .. } => ("published", "visible here now".to_owned()),
        Published { new: false, .. } => ("had", "the same bytes".to_owned()),
    };
    format!("{what} {}@{} in {} · {then}", plain(name), plain(version), short(realm))
}

/// What another publisher does for it.
fn endorse(lacks: &str, published: &Published, format: &str) -> String {
    let (name, version) = (plain(&published.name), plain(&published.version));
    format!("needs {lacks}: griot endorse {name}@{version} --format {format}")
}

/// Recognises a path, or takes it as the generic file that was described.
fn open(path: &Path, publish: &Publish) -> Result<Vec<Upload>, Failure> {
    if !path.exists() {
        return Err(Failure::new(format!(
            "cannot publish {}: there is no such path",
            path.display()
        ))
        .hint("griot publish PATH, where PATH is a package's folder or archive"));
    }
    let wanted = publish.format.as_deref();
    if wanted == Some("generic") {
        return Ok(vec![generic(path, publish)?]);
    }
    // One that extracts nothing knows no manifest either.
    let known = formats::ALL.iter().filter(|format| format.rules.extract.is_some());
    let asked: Vec<_> =
        known.filter(|format| wanted.is_none_or(|wanted| wanted == format.id)).collect();
    if let (Some(wanted), true) = (wanted, asked.is_empty()) {
        let all: Vec<&str> = formats::ALL.iter().map(|format| format.id).collect();
        return Err(Failure::new(format!("there is no format {wanted}"))
            .hint(format!("use one of: {}", all.join(", ")))
            .code(Code::Usage));
    }
    for format in &asked {
        let Some(packed) = (format.pack)(path) else { continue };
        let packed = packed.map_err(|why| {
            Failure::new(format!("{} is not a sound {} package: {why}", path.display(), format.id))
                .hint("mend it, then type this again")
        })?;
        return uploads(format, packed, publish);
    }
    let asked: Vec<&str> = asked.iter().map(|format| format.id).collect();
    let path = path.display();
    Err(Failure::new(format!("{path} is no package of a format known here: {}", asked.join(", ")))
        .hint(format!("any file: griot publish {path} --format generic --name N --version V")))
}

/// The files of what was recognised, each ready to go.
fn uploads(
    format: &formats::Format,
    packed: Packed,
    publish: &Publish,
) -> Result<Vec<Upload>, Failure> {
    let Packed { name, version, filename, tag, archive } = packed;
    let files = match archive {
        PackedBytes::File(path) => vec![(filename, fs_err::File::open(path)?.into_parts().0)],
        PackedBytes::Made(file) => vec![(filename, file)],
        PackedBytes::Several(files) => files,
    };
    let upload = |(filename, file)| {
        let metadata = Metadata {
            format: format.id.into(),
            name: publish.name.clone().unwrap_or_else(|| name.clone()),
            version: publish.version.clone().unwrap_or_else(|| version.clone()),
            filename,
            tags: publish.tag.clone(),
            realm: None,
        };
        upload(metadata, file, tag)
    };
    files.into_iter().map(upload).collect()
}

fn generic(path: &Path, publish: &Publish) -> Result<Upload, Failure> {
    let (Some(name), Some(version)) = (&publish.name, &publish.version) else {
        return Err(Failure::new("a generic package needs a name and a version")
            .hint("griot publish FILE --format generic --name N --version V")
            .code(Code::Usage));
    };
    let filename = path.file_name().and_then(|name| name.to_str());
    let filename = filename.filter(|_| path.is_file()).ok_or_else(|| {
        Failure::new(format!("{} is not a file with a readable name", path.display()))
            .hint("a folder is published as an archive: tar czf NAME.tar.gz FOLDER")
    })?;
    let metadata = Metadata {
        format: "generic".into(),
        name: name.clone(),
        version: version.clone(),
        filename: filename.into(),
        tags: publish.tag.clone(),
        realm: None,
    };
    upload(metadata, fs_err::File::open(path)?.into_parts().0, None)
}

fn upload(
    metadata: Metadata,
    mut file: std::fs::File,
    tag: Option<&'static str>,
) -> Result<Upload, Failure> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(Upload { metadata, tag, file, size })
}

/// Sends a large file so that it can go on where it was cut, any other in one request.
async fn send(node: &Node, output: Output, upload: Upload) -> Result<Published, Failure> {
    let Upload { metadata, file, size, .. } = upload;
    if metadata.format == "generic" && size > resumable::ABOVE_BYTES {
        let Metadata { name, version, filename, tags, realm, .. } = metadata;
        let place = resumable::Place { name, version, filename, tags, realm };
        return resumable::publish(node, output, &place, (file, size)).await;
    }
    send_at_once(node, output, Upload { metadata, file, size, ..upload }).await
}

/// Streams the two parts of a multipart body.
async fn send_at_once(node: &Node, output: Output, upload: Upload) -> Result<Published, Failure> {
    let boundary = boundary();
    let metadata = serde_json::to_string(&upload.metadata)
        .map_err(|error| Failure::new(format!("the metadata is no JSON: {error}")))?;
    let filename = quoted(&upload.metadata.filename);
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\
         content-type: application/json\r\n\r\n{metadata}\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let length = head.len() as u64 + upload.size + tail.len() as u64;
    let bar = output.progress(&upload.metadata.filename, upload.size);
    let counted = bar.clone();
    let file = tokio::fs::File::from_std(upload.file);
    let file = ReaderStream::with_capacity(file, CHUNK_BYTES)
        .inspect(move |chunk| counted.inc(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64)));
    let around = |text: String| stream::once(async move { Ok(text.into()) });
    let body = around(head).chain(file).chain(around(tail));
    let sent = node.upload(&boundary, length, reqwest::Body::wrap_stream(body)).await;
    bar.finish_and_clear();
    sent
}

/// A line that is in no file, except by a chance of one in 2^128.
fn boundary() -> String {
    let seed = std::hash::RandomState::new();
    let half = |n: u8| std::hash::BuildHasher::hash_one(&seed, n);
    format!("griot-{:016x}{:016x}", half(0), half(1))
}

/// A file name inside the quotes of a header.
fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "%22").replace(['\r', '\n'], "")
}

/// Gives a new name of the own realm its route, where the root key is at hand.
async fn route(context: &Context, node: &Node, published: &mut Published) -> Result<(), Failure> {
    let own: RealmInfo = node.get("realms/own").await?;
    if published.routed || published.realm != own.realm {
        return Ok(());
    }
    let Published { format, name, .. } = &*published;
    let names_it = |rule: &Rule| {
        rule.format == *format
            && rule.pattern.0 == *name
            && rule.source == RouteSource::Realm(own.realm)
            && !rule.contested
    };
    if own.routes.iter().any(names_it) {
        return Ok(());
    }
    if !sign::has_open_root_key(&context.home)? {
        let Published { format, name, .. } = published;
        context.output.say(format!("{name} has no route yet, as the root key is not here"));
        context.output.say(format!("later: griot route add {format}:{name} own"));
        return Ok(());
    }
    let source = RouteSource::Realm(own.realm);
    sign::add_own_route(node, (&published.format, &published.name), source).await?;
    published.routed = true;
    Ok(())
}

/// Moves `tag` up to a new version, where an earlier word holds it at a lower one.
async fn follow_up(context: &Context, node: &Node, published: &Published, tag: &str) {
    let named = Named {
        name: published.name.clone(),
        format: Some(published.format.clone()),
        version: Some(published.version.clone()),
    };
    let moved = async {
        let info: Info = node.post("info", &named).await?;
        if info.tags.get(tag).is_some_and(|held| is_lower(held, published)) {
            let order = TagOrder { named: named.clone(), tag: tag.into() };
            node.post::<_, Done>("tag", &order).await?;
        }
        Ok::<_, Failure>(())
    };
    // The package is published: that must not look undone because of its tag.
    if let Err(failure) = moved.await {
        context.output.say(format!("the tag {tag} was not moved: {}", failure.message));
    }
}

fn is_lower(held: &str, published: &Published) -> bool {
    let format = formats::ALL.iter().find(|format| format.id == published.format);
    format.is_some_and(|format| (format.rules.compare_versions)(held, &published.version).is_lt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_differ_and_are_short_enough() {
        assert_ne!(boundary(), boundary());
        assert!(boundary().len() <= 70);
    }

    #[test]
    fn a_file_name_cannot_break_its_header() {
        assert_eq!(quoted("a\"b\r\nx: y"), "a%22bx: y");
        assert_eq!(quoted("map.bin"), "map.bin");
    }

    #[test]
    fn a_generic_file_needs_name_and_version() {
        let publish = Publish {
            paths: Vec::new(),
            format: Some("generic".into()),
            name: Some("map".into()),
            version: None,
            realm: None,
            tag: Vec::new(),
        };
        let failure = open(Path::new("/dev/null"), &publish).err().unwrap();
        assert_eq!(failure.code, Code::Usage);
    }
}
