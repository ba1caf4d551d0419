//! What the handle and the subtasks say to the swarm's task, and what it does for them.
//!
//! All of it runs inside the swarm's task and returns at once; what takes time becomes a subtask,
//! whose end comes back here. A caller that has gone away is not an error.
//!
//! Source: mesh.md sections 7 and 8.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crdt::session::Sketches;
use crdt::{Digest, RealmId, SecretKey, Verified};
use futures::future::join_all;
use libp2p::core::PeerRecord;
use libp2p::gossipsub::MessageId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use libp2p_stream::Control;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::address::Way;
use super::announce::{Learned, Verdict};
use super::budget::Budget;
use super::discovery::{Dial, Found};
use super::doors::Doors;
use super::frame::SMALL_BYTES;
use super::held;
use super::lane::Lane;
use super::many;
use super::meter::Meter;
use super::mirror::Brought;
use super::mirror_frame::Listing;
use super::peers::Offence;
use super::readers::Proven;
use super::swarm::{Driver, Waiting};
use super::sync::Prompt;
use super::transfer::Flight;
use super::{Error, FileHint, Offer, PeerInfo};
use crate::store::Store;

/// Where the end of a document's flight is told.
pub(super) type DocumentReply = oneshot::Sender<Result<Brought, Error>>;

/// What the handle asks.
#[derive(Debug)]
pub(super) enum Command {
    /// Where we listen.
    Addresses(oneshot::Sender<Vec<Multiaddr>>),
    /// Who is connected.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// What they show.
    Offers(oneshot::Sender<Vec<Offer>>),
    /// Keep this address connected.
    Add(Multiaddr, oneshot::Sender<()>),
    /// Do not.
    Remove(Multiaddr, oneshot::Sender<bool>),
    /// Whether a member may be telling what we lack.
    IsMeeting(oneshot::Sender<bool>),
    /// Fetch a blob.
    Fetch { lane: Lane, blob: (Digest, u64), reply: oneshot::Sender<Result<(), Error>> },
    /// Bring what is small of these.
    Many { lane: Lane, blobs: Vec<(Digest, u64)>, until: Instant, reply: oneshot::Sender<()> },
    /// Bring a cached document.
    Document { wanted: (Digest, u64), bases: Vec<Digest>, reply: DocumentReply },
    /// What members hold of a package.
    FilesOf { listing: Listing, reply: oneshot::Sender<Vec<FileHint>> },
    /// Who holds which.
    Held { digests: Vec<Digest>, reply: oneshot::Sender<Vec<bool>> },
    /// Be connected to this peer.
    Reach { peer: PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), Error>> },
    /// Compare with everybody now.
    Compare,
}

/// What subtasks tell.
#[derive(Debug)]
pub(super) enum Report {
    /// What a peer follows.
    Follows(PeerId, Vec<RealmId>),
    /// About how many pairs we lack from it.
    Behind(PeerId, u64),
    /// We hold what it holds, as of which change of the follows.
    InSync(PeerId, u64),
    /// What it shows to strangers.
    Lobby(PeerId, Vec<Verified>),
    /// What it says of its own addresses and of others'.
    Introduced(PeerId, Vec<PeerRecord>),
    /// It handed in an invite, and may be a member now.
    Joined(PeerId),
    /// What it should not have done.
    Offence(PeerId, Offence),
}

/// What a subtask ends with.
#[derive(Debug)]
pub(super) enum Done {
    /// Nothing to tell.
    Quietly,
    /// A flight has landed.
    Landed((Digest, u64), Result<(), Error>),
    /// A document's flight has landed.
    Brought((Digest, u64), Result<Brought, Error>),
    /// Members said what they hold of a package, and some said nothing.
    Told { listing: Listing, generation: u64, hints: Vec<FileHint>, late: Vec<PeerId> },
    /// Peers said what they hold.
    Asked {
        digests: Vec<Digest>,
        asked: Vec<Digest>,
        held: HashSet<Digest>,
        reply: oneshot::Sender<Vec<bool>>,
    },
    /// The names in a dial were looked up.
    Resolved(Dial),
    /// The system said whether a connection is metered, or nothing.
    Carrier(Option<bool>),
    /// A message was judged.
    Judged { id: MessageId, source: PeerId, verdict: Verdict },
}

/// What subtasks need; clones are cheap.
#[derive(Clone)]
pub(super) struct Context {
    /// What is held.
    pub(super) store: Store,
    /// Opens streams.
    pub(super) control: Control,
    /// To the task.
    pub(super) reports: mpsc::Sender<Report>,
    /// What is just being admitted on behalf of peers.
    pub(super) learned: Arc<Learned>,
    /// Places for the sketches of all conversations.
    pub(super) sketches: Sketches,
    /// Who is let in.
    pub(super) doors: Doors,
    /// Our own id.
    pub(super) local: PeerId,
    /// Keys that we prove.
    pub(super) keys: Arc<Vec<SecretKey>>,
    /// Keys that peers have proven.
    pub(super) proven: Proven,
    /// What passes the sockets.
    pub(super) meter: Meter,
    /// What that may be.
    pub(super) budget: Budget,
}

