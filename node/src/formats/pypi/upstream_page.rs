//! An upstream's page → what a client reads.
//!
//! In the form that the upstream gave, it is pieces of its bytes and little between them: unknown
//! members, the order of keys and the form of numbers survive, and memory does not grow with the
//! page. What changes: the URLs of files, which become this node's, relative to the page, so that
//! they work under any door; files that are out of reach while the upstream is away; and of a wheel
//! that is held, where the page says nothing of its METADATA, that it can be had here. In the other
//! form it is rendered from what was read of it (`upstream_model.rs`).
//!
//! With the upstream's own URLs (`mode.rs`) nothing is added, and nothing changes but what is out
//! of reach; a page that redirects led to gets absolute URLs, because the client knows of no
//! redirect.
//!
//! Source: formats/pypi.md section 3; formats/README.md section 1.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::http::StatusCode;
use bytes::Bytes;
use crdt::Digest;
use crdt::digest::to_hex;
use futures::FutureExt as _;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::accept::Form;
use super::mode::{self, Mode};
use super::outline::{METADATA, Written};
use super::page::{self, Page};
use super::simple::Asked;
use super::upstream_model::Model;
use super::upstream_places::{self, File, Places};
use super::{FORMAT, dist};
use crate::formats::splice::{self, Edit, Segment, Span, Splice};
use crate::formats::spliced::{Prepare, Render, Spliced};
use crate::formats::url_segment;
use crate::http::error::Error;
use crate::http::ready::{Label, Looked};
use crate::registry::UpstreamDocument;

/// The code that renders: another number when the same page comes out as other bytes.
const RENDERER: &str = "pypi upstream 1";
/// In the place of a checksum that is not known.
pub(super) const UNKNOWN: &str = "-";
/// Wheels whose METADATA is remembered by its checksum; room is made by forgetting all.
const SUMS_MAX: usize = 16_384;
/// Of a fragment that goes into an attribute, with or without quotes.
const FRAGMENT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'\'').add(b'<').add(b'>').add(b'`').add(b'#');

/// What is shown of an upstream's page.
#[derive(Clone)]
struct Shown {
    asked: Asked,
    document: Arc<UpstreamDocument>,
    places: Arc<Places>,
    form: Form,
    mode: Mode,
    /// Wheels that are held and of whose METADATA the page says nothing: its SHA-256, by name.
    added: Arc<BTreeMap<String, [u8; 32]>>,
}

/// A page of an upstream, in a form and a mode.
///
/// # Errors
/// 424 when nothing of it is in reach; when the page or the store cannot be read.
pub(super) async fn looked(
    asked: Asked,
    document: UpstreamDocument,
    (form, mode): (Form, Mode),
) -> Result<Looked, Error> {
    let places = upstream_places::places(&asked.registry, &document).await?;
    let reach = Reach(document.files.as_ref());
    if !places.files.is_empty() && !places.files.iter().any(|file| reach.has(file)) {
        return Err(all_hidden(&document));
    }
    mode::note_hosts(&asked.registry, &document).await?;
    let added = match mode {
        Mode::Own => added(&asked, &places).await?,
        Mode::Canonical => BTreeMap::new(),
    };
    let (document, added) = (Arc::new(document), Arc::new(added));
    Ok(Shown { asked, document, places, form, mode, added }.looked())
}

/// A page without files would read as a project that has none.
pub(super) fn all_hidden(document: &UpstreamDocument) -> Error {
    let (name, count) = (&document.package.name, document.outline.versions.len());
    let message = format!(
        "{name}: the upstream is out of reach, and of its {count} versions no file is held, \
         neither here nor by a peer"
    );
    Error::new(StatusCode::FAILED_DEPENDENCY, message)
        .with_hint(format!("griot why {name} --format {}", FORMAT.id))
}

/// Which files may be shown.
#[derive(Clone, Copy)]
pub(super) struct Reach<'d>(pub(super) Option<&'d BTreeSet<(String, String)>>);

impl Reach<'_> {
    fn has(self, file: &File) -> bool {
        self.has_file(&file.version, &file.name)
    }

    pub(super) fn has_file(self, version: &str, file: &str) -> bool {
        self.0.is_none_or(|files| files.contains(&(version.to_owned(), file.to_owned())))
    }
}

