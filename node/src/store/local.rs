//! What belongs to this node alone: realms followed, own routes, rows of other layers.
//!
//! Never gossiped and never rebuilt. Each method is durable when it returns.

use std::collections::BTreeMap;
use std::ops::Bound;

use crdt::routes::Rule;
use crdt::{RealmId, StatementId};
use redb::{ReadableTable, WriteTransaction};
use tokio::sync::watch;

use super::admission::{Batch, Done};
use super::batch::Change;
use super::changes::Scope;
use super::statements::{IDS, digests, document_id, load_statement};
use super::tables::{self, Tables};
use super::{Error, FollowKind, Followed, Inner, Store};
use super::{collections, delegates, grounds, kinds, rulings, views};

/// A row of another layer: its key, and what it says.
type Row = (String, Vec<u8>);

/// Rows of one kind; a range whose bounds are the wrong way round is empty.
fn rows_of(
    table: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    kind: &str,
    (low, high): (Bound<&str>, Bound<&str>),
    most: usize,
) -> Result<Vec<Row>, Error> {
    let from = match low {
        Bound::Included(key) => Bound::Included((kind, key)),
        Bound::Excluded(key) => Bound::Excluded((kind, key)),
        Bound::Unbounded => Bound::Included((kind, "")),
    };
    let is_past = |key: &str| match high {
        Bound::Included(high) => key > high,
        Bound::Excluded(high) => key >= high,
        Bound::Unbounded => false,
    };
    let mut found = Vec::new();
    for row in table.range::<(&str, &str)>((from, Bound::Unbounded))? {
        let (name, value) = row?;
        let (of, key) = name.value();
        if of != kind || is_past(key) || found.len() == most {
            break;
        }
        found.push((key.to_owned(), value.value().to_vec()));
    }
    Ok(found)
}

