//! The conversations of a world: dialling, frames and time-outs in, frames and statements out.
//!
//! What the node's `mesh` does around a session, without its tasks: an initiator dials again when a
//! conversation ends, the later the more often that happened; who sends rubbish ten times is
//! refused for an hour; nothing more is made while the line is still busy.

use std::rc::Rc;
use std::sync::Arc;

use crdt::message::Frame;
use crdt::session::{Input, Millis, Output};
use crdt::{Collection, Envelope, Item, Verified};

use crate::faults::Fault;
use crate::network::At;
use crate::peer::Conduct;
use crate::withholding::Withholding;
use crate::world::{Event, World};

/// The first dial after a conversation that ended waits at most this long, later ones longer.
const BACK_OFF_FIRST_MS: Millis = 1_000;
/// No dial waits longer.
const BACK_OFF_MAX_MS: Millis = 5 * 60_000;
/// A conversation that lasted this long was a good one.
const GOOD_MS: Millis = 60_000;

impl World {
    pub(crate) fn dial(&mut self, link: usize) {
        let one = &self.network.links[link];
        let nodes = [one.ends[0].node, one.ends[1].node];
        let away = nodes.iter().any(|node| !self.peers[*node].online);
        if one.up || one.parted > 0 || away {
            return;
        }
        let [a, b] = nodes;
        if self.peers[a].refuses(self.now, b) || self.peers[b].refuses(self.now, a) {
            return self.schedule(self.now + BACK_OFF_MAX_MS, Event::Dial(link));
        }
        self.network.open(link, self.now);
        for side in [0, 1] {
            let (node, other) = (nodes[side], nodes[1 - side]);
            let seen = self.first_cursor(node, other);
            let key = self.dice().bytes();
            if self.peers[node].clock.is_wrong {
                self.network.fired.note(Fault::WrongClock);
            }
            self.input((link, side), Input::Start { key, initiator: side == 0, seen });
        }
    }

    pub(crate) fn deliver(&mut self, at: At, bytes: &[u8]) {
        if !self.network.links[at.0].ends[at.1].is_ragged
            && let Some(frame) = self.codec.batch(bytes)
        {
            return match frame {
                Ok(frame) => self.input(at, Input::Frame(Frame::clone(&frame))),
                Err(()) => self.rubbish(at),
            };
        }
        self.network.links[at.0].ends[at.1].decoder.feed(bytes);
        while self.network.links[at.0].up {
            match self.network.links[at.0].ends[at.1].decoder.next_frame() {
                Ok(Some(frame)) => self.input(at, Input::Frame(frame)),
                Ok(None) => return,
                Err(_) => self.rubbish(at),
            }
        }
    }

    /// What came is no frame.
    fn rubbish(&mut self, at: At) {
        let other = self.network.node((at.0, 1 - at.1));
        let node = self.network.node(at);
        self.peers[node].offended(self.now, other);
        self.hang_up(at.0);
    }

    fn hang_up(&mut self, link: usize) {
        if !self.network.cut(link) {
            return;
        }
        let one = &self.network.links[link];
        let honest = one.ends.iter().all(|end| self.peers[end.node].is_honest());
        match honest {
            true => self.network.traffic.quarrels += 1,
            false => self.network.traffic.closed += 1,
        }
        let lasted = self.now - self.network.links[link].since;
        let failures = &mut self.network.links[link].failures;
        *failures = if lasted > GOOD_MS { 0 } else { *failures + 1 };
        let most = (BACK_OFF_FIRST_MS << (*failures).min(16)).min(BACK_OFF_MAX_MS);
        let pause = most / 2 + self.dice().between(0, most / 2 + 1);
        self.schedule(self.now + pause, Event::Dial(link));
    }

    pub(crate) fn timer(&mut self, at: At, generation: u64) {
        let link = &mut self.network.links[at.0];
        // One that an earlier one has taken the place of means nothing any more.
        if link.generation != generation || link.ends[at.1].timer_at != Some(self.now) {
            return;
        }
        link.ends[at.1].timer_at = None;
        // What was given out is not written yet: time stands still meanwhile.
        if self.network.links[at.0].ends[at.1].free_at > self.now {
            return self.arm(at);
        }
        self.input(at, Input::Timeout);
    }

    /// The machine was suspended: what was due meanwhile is due now.
    pub(crate) fn sleeps(&mut self, node: usize, how_long: Millis) {
        self.peers[node].clock.sleep(how_long);
        self.network.fired.note(Fault::WrongClock);
        for at in self.network.at[node].clone() {
            if self.network.links[at.0].up {
                self.input(at, Input::Timeout);
            }
        }
    }

