//! What the swarm's task keeps of the members' caches: flights of documents, lines, answers.
//!
//! Runs inside the task and returns at once, like `command`; what takes time is in `mirror` and
//! `files`. Only members of the site that are connected are asked: what somebody installs is
//! nobody else's concern. Lost at a restart.
//!
//! Source: trust.md section 14.

use std::collections::HashMap;
use std::sync::Arc;

use crdt::Digest;
use libp2p::PeerId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::command::{Done, answer};
use super::files::{self, Line, QUESTIONS_MAX, Told};
use super::lane::Lane;
use super::members::Members;
use super::mirror::{Brought, DocumentFlight, Late, SHARES};
use super::mirror_frame::Listing;
use super::mirror_link::Spare;
use super::swarm::Driver;
use super::{Error, FileHint};

/// Somebody who waits for a document.
type Waiting = oneshot::Sender<Result<Brought, Error>>;

/// The task's state.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// Who is one.
    pub(super) members: Members,
    spare: Spare,
    lines: HashMap<PeerId, Line>,
    told: Told,
    /// By digest and size: a caller with another size does not share the result.
    flights: HashMap<(Digest, u64), Vec<Waiting>>,
    shares: Arc<Semaphore>,
    late: Late,
}

impl Neighbours {
    pub(super) fn new(members: Members) -> Self {
        Self {
            members,
            spare: Spare::default(),
            lines: HashMap::new(),
            told: Told::default(),
            flights: HashMap::new(),
            shares: Arc::new(Semaphore::new(SHARES)),
            late: Late::default(),
        }
    }

    /// A peer is connected.
    pub(super) fn arrive(&mut self) {
        self.told.forget();
    }

    /// Its last connection is gone: its line ends with it.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        self.told.forget();
        self.lines.remove(peer);
        self.spare.forget(peer);
        self.late.forget(peer);
    }
}

/// By what members are sorted.
pub(super) fn place(spread: &[u8; 32], peer: &PeerId) -> [u8; 32] {
    *blake3::keyed_hash(spread, &peer.to_bytes()).as_bytes()
}

impl Driver {
    /// The members that are connected, in an order that differs from document to document, so that
    /// not all of them are asked of the same one.
    fn members(&self, spread: &[u8; 32]) -> Vec<PeerId> {
        let mut members = self.peers.ids();
        members.retain(|peer| self.neighbours.members.is_member(peer));
        members.sort_by_cached_key(|peer| place(spread, peer));
        members
    }

    /// Joins the flight of this document, or starts one.
    pub(super) fn fetch_document(
        &mut self,
        (digest, size): (Digest, u64),
        bases: Vec<Digest>,
        reply: Waiting,
    ) {
        let members = self.members(digest.as_bytes());
        let chosen = self.context.budget.choose(Lane::Wanted, (digest, size), members);
        let peers = match chosen {
            Ok(peers) => peers,
            Err(why) => return answer(reply, Err(Error::Waits(digest, why))),
        };
        let waiting = self.neighbours.flights.entry((digest, size)).or_default();
        waiting.push(reply);
        if waiting.len() > 1 {
            return;
        }
        let flight = DocumentFlight {
            digest,
            size,
            bases,
            peers,
            store: self.context.store.clone(),
            control: self.context.control.clone(),
            spare: self.neighbours.spare.clone(),
            shares: self.neighbours.shares.clone(),
            late: self.neighbours.late.clone(),
            reports: self.context.reports.clone(),
        };
        self.tasks.spawn(async move { Done::Brought((digest, size), flight.run().await) });
    }

    pub(super) fn brought(&mut self, flight: (Digest, u64), result: &Result<Brought, Error>) {
        if matches!(result, Ok(Brought::Here)) {
            self.context.budget.came(&flight.0);
        }
        for reply in self.neighbours.flights.remove(&flight).into_iter().flatten() {
            answer(reply, result.as_ref().copied().map_err(Error::echo));
        }
    }

    /// Asks all members that are connected what they hold of a package.
    pub(super) fn files_of(&mut self, listing: Listing, reply: oneshot::Sender<Vec<FileHint>>) {
        let now = Instant::now();
        if let Some(hints) = self.neighbours.told.fresh(&listing, now) {
            return answer(reply, hints);
        }
        let Some(generation) = self.neighbours.told.wait(&listing, reply) else { return };
        let mut asked = Vec::new();
        for peer in self.members(listing.origin.as_bytes()) {
            if let Some(answer) = self.line(peer).ask(&listing, now) {
                asked.push((peer, answer));
            }
        }
        self.tasks.spawn(async move {
            let (hints, late) = files::collect(asked).await;
            Done::Told { listing, generation, hints, late }
        });
    }

    /// The line to a member, begun when it is first asked.
    fn line(&mut self, peer: PeerId) -> &Line {
        let (context, tasks) = (&self.context, &mut self.tasks);
        self.neighbours.lines.entry(peer).or_insert_with(|| {
            let (questions, receiver) = mpsc::channel(QUESTIONS_MAX);
            let line =
                files::line(context.control.clone(), peer, receiver, context.reports.clone());
            tasks.spawn(async {
                line.await;
                Done::Quietly
            });
            Line::new(questions)
        })
    }

    pub(super) fn told(
        &mut self,
        listing: &Listing,
        (hints, generation): (Vec<FileHint>, u64),
        late: &[PeerId],
    ) {
        let now = Instant::now();
        for peer in late {
            if let Some(line) = self.neighbours.lines.get_mut(peer) {
                line.is_late(now);
            }
        }
        for reply in self.neighbours.told.keep(listing, (&hints, generation), now) {
            answer(reply, hints.clone());
        }
    }
}