/// What can be said of METADATA beside the page's own words.
async fn added(asked: &Asked, places: &Places) -> Result<BTreeMap<String, [u8; 32]>, Error> {
    let mut added = BTreeMap::new();
    let silent = |file: &&File| file.is_wheel && !file.says_metadata && !file.again;
    if !places.files.iter().any(|file| silent(&file)) {
        return Ok(added);
    }
    let held = asked.registry.held_files(asked.door, &asked.package)?;
    for file in places.files.iter().filter(silent) {
        let slot = (file.version.to_string(), file.name.to_string());
        let Some(info) = held.get(&slot) else { continue };
        // Other bytes than the page means say nothing of its file.
        if file.sha256.is_some_and(|sum| sum != info.checksums.sha256) {
            continue;
        }
        if let Some(sum) = metadata_sum(asked, &file.name, &info.digest).await? {
            added.insert(file.name.to_string(), sum);
        }
    }
    Ok(added)
}

/// SHA-256 of a held wheel's METADATA, if it has any that can be used.
async fn metadata_sum(
    asked: &Asked,
    file: &str,
    digest: &Digest,
) -> Result<Option<[u8; 32]>, Error> {
    type Sums = HashMap<(Digest, String), Option<[u8; 32]>>;
    static SUMS: LazyLock<Mutex<Sums>> = LazyLock::new(Mutex::default);
    let sums = || SUMS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (*digest, file.to_owned());
    if let Some(known) = sums().get(&key) {
        return Ok(*known);
    }
    let meta = asked.registry.meta_of(FORMAT.id, file, digest).await?;
    let sum = meta.map(|meta| Sha256::digest(meta).into());
    let mut sums = sums();
    if sums.len() >= SUMS_MAX {
        sums.clear();
    }
    sums.insert(key, sum);
    Ok(sum)
}

impl Shown {
    fn looked(self) -> Looked {
        let spliced = Spliced {
            registry: self.asked.registry.clone(),
            document: Arc::clone(&self.document),
            part: self.asked.part,
            label: self.label(),
            renderer: RENDERER,
            prepare: (!self.is_verbatim()).then(|| self.prepare()),
        };
        spliced.looked()
    }

    fn label(&self) -> Label {
        let (kind, vary) = (self.form.media_type().into(), mode::VARY.into());
        Label { kind, etag: self.etag(), vary, hidden: self.document.hidden() }
    }

    /// Everything that the bytes depend on.
    fn etag(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.document.digest.as_bytes());
        let words = [
            self.form.media_type(),
            self.mode.word(),
            &self.document.package.name,
            &self.document.revision,
        ];
        for word in words.into_iter().chain(self.added.keys().map(String::as_str)) {
            hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
        }
        for sum in self.added.values() {
            hasher.update(sum);
        }
        format!("\"{}\"", &hasher.finalize().to_hex()[..32])
    }

    /// Whether it comes in the form that it has.
    fn is_as_written(&self) -> bool {
        (self.form == Form::Json) == (self.places.written == Written::Json)
    }

    /// Whether it is the upstream's bytes from the first to the last.
    fn is_verbatim(&self) -> bool {
        let moved = self.document.moved.is_some();
        self.is_as_written()
            && self.mode == Mode::Canonical
            && !moved
            && self.document.files.is_none()
    }

    fn prepare(&self) -> Prepare {
        let this = self.clone();
        Arc::new(move || {
            let this = this.clone();
            async move {
                let render: Render = if this.is_as_written() {
                    Box::new(move || Ok(this.spliced()))
                } else {
                    let bytes = this.rendered().await?;
                    Box::new(move || Ok(vec![Segment::Literal(bytes)]))
                };
                Ok(render)
            }
            .boxed()
        })
    }

    fn spliced(&self) -> Vec<Segment> {
        let reach = Reach(self.document.files.as_ref());
        let UpstreamDocument { package, moved, .. } = &*self.document;
        let moved = moved.as_deref().and_then(|url| Url::parse(url).ok());
        let look = Look { project: &package.name, mode: self.mode, reach, moved };
        spliced(&self.places, &look, &self.added)
    }

    /// In the other form.
    async fn rendered(&self) -> Result<Bytes, Error> {
        let form = self.form;
        let model = Model {
            document: Arc::clone(&self.document),
            mode: self.mode,
            added: Arc::clone(&self.added),
        };
        let render = move |page: Page<'_>| {
            if form == Form::Json { page::json(&page) } else { page::html(&page) }
        };
        Ok(model.read(&self.asked.registry, render).await?.into())
    }
}

