//! Lists of seals and revocations whose ids lie in a blob of their own.
//!
//! A list too long for its statement is a blob. While it is not held, what it says is not yet
//! known; it is read once, when it comes, and what hangs on it is derived. One that came while the
//! node was being stopped is read at its next start. One that is no list, or of another length than
//! the statement says, names nothing. It stays as long as the statement: see `quota`.
//!
//! Does not fetch: `registry` does, of what [`Store::wanted_lists`] names.
//!
//! Source: trust.md section 3.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::statement::{BlobRef, IdList};
use crdt::{Digest, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};

use super::admission::Batch;
use super::rulings::{IDLE, UNREAD};
use super::statements::{IDS, list_of, load_statement, public_key};
use super::tables::{self, Tables};
use super::{Error, Inner, Store, blob, blocking};

/// What a list names, if that is known. One that is no list names nothing.
pub(super) fn read(
    inner: &Inner,
    txn: &impl Tables,
    list: &IdList,
) -> Result<Option<Vec<StatementId>>, Error> {
    let (digest, count) = match list {
        IdList::Inline(ids) => return Ok(Some(ids.clone())),
        IdList::Blob { digest, count } => (digest, *count),
    };
    let Some(info) = blob::record(txn, digest)? else { return Ok(None) };
    if Some(info.size) != list.blob().map(|blob| blob.size) {
        return Ok(Some(Vec::new()));
    }
    // Where a bucket has it, a copy comes first: see `Store::take_list`.
    let Ok(bytes) = fs_err::read(inner.paths.blob(digest)) else { return Ok(None) };
    if bytes.len() as u64 != info.size {
        return Ok(None);
    }
    let ids = IdList::read(&bytes).ok().filter(|ids| ids.len() as u64 == count);
    if ids.is_none() {
        tracing::warn!(%digest, "the blob of a list is no list: it names nothing");
    }
    Ok(Some(ids.unwrap_or_default()))
}

/// A blob that seals or revocations have for their list.
struct Listed {
    realm: RealmId,
    statement: StatementId,
    state: u64,
    blob: BlobRef,
}

/// All of them of a realm, or of one blob.
fn listed(txn: &impl Tables, of: Option<&Digest>) -> Result<Vec<Listed>, Error> {
    let (low, high) = of.map_or((&IDS.0, &IDS.1), |digest| (digest.as_bytes(), digest.as_bytes()));
    let states = txn.table(tables::AUTHORITY)?;
    let mut found = Vec::new();
    for row in txn.table(tables::LIST)?.range((low, &IDS.0)..=(high, &IDS.1))? {
        let (key, realm) = row?;
        let (digest, id) = (*key.value().0, *key.value().1);
        let statement = StatementId(Digest::from_bytes(id));
        let Some(held) = load_statement(txn, &statement)? else { continue };
        let blob = list_of(&held);
        let state = states.get((realm.value(), held.kind(), &id))?.map_or(IDLE, |it| it.value());
        let realm = RealmId(Digest::from_bytes(*realm.value()));
        let digest = Digest::from_bytes(digest);
        if let Some(blob) = blob.filter(|blob| blob.digest == digest) {
            found.push(Listed { realm, statement, state, blob });
        }
    }
    Ok(found)
}

/// Whether a seal or a revocation has the blob for its list: it stays as long as they do.
pub(super) fn is_list(txn: &impl Tables, digest: &Digest) -> Result<bool, Error> {
    let digest = digest.as_bytes();
    let table = txn.table(tables::LIST)?;
    let mut rows = table.range((digest, &IDS.0)..=(digest, &IDS.1))?;
    Ok(rows.next().transpose()?.is_some())
}

impl Store {
    /// Blobs of lists in seals and revocations that count and are not held: what they say is not
    /// yet known. Sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn missing_lists(&self, realm: &RealmId) -> Result<Vec<BlobRef>, Error> {
        self.reading(|txn| {
            let missing = listed(txn, None)?.into_iter();
            let missing = missing.filter(|it| it.realm == *realm && it.state == UNREAD);
            let mut missing: Vec<BlobRef> = missing.map(|it| it.blob).collect();
            missing.sort_unstable_by_key(|blob| blob.digest);
            missing.dedup();
            Ok(missing)
        })
    }

    /// Blobs of lists that are to be fetched, or read where a bucket has them: of what counts, and
    /// of what a root key of the realm has signed, so that the others can look at it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn wanted_lists(&self) -> Result<Vec<BlobRef>, Error> {
        let all = self.reading(|txn| listed(txn, None))?;
        let mut wanted = BTreeMap::new();
        for Listed { realm, statement, state, blob } in all {
            let is_held = self.blob(&blob.digest)?.is_some();
            if state == UNREAD
                || state == IDLE && !is_held && self.is_by_root(&realm, &statement)?
            {
                wanted.insert(blob.digest, blob);
            }
        }
        Ok(wanted.into_values().collect())
    }

    fn is_by_root(&self, realm: &RealmId, statement: &StatementId) -> Result<bool, Error> {
        let standing = self.inner.standing(realm)?;
        let mut roots = standing.authority().epochs.iter().flat_map(|epoch| &epoch.roots);
        let signers = self.reading(|txn| {
            let keys = txn.table(tables::SIG)?;
            let id = statement.0.as_bytes();
            let mut signers = BTreeSet::new();
            for row in keys.range((id, &[0; 33])..=(id, &[0xff; 33]))? {
                signers.insert(public_key(row?.0.value().1)?);
            }
            Ok(signers)
        })?;
        Ok(roots.any(|root| signers.contains(root)))
    }

    /// Reads the blob of a list that is held, wherever it lies; what it says counts then.
    ///
    /// # Errors
    /// When the database refuses, or a bucket does not give it.
    pub async fn take_list(&self, digest: &Digest) -> Result<(), Error> {
        if self.open_blob(digest).await?.is_some() {
            self.lists_came(vec![*digest]).await?;
        }
        Ok(())
    }

    /// These blobs have come: what hangs on lists among them is derived.
    pub(super) async fn lists_came(&self, digests: Vec<Digest>) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        let unread = blocking(move || {
            let txn = inner.read()?;
            let mut unread = Vec::new();
            for digest in digests {
                if is_list(&txn, &digest)? {
                    let of_blob = listed(&txn, Some(&digest))?.into_iter();
                    unread.extend(of_blob.filter(|it| it.state == UNREAD));
                }
            }
            Ok(unread)
        });
        let unread = unread.await?;
        if unread.is_empty() {
            return Ok(());
        }
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let mut batch = Batch::new(inner, txn)?;
            unread.iter().for_each(|it| batch.judge_anew(it.realm, it.statement));
            batch.finish()
        };
        let done = self.write(change, |inner, done| done.tell(inner)).await?;
        done.tell_of_packages(&self.inner);
        Ok(())
    }
}

/// Lists that came while the node was being stopped are read at its start.
pub(super) fn read_left_over(inner: &Inner) -> Result<(), Error> {
    let txn = inner.read()?;
    let mut held = Vec::new();
    for it in listed(&txn, None)? {
        if it.state == UNREAD && blob::record(&txn, &it.blob.digest)?.is_some() {
            held.push(it);
        }
    }
    drop(txn);
    if held.is_empty() {
        return Ok(());
    }
    let txn = inner.begin_write()?;
    let mut batch = Batch::new(inner, &txn)?;
    held.iter().for_each(|it| batch.judge_anew(it.realm, it.statement));
    let done = batch.finish()?;
    txn.commit()?;
    done.tell(inner);
    Ok(())
}
