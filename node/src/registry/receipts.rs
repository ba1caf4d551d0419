//! Receipts: signed for what this node fetched itself, and whose word is believed.
//!
//! Believed is a mirror that the site's realm grants and that was accepted here (of the own realm:
//! every one that it grants), or two that the site lists and that agree. What is believed serves
//! while the upstream cannot be reached; once it can, it is asked, and what it contradicts is an
//! alarm (`review`). A receipt is never issued for what a peer merely said.
//!
//! Source: DESIGN section 4; trust.md section 10.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crdt::statement::{
    MAX_CONTENT_TYPE_BYTES, MAX_COUNTER, MAX_DOCUMENT_BYTES, MAX_VALIDATOR_BYTES, Receipt, Subject,
    Via,
};
use crdt::{Authority, Body, Digest, PackageId, PublicKey, RealmId, Statement, Verified};

use futures::FutureExt as _;

use super::background::Job;
use super::{Error, Registry, freshness};
use crate::store::BlobInfo;
use crate::store::cached::{CachedBy, CachedDocument};
use crate::store::receipts::{HeldReceipt, believed_mirrors};

/// Receipts that wait to be signed; more are signed when their document is next confirmed.
const WAITING_MAX: usize = 4096;
/// Seconds after which an unchanged document gets a new receipt.
const AGAIN_AFTER_S: u64 = 24 * 60 * 60;
/// Documents that are looked at in one go for receipts that a kill took, and the pause between two:
/// an install comes first.
const LOOKED_AT_ONCE: usize = 128;
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Agreeing mirrors that are needed where none alone was accepted.
const AGREEING_MIN: usize = 2;
/// How far, in seconds, a mirror's clock may be ahead of this node's.
const CLOCKS_APART_S: u64 = 24 * 60 * 60;

/// A receipt that waits, and the package whose name the grant must cover.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) package: PackageId,
    pub(super) receipt: Receipt,
}

/// Receipts that wait for the next batch.
#[derive(Debug, Default)]
pub(super) struct Unsigned(Mutex<Vec<Waiting>>);

/// A receipt that is believed, and on whose word.
#[derive(Debug, Clone)]
pub(super) struct Believed {
    pub(super) receipt: Receipt,
    pub(super) by: CachedBy,
}

