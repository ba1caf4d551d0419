//! When a node that was restored from a backup may sign for the roots of its realm again.
//!
//! Its keys may have signed newer root epochs after the backup; one more beside them would fork the
//! realm for ever. So a restored store has a mark, and the mark goes in one of two ways: a person
//! says that nothing newer is elsewhere, or a witness shows it. A witness is a member of the site
//!
//! - that this node had synchronised with before the backup: one that has come since knows only
//!   what this node told it;
//! - that follows the node's own realm and its site, and is in sync with both;
//! - that lacked nothing of theirs that the backup had: who lacked that was away when the backup
//!   was made, and may know less than it still.
//!
//! No witness can vouch for what nobody told it; what a single one was shown by the lost node is
//! all that can come back. A peer that lacked something is remembered, over restarts too.
//!
//! A realm that was made after the restore (of a backup without keys) is none of this.
//!
//! Source: trust.md section 5; docs/guide/backup.md.

use std::collections::BTreeSet;

use crdt::digest::to_hex;
use crdt::session::Index as _;
use crdt::{Body, Item, RealmId};
use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::backup::manifest::Manifest;
use super::tables::{self, Tables};
use super::{Error, FollowKind, Inner, Store};

/// Kind and key of the row that says that the store went back in time.
const RESTORED: (&str, &str) = ("store", "restored");
/// Log entries read at a time.
const LOG_PAGE: usize = 1024;

/// The content of that row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Seconds of the clock when the backup was made.
    made: u64,
    /// The own realm of the node that was backed up.
    realm: Option<RealmId>,
    /// The last admission of the backup.
    sequence: u64,
    /// Peers that it had synchronised with, hexadecimal.
    peers: BTreeSet<String>,
    /// Those that lacked something of the backup.
    behind: BTreeSet<String>,
}

impl Mark {
    /// One that cannot be read has no witnesses.
    fn read(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }
}

/// Why being in sync with a peer does not end it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotYet {
    /// It knows only what this node told it.
    #[error("the peer was not known when the backup was made")]
    Unknown,
    /// It was away when the backup was made.
    #[error("the peer lacked something that the backup had")]
    Behind,
    /// It holds another realm than the one that counts.
    #[error("the peer does not follow this node's own realm and its site")]
    FollowsOthers,
    /// The backup had no keys, or is of an earlier program.
    #[error("the backup does not say which realm is the node's own")]
    NoRealm,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Marks records that went back in time. Those of a node that was not up to date itself keep their
/// mark: who has come since its restore is no witness of the time before.
pub(super) fn mark(txn: &WriteTransaction, manifest: &Manifest) -> Result<(), Error> {
    if txn.table(tables::ROW)?.get(RESTORED)?.is_some() {
        return Ok(());
    }
    let mut peers = BTreeSet::new();
    for row in txn.table(tables::PEER_SEEN)?.iter()? {
        peers.insert(to_hex(row?.0.value()));
    }
    let sequence = txn.meta(tables::META_SEQUENCE)?;
    let (made, realm) = (manifest.made, manifest.realm);
    write(txn, &Mark { made, realm, sequence, peers, behind: BTreeSet::new() })
}

fn write(txn: &WriteTransaction, mark: &Mark) -> Result<(), Error> {
    let value = serde_json::to_vec(mark).map_err(std::io::Error::other)?;
    txn.open_table(tables::ROW)?.insert(RESTORED, value.as_slice())?;
    Ok(())
}

