//! A pair (statement, signer) on its way into the tables, or out of them.
//!
//! Everything that says that it is there changes together, in the transaction of its batch: the
//! signature, the collection with its fingerprint, the log, the strangers, what its author signed,
//! and with the first pair of a statement the statement itself, its place in its package or its
//! authority, and the blobs that it names.
//!
//! Does not decide what enters: see `admission` and `room`.

use crdt::statement::Counter;
use crdt::{Body, Item, PublicKey, Signature, Statement};
use redb::ReadableTable as _;

use super::super::changes::Scope;
use super::super::receipts::{self, Latest};
use super::super::rulings;
use super::super::statements::{
    digests, document_id, ids_of_package, list_of, load_statement, signatures,
};
use super::super::tables;
use super::super::{Error, NewItem, collections, kinds};
use super::Batch;

/// A pair that is not held yet.
pub(super) struct Newcomer<'a> {
    pub(super) statement: &'a Statement,
    pub(super) key: &'a PublicKey,
    /// Whether no root of the realm lets the key say such a thing.
    pub(super) is_stranger: bool,
    /// Whether nobody's signature of the statement is held.
    pub(super) is_new: bool,
    /// The author's receipt or beat whose place it takes.
    pub(super) replaces: Option<Latest>,
}

impl Batch<'_> {
    /// A new pair: signature, collection, fingerprint, log; what it replaces leaves.
    pub(super) fn pair(&mut self, pair: &Newcomer<'_>, signature: &Signature) -> Result<(), Error> {
        let Newcomer { statement, key, is_stranger, replaces, .. } = pair;
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
        self.note_signer(statement, &item.key)?;
        let package = statement.package().cloned();
        let new = NewItem { sequence: self.sequence, collection, item, package };
        self.admission.new.push(new);
        Ok(())
    }

    pub(super) fn put_signature(
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
    pub(super) fn remove(&mut self, statement: &Statement, key: &PublicKey) -> Result<(), Error> {
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
        self.forget_signer(statement, &item.key)?;
        if statement.receipt().is_some() {
            let count = self.receipts(&realm)?;
            count.held = count.held.saturating_sub(1);
        }
        Ok(())
    }

    /// The packages that a key has signed something of are found by it.
    fn note_signer(&self, statement: &Statement, key: &PublicKey) -> Result<(), Error> {
        let (Some(package), realm) = (statement.package(), statement.realm()) else {
            return Ok(());
        };
        let row = (realm.0.as_bytes(), key.as_bytes(), &*package.format, &*package.name);
        let mut table = self.txn.open_table(tables::SIGNED)?;
        if table.get(row)?.is_none() {
            table.insert(row, ())?;
        }
        Ok(())
    }

    /// A key whose last pair of a package has gone is not listed with it any more.
    fn forget_signer(&self, statement: &Statement, key: &PublicKey) -> Result<(), Error> {
        let (Some(package), realm) = (statement.package(), statement.realm()) else {
            return Ok(());
        };
        let signatures = self.txn.open_table(tables::SIG)?;
        for id in ids_of_package(self.txn, &document_id(&realm, package))? {
            if signatures.get((id.0.as_bytes(), key.as_bytes()))?.is_some() {
                return Ok(());
            }
        }
        let row = (realm.0.as_bytes(), key.as_bytes(), &*package.format, &*package.name);
        self.txn.open_table(tables::SIGNED)?.remove(row)?;
        Ok(())
    }

    /// Files a statement that got a pair, and notes what must be derived again.
    pub(super) fn file(&mut self, statement: &Statement, is_new: bool) -> Result<(), Error> {
        let (id, realm) = (statement.id(), statement.realm());
        if is_new {
            self.file_new(statement)?;
        }
        if let Some(package) = statement.package() {
            self.packages.insert((realm, package.clone()));
        }
        match statement.body() {
            Body::Root(_) => self.chain_changes(&realm)?,
            Body::Revoke { .. } | Body::Seal { .. } => self.judge_anew(realm, id),
            _ => {}
        }
        Ok(())
    }

    fn file_new(&mut self, statement: &Statement) -> Result<(), Error> {
        let id = statement.id();
        let row = (statement.kind(), statement.payload());
        self.txn.open_table(tables::STMT)?.insert(id.0.as_bytes(), row)?;
        self.take_room(statement)?;
        let named = digests(statement);
        kinds::around_all(self.txn, named.clone(), || {
            let mut table = self.txn.open_table(tables::ARTIFACT)?;
            for digest in &named {
                table.insert((digest.as_bytes(), id.0.as_bytes()), ())?;
            }
            Ok(())
        })?;
        index(self.txn, statement)
    }
}

/// Lists a statement where it is looked for: in its package, or in its realm's authority.
pub(in crate::store) fn index(
    txn: &redb::WriteTransaction,
    statement: &Statement,
) -> Result<(), Error> {
    let (id, realm) = (statement.id(), statement.realm());
    let (id, of) = (id.0.as_bytes(), realm.0.as_bytes());
    if let Some(package) = statement.package() {
        let document = document_id(&realm, package);
        let name = (of, package.format.as_str(), package.name.as_str());
        txn.open_table(tables::DOC_STMT)?.insert((&document, id), ())?;
        let mut table = txn.open_table(tables::DOC)?;
        if table.get(name)?.is_none() {
            table.insert(name, &document)?;
        }
        if let Some(epoch) = counter(statement.body()).map(|it| it.epoch).filter(|it| *it > 0) {
            let row = (of, epoch, package.format.as_str(), package.name.as_str());
            txn.open_table(tables::COUNTED)?.insert(row, ())?;
        }
    }
    if matches!(statement.collection(), crdt::Collection::Authority(_)) {
        let row = (of, statement.kind(), id);
        txn.open_table(tables::AUTHORITY)?.insert(row, rulings::IDLE)?;
    }
    if let Some(blob) = list_of(statement) {
        txn.open_table(tables::LIST)?.insert((blob.digest.as_bytes(), id), of)?;
    }
    Ok(())
}

pub(in crate::store) const fn counter(body: &Body) -> Option<Counter> {
    match body {
        Body::Yank { counter, .. } | Body::Unyank { counter, .. } | Body::Tag { counter, .. } => {
            Some(*counter)
        }
        _ => None,
    }
}
