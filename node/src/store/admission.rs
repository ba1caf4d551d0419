//! How verified statements enter the store: one transaction a batch.
//!
//! The unit is the pair (statement, signer). A pair that is new gets the next admission sequence,
//! its place in its collection, that collection's fingerprint and the log; then each package that
//! was touched is derived once, all of a realm's if its authority changed. Everything becomes
//! visible and durable together, and automerge has no part in it. A batch without anything new
//! costs no write.
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
use crdt::{Body, Collection, Item, PackageId, PublicKey, RealmId, Signature, Statement, Verified};
use redb::{ReadableTable, WriteTransaction};

use super::authority::{Standing, extend_chain_pin};
use super::changes::Scope;
use super::receipts::{self, Latest, Place};
use super::statements::{digests, document_id, keep_cursor, load_statement, signatures};
use super::tables::{self, Tables};
use super::{Admission, Error, Inner, NewItem, Store, blocking, collections, kinds, views};

mod room;

use room::Receipts;
#[cfg(test)]
pub(super) use room::{STRANGER_BYTES_MAX, STRANGER_ITEMS_MAX, UNFOUNDED_ITEMS_MAX};

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
                inner.told_upto(&done.admission);
                // Without subscribers there is nobody to tell.
                let _ = inner.admissions.send(Arc::new(done.admission.clone()));
            }
        };
        let admission = self.write_scoped(Done::scope, change, after).await?.admission;
        let named: BTreeSet<_> =
            admission.new.iter().filter_map(|new| new.package.as_ref()).collect();
        named.into_iter().for_each(|package| self.inner.changes.touched(package.clone()));
        Ok(admission)
    }
}

/// Drops what is known, outdated or not followed, before the writer is bothered. Roots come first.
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
            None if receipts::place(txn, verified.statement(), key)? == Place::Outdated => {}
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
    /// Whose documents it concerns.
    pub(super) concerned: Scope,
    /// Realms that got a root.
    rooted: BTreeSet<RealmId>,
    /// Packages that were derived anew.
    pub(super) derived: BTreeSet<(RealmId, PackageId)>,
}

impl Done {
    fn scope(&self) -> Option<Scope> {
        self.changed.then(|| self.concerned.clone())
    }
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
    receipts: BTreeMap<RealmId, Receipts>,
    /// Realms that got a root, with their authority before.
    rooted: BTreeMap<RealmId, Arc<Standing>>,
    changed: bool,
    concerned: Scope,
    admission: Admission,
}

