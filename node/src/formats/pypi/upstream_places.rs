//! Where things stand in the bytes of an upstream's page: what its renderings change.
//!
//! How such tables are kept: `formats/tables.rs`.

use std::io::BufRead;
use std::sync::Arc;

use url::Url;

use super::outline::{self, Entry, Seen, Written};
use super::{dist, version};
use crate::formats::splice::Span;
use crate::formats::tables::{Tables, Weigh};
use crate::http::error::Error;
use crate::registry::{Registry, UpstreamDocument};

/// All tables that are kept.
const KEPT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The places of a page.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) written: Written,
    /// Bytes of the page.
    pub(super) size: u64,
    /// In the order of the bytes.
    pub(super) files: Vec<File>,
    /// Of JSON: normal version, absent for what is none, and its place in `versions`.
    pub(super) versions: Vec<(Option<Box<str>>, Span)>,
    /// The tag that moves relative URLs.
    pub(super) base: Option<Span>,
}

/// A file of a page, or what stands in its place.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Empty for what is no file.
    pub(super) name: Box<str>,
    pub(super) version: Box<str>,
    pub(super) sha256: Option<[u8; 32]>,
    /// Of its URL, without the `#`.
    pub(super) fragment: Box<str>,
    pub(super) place: Span,
    pub(super) inside: u32,
    pub(super) url: Span,
    /// The URL, where it is relative to the page.
    pub(super) relative: Option<Box<str>>,
    pub(super) is_wheel: bool,
    /// Whether the page says anything of its METADATA.
    pub(super) says_metadata: bool,
    /// Whether a file of this name came before.
    pub(super) again: bool,
}

impl File {
    fn new(project: &str, entry: &Entry, seen: Seen) -> Self {
        let dist = dist::parse(project, &entry.filename);
        Self {
            name: entry.filename.as_str().into(),
            version: outline::version_of(project, &entry.filename).into(),
            sha256: entry.declared.sha256,
            fragment: entry.fragment.as_str().into(),
            place: entry.place,
            inside: entry.inside,
            url: entry.url_place,
            relative: Url::parse(&entry.url).is_err().then(|| entry.url.as_str().into()),
            is_wheel: dist.is_some_and(|dist| dist.kind == dist::Kind::Wheel),
            says_metadata: entry.metadata.is_some(),
            again: seen == Seen::Again,
        }
    }
}

impl Weigh for Places {
    fn bytes(&self) -> usize {
        let file = |file: &File| {
            let relative = file.relative.as_ref().map_or(0, |url| url.len());
            let texts = [&file.name, &file.version, &file.fragment].map(|text| text.len());
            size_of::<File>() + relative + texts.iter().sum::<usize>()
        };
        self.files.iter().map(file).sum::<usize>() + self.versions.len() * 48 + size_of::<Self>()
    }
}

/// The table of a page that is held.
pub(super) async fn places(
    registry: &Registry,
    document: &UpstreamDocument,
) -> Result<Arc<Places>, Error> {
    static TABLES: Tables<Places> = Tables::new(KEPT_MAX_BYTES);
    TABLES.get(registry, (&document.package, &document.digest), scan).await
}

/// Reads a page.
pub(super) fn scan(project: &str, input: &mut dyn BufRead) -> Result<Places, String> {
    let mut files = Vec::new();
    let head = outline::read(project, input, &mut |entry, seen| {
        files.push(File::new(project, &entry, seen));
        Ok(())
    })?;
    let odd = head.odd.iter().map(|place| File { place: *place, ..File::default() });
    files.extend(odd);
    files.sort_by_key(|file| file.place.start);
    files.shrink_to_fit();
    let normal = |text: &str| version::canonical(text).ok().map(String::into_boxed_str);
    let versions = head.versions.iter().map(|(text, place)| (normal(text), *place)).collect();
    Ok(Places { written: head.written, size: head.size, files, versions, base: head.base })
}
