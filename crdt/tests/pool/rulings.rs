//! Revocations and seals, with their lists inline or as blobs.

use crdt::statement::IdList;
use crdt::{Body, Digest, Statement, StatementId, Verified};

use super::events::{Maker, blob_of, root};
use super::{PUBLISHERS, STRANGERS, key, number, signed};

impl Maker {
    /// A list in the statement, in a blob that is held, that comes late, or that never comes.
    fn list(&mut self, mut ids: Vec<StatementId>) -> IdList {
        ids.sort_unstable();
        ids.dedup();
        let form = self.dice.below(100);
        if form < 60 {
            return IdList::Inline(ids);
        }
        if ids.is_empty() || self.dice.percent(10) {
            ids.push(StatementId(Digest::of(b"a release that nobody holds")));
            ids.sort_unstable();
        }
        // A count that is not the blob's names no list at all.
        let wrong = u64::from(self.dice.percent(5));
        let list = IdList::Blob { digest: blob_of(&ids), count: ids.len() as u64 + wrong };
        match form {
            60..=74 => drop(self.lists.insert(blob_of(&ids), ids)),
            75..=87 => drop(self.late.insert(blob_of(&ids), ids)),
            _ => {}
        }
        list
    }

    pub(super) fn revoke(&mut self) -> Option<Verified> {
        let at = self.realm();
        let of = *self.dice.pick(&PUBLISHERS);
        let releases = self.known_ids(0, "release");
        let share = *self.dice.pick(&[0, 50, 50, 80]);
        let kept = self.dice.subset(&releases, share);
        let keep = self.list(kept);
        let signers = match self.dice.below(10) {
            0..=5 => {
                let known = self.known(at, "root");
                let of = root(self.dice.pick(&known)).roots.clone();
                vec![number(self.dice.pick(&of))]
            }
            6..=7 => vec![of],
            8 => self.dice.some(&PUBLISHERS, 1),
            _ => vec![STRANGERS[0]],
        };
        let signers = self.with_stranger(signers);
        let body = Body::Revoke { key: key(of), keep, reason: "lost".to_owned() };
        Some(signed(Statement::new(self.realms[at], None, body).unwrap(), &signers))
    }

    /// One of two teams on the way to a third revokes the third's key.
    pub(super) fn one_way_cut(&mut self) -> Verified {
        let (at, root) = *self.dice.pick(&[(1, 9), (1, 10), (2, 11)]);
        let (keep, reason) = (IdList::Inline(vec![]), String::new());
        let body = Body::Revoke { key: key(6), keep, reason };
        signed(Statement::new(self.realms[at], None, body).unwrap(), &[root])
    }

    pub(super) fn seal(&mut self) -> Option<Verified> {
        let at = if self.dice.percent(85) { 0 } else { self.realm() };
        let releases = self.known_ids(0, "release");
        let mut named = self.dice.subset(&releases, 35);
        if named.is_empty() {
            named = self.dice.some(&releases, 1);
        }
        let releases = self.list(named);
        let known = self.known(at, "root");
        let by = root(self.dice.pick(&known)).clone();
        let roots: Vec<_> = by.roots.iter().map(number).collect();
        let signers = match self.dice.below(10) {
            0..=6 => self.dice.some(&roots, by.k as usize),
            7..=8 => self.dice.subset(&[0, 1, 2, 3, 4, 6], 35),
            _ => STRANGERS.to_vec(),
        };
        let signers = self.with_stranger(signers);
        let body = Body::Seal { releases };
        Some(signed(Statement::new(self.realms[at], None, body).unwrap(), &signers))
    }
}
