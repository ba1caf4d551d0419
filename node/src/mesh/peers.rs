//! The connected peers: what they said, how they behaved, and whom to refuse for a while.
//!
//! Owned by the swarm's task; the instants are arguments. A peer loses score for what no honest
//! peer sends, an invalid signature ten points; at minus one hundred it is disconnected and refused
//! for an hour, at once for wrong bytes of a blob, where the proof is its own. A point comes back
//! every minute, so that rare accidents never add up. The score outlives a connection, not a
//! restart.
//!
//! Source: trust.md section 12, mesh.md section 8.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crdt::RealmId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::address::ip_of;
use super::discovery::Found;
use super::meeting::Meeting;
use super::sync::Prompt;

/// Score at which a peer is refused.
const SCORE_MIN: i32 = -100;
/// How long it takes to win one point back.
const RECOVERY: Duration = Duration::from_secs(60);
/// Nobody calls a peer that it is connected with, but two may call each other at once.
const AT_ONCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// How long it is refused.
const BAN: Duration = Duration::from_secs(60 * 60);
/// Scores that are remembered of peers that left.
const SCORES_MAX: usize = 4096;

/// What no honest peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offence {
    /// A statement whose signature does not verify.
    Signature,
    /// Bytes that break a protocol.
    Garbage,
    /// Bytes of a blob that do not have its digest.
    WrongBytes,
}

impl Offence {
    const fn points(self) -> i32 {
        match self {
            Self::Signature | Self::Garbage => -10,
            Self::WrongBytes => SCORE_MIN,
        }
    }
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where from or to.
    pub(super) address: Multiaddr,
    /// How it came to be known.
    pub(super) found: Found,
    /// What it says it follows.
    pub(super) follows: Vec<RealmId>,
    /// About how many statements we lack from it.
    pub(super) behind: u64,
    /// Whether it may be telling what we lack.
    pub(super) meeting: Meeting,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    prompts: mpsc::Sender<Prompt>,
    task: AbortHandle,
}

impl Peer {
    /// Replaces the conversation; the one before ends.
    pub(super) fn converse(&mut self, prompts: mpsc::Sender<Prompt>, task: AbortHandle) {
        self.hang_up();
        self.session = Some(Session { prompts, task });
    }

    fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            session.task.abort();
        }
    }

    /// Says something to the conversation. A full queue means that it is busy: what is lost here,
    /// the next comparison repairs.
    pub(super) fn prompt(&self, prompt: Prompt) {
        if let Some(session) = &self.session {
            let _ = session.prompts.try_send(prompt);
        }
    }
}

/// One connection with a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Which.
    pub(super) id: ConnectionId,
    /// Where the peer is.
    pub(super) address: Multiaddr,
    /// Whether the peer called us.
    pub(super) called: bool,
    /// Which of our addresses it uses, if that is known.
    pub(super) ours: Option<IpAddr>,
}

/// All of them, and the scores.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connected: HashMap<PeerId, Peer>,
    /// Its connections that live, and since when they are up.
    lines: HashMap<PeerId, Vec<(Line, Instant)>>,
    /// The score, and when it was reckoned.
    scores: HashMap<PeerId, (i32, Instant)>,
    bans: Vec<(PeerId, Instant)>,
}

impl Peers {
    /// A connection is up. If the peer called, answers those that it has lost without our hearing
    /// of it: who still had one would not have called.
    pub(super) fn connect(&mut self, id: PeerId, line: Line, now: Instant) -> Vec<ConnectionId> {
        let all = self.lines.entry(id).or_default();
        let is_lost = |(old, up): &&(Line, Instant)| {
            line.called && (now.duration_since(*up) > AT_ONCE || has_moved(&old.address, &line))
        };
        let lost = all.iter().filter(is_lost).map(|(old, _)| old.id).collect();
        all.push((line, now));
        lost
    }

    /// A connection is gone. Returns whether it was the last one that lived.
    pub(super) fn disconnect(&mut self, id: PeerId, connection: ConnectionId) -> bool {
        let Some(all) = self.lines.get_mut(&id) else { return false };
        all.retain(|(line, _)| line.id != connection);
        if let Some((left, _)) = all.last() {
            if let Some(peer) = self.connected.get_mut(&id) {
                peer.address = left.address.clone();
            }
            return false;
        }
        self.lines.remove(&id);
        true
    }

    /// Whether a connection with the peer lives.
    pub(super) fn has_line(&self, id: &PeerId) -> bool {
        self.lines.contains_key(id)
    }

    /// The lines from an address of ours, or all.
    pub(super) fn lines_from(&self, ours: Option<IpAddr>) -> Vec<(PeerId, ConnectionId)> {
        let all = self.lines.iter().flat_map(|(id, all)| all.iter().map(|(line, _)| (*id, line)));
        let lines = all.filter(|(_, line)| ours.is_none() || line.ours == ours);
        lines.map(|(id, line)| (id, line.id)).collect()
    }

    /// A first or further connection. Returns whether it is the first.
    pub(super) fn arrive(&mut self, id: PeerId, address: Multiaddr, found: Found) -> bool {
        if let Some(peer) = self.connected.get_mut(&id) {
            if peer.found == Found::Inbound {
                peer.found = found;
            }
            return false;
        }
        let follows = Vec::new();
        let meeting = Meeting::default();
        let peer = Peer { address, found, follows, behind: 0, meeting, session: None };
        self.connected.insert(id, peer);
        true
    }

    /// The last connection is gone.
    pub(super) fn leave(&mut self, id: PeerId) {
        if let Some(mut peer) = self.connected.remove(&id) {
            peer.hang_up();
        }
    }

    /// One connected peer.
    pub(super) fn get(&self, id: &PeerId) -> Option<&Peer> {
        self.connected.get(id)
    }

