//! An upstream's page → the model of a page: for its other form, and for the older JSON.
//!
//! Read anew each time, file by file. What nobody here knows goes over if it is one word of a file
//! ([`Entry::add_more`]); what is said of the project beside its name, its state and its files, and
//! objects, lists and numbers of a file, are left out. A time of upload that HTML does not say
//! stays unsaid.
//!
//! Source: formats/pypi.md section 3.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File as Opened;
use std::io::BufReader;
use std::sync::Arc;

use crdt::digest::to_hex;
use url::Url;

use super::mode::Mode;
use super::outline::{self, Entry, Said, Seen};
use super::page::{CoreMetadata, Page, PageFile};
use super::upstream_page::{Reach, own_url};
use crate::http::error::Error;
use crate::registry::{Error as RegistryError, Registry, UpstreamDocument};

/// What a page is read with.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) document: Arc<UpstreamDocument>,
    /// Whose URLs its files have.
    pub(super) mode: Mode,
    /// Wheels that are held and of whose METADATA the page says nothing: its SHA-256, by name.
    pub(super) added: Arc<BTreeMap<String, [u8; 32]>>,
}

impl Model {
    /// Reads the page, which takes a moment, and makes something of it.
    ///
    /// # Errors
    /// When the page is not held any more, or cannot be read.
    pub(super) async fn read<T: Send + 'static>(
        self,
        registry: &Registry,
        make: impl FnOnce(Page<'static>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let file = registry.open_document(&self.document.digest).await?.into_std().await;
        let made = tokio::task::spawn_blocking(move || self.page(file).map(make)).await;
        let made = made.unwrap_or_else(|_| Err("the page could not be rendered".to_owned()));
        Ok(made.map_err(RegistryError::not_here)?)
    }

    /// What is in reach of it.
    fn page(&self, file: Opened) -> Result<Page<'static>, String> {
        let project = &self.document.package.name;
        let reach = Reach(self.document.files.as_ref());
        let mut files = Vec::new();
        let mut input = BufReader::new(file);
        let head = outline::read(project, &mut input, &mut |entry, seen| {
            let version = outline::version_of(project, &entry.filename);
            if seen == Seen::First && reach.has_file(&version, &entry.filename) {
                files.push(self.file(entry));
            }
            Ok(())
        })?;
        let status = head.status.map(|(state, why)| (Cow::Owned(state), why.map(Cow::Owned)));
        let (name, versions) = (Cow::Owned(project.clone()), Vec::new());
        Ok(Page { name, files, versions, status })
    }

    /// A client knows of no redirect: what is relative to where one led is made absolute.
    fn canonical(&self, url: String) -> String {
        let moved = self.document.moved.as_deref().and_then(|moved| Url::parse(moved).ok());
        moved.and_then(|moved| moved.join(&url).ok()).map_or(url, String::from)
    }

    fn file(&self, entry: Entry) -> PageFile<'static> {
        let sha256 = entry.declared.sha256;
        let url = match self.mode {
            Mode::Own => own_url(&self.document.package.name, sha256, &entry.filename),
            Mode::Canonical => self.canonical(entry.url),
        };
        let added = self.added.get(&entry.filename).copied().map(Said::Sha256);
        let core_metadata = match entry.metadata.or(added) {
            Some(Said::Sha256(sum)) => CoreMetadata::Sha256(to_hex(&sum)),
            Some(Said::Yes) => CoreMetadata::Yes,
            Some(Said::No) | None => CoreMetadata::No,
        };
        PageFile {
            filename: Cow::Owned(entry.filename),
            url: Cow::Owned(url),
            sha256: sha256.map(|sum| to_hex(&sum)),
            size: entry.size,
            upload_time: entry.upload_time.map(Cow::Owned),
            requires_python: entry.requires_python.map(Cow::Owned),
            yanked: entry.yanked.map(Cow::Owned),
            core_metadata,
            provenance: entry.provenance.map(Cow::Owned),
            gpg_sig: entry.gpg_sig,
            more: entry.more,
        }
    }
}
