//! How verified statements enter the store: one transaction a batch.
//!
//! The unit is the pair (statement, signer). A pair that is new gets the next admission sequence,
//! its place in its collection, that collection's fingerprint and the log; then each package that
//! was touched is derived once, all of a realm's if its authority changed. Everything becomes
//! visible and durable together, and automerge has no part in it. A batch without anything new
//! costs no write.
//!
//! What is not taken is counted and can come again later: statements of realms that are not
//! followed; and what a stranger signed, a key that no root of the realm names, beyond
//! [`STRANGER_ITEMS_MAX`] pairs or [`STRANGER_BYTES_MAX`] a realm, so that nobody unknown can fill
//! a realm. While the genesis lacks, everybody is unknown and [`UNFOUNDED_ITEMS_MAX`] holds. Of the
//! 16 signatures of a statement known keys have the first claim. Statements of known keys are
//! never dropped.
//!
//! Source: trust.md sections 5 (step 0) and 12, index.md sections 2.5 and 2.6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::reconcile::Fingerprint;
use crdt::statement::MAX_SIGNATURES;
use crdt::{Body, Collection, Item, PackageId, PublicKey, RealmId, Signature, Statement, Verified};
use redb::{ReadableTable, WriteTransaction};

use super::authority::{Standing, extend_chain_pin};
use super::statements::{IDS, document_id, keep_cursor, named, signatures};
use super::tables::{self, Tables};
use super::{Admission, Error, Inner, NewItem, Store, blocking, collections, views};

/// Pairs by strangers that are kept of a realm.
pub(super) const STRANGER_ITEMS_MAX: u64 = 32;
/// Bytes of statements by strangers that are kept of a realm.
pub(super) const STRANGER_BYTES_MAX: u64 = 64 << 10;
/// Pairs that are kept of a realm whose genesis lacks.
pub(super) const UNFOUNDED_ITEMS_MAX: u64 = 4096;

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
            Batch::admit(inner, txn, batch, cursor, ignored)
        };
        let after = |inner: &Inner, done: &Done| {
            inner.forget_standings(&done.rooted);
            if !done.admission.new.is_empty() {
                // Without subscribers there is nobody to tell.
                let _ = inner.admissions.send(Arc::new(done.admission.clone()));
            }
        };
        Ok(self.write_if(|done: &Done| done.changed, change, after).await?.admission)
    }
}