impl Store {
    /// Starts to keep a realm's statements, or changes how. What was offered before is not kept:
    /// sync brings it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn follow(&self, followed: Followed) -> Result<(), Error> {
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let (bytes, realm) = (tables::encode("followed realm", &followed)?, followed.realm);
            let before = txn
                .open_table(tables::FOLLOWED)?
                .insert(realm.0.as_bytes(), bytes.as_slice())?
                .map(|row| tables::decode::<Followed>("followed realm", row.value()))
                .transpose()?;
            let had_no_views = before.is_some_and(|it| it.kind == FollowKind::Delegate);
            let mut batch = Batch::new(inner, txn)?;
            if had_no_views && followed.kind != FollowKind::Delegate {
                batch.derive_all(&realm)?;
            }
            batch.refresh_delegates()?;
            batch.finish()
        };
        let after = |inner: &Inner, done: &Done| {
            done.tell(inner);
            inner.follows.send_modify(|n| *n += 1);
        };
        self.write(change, after).await.map(|_| ())
    }

    /// Forgets a realm's statements and views; where another followed realm delegates to it, the
    /// views alone. Pins and blobs stay. Says whether it was followed.
    ///
    /// # Errors
    /// When the database refuses; nothing changed then.
    pub async fn unfollow(&self, realm: &RealmId) -> Result<bool, Error> {
        let realm = *realm;
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            if txn.open_table(tables::FOLLOWED)?.remove(realm.0.as_bytes())?.is_none() {
                return Ok(None);
            }
            let mut batch = Batch::new(inner, txn)?;
            if batch.is_delegated_to(&realm)? {
                forget_views(txn, &realm)?;
                delegates::put(txn, &realm)?;
            } else {
                batch.forgets(&realm)?;
                forget(txn, &realm)?;
            }
            batch.refresh_delegates()?;
            batch.finish().map(Some)
        };
        let after = |inner: &Inner, done: &Option<Done>| {
            done.iter().for_each(|done| done.tell(inner));
            inner.follows.send_modify(|n| *n += 1);
        };
        Ok(self.write_if(Option::is_some, change, after).await?.is_some())
    }

    /// All realms whose statements are kept, sorted by realm.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn followed(&self) -> Result<Vec<Followed>, Error> {
        self.reading(all_followed)
    }

    /// Fires when [`Store::followed`] changes.
    #[must_use]
    pub fn watch_follows(&self) -> watch::Receiver<u64> {
        self.inner.follows.subscribe()
    }

    /// Sets this node's own rule for (format, pattern).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_route(&self, rule: Rule) -> Result<(), Error> {
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let bytes = tables::encode("route", &rule)?;
            let key = (rule.format.as_str(), rule.pattern.0.as_str());
            txn.open_table(tables::ROUTE)?.insert(key, bytes.as_slice())?;
            Ok(())
        };
        self.write(change, |_, ()| {}).await
    }

    /// Removes it; says whether there was one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_route(&self, format: &str, pattern: &str) -> Result<bool, Error> {
        let key = (format.to_owned(), pattern.to_owned());
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROUTE)?;
            let removed = table.remove((key.0.as_str(), key.1.as_str()))?.is_some();
            Ok(removed)
        };
        self.write_if(|changed| *changed, change, |_, _| {}).await
    }

    /// This node's own rules, sorted by format and pattern.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn routes(&self) -> Result<Vec<Rule>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::ROUTE)?;
            let mut found = Vec::new();
            for row in table.iter()? {
                found.push(tables::decode("route", row?.1.value())?);
            }
            Ok(found)
        })
    }

    /// Keeps a small named row of another layer (tokens, peers, invites, requests …).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_row(&self, kind: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        let name = (kind.to_owned(), key.to_owned());
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROW)?;
            table.insert((name.0.as_str(), name.1.as_str()), value.as_slice())?;
            Ok(())
        };
        let scope = Scope::of_row(kind);
        self.write_scoped(|()| Some(scope), change, |_, ()| {}).await
    }

    /// Keeps a small named row, as [`Store::put_row`] does; calls at the same time share one
    /// commit, and hold one thread together.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_shared_row(&self, kind: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        let row = Change::Named(Box::new((kind.to_owned(), key.to_owned(), value)));
        self.keep(vec![row]).await.map(|_| ())
    }

    /// Keeps many rows of a kind, in one commit; none at all costs nothing.
    ///
    /// # Errors
    /// When the database refuses: none is kept then.
    pub async fn put_rows(&self, kind: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let (kind, scope) = (kind.to_owned(), Scope::of_row(kind));
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROW)?;
            for (key, value) in &rows {
                table.insert((kind.as_str(), key.as_str()), value.as_slice())?;
            }
            Ok(!rows.is_empty())
        };
        self.write_scoped(|changed| changed.then_some(scope), change, |_, _| {}).await?;
        Ok(())
    }

    /// Removes it; says whether there was one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_row(&self, kind: &str, key: &str) -> Result<bool, Error> {
        let (name, scope) = ((kind.to_owned(), key.to_owned()), Scope::of_row(kind));
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROW)?;
            let removed = table.remove((name.0.as_str(), name.1.as_str()))?.is_some();
            Ok(removed)
        };
        self.write_scoped(|changed: &bool| changed.then_some(scope), change, |_, _| {}).await
    }

    /// Removes up to so many rows of a kind, in one commit; says how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_rows(&self, kind: &str, most: usize) -> Result<usize, Error> {
        let (kind, scope) = (kind.to_owned(), Scope::of_row(kind));
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROW)?;
            let bounds = (Bound::Unbounded, Bound::Unbounded);
            let rows = rows_of(&table, &kind, bounds, most)?;
            for (key, _) in &rows {
                table.remove((kind.as_str(), key.as_str()))?;
            }
            Ok(rows.len())
        };
        self.write_scoped(|count: &usize| (*count > 0).then_some(scope), change, |_, _| {}).await
    }

    /// The first rows of a kind whose keys lie between two bounds, by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows_between(
        &self,
        kind: &str,
        keys: (Bound<&str>, Bound<&str>),
        most: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.reading(|txn| rows_of(&txn.table(tables::ROW)?, kind, keys, most))
    }

    /// One row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn row(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.reading(|txn| {
            let row = txn.table(tables::ROW)?.get((kind, key))?;
            Ok(row.map(|row| row.value().to_vec()))
        })
    }

    /// All rows of a kind, by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows(&self, kind: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::ROW)?;
            let mut found = BTreeMap::new();
            for row in table.range((kind, "")..)? {
                let (name, value) = row?;
                let (of, key) = name.value();
                if of != kind {
                    break;
                }
                found.insert(key.to_owned(), value.value().to_vec());
            }
            Ok(found)
        })
    }
}

