//! What the roots have ruled of releases: seals and revocations, and which of them count.
//!
//! A seal counts if enough roots of one epoch of the path signed it, unless the head has cleared
//! it, or a later root lists the seals that still count and leaves it out. Seals add up.
//!
//! A revocation counts if the key itself or any one root of the head signed it, unless the head has
//! cleared it. Of several for one key what survives is what all of them keep. It says which
//! releases survive, never when: no time could be believed.
//!
//! A list whose blob is not held is not known. Of a seal that means that it does not reach those
//! releases yet; of a keep list that what only that key signed is not known to stand.
//!
//! Source: trust.md sections 4, 5 (steps 3 and 5) and 6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Authority;
use crate::statement::{Body, IdList};
use crate::{Digest, PublicKey, RealmId, StatementId, Verified};

/// The blobs of lists that are held, by digest: what [`IdList::read`] gave, or nothing for one that
/// is no list.
pub type Lists = BTreeMap<Digest, Vec<StatementId>>;

/// Which releases of a revoked key survive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// What all known lists keep; `None` while no list is known.
    pub releases: Option<BTreeSet<StatementId>>,
    /// Blobs of keep lists that are not held: nothing is known to survive before they are.
    pub missing: BTreeSet<Digest>,
    /// The revocations that count, sorted.
    pub by: BTreeSet<StatementId>,
}

impl Kept {
    /// Whether the key's signature on the release is known to count.
    #[must_use]
    pub fn holds(&self, release: &StatementId) -> bool {
        self.missing.is_empty() && self.may_hold(release)
    }

    /// Whether it counts, or would if a list that is not held kept it.
    #[must_use]
    pub fn may_hold(&self, release: &StatementId) -> bool {
        self.releases.as_ref().is_none_or(|kept| kept.contains(release))
    }
}

/// Revoked keys, with what survives of each.
pub type Revoked = BTreeMap<PublicKey, Arc<Kept>>;

/// A realm as others look at it: its authority, and the revocations that count under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Realm {
    /// The chain.
    pub authority: Authority,
    /// Revoked keys.
    pub revoked: Revoked,
}

/// A realm and those that it delegates to.
pub type Realms = BTreeMap<RealmId, Arc<Realm>>;

impl Authority {
    /// Whether a seal with these signers counts.
    #[must_use]
    pub fn seal_counts(&self, seal: &StatementId, signers: &BTreeSet<PublicKey>) -> bool {
        if self.has_cleared(seal) {
            return false;
        }
        // Of the roots from the last one that leaves the seal out, that one included.
        let leaves_out = |listed: &[StatementId]| listed.binary_search(seal).is_err();
        let cut = self.epochs.iter().rposition(|it| it.seals.as_deref().is_some_and(leaves_out));
        self.epochs.iter().skip(cut.unwrap_or(0)).any(|epoch| {
            epoch.roots.iter().filter(|key| signers.contains(key)).count() >= epoch.k as usize
        })
    }

    /// Whether a revocation of `key` with these signers counts.
    #[must_use]
    pub fn revoke_counts(
        &self,
        revoke: &StatementId,
        key: &PublicKey,
        signers: &BTreeSet<PublicKey>,
    ) -> bool {
        let Some(head) = self.head.as_ref() else { return false };
        let is_root = head.roots.iter().any(|root| signers.contains(root));
        (is_root || signers.contains(key)) && !self.has_cleared(revoke)
    }

    pub(super) fn has_cleared(&self, id: &StatementId) -> bool {
        self.head.as_ref().is_some_and(|head| head.cleared.binary_search(id).is_ok())
    }
}

/// The revoked keys of a realm, from its `revoke` statements in any order, repeated or not.
#[must_use]
pub fn revoked<'a>(
    authority: &Authority,
    statements: impl IntoIterator<Item = &'a Verified>,
    lists: &Lists,
) -> Revoked {
    let mut found = BTreeMap::<PublicKey, Kept>::new();
    for (id, (body, signers)) in joined(authority.realm, statements) {
        let Body::Revoke { key, keep, .. } = body else { continue };
        if !authority.revoke_counts(&id, key, &signers) {
            continue;
        }
        let kept = found.entry(*key).or_default();
        kept.by.insert(id);
        match read(keep, lists) {
            Err(digest) => drop(kept.missing.insert(digest)),
            Ok(list) => {
                let list: BTreeSet<_> = list.iter().copied().collect();
                kept.releases = Some(match kept.releases.take() {
                    Some(before) => before.intersection(&list).copied().collect(),
                    None => list,
                });
            }
        }
    }
    found.into_iter().map(|(key, kept)| (key, Arc::new(kept))).collect()
}

/// The sealed releases of a realm, and the blobs of lists that are not held.
#[must_use]
pub fn firm<'a>(
    authority: &Authority,
    statements: impl IntoIterator<Item = &'a Verified>,
    lists: &Lists,
) -> (BTreeSet<StatementId>, BTreeSet<Digest>) {
    let (mut firm, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for (id, (body, signers)) in joined(authority.realm, statements) {
        let Body::Seal { releases } = body else { continue };
        if authority.seal_counts(&id, &signers) {
            match read(releases, lists) {
                Ok(list) => firm.extend(list),
                Err(digest) => drop(missing.insert(digest)),
            }
        }
    }
    (firm, missing)
}

/// The statements of a realm by id, with the signers of all copies joined.
fn joined<'a>(
    realm: RealmId,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> BTreeMap<StatementId, (&'a Body, BTreeSet<PublicKey>)> {
    let mut held = BTreeMap::new();
    for verified in statements {
        let statement = verified.statement();
        if statement.realm() == realm {
            let (_, signers) =
                held.entry(statement.id()).or_insert((statement.body(), BTreeSet::new()));
            signers.extend(verified.signatures().keys());
        }
    }
    held
}

/// The ids of a list, or the blob that lacks. One of another length than the statement says names
/// nothing: by that length it is fetched, so others may never come to hold it.
fn read<'a>(list: &'a IdList, lists: &'a Lists) -> Result<&'a [StatementId], Digest> {
    match list {
        IdList::Inline(ids) => Ok(ids),
        IdList::Blob { digest, count } => {
            let ids = lists.get(digest).ok_or(*digest)?;
            Ok(if ids.len() as u64 == *count { ids.as_slice() } else { &[] })
        }
    }
}