/// Drops what is known or not followed, before the writer is bothered. Roots come first.
fn sift(inner: &Inner, batch: Vec<Verified>) -> Result<(Vec<Verified>, usize), Error> {
    let txn = inner.read()?;
    let followed = txn.table(tables::FOLLOWED)?;
    let (mut kept, mut ignored) = (Vec::new(), 0);
    for verified in batch {
        if followed.get(verified.statement().realm().0.as_bytes())?.is_none() {
            ignored += verified.signatures().len();
        } else if has_news(&txn, &verified)? {
            kept.push(verified);
        }
    }
    kept.sort_by_key(|verified| match verified.statement().body() {
        Body::Root(root) => root.epoch,
        _ => u64::MAX,
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
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// A batch that went through.
pub(super) struct Done {
    pub(super) admission: Admission,
    /// Whether there is anything to commit.
    changed: bool,
    /// Realms that got a root.
    rooted: BTreeSet<RealmId>,
}

/// One batch on its way through the writer.
pub(super) struct Batch<'t> {
    inner: &'t Inner,
    txn: &'t WriteTransaction,
    sequence: u64,
    standings: BTreeMap<RealmId, Arc<Standing>>,
    states: BTreeMap<Collection, Fingerprint>,
    packages: BTreeSet<(RealmId, PackageId)>,
    /// Pairs and bytes by strangers.
    strangers: BTreeMap<RealmId, (u64, u64)>,
    /// Realms that got a root, with their authority before.
    rooted: BTreeMap<RealmId, Arc<Standing>>,
    changed: bool,
    admission: Admission,
}

impl<'t> Batch<'t> {
    /// Everything but the commit.
    pub(super) fn admit(
        inner: &'t Inner,
        txn: &'t WriteTransaction,
        batch: Vec<Verified>,
        cursor: Option<Cursor>,
        ignored: usize,
    ) -> Result<Done, Error> {
        let mut this = Self {
            inner,
            txn,
            sequence: txn.meta(tables::META_SEQUENCE)?,
            standings: BTreeMap::new(),
            states: BTreeMap::new(),
            packages: BTreeSet::new(),
            strangers: BTreeMap::new(),
            rooted: BTreeMap::new(),
            changed: cursor.is_some(),
            admission: Admission { new: Vec::new(), ignored },
        };
        for verified in &batch {
            this.statement(verified)?;
        }
        this.finish()?;
        if let Some((peer, epoch, sequence)) = cursor {
            keep_cursor(txn, &peer, epoch, sequence)?;
        }
        let Self { admission, changed, rooted, .. } = this;
        Ok(Done { admission, changed, rooted: rooted.into_keys().collect() })
    }

    /// Admits what is new of one statement.
    fn statement(&mut self, verified: &Verified) -> Result<(), Error> {
        let statement = verified.statement();
        let realm = statement.realm();
        // An unfollow may have come between the sifting and the writer's turn.
        if self.txn.table(tables::FOLLOWED)?.get(realm.0.as_bytes())?.is_none() {
            self.admission.ignored += verified.signatures().len();
            return Ok(());
        }
        let standing = self.standing(&realm)?;
        let held = signatures(self.txn, &statement.id())?;
        let mut signers: BTreeSet<PublicKey> = held.keys().copied().collect();
        let vouched = vouched(&standing, statement, &held, verified);
        let known = |key: &PublicKey| standing.knows(key) || vouched.contains(key);
        let (first, last): (Vec<_>, Vec<_>) =
            verified.signatures().iter().partition(|(key, _)| known(key));
        let before = self.admission.new.len();
        for (key, signature) in first.into_iter().chain(last) {
            // One that was held may have made room for a known key a moment ago.
            match held.get(key).filter(|_| signers.contains(key)) {
                Some(old) if *old <= *signature => {}
                Some(_) => self.put_signature(statement, key, signature)?,
                None => {
                    let stranger = !known(key);
                    if self.make_room(statement, &mut signers, stranger, &known)? {
                        self.pair(statement, key, signature, stranger)?;
                        signers.insert(*key);
                    } else {
                        self.admission.ignored += 1;
                    }
                }
            }
        }
        if self.admission.new.len() > before {
            self.file(statement, held.is_empty())?;
        }
        Ok(())
    }

    /// Whether another signature may be kept; a stranger's makes room for a known key's.
    fn make_room(
        &mut self,
        statement: &Statement,
        signers: &mut BTreeSet<PublicKey>,
        stranger: bool,
        known: &impl Fn(&PublicKey) -> bool,
    ) -> Result<bool, Error> {
        if signers.len() < MAX_SIGNATURES {
            return Ok(!stranger || self.has_room_for_stranger(statement)?);
        }
        let weakest = signers.iter().rev().find(|key| !known(key)).copied();
        match weakest {
            Some(weakest) if !stranger => {
                signers.remove(&weakest);
                self.evict(statement, weakest)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Counts a stranger's pair, if the realm has room for it.
    fn has_room_for_stranger(&mut self, statement: &Statement) -> Result<bool, Error> {
        let realm = statement.realm();
        let (items, bytes) = match self.strangers.get(&realm) {
            Some(sums) => *sums,
            None => stranger_sums(self.txn, &realm)?,
        };
        let sums = (items + 1, bytes.saturating_add(statement.payload().len() as u64));
        let fits = if self.standing(&realm)?.is_founded() {
            sums.0 <= STRANGER_ITEMS_MAX && sums.1 <= STRANGER_BYTES_MAX
        } else {
            sums.0 <= UNFOUNDED_ITEMS_MAX
        };
        self.strangers.insert(realm, if fits { sums } else { (items, bytes) });
        Ok(fits)
    }

    /// A new pair: signature, collection, fingerprint, log.
    fn pair(
        &mut self,
        statement: &Statement,
        key: &PublicKey,
        signature: &Signature,
        stranger: bool,
    ) -> Result<(), Error> {
        self.sequence += 1;
        self.put_signature(statement, key, signature)?;
        let item = Item { id: statement.id(), key: *key };
        let (id, key) = (item.id.0.as_bytes(), item.key.as_bytes());
        let collection = statement.collection();
        let name = (collection.id(), item.hash());
        self.txn.open_table(tables::COLL)?.insert((name.0.0.as_bytes(), &name.1), (id, key))?;
        self.state(&collection)?.add(&item);
        let realm = statement.realm();
        let part = collections::part(&collection);
        let entry = (realm.0.as_bytes(), part.as_str(), id, key);
        self.txn.open_table(tables::LOG)?.insert(self.sequence, entry)?;
        if stranger {
            let size = statement.payload().len() as u64;
            self.txn.open_table(tables::STRANGER)?.insert((realm.0.as_bytes(), id, key), size)?;
        }
        let package = statement.package().cloned();
        let new = NewItem { sequence: self.sequence, collection, item, package };
        self.admission.new.push(new);
        Ok(())
    }

    fn put_signature(
        &mut self,
        statement: &Statement,
        key: &PublicKey,
        signature: &Signature,
    ) -> Result<(), Error> {
        self.changed = true;
        let row = (statement.id(), key.as_bytes());
        self.txn.open_table(tables::SIG)?.insert((row.0.0.as_bytes(), row.1), &signature.0)?;
        Ok(())
    }

    /// Takes a stranger's pair out of everything but the log, whose readers skip it.
    fn evict(&mut self, statement: &Statement, key: PublicKey) -> Result<(), Error> {
        let item = Item { id: statement.id(), key };
        let (id, key) = (item.id.0.as_bytes(), item.key.as_bytes());
        let collection = statement.collection();
        let name = (collection.id(), item.hash());
        self.txn.open_table(tables::SIG)?.remove((id, key))?;
        self.txn.open_table(tables::COLL)?.remove((name.0.0.as_bytes(), &name.1))?;
        self.txn.open_table(tables::STRANGER)?.remove((statement.realm().0.as_bytes(), id, key))?;
        self.strangers.remove(&statement.realm());
        self.state(&collection)?.remove(&item);
        Ok(())
    }

    /// Files a statement that got a pair, and notes what must be derived again.
    fn file(&mut self, statement: &Statement, is_new: bool) -> Result<(), Error> {
        let (id, realm) = (statement.id(), statement.realm());
        if is_new {
            let row = (statement.kind(), statement.payload());
            self.txn.open_table(tables::STMT)?.insert(id.0.as_bytes(), row)?;
            for it in named(statement) {
                let key = (it.digest.as_bytes(), id.0.as_bytes());
                self.txn.open_table(tables::ARTIFACT)?.insert(key, ())?;
            }
        }
        if let Some(package) = statement.package() {
            if is_new {
                let document = document_id(&realm, package);
                let name = (realm.0.as_bytes(), package.format.as_str(), package.name.as_str());
                self.txn.open_table(tables::DOC_STMT)?.insert((&document, id.0.as_bytes()), ())?;
                self.txn.open_table(tables::DOC)?.insert(name, &document)?;
            }
            self.packages.insert((realm, package.clone()));
        }
        if let Body::Root(_) = statement.body() {
            let before = self.standing(&realm)?;
            self.rooted.entry(realm).or_insert(before);
            self.standings.remove(&realm);
        }
        Ok(())
    }

    /// The realm's authority, with the roots of this batch so far.
    fn standing(&mut self, realm: &RealmId) -> Result<Arc<Standing>, Error> {
        if let Some(standing) = self.standings.get(realm) {
            return Ok(Arc::clone(standing));
        }
        let standing = if self.rooted.contains_key(realm) {
            Arc::new(Standing::compute(self.txn, realm)?)
        } else {
            self.inner.standing(realm)?
        };
        self.standings.insert(*realm, Arc::clone(&standing));
        Ok(standing)
    }

    fn state(&mut self, collection: &Collection) -> Result<&mut Fingerprint, Error> {
        if !self.states.contains_key(collection) {
            let state = collections::state(self.txn, collection)?;
            self.states.insert(collection.clone(), state);
        }
        Ok(self.states.entry(collection.clone()).or_insert_with(Fingerprint::empty))
    }

    /// Writes what was gathered and derives what was touched.
    fn finish(&mut self) -> Result<(), Error> {
        for (collection, state) in &self.states {
            collections::set_state(self.txn, collection, state)?;
        }
        tables::set_meta(self.txn, tables::META_SEQUENCE, self.sequence)?;
        let rooted: Vec<_> = self.rooted.iter().map(|(realm, old)| (*realm, old.clone())).collect();
        for (realm, before) in rooted {
            let after = self.standing(&realm)?;
            extend_chain_pin(self.txn, &after.authority)?;
            recognise(self.txn, &realm, &after)?;
            if after.authority != before.authority {
                let all = views::packages_of(self.txn, &realm)?;
                self.packages.extend(all.into_iter().map(|package| (realm, package)));
            }
        }
        for (realm, package) in std::mem::take(&mut self.packages) {
            let standing = self.standing(&realm)?;
            views::derive(self.inner, self.txn, &standing.authority, &package)?;
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
    if is_genesis || signers.any(|key| standing.knows(key)) {
        root.roots.iter().copied().collect()
    } else {
        BTreeSet::new()
    }
}

/// Pairs and bytes that strangers have in a realm.
fn stranger_sums(txn: &WriteTransaction, realm: &RealmId) -> Result<(u64, u64), Error> {
    let table = txn.table(tables::STRANGER)?;
    let realm = realm.0.as_bytes();
    let mut sums = (0, 0);
    for row in table.range((realm, &IDS.0, &[0; 33])..=(realm, &IDS.1, &[0xff; 33]))? {
        sums = (sums.0 + 1, row?.1.value().saturating_add(sums.1));
    }
    Ok(sums)
}

/// Strangers no more: their pairs stop counting against the limit.
fn recognise(txn: &WriteTransaction, realm: &RealmId, standing: &Standing) -> Result<(), Error> {
    let mut table = txn.open_table(tables::STRANGER)?;
    let realm = realm.0.as_bytes();
    table
        .retain_in((realm, &IDS.0, &[0; 33])..=(realm, &IDS.1, &[0xff; 33]), |(_, _, key), _| {
            PublicKey::admit(key).is_ok_and(|key| !standing.knows(&key))
        })?;
    Ok(())
}