/// Takes everything out of the tables that is there of a realm, but for pins.
pub(super) fn forget(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    txn.open_table(tables::FOLLOWED)?.remove(realm.0.as_bytes())?;
    txn.open_table(tables::TAKEN)?.remove(realm.0.as_bytes())?;
    forget_packages(txn, realm)?;
    forget_statements(txn, realm)?;
    rulings::forget(txn, realm)?;
    // A prefix is no range of names; the rows of the realm's packages and keys go one by one.
    let of = realm.0.as_bytes();
    txn.open_table(tables::SIGNED)?
        .retain_in((of, &[0; 33], "", "").., |(realm, ..), ()| realm != of)?;
    txn.open_table(tables::COUNTED)?.retain_in((of, 0, "", "").., |(realm, ..), ()| realm != of)?;
    Ok(())
}

/// Removes the views of a realm alone.
fn forget_views(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    let all = grounds::of_realm(txn, realm)?;
    all.iter().try_for_each(|package| views::remove(txn, realm, package))
}

/// Removes views, documents and lists of statements of a realm.
fn forget_packages(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    for package in grounds::of_realm(txn, realm)? {
        views::remove(txn, realm, &package)?;
        let document = document_id(realm, &package);
        let name = (realm.0.as_bytes(), package.format.as_str(), package.name.as_str());
        txn.open_table(tables::DOC)?.remove(name)?;
        let mut table = txn.open_table(tables::DOC_STMT)?;
        table.retain_in((&document, &IDS.0)..=(&document, &IDS.1), |_, ()| false)?;
    }
    Ok(())
}

/// All realms whose statements a transaction sees kept, sorted by realm.
pub(super) fn all_followed(txn: &impl Tables) -> Result<Vec<Followed>, Error> {
    let mut found = Vec::new();
    for row in txn.table(tables::FOLLOWED)?.iter()? {
        found.push(tables::decode("followed realm", row?.1.value())?);
    }
    Ok(found)
}

/// Removes statements, signatures, receipts and collections of a realm.
fn forget_statements(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    for (collection, _) in collections::of_realm(txn, realm)? {
        for item in collections::items(txn, &collection)? {
            forget_statement(txn, &item.id)?;
            let row = (item.id.0.as_bytes(), item.key.as_bytes());
            txn.open_table(tables::SIG)?.remove(row)?;
        }
        let id = collection.id();
        let range = (id.0.as_bytes(), &IDS.0)..=(id.0.as_bytes(), &IDS.1);
        txn.open_table(tables::COLL)?.retain_in(range, |_, _| false)?;
        let part = collections::part(&collection);
        txn.open_table(tables::COLL_STATE)?.remove((realm.0.as_bytes(), part.as_str()))?;
    }
    let of = realm.0.as_bytes();
    let range = (of, &IDS.0, &[0; 33])..=(of, &IDS.1, &[0xff; 33]);
    txn.open_table(tables::STRANGER)?.retain_in(range, |_, _| false)?;
    let range = (of, &IDS.0, &[0; 33])..=(of, &IDS.1, &[0xff; 33]);
    txn.open_table(tables::LATEST)?.retain_in(range, |_, _| false)?;
    txn.open_table(tables::LOG)?.retain(|_, (realm, ..)| realm != of)?;
    Ok(())
}

fn forget_statement(txn: &WriteTransaction, id: &StatementId) -> Result<(), Error> {
    let Some(statement) = load_statement(txn, id)? else { return Ok(()) };
    let named = digests(&statement);
    kinds::around_all(txn, named.clone(), || {
        let mut table = txn.open_table(tables::ARTIFACT)?;
        for digest in &named {
            table.remove((digest.as_bytes(), id.0.as_bytes()))?;
        }
        Ok(())
    })?;
    txn.open_table(tables::STMT)?.remove(id.0.as_bytes())?;
    Ok(())
}
