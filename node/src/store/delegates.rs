//! Realms that are followed because a followed realm grants names to their publishers.
//!
//! A realm that a `publish` grant names must be held, or nobody could tell who its publishers are.
//! So each realm that a followed one reaches by its grants, at most three realms deep and
//! [`DELEGATES_MAX`] of them for one realm, is followed by itself: its statements are admitted and
//! synced, but it has no views, supplies no names, and nothing of it is kept ahead. It ends, with
//! all that is held of it, when no grant reaches it any more.
//!
//! Decided in the transaction that changes a head or what is followed, so it survives what they
//! survive. A person's own follow takes its place, and gives it back at the unfollow.
//!
//! Source: trust.md sections 4 (sub-delegation) and 12.

use std::collections::BTreeSet;

use crdt::RealmId;
use redb::WriteTransaction;

use super::local::{self, all_followed};
use super::standings::Standings;
use super::tables::{self, Tables};
use super::{Error, FollowKind, Followed};

/// Realms that are followed for the grants of one realm.
pub(super) const DELEGATES_MAX: usize = 32;

/// Realms that are followed for what they have: all but those that grants alone reach.
pub(super) fn bases(txn: &impl Tables) -> Result<Vec<RealmId>, Error> {
    let followed = all_followed(txn)?.into_iter();
    let bases = followed.filter(|one| one.kind != FollowKind::Delegate);
    Ok(bases.map(|one| one.realm).collect())
}

/// Follows what grants reach now, and ends what none does. Says whether anything changed.
pub(super) fn refresh(
    txn: &WriteTransaction,
    standings: &mut Standings<'_>,
) -> Result<bool, Error> {
    let (wanted, bases) = wanted(txn, standings)?;
    let held: BTreeSet<RealmId> =
        all_followed(txn)?.into_iter().map(|followed| followed.realm).collect();
    let mut changed = false;
    for realm in held.difference(&wanted).filter(|realm| !bases.contains(realm)) {
        standings.change(realm)?;
        local::forget(txn, realm)?;
        changed = true;
    }
    for realm in wanted.difference(&held) {
        put(txn, realm)?;
        changed = true;
    }
    Ok(changed)
}

/// Whether grants of the other realms that are followed reach this one.
pub(super) fn is_wanted(
    txn: &WriteTransaction,
    standings: &mut Standings<'_>,
    realm: &RealmId,
) -> Result<bool, Error> {
    Ok(wanted(txn, standings)?.0.contains(realm))
}

/// Keeps the realm for its authority alone.
pub(super) fn put(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    let (kind, claims, mirrors) = (FollowKind::Delegate, Vec::new(), Vec::new());
    let row = Followed { realm: *realm, kind, claims, order: 0, mirrors };
    let bytes = tables::encode("followed realm", &row)?;
    txn.open_table(tables::FOLLOWED)?.insert(realm.0.as_bytes(), bytes.as_slice())?;
    Ok(())
}

type Realms = BTreeSet<RealmId>;

/// What grants reach, and from where.
fn wanted(
    txn: &WriteTransaction,
    standings: &mut Standings<'_>,
) -> Result<(Realms, Realms), Error> {
    let bases: Realms = bases(txn)?.into_iter().collect();
    let mut wanted = Realms::new();
    for base in &bases {
        let reached = standings.reached(base)?;
        let below: Vec<RealmId> =
            reached.iter().skip(1).map(|standing| standing.authority().realm).collect();
        if below.len() > DELEGATES_MAX {
            tracing::warn!(
                realm = %base, reached = below.len(), followed = DELEGATES_MAX,
                "the realm delegates to more realms than are followed for it"
            );
        }
        wanted.extend(below.into_iter().take(DELEGATES_MAX));
    }
    wanted.retain(|realm| !bases.contains(realm));
    Ok((wanted, bases))
}