    pub(crate) fn input(&mut self, at: At, input: Input) {
        let node = self.network.node(at);
        let peer = &self.peers[node];
        let now = peer.clock.local(self.now);
        let session = &mut self.network.links[at.0].ends[at.1].session;
        if peer.conduct == Conduct::Withholds {
            let index = Withholding::new(&peer.index);
            session.handle(now, input, &index);
            self.network.fired.add(Fault::Withholding, index.refused.get());
        } else {
            session.handle(now, input, &peer.index);
        }
        while let Some(output) = self.network.links[at.0].ends[at.1].session.poll() {
            self.output(at, output);
        }
        self.arm(at);
    }

    /// Sees to it that the next time-out comes.
    fn arm(&mut self, at: At) {
        let clock = self.peers[self.network.node(at)].clock;
        let link = &mut self.network.links[at.0];
        let (generation, end) = (link.generation, &mut link.ends[at.1]);
        let Some(due) = end.session.next_timeout().filter(|_| link.up) else { return };
        let due = clock.world(due).max(end.free_at).max(self.now);
        if end.timer_at.is_none_or(|set| due < set) {
            end.timer_at = Some(due);
            self.schedule(due, Event::Timer { at, generation });
        }
    }

    fn output(&mut self, at: At, output: Output) {
        match output {
            Output::Send(frame) => {
                let bytes: Rc<[u8]> = frame.encode().into();
                self.record(at, &bytes);
                self.send(at, kind(&frame), bytes);
            }
            Output::Admit { envelopes, cursor } => self.admit(at, envelopes, cursor),
            Output::Cursor { epoch, sequence } => self.remember(at, (epoch, sequence)),
            Output::Close(_) => self.hang_up(at.0),
            Output::Lobby(_) | Output::PeerFollows(_) => {}
            Output::InSync | Output::Behind(_) | Output::Lacked(_) | Output::Proven(_) => {}
        }
    }

    /// Puts bytes on the stream from this end.
    pub(crate) fn send(&mut self, (link, side): At, kind: &'static str, bytes: Rc<[u8]>) {
        if !self.network.links[link].up {
            return;
        }
        let honest = self.peers[self.network.node((link, side))].is_honest();
        let (to, now) = ((link, 1 - side), self.now);
        let (network, dice) = self.outdoors();
        let (at, times) = network.stream(to, now, bytes.len(), dice);
        for _ in 0..times {
            network.count(honest, kind, bytes.len());
        }
        let generation = network.links[link].generation;
        self.schedule(at, Event::Deliver { at: to, generation, bytes });
    }

    fn admit(&mut self, at: At, envelopes: Vec<Envelope>, cursor: Option<(u64, u64)>) {
        let node = self.network.node(at);
        let other = self.network.node((at.0, 1 - at.1));
        let mut new: Vec<(Collection, Item)> = Vec::new();
        for envelope in envelopes {
            let Some(verified) = self.codec.verify(envelope) else {
                self.peers[node].offended(self.now, other);
                continue;
            };
            new.extend(self.take(node, &verified));
        }
        if let Some(cursor) = cursor {
            self.remember(at, cursor);
        }
        self.input(at, Input::Admitted { cursor });
        self.tell(node, &new, true);
    }

    fn remember(&mut self, at: At, cursor: (u64, u64)) {
        let other = self.network.node((at.0, 1 - at.1));
        let node = self.network.node(at);
        self.peers[node].remember(self.now, other, cursor);
    }

    /// Tells all conversations of a node what it has admitted, and whether a peer gave it.
    pub(crate) fn tell(&mut self, node: usize, new: &[(Collection, Item)], heard: bool) {
        for at in self.network.at[node].clone() {
            if !new.is_empty() && self.network.links[at.0].up {
                let new = new.to_vec();
                self.input(at, if heard { Input::Heard(new) } else { Input::New(new) });
            }
        }
    }

    /// The statement, verified, unless nothing of it is new to the node.
    pub(crate) fn check(&mut self, node: usize, envelope: Envelope) -> Option<Arc<Verified>> {
        let id = envelope.statement.id();
        let holds = |key: &crdt::PublicKey| {
            crdt::session::Index::holds(&self.peers[node].index, &Item { id, key: *key })
        };
        if envelope.signatures.keys().all(holds) {
            return None;
        }
        self.codec.verify(envelope)
    }
}

/// What a report calls a frame.
const fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello { .. } | Frame::Follows { .. } | Frame::GoAway { .. } => "greeting",
        Frame::Proof { .. } | Frame::Hidden { .. } => "greeting",
        Frame::Lobby { .. } => "lobby",
        Frame::Resume { .. } => "resume",
        Frame::Statements { .. } => "statements",
        Frame::Check { .. } => "check",
        Frame::Colls { .. } | Frame::AllIds { .. } | Frame::Done { .. } => "lists",
        Frame::Cells { .. } | Frame::More { .. } => "cells",
        Frame::Want { .. } => "want",
    }
}
