//! How verified statements enter the store: one transaction a batch.
//!
//! The unit is the pair (statement, signer). A pair that is new gets the next admission sequence,
//! its place in its collection, that collection's fingerprint and the log (`pairs`); then each
//! package that was touched is derived once (`settling`). Everything becomes visible and durable
//! together, and automerge has no part in it. A batch without anything new costs no write.
//!
//! What is not taken is counted and can come again later: statements of realms that are not
//! followed, and what finds no room (`room`).
//!
//! Of an author's receipts for one document the newest stays and the one before it leaves; one that
//! comes too late is not news, and one whose counter has no effect is never taken.
//!
//! Source: trust.md sections 5 (step 0) and 12, index.md sections 2.5 and 2.6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::reconcile::Fingerprint;
use crdt::{
    Body, Collection, PackageId, PublicKey, RealmId, Signature, Statement, StatementId, Verified,
};
use redb::{ReadableTable, WriteTransaction};

use super::authority::Standing;
use super::changes::Scope;
use super::receipts::{self, Place};
use super::standings::Standings;
use super::statements::{keep_cursor, signatures};
use super::tables::{self, Tables};
use super::{Admission, Error, FollowKind, Followed, Inner, Store, blocking};

mod pairs;
mod room;
mod settling;

use pairs::Newcomer;
pub(super) use pairs::{counter, index};
pub use room::RealmLimit;
pub(super) use room::{RealmLimits, counts};
use room::{Receipts, Taken};
#[cfg(test)]
pub(super) use room::{STRANGER_BYTES_MAX, STRANGER_ITEMS_MAX, UNFOUNDED_ITEMS_MAX};
pub(super) use settling::Done;

/// Where a peer's log was read up to: peer id, its store epoch, its sequence.
type Cursor = (Vec<u8>, u64, u64);

impl Store {
    /// Admits verified statements in one commit.
    ///
    /// New (id, signer) pairs get a sequence; fingerprints, log, views and artifact rows follow in
    /// the same transaction. Statements of realms that are not followed are ignored (counted).
    /// `cursor`: a peer's id bytes, its epoch, its sequence; remembered in the same commit.
    ///
    /// # Errors
    /// When the disk or the database refuses: nothing was admitted then.
    pub async fn admit(
        &self,
        batch: Vec<Verified>,
        cursor: Option<Cursor>,
    ) -> Result<Admission, Error> {
        let inner = Arc::clone(&self.inner);
        let (batch, ignored) = blocking(move || sift(&inner, batch)).await?;
        if batch.is_empty() && cursor.is_none() {
            return Ok(Admission { new: Vec::new(), ignored });
        }
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let mut this = Batch::new(inner, txn)?;
            this.admission.ignored = ignored;
            this.admit(&batch)?;
            this.keep_cursor(cursor)?;
            this.finish()
        };
        let done = self.write_scoped(Done::scope, change, |inner, done| done.tell(inner)).await?;
        let new = done.admission.new.iter();
        let named: BTreeSet<_> = new.filter_map(|new| new.package.as_ref()).collect();
        named.into_iter().for_each(|package| self.inner.changes.touched(package.clone()));
        Ok(done.admission)
    }
}

/// Drops what is known, outdated or not followed, before the writer is bothered. Roots come first,
/// then the rest of authority: it has the first claim on the room that there is.
fn sift(inner: &Inner, batch: Vec<Verified>) -> Result<(Vec<Verified>, usize), Error> {
    let txn = inner.read()?;
    let followed = txn.table(tables::FOLLOWED)?;
    let (mut kept, mut ignored) = (Vec::new(), 0);
    for verified in batch {
        let statement = verified.statement();
        let is_kept = followed.get(statement.realm().0.as_bytes())?.is_some();
        if !is_kept || receipts::is_void(statement) {
            ignored += verified.signatures().len();
        } else if has_news(&txn, &verified)? {
            kept.push(verified);
        }
    }
    kept.sort_by_key(|verified| match verified.statement().body() {
        Body::Root(root) => (0, root.epoch),
        _ if matches!(verified.statement().collection(), Collection::Authority(_)) => (1, 0),
        _ => (2, 0),
    });
    Ok((kept, ignored))
}

