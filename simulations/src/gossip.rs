//! Gossip beside the streams: what is published is told at once, as datagrams.
//!
//! The rules are those of the node's `mesh::announce`: a small statement travels whole, a large one
//! by its id and is asked for on the stream; only who published announces, and who hears something
//! new passes it on to all but where it came from. Here datagrams are lost, doubled and overtake
//! one another; nothing waits for them, the streams repair all.
//!
//! Not modelled: gossipsub's lasting choice of neighbours (here a few are drawn each time), its
//! heartbeat and its scores.

use std::rc::Rc;
use std::sync::Arc;

use crdt::session::{Index as _, Input};
use crdt::{Digest, Envelope, StatementId, Verified};

use crate::network::At;
use crate::world::{Event, World};

/// A whole statement follows.
pub(crate) const WHOLE: u8 = 0;
/// The id of a statement follows.
pub(crate) const NAMED: u8 = 1;
/// Larger ones travel by their id.
const WHOLE_MAX_BYTES: usize = 3_584;
/// Neighbours that what was heard is passed on to.
const PASSED_ON_TO: usize = 4;

impl World {
    /// Tells the neighbours of a node, but for the one it comes from.
    pub(crate) fn announce(&mut self, node: usize, verified: &Arc<Verified>, from: Option<At>) {
        let mut message = vec![WHOLE];
        message.extend(verified.envelope().encode());
        if message.len() > WHOLE_MAX_BYTES {
            message = vec![NAMED];
            message.extend(verified.statement().id().0.as_bytes());
        }
        let message: Rc<[u8]> = message.into();
        let mut to: Vec<At> =
            self.network.at[node].iter().copied().filter(|at| from != Some(*at)).collect();
        // Who publishes tells all; who passes on, a few.
        while from.is_some() && to.len() > PASSED_ON_TO {
            let gone = self.dice().between(0, to.len() as u64);
            to.swap_remove(gone as usize);
        }
        to.into_iter().for_each(|at| self.whisper(at, Rc::clone(&message)));
    }

    /// Sends one datagram from this end.
    pub(crate) fn whisper(&mut self, (link, side): At, bytes: Rc<[u8]>) {
        if !self.network.links[link].up || !self.network.links[link].road.gossips {
            return;
        }
        self.record_gossip((link, side), &bytes);
        let honest = self.peers[self.network.node((link, side))].is_honest();
        let (to, now) = ((link, 1 - side), self.now);
        let (network, dice) = self.outdoors();
        network.count(honest, "gossip", bytes.len());
        let (number, arrivals) = network.datagram(to, now, dice);
        let generation = network.links[link].generation;
        for at in arrivals {
            let bytes = Rc::clone(&bytes);
            self.schedule(at, Event::Gossip { at: to, generation, number, bytes });
        }
    }

    /// A datagram came.
    pub(crate) fn hear(&mut self, at: At, bytes: &[u8]) {
        let node = self.network.node(at);
        match bytes.split_first() {
            Some((&WHOLE, bytes)) => {
                let Ok(envelope) = Envelope::decode(bytes) else { return };
                let Some(verified) = self.check(node, envelope) else { return };
                let new = self.take(node, &verified);
                if !new.is_empty() {
                    self.tell(node, &new, true);
                    self.announce(node, &verified, Some(at));
                }
            }
            Some((&NAMED, bytes)) => {
                let Ok(id) = <[u8; 32]>::try_from(bytes) else { return };
                let id = StatementId(Digest::from_bytes(id));
                if self.peers[node].index.envelope(&id, &[]).is_none() {
                    self.input(at, Input::Want(vec![id]));
                }
            }
            _ => {}
        }
    }
}