impl Registry {
    /// Puts a receipt into the next batch. Texts that no statement can carry are left out.
    pub(super) fn issue(&self, package: &PackageId, receipt: Receipt) {
        if receipt.subject.document.len() > MAX_DOCUMENT_BYTES {
            return;
        }
        let fits = |text: &Option<String>| {
            text.as_ref().is_none_or(|text| text.len() <= MAX_VALIDATOR_BYTES && is_plain(text))
        };
        let etag = receipt.etag.clone().filter(|_| fits(&receipt.etag));
        let last_modified = receipt.last_modified.clone().filter(|_| fits(&receipt.last_modified));
        let content_type = receipt.content_type.clone();
        let carried = content_type.len() <= MAX_CONTENT_TYPE_BYTES && is_plain(&content_type);
        let content_type = if carried { content_type } else { String::new() };
        let receipt = Receipt { etag, last_modified, content_type, ..receipt };
        let mut waiting = self.inner.unsigned.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(Waiting { package: package.clone(), receipt });
        }
    }

    /// The next batch, if anything waits.
    pub(super) fn receipts_to_sign(&self) -> Option<Job> {
        let mut waiting = self.inner.unsigned.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut *waiting);
        let this = self.clone();
        Some(Box::pin(async move {
            if let Err(error) = this.sign_receipts(batch).await {
                tracing::warn!(%error, "could not sign receipts");
            }
        }))
    }

    /// Signs in the site's realm what it grants this node to say, in one admission.
    async fn sign_receipts(&self, batch: Vec<Waiting>) -> Result<(), Error> {
        let realm = self.site_realm()?;
        let authority = self.inner.store.authority(&realm)?;
        let mirror = self.inner.mirror.public();
        let mut signed: BTreeMap<Subject, Verified> = BTreeMap::new();
        for Waiting { package, receipt } in batch {
            if !is_mirror(&authority, &mirror, &package) {
                continue;
            }
            let Some(n) = self.next_number(&realm, &receipt)? else { continue };
            let subject = receipt.subject.clone();
            let body = Body::Receipt(Receipt { n, ..receipt });
            let statement = Statement::new(realm, None, body)?;
            signed.insert(subject, Verified::sign(statement, &[&self.inner.mirror]));
        }
        if !signed.is_empty() {
            self.inner.store.admit(signed.into_values().collect(), None).await?;
        }
        Ok(())
    }

    /// The number of the next receipt for the document, or `None` if the last one still says it
    /// all.
    fn next_number(&self, realm: &RealmId, receipt: &Receipt) -> Result<Option<u64>, Error> {
        let mirror = self.inner.mirror.public();
        let held = self.inner.store.receipts(realm, &receipt.subject)?;
        let own = held.into_iter().filter(|held| held.author == mirror).map(|held| held.receipt);
        let Some(last) = own.max_by_key(|own| own.n) else {
            return Ok(Some(self.inner.store.next_counter(0)?));
        };
        let age = receipt.fetched_at.checked_sub(last.fetched_at);
        if last.blake3 == receipt.blake3 && age.is_some_and(|age| age < AGAIN_AFTER_S) {
            return Ok(None);
        }
        if last.n >= MAX_COUNTER {
            return Ok(None);
        }
        Ok(Some(self.inner.store.next_counter(last.n)?))
    }

    /// The receipts for a document (or file) of a package that are believed, the best first; each
    /// names other bytes.
    ///
    /// # Errors
    /// Conflict when only listed mirrors speak and no two of them agree, or when accepted ones
    /// contradict each other about a file.
    pub(super) fn believed(
        &self,
        package: &PackageId,
        subject: &Subject,
    ) -> Result<Vec<Believed>, Error> {
        let authority = self.inner.store.authority(&self.site_realm()?)?;
        let listed = self.listed(&authority, package, subject)?;
        let accepted = self.accepted_mirrors(&authority, &package.format)?;
        let (sure, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            listed.into_iter().partition(|(author, _)| accepted.contains(author));
        if subject.variant == super::sought::FILE_VARIANT && contents(&sure).len() > 1 {
            return Err(disagree(package, subject, &sure));
        }
        if sure.is_empty() {
            return Ok(agreement(package, subject, others)?.into_iter().collect());
        }
        // All of these are believed: the clock only says which is tried first. One that is ahead
        // of ours would be the first for ever, so it comes last.
        let now = freshness::now().saturating_add(CLOCKS_APART_S);
        let mut sure: Vec<_> = sure.into_iter().collect();
        sure.sort_by_key(|(_, one)| Reverse((one.fetched_at <= now, one.fetched_at)));
        let mut seen = BTreeSet::new();
        sure.retain(|(_, one)| seen.insert((one.blake3, one.size)));
        let word = |(author, receipt)| Believed { receipt, by: CachedBy::Receipt { author } };
        Ok(sure.into_iter().map(word).collect())
    }

    /// The newest receipt of each mirror that the site's realm grants the name.
    fn listed(
        &self,
        authority: &Authority,
        package: &PackageId,
        subject: &Subject,
    ) -> Result<BTreeMap<PublicKey, Receipt>, Error> {
        let mut listed: BTreeMap<PublicKey, Receipt> = BTreeMap::new();
        for origin in self.same_origins(&subject.format, &subject.origin)? {
            let subject = Subject { origin, ..subject.clone() };
            for HeldReceipt { author, receipt, .. } in
                self.inner.store.receipts(&authority.realm, &subject)?
            {
                if is_mirror(authority, &author, package) {
                    let known = listed.entry(author).or_insert_with(|| receipt.clone());
                    if receipt.fetched_at > known.fetched_at {
                        *known = receipt;
                    }
                }
            }
        }
        Ok(listed)
    }

    /// Whether what was taken on somebody's word may still be taken on it: a mirror that lost its
    /// grant, or that is not accepted here any more, has none.
    pub(super) fn is_believed(&self, package: &PackageId, by: &CachedBy) -> Result<bool, Error> {
        let (authors, needed) = match by {
            CachedBy::Upstream | CachedBy::Checksum => return Ok(true),
            CachedBy::Receipt { author } => (std::slice::from_ref(author), 1),
            CachedBy::Agreement { authors } => (authors.as_slice(), AGREEING_MIN),
        };
        let authority = self.inner.store.authority(&self.site_realm()?)?;
        let accepted = self.accepted_mirrors(&authority, &package.format)?;
        let listed = authors.iter().filter(|author| is_mirror(&authority, author, package));
        let listed: Vec<_> = listed.collect();
        let alone = listed.iter().any(|author| accepted.contains(author));
        Ok(alone || needed > 1 && listed.len() >= needed)
    }

    /// Keys whose receipts are believed alone for a format.
    fn accepted_mirrors(
        &self,
        authority: &Authority,
        format: &str,
    ) -> Result<BTreeSet<PublicKey>, Error> {
        let followed = self.inner.store.followed()?;
        let site = followed.into_iter().find(|followed| followed.realm == authority.realm);
        let believed = site.map(|site| believed_mirrors(&site, authority)).unwrap_or_default();
        let fits = |(key, of): (PublicKey, String)| (of == "*" || of == format).then_some(key);
        Ok(believed.into_iter().filter_map(fits).collect())
    }

    /// A receipt for a document that this node had from the upstream itself.
    pub(super) fn issue_for_document(&self, package: &PackageId, document: &CachedDocument) {
        if let Some(receipt) = receipt_for(document) {
            self.issue(package, receipt);
        }
    }

    /// Issues behind what a kill took: it may have come between a document and the receipt for it,
    /// and with the upstream gone nothing else would bring that about.
    pub(super) fn reissue_lost(&self) {
        let this = self.clone();
        let job = async move {
            if let Err(error) = this.look_for_lost().await {
                tracing::warn!(%error, "the receipts could not be looked through");
            }
        };
        let _ = self.inner.background.take_on_quietly(job.boxed());
    }

    async fn look_for_lost(&self) -> Result<(), Error> {
        let realm = self.site_realm()?;
        let mut after: Option<Subject> = None;
        loop {
            let page = self.inner.store.cached_documents_after(after.as_ref(), LOOKED_AT_ONCE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.subject.clone());
            for document in page.iter().filter(|document| document.by == CachedBy::Upstream) {
                let Some(receipt) = receipt_for(document) else { continue };
                if self.next_number(&realm, &receipt)?.is_some() {
                    let Subject { format, document, .. } = &receipt.subject;
                    let package = PackageId { format: format.clone(), name: document.clone() };
                    self.issue(&package, receipt);
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// A receipt for a file that this node had from the upstream itself.
    pub(super) fn issue_for_file(&self, package: &PackageId, subject: Subject, info: &BlobInfo) {
        let receipt = Receipt {
            subject,
            blake3: info.digest,
            size: info.size,
            content_type: String::new(),
            etag: None,
            last_modified: None,
            fetched_at: freshness::now(),
            via: Via::Tls,
            n: 0,
            checksums: Some(info.checksums.clone()),
        };
        self.issue(package, receipt);
    }
}

/// What a mirror says of a document that is there; numbered when it is signed.
fn receipt_for(document: &CachedDocument) -> Option<Receipt> {
    Some(Receipt {
        subject: document.subject.clone(),
        blake3: document.body?,
        size: document.size,
        content_type: document.content_type.clone(),
        etag: document.etag.clone(),
        last_modified: document.last_modified.clone(),
        fetched_at: document.checked_at,
        via: Via::Tls,
        n: 0,
        checksums: None,
    })
}

/// Whether the realm grants the key to speak about documents of the package.
fn is_mirror(authority: &Authority, key: &PublicKey, package: &PackageId) -> bool {
    let grants = authority.matching("mirror", &package.format, &package.name);
    grants.iter().any(|grant| grant.to == crdt::statement::Grantee::Key(*key))
}

/// Two or more that agree; of several such groups the one that was heard last.
fn agreement(
    package: &PackageId,
    subject: &Subject,
    others: BTreeMap<PublicKey, Receipt>,
) -> Result<Option<Believed>, Error> {
    let best = contents(&others)
        .into_values()
        .filter(|agreeing| agreeing.len() >= AGREEING_MIN)
        .max_by_key(|agreeing| agreeing.iter().map(|(_, one)| one.fetched_at).max());
    if let Some(agreeing) = best {
        let authors = agreeing.iter().map(|(author, _)| **author).collect();
        let receipt = agreeing.first().map(|(_, receipt)| (*receipt).clone());
        let by = CachedBy::Agreement { authors };
        return Ok(receipt.map(|receipt| Believed { receipt, by }));
    }
    if others.len() >= AGREEING_MIN {
        return Err(disagree(package, subject, &others));
    }
    Ok(None)
}

/// Receipts by the bytes that they name.
fn contents(
    receipts: &BTreeMap<PublicKey, Receipt>,
) -> BTreeMap<(Digest, u64), Vec<(&PublicKey, &Receipt)>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (author, receipt) in receipts {
        found.entry((receipt.blake3, receipt.size)).or_default().push((author, receipt));
    }
    found
}

fn disagree(
    package: &PackageId,
    subject: &Subject,
    receipts: &BTreeMap<PublicKey, Receipt>,
) -> Error {
    let said: Vec<String> = receipts
        .iter()
        .map(|(author, one)| format!("{author} says {}", &one.blake3.to_hex()[..12]))
        .collect();
    let PackageId { format, name } = package;
    Error::conflict(format!(
        "{name}: the upstream is out of reach, and the mirrors' receipts for {} do not agree ({}), \
         so none is believed",
        subject.document,
        said.join(", ")
    ))
    .with_hint(format!("griot why {name} --format {format}"))
}

/// Whether a statement can carry the text.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| !c.is_control())
}