/// Whether some pair is new, or some signature less than the one held.
fn has_news(txn: &impl Tables, verified: &Verified) -> Result<bool, Error> {
    let table = txn.table(tables::SIG)?;
    let id = verified.statement().id();
    for (key, signature) in verified.signatures() {
        match table.get((id.0.as_bytes(), key.as_bytes()))? {
            Some(held) if *held.value() <= signature.0 => {}
            None if receipts::place(txn, verified.statement(), key)? == Place::Outdated => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// One batch on its way through the writer.
pub(super) struct Batch<'t> {
    inner: &'t Inner,
    txn: &'t WriteTransaction,
    sequence: u64,
    standings: Standings<'t>,
    kinds: BTreeMap<RealmId, Option<FollowKind>>,
    states: BTreeMap<Collection, Fingerprint>,
    packages: BTreeSet<(RealmId, PackageId)>,
    /// Pairs and bytes by strangers.
    strangers: BTreeMap<RealmId, (u64, u64)>,
    receipts: BTreeMap<RealmId, Receipts>,
    taken: BTreeMap<RealmId, Taken>,
    /// Whether what this node signed itself is admitted: it has no peer to wait at.
    is_own: bool,
    /// Realms whose chain may be another one now.
    chained: BTreeSet<RealmId>,
    /// Seals and revocations that are to be judged anew.
    rulings: BTreeSet<(RealmId, StatementId)>,
    changed: bool,
    concerned: Scope,
    admission: Admission,
}

impl<'t> Batch<'t> {
    /// One that has changed nothing yet.
    pub(super) fn new(inner: &'t Inner, txn: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            inner,
            txn,
            sequence: txn.meta(tables::META_SEQUENCE)?,
            standings: Standings::new(inner, txn),
            kinds: BTreeMap::new(),
            states: BTreeMap::new(),
            packages: BTreeSet::new(),
            strangers: BTreeMap::new(),
            receipts: BTreeMap::new(),
            taken: BTreeMap::new(),
            is_own: false,
            chained: BTreeSet::new(),
            rulings: BTreeSet::new(),
            changed: false,
            concerned: Scope::none(),
            admission: Admission::default(),
        })
    }

    /// What this node has signed just now, all of it, whatever the limits of its realms are.
    pub(super) fn admit_own(
        inner: &'t Inner,
        txn: &'t WriteTransaction,
        statements: &[Verified],
    ) -> Result<Done, Error> {
        let mut this = Self::new(inner, txn)?;
        this.is_own = true;
        this.admit(statements)?;
        this.finish()
    }

    fn admit(&mut self, statements: &[Verified]) -> Result<(), Error> {
        statements.iter().try_for_each(|verified| self.statement(verified))
    }

    fn keep_cursor(&mut self, cursor: Option<Cursor>) -> Result<(), Error> {
        let Some((peer, epoch, sequence)) = cursor else { return Ok(()) };
        self.changed = true;
        keep_cursor(self.txn, &peer, epoch, sequence)
    }

    /// Why a realm's statements are kept, if they are.
    fn kind(&mut self, realm: &RealmId) -> Result<Option<FollowKind>, Error> {
        if let Some(kind) = self.kinds.get(realm) {
            return Ok(*kind);
        }
        let row = self.txn.table(tables::FOLLOWED)?;
        let row = row.get(realm.0.as_bytes())?;
        let row = row.map(|row| tables::decode::<Followed>("followed realm", row.value()));
        let kind = row.transpose()?.map(|followed| followed.kind);
        self.kinds.insert(*realm, kind);
        Ok(kind)
    }

    /// Admits what is new of one statement.
    fn statement(&mut self, verified: &Verified) -> Result<(), Error> {
        let statement = verified.statement();
        let realm = statement.realm();
        // An unfollow may have come between the sifting and the writer's turn.
        if self.kind(&realm)?.is_none() {
            self.admission.ignored += verified.signatures().len();
            return Ok(());
        }
        let standing = self.standing(&realm)?;
        if let Body::Beat(beat) = statement.body()
            && !standing.authority().admits(beat.counter)
        {
            // Of an epoch that nobody has heard of yet: it must not erase a good one.
            self.admission.ignored += verified.signatures().len();
            return Ok(());
        }
        let held = signatures(self.txn, &statement.id())?;
        let mut signers: BTreeSet<PublicKey> = held.keys().copied().collect();
        let vouched = vouched(&standing, statement, &held, verified);
        let known = |key: &PublicKey| standing.knows(key, statement) || vouched.contains(key);
        let (first, last): (Vec<_>, Vec<_>) =
            verified.signatures().iter().partition(|(key, _)| known(key));
        let mut gained = false;
        for (key, signature) in first.into_iter().chain(last) {
            // One that was held may have made room for a known key a moment ago.
            match held.get(key).filter(|_| signers.contains(key)) {
                Some(old) if *old <= *signature => continue,
                Some(_) => {
                    self.put_signature(statement, key, signature)?;
                    continue;
                }
                None => {}
            }
            let replaces = match receipts::place(self.txn, statement, key)? {
                Place::Outdated => continue,
                Place::Free => None,
                Place::After(latest) => Some(latest),
            };
            let is_stranger = !known(key);
            let is_new = held.is_empty() && !gained;
            let pair = Newcomer { statement, key, is_stranger, is_new, replaces };
            if self.make_room(&pair, &mut signers, &known)? {
                self.pair(&pair, signature)?;
                signers.insert(*key);
                gained = true;
            } else {
                self.admission.ignored += 1;
            }
        }
        if gained {
            self.file(statement, held.is_empty())?;
        }
        Ok(())
    }
}

/// Keys that a root brings with it: of the genesis its own, of a later root those it names, once a
/// known key has signed it. Without them nobody could succeed the roots of a realm at its limit.
fn vouched(
    standing: &Standing,
    statement: &Statement,
    held: &BTreeMap<PublicKey, Signature>,
    verified: &Verified,
) -> BTreeSet<PublicKey> {
    let Body::Root(root) = statement.body() else { return BTreeSet::new() };
    let is_genesis = statement.id().0 == statement.realm().0;
    let mut signers = held.keys().chain(verified.signatures().keys());
    if is_genesis || signers.any(|key| standing.names(key)) {
        root.roots.iter().copied().collect()
    } else {
        BTreeSet::new()
    }
}
