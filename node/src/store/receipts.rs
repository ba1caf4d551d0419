//! Receipts: the newest of each author for a document, and whose word is believed.
//!
//! Table `latest` says for (realm, document, author) which statement is kept; it changes in the
//! transaction that admits, so it survives what the statements survive. Receipts enter like other
//! statements (`admission`), sync like them, and have a quota of their own.
//!
//! Whether a believed receipt is *enough* is the registry's to say, not decided here.
//!
//! Source: trust.md sections 10 and 12.

use std::collections::BTreeSet;

use crdt::statement::{Receipt, Subject};
use crdt::{Authority, Digest, PublicKey, RealmId, Statement, StatementId};
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::statements::{load_statement, public_key};
use super::tables::{self, Tables};
use super::{Error, FollowKind, Followed, Store};

/// Receipts that are kept of a realm. What its mirrors say beyond waits at the peers that have it,
/// and is warned about, until others leave; what is held can still be replaced.
pub(super) const RECEIPTS_MAX: u64 = 200_000;

/// The least and the greatest key of a range over authors.
const AUTHORS: ([u8; 33], [u8; 33]) = ([0; 33], [0xff; 33]);

/// A receipt that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReceipt {
    /// The statement.
    pub id: StatementId,
    /// Who signed it.
    pub author: PublicKey,
    /// What it says.
    pub receipt: Receipt,
}

/// A mirror as it was shown at a join and accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AcceptedMirror {
    /// Whose word.
    pub key: PublicKey,
    /// For which format; `*` for all.
    pub format: String,
}

/// The mirrors of a realm whose receipts this node believes, each with a format or `*`, sorted.
///
/// A mirror counts while the realm's head grants it the role for every name of a format. Of the own
/// realm all count. Of the site those count that were accepted at the join, for the formats that
/// were shown then: what is granted later, or more broadly, waits until it is accepted. Of a realm
/// that is merely followed none counts.
#[must_use]
pub fn believed_mirrors(followed: &Followed, authority: &Authority) -> Vec<(PublicKey, String)> {
    if followed.realm != authority.realm {
        return Vec::new();
    }
    let granted = authority.mirrors();
    match followed.kind {
        FollowKind::Own => granted,
        FollowKind::Followed | FollowKind::Delegate => Vec::new(),
        FollowKind::Site => {
            let accepted = |key: PublicKey| followed.mirrors.iter().filter(move |a| a.key == key);
            let both = granted.iter().flat_map(|(key, format)| {
                let formats = accepted(*key).filter_map(|a| narrower(format, &a.format));
                formats.map(|format| (*key, format.to_owned()))
            });
            both.collect::<BTreeSet<_>>().into_iter().collect()
        }
    }
}

/// The formats that both name.
fn narrower<'a>(one: &'a str, two: &'a str) -> Option<&'a str> {
    match (one, two) {
        ("*", other) | (other, "*") => Some(other),
        (one, two) => (one == two).then_some(one),
    }
}

impl Store {
    /// The newest receipt of each author for a document, whatever the author may do, by author.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn receipts(&self, realm: &RealmId, subject: &Subject) -> Result<Vec<HeldReceipt>, Error> {
        self.reading(|txn| {
            let mut found = Vec::new();
            for (author, id) in newest(txn, realm, &subject.digest())? {
                let statement = load_statement(txn, &id)?;
                let receipt = statement.as_ref().and_then(Statement::receipt).cloned();
                let receipt =
                    receipt.ok_or_else(|| Error::unreadable("receipt", "it is not there"))?;
                found.push(HeldReceipt { id, author, receipt });
            }
            Ok(found)
        })
    }
}

/// What is kept of each author about a subject: receipts for a document, or a realm's beats.
pub(super) fn newest(
    txn: &impl Tables,
    realm: &RealmId,
    subject: &Digest,
) -> Result<Vec<(PublicKey, StatementId)>, Error> {
    let table = txn.table(tables::LATEST)?;
    let (of, about) = (realm.0.as_bytes(), subject.as_bytes());
    let mut found = Vec::new();
    for row in table.range((of, about, &AUTHORS.0)..=(of, about, &AUTHORS.1))? {
        let (key, kept) = row?;
        let id = StatementId(Digest::from_bytes(*kept.value().0));
        found.push((public_key(key.value().2)?, id));
    }
    Ok(found)
}

/// What is kept of an author for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latest {
    /// The statement.
    pub(super) id: StatementId,
    /// Where the pair stands in the log.
    pub(super) sequence: u64,
}

/// Where a pair that is not held would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It takes nobody's place: no receipt, or the author's first for the document.
    Free,
    /// It takes the place of an older one.
    After(Latest),
    /// A newer one is held, or its counter has no effect.
    Outdated,
}

/// A receipt or a beat whose counter has no effect: nobody keeps it.
pub(super) fn is_void(statement: &Statement) -> bool {
    statement.subject().is_some() && statement.rank().is_none()
}

/// Where a statement by this author would go.
pub(super) fn place(
    txn: &impl Tables,
    statement: &Statement,
    author: &PublicKey,
) -> Result<Place, Error> {
    let Some(subject) = statement.subject() else { return Ok(Place::Free) };
    let Some(rank) = statement.rank() else { return Ok(Place::Outdated) };
    let Some(latest) = latest(txn, (&statement.realm(), &subject, author))? else {
        return Ok(Place::Free);
    };
    let kept = load_statement(txn, &latest.id)?.as_ref().and_then(Statement::rank);
    Ok(if kept < Some(rank) { Place::After(latest) } else { Place::Outdated })
}

fn latest(
    txn: &impl Tables,
    (realm, subject, author): (&RealmId, &Digest, &PublicKey),
) -> Result<Option<Latest>, Error> {
    let table = txn.table(tables::LATEST)?;
    let row = table.get((realm.0.as_bytes(), subject.as_bytes(), author.as_bytes()))?;
    Ok(row.map(|row| {
        let (id, sequence) = row.value();
        Latest { id: StatementId(Digest::from_bytes(*id)), sequence }
    }))
}

/// Notes the receipt or beat as its author's newest.
pub(super) fn keep(
    txn: &WriteTransaction,
    statement: &Statement,
    author: &PublicKey,
    sequence: u64,
) -> Result<(), Error> {
    let Some(subject) = statement.subject() else { return Ok(()) };
    let (realm, id) = (statement.realm(), statement.id());
    let key = (realm.0.as_bytes(), subject.as_bytes(), author.as_bytes());
    txn.open_table(tables::LATEST)?.insert(key, (id.0.as_bytes(), sequence))?;
    Ok(())
}

/// Forgets that it is.
pub(super) fn forget(
    txn: &WriteTransaction,
    statement: &Statement,
    author: &PublicKey,
) -> Result<(), Error> {
    let Some(subject) = statement.subject() else { return Ok(()) };
    let realm = statement.realm();
    let key = (realm.0.as_bytes(), subject.as_bytes(), author.as_bytes());
    txn.open_table(tables::LATEST)?.remove(key)?;
    Ok(())
}