/// A pair that is not held yet.
struct Newcomer<'a> {
    statement: &'a Statement,
    key: &'a PublicKey,
    /// Whether no root of the realm lets the key say such a thing.
    is_stranger: bool,
    /// The author's receipt or beat whose place it takes.
    replaces: Option<Latest>,
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
            receipts: BTreeMap::new(),
            rooted: BTreeMap::new(),
            changed: cursor.is_some(),
            concerned: Scope::none(),
            admission: Admission { new: Vec::new(), ignored },
        };
        for verified in &batch {
            this.statement(verified)?;
        }
        this.finish()?;
        if let Some((peer, epoch, sequence)) = cursor {
            keep_cursor(txn, &peer, epoch, sequence)?;
        }
        let Self { admission, changed, concerned, rooted, packages: derived, .. } = this;
        Ok(Done { admission, changed, concerned, rooted: rooted.into_keys().collect(), derived })
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
        if let Body::Beat(beat) = statement.body()
            && !standing.authority.admits(beat.counter)
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
            let pair = Newcomer { statement, key, is_stranger: !known(key), replaces };
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

    /// A new pair: signature, collection, fingerprint, log; what it replaces leaves.
    fn pair(&mut self, pair: &Newcomer<'_>, signature: &Signature) -> Result<(), Error> {
        let Newcomer { statement, key, is_stranger, replaces } = pair;
        if let Some(old) = replaces {
            self.replace(old, key)?;
            if !is_stranger {
                // It may have been one when it said the older.
                self.strangers.remove(&statement.realm());
            }
        }
        self.sequence += 1;
        self.put_signature(statement, key, signature)?;
        let item = Item { id: statement.id(), key: **key };
        let (id, key) = (item.id.0.as_bytes(), item.key.as_bytes());
        let collection = statement.collection();
        let name = (collection.id(), item.hash());
        self.txn.open_table(tables::COLL)?.insert((name.0.0.as_bytes(), &name.1), (id, key))?;
        self.state(&collection)?.add(&item);
        let realm = statement.realm();
        let part = collections::part(&collection);
        let entry = (realm.0.as_bytes(), part.as_str(), id, key);
        self.txn.open_table(tables::LOG)?.insert(self.sequence, entry)?;
        if *is_stranger {
            let size = statement.payload().len() as u64;
            self.txn.open_table(tables::STRANGER)?.insert((realm.0.as_bytes(), id, key), size)?;
        }
        receipts::keep(self.txn, statement, &item.key, self.sequence)?;
        if statement.receipt().is_some() {
            self.receipts(&realm)?.held += 1;
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
        self.concerned.join(Scope::of_statement(statement));
        let row = (statement.id(), key.as_bytes());
        kinds::around_all(self.txn, digests(statement), || {
            self.txn.open_table(tables::SIG)?.insert((row.0.0.as_bytes(), row.1), &signature.0)?;
            Ok(())
        })
    }

    /// Takes an author's earlier receipt out of everything, the log too: the statement, once nobody
    /// else stands behind it.
    fn replace(&mut self, old: &Latest, author: &PublicKey) -> Result<(), Error> {
        let Some(statement) = load_statement(self.txn, &old.id)? else { return Ok(()) };
        self.remove(&statement, author)?;
        self.txn.open_table(tables::LOG)?.remove(old.sequence)?;
        if signatures(self.txn, &old.id)?.is_empty() {
            self.txn.open_table(tables::STMT)?.remove(old.id.0.as_bytes())?;
        }
        // One that came and went in this batch was never there for those who are told of it.
        let new = &mut self.admission.new;
        if let Ok(at) = new.binary_search_by_key(&old.sequence, |new| new.sequence) {
            new.remove(at);
        }
        Ok(())
    }

    /// Takes a pair out of everything but the log, whose readers skip it.
    fn remove(&mut self, statement: &Statement, key: &PublicKey) -> Result<(), Error> {
        let item = Item { id: statement.id(), key: *key };
        let (id, key) = (item.id.0.as_bytes(), item.key.as_bytes());
        let (collection, realm) = (statement.collection(), statement.realm());
        self.concerned.join(Scope::of_statement(statement));
        let name = (collection.id(), item.hash());
        kinds::around_all(self.txn, digests(statement), || {
            self.txn.open_table(tables::SIG)?.remove((id, key))?;
            Ok(())
        })?;
        self.txn.open_table(tables::COLL)?.remove((name.0.0.as_bytes(), &name.1))?;
        self.txn.open_table(tables::STRANGER)?.remove((realm.0.as_bytes(), id, key))?;
        self.state(&collection)?.remove(&item);
        receipts::forget(self.txn, statement, &item.key)?;
        if statement.receipt().is_some() {
            let count = self.receipts(&realm)?;
            count.held = count.held.saturating_sub(1);
        }
        Ok(())
    }

    /// Files a statement that got a pair, and notes what must be derived again.
    fn file(&mut self, statement: &Statement, is_new: bool) -> Result<(), Error> {
        let (id, realm) = (statement.id(), statement.realm());
        if is_new {
            let row = (statement.kind(), statement.payload());
            self.txn.open_table(tables::STMT)?.insert(id.0.as_bytes(), row)?;
            let named = digests(statement);
            kinds::around_all(self.txn, named.clone(), || {
                let mut table = self.txn.open_table(tables::ARTIFACT)?;
                for digest in &named {
                    table.insert((digest.as_bytes(), id.0.as_bytes()), ())?;
                }
                Ok(())
            })?;
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
        if let Body::Root(_) | Body::Revoke { .. } | Body::Seal { .. } = statement.body() {
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
        self.warn_of_receipts();
        let rooted: Vec<_> = self.rooted.iter().map(|(realm, old)| (*realm, old.clone())).collect();
        for (realm, before) in rooted {
            let after = self.standing(&realm)?;
            extend_chain_pin(self.txn, &after.authority)?;
            room::recognise(self.txn, &realm, &after)?;
            if *after != *before {
                let all = views::packages_of(self.txn, &realm)?;
                self.packages.extend(all.into_iter().map(|package| (realm, package)));
            }
        }
        let packages = std::mem::take(&mut self.packages);
        for (realm, package) in &packages {
            let standing = self.standing(realm)?;
            views::derive(self.inner, self.txn, &standing, package)?;
        }
        self.packages = packages;
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
