//! Where things stand in the bytes of a packument. How such tables are kept: `formats/tables.rs`.

use std::io::BufRead;
use std::sync::Arc;

use super::upstream_outline;
use crate::formats::splice::Span;
use crate::formats::tables::{Tables, Weigh};
use crate::http::error::Error;
use crate::registry::{Registry, UpstreamDocument};

/// All tables that are kept.
const KEPT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The places of a document that renderings change.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Bytes of the document.
    pub(super) size: u64,
    /// The package's name, decoded.
    pub(super) written: Box<str>,
    /// Just before the first member of the document.
    pub(super) first: Option<Span>,
    /// Whether it has members that an abbreviated document has not.
    pub(super) full: bool,
    pub(super) name: Option<Span>,
    pub(super) tags: Option<Span>,
    pub(super) modified: Option<Span>,
    pub(super) time_modified: Option<Span>,
    pub(super) versions: List<Entry>,
    pub(super) times: List<Time>,
    /// Runs of members that an install reads, of all versions.
    pub(super) fields: Vec<Span>,
}

/// The members of an object, in the order of the bytes.
#[derive(Debug)]
pub(super) struct List<T> {
    /// The object with its brackets.
    pub(super) place: Option<Span>,
    pub(super) entries: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { place: None, entries: Vec::new() }
    }
}

/// A member of `versions`.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its key, decoded.
    pub(super) written: Box<str>,
    /// Absent where the outline does not have it.
    pub(super) normal: Option<Box<str>>,
    /// Key and value.
    pub(super) member: Span,
    pub(super) value: Span,
    /// `dist.tarball`, decoded, and the place of the string.
    pub(super) tarball: Option<(Box<str>, Span)>,
    /// Which of [`Table::fields`]; absent for what is no object.
    pub(super) fields: Option<(u32, u32)>,
    /// Whether its scripts run at an install although it does not say so.
    pub(super) adds_scripts: bool,
}

/// A member of `time`.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) normal: Option<Box<str>>,
    pub(super) member: Span,
}

impl Table {
    /// Adds runs of members; gives their place among all.
    pub(super) fn add_fields(&mut self, runs: &[Span]) -> Option<(u32, u32)> {
        let first = u32::try_from(self.fields.len()).ok()?;
        self.fields.extend_from_slice(runs);
        Some((first, u32::try_from(self.fields.len()).ok()?))
    }

    /// The runs of an entry.
    pub(super) fn runs(&self, entry: &Entry) -> Option<&[Span]> {
        let (first, last) = entry.fields?;
        self.fields.get(first as usize..last as usize)
    }
}

impl Weigh for Table {
    fn bytes(&self) -> usize {
        let entry = |entry: &Entry| {
            let url = entry.tarball.as_ref().map_or(0, |(url, _)| url.len());
            size_of::<Entry>() + 2 * entry.written.len() + url
        };
        self.versions.entries.iter().map(entry).sum::<usize>()
            + self.times.entries.len() * (size_of::<Time>() + 16)
            + self.fields.len() * size_of::<Span>()
            + size_of::<Self>()
    }
}

/// The table of a document that is held.
pub(super) async fn table(registry: &Registry, document: &UpstreamDocument) -> Made {
    static TABLES: Tables<Table> = Tables::new(KEPT_MAX_BYTES);
    let scan =
        |_: &str, input: &mut dyn BufRead| upstream_outline::scan(input).map(|(_, table)| table);
    TABLES.get(registry, (&document.package, &document.digest), scan).await
}

/// A table, shared with who renders the same document.
type Made = Result<Arc<Table>, Error>;