impl Store {
    /// Whether the records came from a backup and nobody has shown or said since that they are up
    /// to date.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn restored(&self) -> Result<bool, Error> {
        Ok(self.row(RESTORED.0, RESTORED.1)?.is_some())
    }

    /// Whether a root of this realm must not be signed here, because the store was restored and a
    /// newer one may be elsewhere.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn may_be_outdated(&self, realm: &RealmId) -> Result<bool, Error> {
        let Some(mark) = self.mark()? else { return Ok(false) };
        let made_since = mark.realm.is_some_and(|own| own != *realm)
            && self.followed_as(&[FollowKind::Own])?.contains(realm);
        Ok(!made_since)
    }

    /// Nothing newer is elsewhere, or it has come: somebody says so.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_up_to_date(&self) -> Result<(), Error> {
        self.delete_row(RESTORED.0, RESTORED.1).await.map(|_| ())
    }

    fn mark(&self) -> Result<Option<Mark>, Error> {
        Ok(self.row(RESTORED.0, RESTORED.1)?.map(|value| Mark::read(&value)))
    }

    fn followed_as(&self, kinds: &[FollowKind]) -> Result<BTreeSet<RealmId>, Error> {
        let followed = self.followed()?.into_iter();
        Ok(followed.filter(|one| kinds.contains(&one.kind)).map(|one| one.realm).collect())
    }

    /// Notes what a peer lacked when both compared. Costs one look on a node that was not restored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_lacked(&self, peer: &[u8], items: Vec<Item>) -> Result<(), Error> {
        let (Some(mark), peer) = (self.mark()?, to_hex(peer)) else { return Ok(()) };
        if !mark.peers.contains(&peer) || mark.behind.contains(&peer) {
            return Ok(());
        }
        let store = self.clone();
        let lacked = move || store.are_of_backup(&items, mark.sequence);
        if !super::blocking(lacked).await? {
            return Ok(());
        }
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let table = txn.open_table(tables::ROW)?;
            let mark = table.get(RESTORED)?.map(|row| Mark::read(row.value()));
            drop(table);
            match mark {
                Some(mut mark) => {
                    mark.behind.insert(peer);
                    write(txn, &mark)
                }
                None => Ok(()),
            }
        };
        self.write(change, |_, ()| {}).await
    }

    /// Whether one of these was admitted before the backup, of a realm that counts. Receipts come
    /// and go, and say nothing of who knows what.
    fn are_of_backup(&self, items: &[Item], sequence: u64) -> Result<bool, Error> {
        let realms = self.followed_as(&[FollowKind::Own, FollowKind::Site])?;
        let mut old: BTreeSet<Item> = BTreeSet::new();
        for item in items {
            let statement = self.statement(&item.id)?;
            let counts = statement.is_some_and(|verified| {
                let statement = verified.statement();
                let passes = matches!(statement.body(), Body::Receipt(_));
                realms.contains(&statement.realm()) && !passes
            });
            if counts {
                old.insert(*item);
            }
        }
        let mut after = sequence;
        while !old.is_empty()
            && let Some(page) = self.log(after, LOG_PAGE)
            && let Some((last, ..)) = page.last()
        {
            after = *last;
            let newer: BTreeSet<Item> = page.iter().map(|(_, _, item)| *item).collect();
            old.retain(|item| !newer.contains(item));
        }
        Ok(!old.is_empty())
    }

    /// This node is in sync with a member that follows these realms: the mark goes if that member
    /// is a witness.
    ///
    /// # Errors
    /// Why it is none; [`NotYet::Store`] when the database fails.
    pub async fn regain(&self, peer: &[u8], follows: &[RealmId]) -> Result<(), NotYet> {
        let (Some(mark), peer) = (self.mark()?, to_hex(peer)) else { return Ok(()) };
        let realms = self.followed_as(&[FollowKind::Own, FollowKind::Site])?;
        if !mark.peers.contains(&peer) {
            return Err(NotYet::Unknown);
        }
        if mark.behind.contains(&peer) {
            return Err(NotYet::Behind);
        }
        if mark.realm.is_none_or(|own| !realms.contains(&own)) {
            return Err(NotYet::NoRealm);
        }
        if !realms.iter().all(|realm| follows.contains(realm)) {
            return Err(NotYet::FollowsOthers);
        }
        Ok(self.set_up_to_date().await?)
    }
}
