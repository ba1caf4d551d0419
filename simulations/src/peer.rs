//! One node: what it holds, its disk, its clock, and whether it is honest.
//!
//! The index and the conversations are the node's own code; this adds what its store adds: room for
//! strangers, cursors that are kept with what they stand for, and peers that are refused after ten
//! offences. Does not send anything: that is the world's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::session::{Index as _, MemoryIndex, Millis};
use crdt::{Collection, Item, RealmId, Verified};

use crate::clock::Clock;
use crate::disk::{Disk, Record};
use crate::standing::{Rooms, Standings};

/// Offences after which a peer is refused.
const OFFENCES_MAX: u32 = 10;
/// For how long.
const BAN_MS: Millis = 60 * 60 * 1000;

/// How a node behaves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// As it should.
    #[default]
    Honest,
    /// Says that it holds everything, and never sends a part of it.
    Withholds,
    /// Sends what nobody asked for: strangers' statements, broken signatures, unknown realms.
    Floods,
    /// Sends bytes that break the protocol.
    Babbles,
    /// Sends again what it once heard, and begins with cursors that are none.
    Replays,
    /// Admits what it is given and drops every second statement, for a test of the checkers.
    Drops,
    /// Breaks the protocol though it counts as honest, for a test of the checkers.
    Stumbles,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) index: MemoryIndex,
    pub(crate) clock: Clock,
    pub(crate) conduct: Conduct,
    pub(crate) online: bool,
    /// Grows with every change of what is held.
    pub(crate) changes: u64,
    follows: BTreeSet<RealmId>,
    /// Peer → how far its log was read.
    cursors: BTreeMap<usize, (u64, u64)>,
    /// Peer → offences, and until when it is refused.
    offences: BTreeMap<usize, (u32, Millis)>,
    rooms: Rooms,
    /// Kept only where nodes crash.
    disk: Option<Disk>,
}

impl Peer {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            index: MemoryIndex::new(epoch),
            clock: Clock::default(),
            conduct: Conduct::Honest,
            online: true,
            changes: 0,
            follows: BTreeSet::new(),
            cursors: BTreeMap::new(),
            offences: BTreeMap::new(),
            rooms: Rooms::new(),
            disk: None,
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        [Conduct::Honest, Conduct::Drops, Conduct::Stumbles].contains(&self.conduct)
    }

    pub(crate) fn follow(&mut self, realm: RealmId) {
        self.follows.insert(realm);
        self.index.follow(realm);
    }

    /// From now on what is admitted is written down, to survive a crash.
    pub(crate) fn keep_a_disk(&mut self, phase: Millis) {
        self.disk = Some(Disk::new(phase));
    }

    pub(crate) fn cursor(&self, peer: usize) -> Option<(u64, u64)> {
        self.cursors.get(&peer).copied()
    }

    pub(crate) fn remember(&mut self, now: Millis, peer: usize, cursor: (u64, u64)) {
        self.cursors.insert(peer, cursor);
        if let Some(disk) = &mut self.disk {
            disk.write(now, Record::Cursor(peer, cursor));
        }
    }

    /// The disk has all of it before somebody is answered.
    pub(crate) fn sync(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.sync();
        }
    }

    /// Admits what is new and finds room; answers the new pairs.
    pub(crate) fn admit(
        &mut self,
        now: Millis,
        verified: &Arc<Verified>,
        standings: &mut Standings,
    ) -> Vec<(Collection, Item)> {
        let drops = self.conduct == Conduct::Drops;
        if drops && verified.statement().id().0.as_bytes()[0].is_multiple_of(2) {
            return Vec::new();
        }
        let Some(welcome) = self.welcome(verified) else { return Vec::new() };
        let new = self.index.admit(Arc::clone(&welcome));
        if new.is_empty() {
            return new;
        }
        self.changes += 1;
        if let Some(disk) = &mut self.disk {
            disk.write(now, Record::Admitted(welcome));
        }
        if new.iter().any(|(part, _)| matches!(part, Collection::Authority(_))) {
            let realm = verified.statement().realm();
            let named = standings.named(realm, &self.index);
            self.rooms.entry(realm).or_default().renew(realm, named, &self.index);
        }
        new
    }

    /// The signatures that are not held and find room.
    fn welcome(&mut self, verified: &Arc<Verified>) -> Option<Arc<Verified>> {
        let statement = verified.statement();
        if !self.follows.contains(&statement.realm()) {
            return None;
        }
        if verified.items().all(|item| self.index.holds(&item)) {
            return None;
        }
        let room = self.rooms.entry(statement.realm()).or_default();
        let bytes = statement.payload().len() as u64;
        let mut envelope = verified.envelope().clone();
        envelope.signatures.retain(|key, _| {
            let item = Item { id: statement.id(), key: *key };
            !self.index.holds(&item) && room.take(key, bytes)
        });
        match envelope.signatures.len() {
            0 => None,
            all if all == verified.signatures().len() => Some(Arc::clone(verified)),
            _ => Some(Arc::new(Verified::from_admitted(envelope))),
        }
    }

    /// The power goes, and with it what the disk has not got; answers how many statements that was.
    pub(crate) fn crash(&mut self, now: Millis, standings: &mut Standings) -> u64 {
        let Some(mut disk) = self.disk.take() else { return 0 };
        let (left, lost) = disk.crash(now);
        self.index = MemoryIndex::new(self.index.epoch());
        self.follows.iter().for_each(|realm| self.index.follow(*realm));
        (self.cursors, self.rooms) = (BTreeMap::new(), Rooms::new());
        for record in left {
            match record {
                Record::Admitted(verified) => drop(self.admit(now, &verified, standings)),
                Record::Cursor(peer, cursor) => drop(self.cursors.insert(peer, cursor)),
            }
        }
        self.changes += 1;
        self.disk = Some(disk);
        lost
    }

    /// A peer did what no honest one does.
    pub(crate) fn offended(&mut self, now: Millis, by: usize) {
        let (offences, until) = self.offences.entry(by).or_default();
        *offences += 1;
        if *offences >= OFFENCES_MAX {
            (*offences, *until) = (0, now + BAN_MS);
        }
    }

    pub(crate) fn refuses(&self, now: Millis, peer: usize) -> bool {
        self.offences.get(&peer).is_some_and(|(_, until)| *until > now)
    }
}