/// How a page shall look.
pub(super) struct Look<'a> {
    pub(super) project: &'a str,
    pub(super) mode: Mode,
    pub(super) reach: Reach<'a>,
    /// Where redirects led to the page: what is relative in it is relative to that.
    pub(super) moved: Option<Url>,
}

impl Look<'_> {
    /// What stands in the place of a file's URL, if something else does.
    fn url(&self, file: &File) -> Option<String> {
        if self.mode == Mode::Own {
            return Some(own_url(self.project, file.sha256, &file.name));
        }
        let absolute = self.moved.as_ref()?.join(file.relative.as_deref()?).ok()?;
        Some(absolute.into())
    }
}

/// The page in its own form.
pub(super) fn spliced(
    places: &Places,
    look: &Look<'_>,
    added: &BTreeMap<String, [u8; 32]>,
) -> Vec<Segment> {
    let mut edits = Vec::new();
    let own = look.mode == Mode::Own;
    let gone = |file: &File| (own && file.again) || !look.reach.has(file);
    let all = places.files.iter().map(|file| (file.place, gone(file)));
    if places.written == Written::Json {
        splice::without(all, &mut edits);
        versions(places, look, &mut edits);
    } else {
        edits.extend(all.filter(|(_, gone)| *gone).map(|(place, _)| (place, Bytes::new())));
    }
    for file in places.files.iter().filter(|file| !file.name.is_empty()) {
        let Some(url) = look.url(file) else { continue };
        edits.push((file.url, written_url(places.written, url, &file.fragment)));
        if let Some(sum) = added.get(&*file.name) {
            let at = Span { start: file.inside, end: file.inside };
            edits.push((at, written_sum(places.written, sum)));
        }
    }
    // Relative to something else, our URLs would lead elsewhere.
    edits.extend(places.base.filter(|_| own).map(|base| (base, Bytes::new())));
    let mut out = Splice::new(edits);
    out.copy(0..places.size);
    out.segments()
}

/// Lists no version of which nothing is in reach.
fn versions(places: &Places, look: &Look<'_>, edits: &mut Vec<Edit>) {
    let Some(files) = look.reach.0 else { return };
    let known: BTreeSet<&str> = files.iter().map(|(version, _)| version.as_str()).collect();
    let gone = |version: &Option<Box<str>>| {
        version.as_deref().is_none_or(|version| !known.contains(version))
    };
    let all = places.versions.iter().map(|(version, place)| (*place, gone(version)));
    splice::without(all, edits);
}

/// A file of this node, relative to the page of its project.
pub(super) fn own_url(project: &str, sha256: Option<[u8; 32]>, file: &str) -> String {
    let sum = sha256.map_or_else(|| UNKNOWN.to_owned(), |sum| to_hex(&sum));
    format!("../../files/{project}/{sum}/{}", url_segment(file))
}

fn written_url(written: Written, url: String, fragment: &str) -> Bytes {
    let text = match (written, fragment) {
        (Written::Json, _) => format!("\"{url}\""),
        (Written::Html, "") => url,
        (Written::Html, fragment) => {
            let fragment = utf8_percent_encode(fragment, FRAGMENT).to_string();
            format!("{url}#{}", page::escaped(&fragment))
        }
    };
    Bytes::from(text)
}

fn written_sum(written: Written, sum: &[u8; 32]) -> Bytes {
    let sum = to_hex(sum);
    Bytes::from(match written {
        Written::Json => format!("\"core-metadata\":{{\"sha256\":\"{sum}\"}},"),
        Written::Html => format!(" data-core-metadata=\"sha256={sum}\""),
    })
}

/// Whether a file of that name is a wheel's METADATA.
pub(super) fn wheel_of<'f>(project: &str, file: &'f str) -> Option<&'f str> {
    let wheel = file.strip_suffix(METADATA)?;
    let dist = dist::parse(project, wheel)?;
    (dist.kind == dist::Kind::Wheel).then_some(wheel)
}