impl Driver {
    /// Does what the handle asks.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Addresses(reply) => self.listening.ask(reply),
            Command::Peers(reply) => answer(reply, self.list()),
            Command::Offers(reply) => answer(reply, self.lobby.offers()),
            Command::Add(address, reply) => {
                self.contacts.add(address, Found::Told, Instant::now());
                answer(reply, ());
            }
            Command::Remove(address, reply) => answer(reply, self.contacts.remove(&address)),
            Command::IsMeeting(reply) => {
                let meeting = self.is_meeting();
                answer(reply, meeting);
            }
            Command::Fetch { lane, blob, reply } => self.fetch(lane, blob, reply),
            Command::Many { lane, blobs, until, reply } => {
                self.fetch_many(lane, blobs, until, reply)
            }
            Command::Document { wanted, bases, reply } => self.fetch_document(wanted, bases, reply),
            Command::FilesOf { listing, reply } => self.files_of(listing, reply),
            Command::Held { digests, reply } => self.ask_who_holds(digests, reply),
            Command::Reach { peer, addresses, reply } => self.reach(peer, addresses, reply),
            Command::Compare => {
                self.peers.iter().for_each(|(_, peer)| peer.prompt(Prompt::Compare))
            }
        }
    }

    /// Notes what a subtask tells.
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Lobby(peer, envelopes) => self.lobby.show(peer, envelopes),
            Report::Introduced(peer, records) => self.introduced(peer, records),
            Report::Joined(peer) => {
                tracing::debug!(%peer, "a peer handed in an invite");
                self.members_changed();
            }
            Report::Offence(peer, offence) => self.punish(peer, offence),
            Report::Follows(peer, realms) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.follows = realms;
                    self.introductions.news();
                }
            }
            Report::InSync(id, follows) => {
                tracing::debug!(peer = %id, "in sync");
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.behind = 0;
                    peer.meeting.is_over(follows);
                }
                self.regain(id, follows);
            }
            Report::Behind(peer, pairs) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.behind = pairs;
                }
            }
        }
    }

    /// Takes the result of a subtask.
    pub(super) fn done(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Quietly) => {}
            Ok(Done::Judged { id, source, verdict }) => {
                self.judging -= 1;
                self.judged(id, source, verdict);
            }
            Ok(Done::Carrier(metered)) => self.carrier_said(metered),
            Ok(Done::Resolved(dial)) => self.call(&dial),
            Ok(Done::Landed(flight, result)) => self.landed(flight, &result),
            Ok(Done::Brought(flight, result)) => self.brought(flight, &result),
            Ok(Done::Told { listing, generation, hints, late }) => {
                self.told(&listing, (hints, generation), &late);
            }
            Ok(Done::Asked { digests, asked, held, reply }) => {
                self.known.keep(&asked, &held, Instant::now());
                answer(reply, self.known.answer(&digests));
            }
            Err(error) => pass_on(error),
        }
    }

    /// A member that agrees with a restored node may tell that it is up to date.
    fn regain(&mut self, id: PeerId, follows: u64) {
        let store = self.context.store.clone();
        let as_of_now = *store.watch_follows().borrow() == follows;
        if !as_of_now
            || !store.restored().unwrap_or(false)
            || !self.neighbours.members.is_member(&id)
        {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let realms = peer.follows.clone();
        self.tasks.spawn(async move {
            match store.regain(&id.to_bytes(), &realms).await {
                Ok(()) => tracing::info!(peer = %id, "in sync: this node is up to date again"),
                Err(why) => tracing::info!(peer = %id, %why, "in sync, and not up to date by that"),
            }
            Done::Quietly
        });
    }

    fn is_meeting(&mut self) -> bool {
        let follows = *self.context.store.watch_follows().borrow();
        let members = self.neighbours.members.clone();
        let now = Instant::now();
        let mut met = self.peers.iter_mut().filter(|(id, _)| members.is_member(id));
        met.any(|(_, peer)| peer.meeting.goes_on(follows, now))
    }

    fn list(&self) -> Vec<PeerInfo> {
        let info = |(id, peer): (&PeerId, &super::peers::Peer)| PeerInfo {
            id: id.to_string(),
            address: peer.address.to_string(),
            transport: Way::of(&peer.address).word().to_owned(),
            behind: peer.behind,
            follows: peer.follows.clone(),
            offers: self.lobby.realms_of(*id),
            found: peer.found.word().to_owned(),
            member: self.neighbours.members.is_member(id),
        };
        let mut list: Vec<PeerInfo> = self.peers.iter().map(info).collect();
        list.sort_by(|one, other| one.id.cmp(&other.id));
        list
    }

    /// Joins the flight of this digest, or starts one.
    fn fetch(&mut self, lane: Lane, (digest, size): (Digest, u64), reply: Waiting) {
        let mut peers = Vec::new();
        if !self.flights.contains_key(&(digest, size)) {
            let holders = self.may_hear_of(&digest);
            peers = match self.context.budget.choose(lane, (digest, size), holders) {
                Ok(peers) => peers,
                Err(why) => return answer(reply, Err(Error::Waits(digest, why))),
            };
        }
        if lane == Lane::Wanted {
            self.lanes.want(digest);
        }
        let waiting = self.flights.entry((digest, size)).or_default();
        waiting.push(reply);
        if waiting.len() > 1 {
            return;
        }
        let flight = Flight {
            digest,
            size,
            peers,
            store: self.context.store.clone(),
            lanes: self.lanes.clone(),
            reports: self.context.reports.clone(),
        };
        let control = self.context.control.clone();
        self.tasks.spawn(async move { Done::Landed((digest, size), flight.run(control).await) });
    }

    fn fetch_many(
        &mut self,
        lane: Lane,
        blobs: Vec<(Digest, u64)>,
        until: Instant,
        reply: oneshot::Sender<()>,
    ) {
        let small = blobs.into_iter().filter(|(_, size)| *size < SMALL_BYTES);
        let mut groups: BTreeMap<Vec<PeerId>, Vec<(Digest, u64)>> = BTreeMap::new();
        for (digest, size) in small {
            let holders = self.may_hear_of(&digest);
            // What the budget lets wait is told when it is asked for alone.
            let chosen = self.context.budget.choose(lane, (digest, size), holders);
            if let Some(peers) = chosen.ok().filter(|peers| !peers.is_empty()) {
                groups.entry(peers).or_default().push((digest, size));
            }
        }
        let (context, lanes) = (self.context.clone(), self.lanes.clone());
        let flight = many::Flight { context, lanes, lane, until };
        self.tasks.spawn(async move {
            for (peers, blobs) in groups {
                flight.run(peers, blobs).await;
            }
            answer(reply, ());
            Done::Quietly
        });
    }

    fn landed(&mut self, flight: (Digest, u64), result: &Result<(), Error>) {
        self.lanes.landed(&flight.0);
        let budget = &self.context.budget;
        let waits = match result {
            Ok(()) => None,
            // Those who were asked lack it; those who were not asked may have it.
            Err(Error::Nowhere(digest)) => budget.why(digest).map(|why| Error::Waits(*digest, why)),
            Err(_) => None,
        };
        if result.is_ok() {
            budget.came(&flight.0);
        }
        let result = &waits.map_or_else(|| result.as_ref().copied().map_err(Error::echo), Err);
        for reply in self.flights.remove(&flight).into_iter().flatten() {
            answer(reply, result.as_ref().copied().map_err(Error::echo));
        }
    }

    fn ask_who_holds(&mut self, digests: Vec<Digest>, reply: oneshot::Sender<Vec<bool>>) {
        let asked = self.known.unknown(&digests, Instant::now());
        let mut questions: BTreeMap<Vec<PeerId>, Vec<Digest>> = BTreeMap::new();
        for digest in &asked {
            let mut peers = self.may_hear_of(digest);
            peers.sort_unstable();
            questions.entry(peers).or_default().push(*digest);
        }
        questions.retain(|peers, _| !peers.is_empty());
        if questions.is_empty() {
            return answer(reply, self.known.answer(&digests));
        }
        let control = self.context.control.clone();
        self.tasks.spawn(async move {
            let questions = questions.into_iter();
            let questions =
                questions.map(|(peers, asked)| held::ask(control.clone(), peers, asked));
            let held = join_all(questions).await.into_iter().flatten().collect();
            Done::Asked { digests, asked, held, reply }
        });
    }

    fn reach(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), Error>>,
    ) {
        if self.swarm.is_connected(&peer) {
            return answer(reply, Ok(()));
        }
        // Always: another dial to the peer may be on its way to an address that does not answer.
        let options =
            DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Always).build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.reaching.insert(connection, (peer, reply))),
            Err(error) => answer(reply, Err(Error::Unreachable(error.to_string()))),
        }
    }
}

/// Forgets the tasks that are done. A panic is a broken invariant of ours and is passed on.
pub(super) fn reap(tasks: &mut JoinSet<()>) {
    while let Some(done) = tasks.try_join_next() {
        if let Err(error) = done {
            pass_on(error);
        }
    }
}

/// Panics again with the panic of a task.
fn pass_on(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Answers the handle.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // Whoever asked may have gone.
    let _ = reply.send(value);
}