    /// One connected peer, to change what is known of it.
    pub(super) fn get_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.connected.get_mut(id)
    }

    /// The connected peers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.connected.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut Peer)> {
        self.connected.iter_mut()
    }

    /// The ids of the connected peers.
    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.connected.keys().copied().collect()
    }

    /// Lowers a score. Returns whether the peer is to be refused from now on.
    pub(super) fn punish(&mut self, id: PeerId, offence: Offence, now: Instant) -> bool {
        if self.scores.len() >= SCORES_MAX {
            self.scores.retain(|peer, _| self.connected.contains_key(peer));
        }
        let (score, reckoned) = self.scores.entry(id).or_insert((0, now));
        let recovered = now.duration_since(*reckoned).as_secs() / RECOVERY.as_secs();
        let recovered = i32::try_from(recovered).unwrap_or(i32::MAX);
        *score = score.saturating_add(recovered).min(0).saturating_add(offence.points());
        *reckoned = now;
        if *score > SCORE_MIN {
            return false;
        }
        self.scores.remove(&id);
        self.bans.push((id, now + BAN));
        true
    }

    /// Whose time is served.
    pub(super) fn pardon(&mut self, now: Instant) -> Vec<PeerId> {
        let (over, rest) = self.bans.iter().copied().partition(|(_, until)| *until <= now);
        self.bans = rest;
        let over: Vec<(PeerId, Instant)> = over;
        over.into_iter().map(|(id, _)| id).collect()
    }

    /// When the next one's time is served.
    pub(super) fn next_pardon(&self) -> Option<Instant> {
        self.bans.iter().map(|(_, until)| *until).min()
    }
}

/// Whether a peer calls from another address than it had, of the same kind.
fn has_moved(old: &Multiaddr, line: &Line) -> bool {
    let (Some(old), Some(new)) = (ip_of(old), ip_of(&line.address)) else { return false };
    old != new && old.is_ipv4() == new.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_bad_signatures_or_one_wrong_byte_ban_for_an_hour() {
        let (now, liar, sender) = (Instant::now(), PeerId::random(), PeerId::random());
        let mut peers = Peers::default();
        for _ in 0..9 {
            assert!(!peers.punish(liar, Offence::Signature, now));
        }
        assert!(peers.punish(liar, Offence::Signature, now));
        assert!(peers.punish(sender, Offence::WrongBytes, now));
        assert!(peers.pardon(now).is_empty());
        assert_eq!(peers.pardon(now + BAN).len(), 2);
        assert_eq!(peers.next_pardon(), None);
    }

    fn line(number: usize, called: bool, ours: [u8; 4]) -> Line {
        let address = "/ip4/10.0.0.1/tcp/1".parse().expect("a sound address");
        let id = ConnectionId::new_unchecked(number);
        Line { id, address, called, ours: Some(ours.into()) }
    }

    #[test]
    fn a_peer_that_calls_again_later_has_lost_its_old_connection() {
        let (now, id) = (Instant::now(), PeerId::random());
        let old = line(1, false, [10, 0, 0, 2]);
        let [at_once, again] = [2, 4].map(|number| line(number, true, [10, 0, 0, 2]));
        let ours = line(3, false, [10, 0, 0, 2]);
        let mut peers = Peers::default();
        assert!(peers.connect(id, old.clone(), now).is_empty());
        assert!(peers.connect(id, at_once.clone(), now).is_empty(), "both called at once");
        let later = now + AT_ONCE + Duration::from_secs(1);
        assert!(peers.connect(id, ours.clone(), later).is_empty(), "a call of ours says nothing");
        assert!(!peers.disconnect(id, at_once.id));
        assert_eq!(peers.connect(id, again.clone(), later), [old.id]);
        let ended = [old, ours, again].map(|line| peers.disconnect(id, line.id));
        assert_eq!(ended, [false, false, true]);
        assert!(peers.lines.is_empty());
    }

    #[test]
    fn a_peer_that_calls_from_another_address_has_lost_its_old_connection_at_once() {
        let (now, id) = (Instant::now(), PeerId::random());
        let (old, mut moved) = (line(1, true, [10, 0, 0, 2]), line(2, true, [10, 0, 0, 2]));
        moved.address = "/ip4/10.0.0.101/tcp/1".parse().expect("a sound address");
        let mut other_kind = line(3, true, [10, 0, 0, 2]);
        other_kind.address = "/ip6/fd00::1/tcp/1".parse().expect("a sound address");
        let mut peers = Peers::default();
        peers.connect(id, old.clone(), now);
        assert!(peers.connect(id, other_kind, now).is_empty());
        assert_eq!(peers.connect(id, moved, now), [old.id]);
    }

    #[test]
    fn lines_are_found_by_the_address_of_ours_that_they_use() {
        let (now, near, far) = (Instant::now(), PeerId::random(), PeerId::random());
        let mut peers = Peers::default();
        peers.connect(near, line(1, false, [10, 0, 0, 2]), now);
        peers.connect(far, line(2, false, [192, 168, 4, 2]), now);
        let of_near = (near, ConnectionId::new_unchecked(1));
        assert_eq!(peers.lines_from(Some([10, 0, 0, 2].into())), [of_near]);
        assert_eq!(peers.lines_from(None).len(), 2);
        assert!(peers.disconnect(near, of_near.1) && !peers.has_line(&near));
        assert!(!peers.disconnect(near, of_near.1), "its end was told before");
    }

    #[test]
    fn rare_accidents_never_add_up() {
        let (mut now, flaky) = (Instant::now(), PeerId::random());
        let mut peers = Peers::default();
        for _ in 0..100 {
            now += 10 * RECOVERY;
            assert!(!peers.punish(flaky, Offence::Garbage, now));
        }
    }
}
