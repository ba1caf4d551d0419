//! The automerge document of a package: a saved cache, brought up to date when it is looked at.
//!
//! The document is a pure function of the package's statements, so the saved bytes may vanish at
//! any time: what does not load is dropped and built anew. Admission never comes here; a catch-up
//! of ten thousand statements costs no automerge at all, and one look applies them in one batch.
//! Bytes of automerge from outside have no way in.
//!
//! Source: trust.md section 9, index.md section 2.3.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::document::Document;
use crdt::{PackageId, RealmId};
use redb::ReadableTable;

use super::changes::Scope;
use super::statements::{document_id, of_package};
use super::tables::{self, Tables};
use super::{Error, Inner, Store, blocking};

/// How statements become changes, and the version of automerge that saved them: raise it when
/// either changes.
const DOCUMENT_VERSION: u64 = 1;

/// A document that is up to date, and whether the cache was.
struct Current {
    saved: Vec<u8>,
    statements: u64,
    cached: bool,
}

impl Store {
    /// The automerge document of a package, brought up to date in one batch: the only place that
    /// touches automerge. Without statements it is the empty document.
    ///
    /// # Errors
    /// When the database refuses, or automerge refuses our own statements.
    pub async fn document(&self, realm: &RealmId, package: &PackageId) -> Result<Vec<u8>, Error> {
        let inner = Arc::clone(&self.inner);
        let document = document_id(realm, package);
        let Current { saved, statements, cached } =
            blocking(move || current(&inner, &document)).await?;
        if cached {
            return Ok(saved);
        }
        let realm = *realm;
        let keep = move |_: &Inner, txn: &redb::WriteTransaction| {
            // An unfollow may have come between the reading and the writer's turn.
            let followed = txn.table(tables::FOLLOWED)?.get(realm.0.as_bytes())?.is_some();
            if followed {
                let row = (DOCUMENT_VERSION, statements, saved.as_slice());
                txn.open_table(tables::AM_DOC)?.insert(&document, row)?;
            }
            Ok((saved, followed))
        };
        // Another shape of the same statements: nothing is rendered from it.
        let scope = |(_, followed): &(_, bool)| followed.then(Scope::none);
        let (saved, _) = self.write_scoped(scope, keep, |_, _| {}).await?;
        Ok(saved)
    }

    /// How often automerge was given statements since the store was opened.
    #[must_use]
    pub fn document_applies(&self) -> u64 {
        self.inner.document_applies.load(Ordering::Relaxed)
    }
}

fn current(inner: &Inner, document: &[u8; 32]) -> Result<Current, Error> {
    let txn = inner.read()?;
    let statements = of_package(&txn, document)?;
    let count = statements.len() as u64;
    if statements.is_empty() {
        // Nothing to keep: or whoever asks for names at random would fill the cache.
        return Ok(Current { saved: Document::new().save(), statements: 0, cached: true });
    }
    let cache = load(&txn, document)?;
    if let Some((_, saved, applied)) = &cache
        && *applied == count
    {
        return Ok(Current { saved: saved.clone(), statements: count, cached: true });
    }
    let mut current = cache.map_or_else(Document::new, |(loaded, _, _)| loaded);
    inner.document_applies.fetch_add(1, Ordering::Relaxed);
    current.extend(&statements).map_err(|why| Error::unreadable("automerge document", why))?;
    Ok(Current { saved: current.save(), statements: count, cached: false })
}

/// Whether a saved document, brought up to date, is the one that the statements make. One that is
/// not there is; so is one of another version, which nobody will read.
pub(super) fn is_sound(txn: &impl Tables, document: &[u8; 32]) -> Result<bool, Error> {
    let table = txn.table(tables::AM_DOC)?;
    let Some(row) = table.get(document)? else { return Ok(true) };
    let (version, applied, saved) = row.value();
    if version != DOCUMENT_VERSION {
        return Ok(true);
    }
    let statements = of_package(txn, document)?;
    let mut fresh = Document::new();
    fresh.extend(&statements).map_err(|why| Error::unreadable("automerge document", why))?;
    let Ok(mut loaded) = Document::load(saved) else { return Ok(false) };
    let count = statements.len() as u64;
    // One that lags behind is extended when it is looked at.
    let is_read = applied < count && loaded.extend(&statements).is_ok() || applied == count;
    Ok(is_read && loaded.heads() == fresh.heads())
}

/// The saved document, if it is of this version and loads.
fn load(txn: &impl Tables, document: &[u8; 32]) -> Result<Option<(Document, Vec<u8>, u64)>, Error> {
    let table = txn.table(tables::AM_DOC)?;
    let Some(row) = table.get(document)? else { return Ok(None) };
    let (version, applied, saved) = row.value();
    if version != DOCUMENT_VERSION {
        return Ok(None);
    }
    match Document::load(saved) {
        Ok(loaded) => Ok(Some((loaded, saved.to_vec(), applied))),
        Err(why) => {
            tracing::warn!(%why, "a saved document does not load: it is built anew");
            Ok(None)
        }
    }
}
