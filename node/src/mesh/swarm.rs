//! The one task that owns the swarm, the table of peers and what is under way.
//!
//! Commands come from the handle, events from libp2p, reports from the subtasks; each is one line
//! in the loop. The loop never waits for a subtask: what takes time is a subtask in
//! [`Driver::tasks`], and prompts to subtasks are dropped when their queue is full. Dropping the
//! task's future drops the set and so ends everything. A panic in a subtask is a broken invariant
//! of ours: it is passed on, and stops the daemon.
//!
//! Source: mesh.md sections 3, 7 and 8.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crdt::session::Sketches;
use crdt::{Collection, Digest};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::gossipsub::{self, MessageId};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, Swarm, mdns, ping};
use libp2p_stream::{Control, IncomingStreams};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::address::{self, is_dialable};
use super::announce::{self, Learned, Verdict};
use super::behaviour::{self, Behaviour, BehaviourEvent, Metering, TOPIC};
use super::budget::Budget;
use super::command::{Command, Context, Done, Report};
use super::discovery::{Contacts, Dial, Found};
use super::doors::Doors;
use super::frugal::Frugal;
use super::held::Known;
use super::interfaces::Interfaces;
use super::introduce::{self, Introductions};
use super::lane::Lanes;
use super::listening::Listening;
use super::lobby::Lobby;
use super::members::Members;
use super::meter::Meter;
use super::neighbours::Neighbours;
use super::network::{self, Change, Network};
use super::peers::{Line, Offence, Peers};
use super::readers::Proven;
use super::sync::{self, Prompt};
use super::{Config, Error, PEER_ROW, Pairing, dialable};
use super::{mirror_serve, pair, serve};
use crate::store::{Admission, NewItem, Store};

/// Reports that wait for the task; more make the subtasks wait.
const REPORTS_MAX: usize = 64;
/// Gossip messages that are being judged; more are dropped, and sync brings them.
const JUDGED_MAX: usize = 64;
/// Looks around at least this often.
const IDLE_WAKE: Duration = Duration::from_secs(60 * 60);

/// Somebody who waits for something to be done.
pub(super) type Waiting = oneshot::Sender<Result<(), Error>>;

/// The task's state.
pub(super) struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) context: Context,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Receiver<Report>,
    admissions: broadcast::Receiver<Arc<Admission>>,
    conversations: IncomingStreams,
    pub(super) tasks: JoinSet<Done>,
    pub(super) contacts: Contacts,
    dials: HashMap<ConnectionId, u64>,
    pub(super) peers: Peers,
    pub(super) lobby: Lobby,
    pub(super) known: Known,
    /// By digest and size: a caller with another size does not share the result.
    pub(super) flights: HashMap<(Digest, u64), Vec<Waiting>>,
    pub(super) lanes: Lanes,
    pub(super) reaching: HashMap<ConnectionId, (PeerId, Waiting)>,
    pub(super) listening: Listening,
    network: Network,
    pub(super) introductions: Introductions,
    pub(super) judging: usize,
    pub(super) neighbours: Neighbours,
    pub(super) frugal: Frugal,
    budget_changes: watch::Receiver<u64>,
    /// Counts peers that came or went.
    pub(super) arrivals: watch::Sender<u64>,
}

/// Randomness for pauses; a machine without any takes the shortest.
pub(super) fn entropy() -> u32 {
    getrandom::u32().unwrap_or_default()
}

impl Driver {
    /// Builds the swarm, listens, and starts what answers peers.
    pub(super) fn build(
        config: Config,
        store: Store,
        pairing: Pairing,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, Error> {
        let key = behaviour::identity(&config.key_file)?;
        let introductions = Introductions::new(key.clone(), config.introductions);
        let meter = Meter::default();
        let budget = Budget::open(store.clone(), meter.clone())?;
        let metering = Metering::by(&budget, meter.clone());
        let mut swarm = behaviour::swarm(key, (&config.agent, config.mdns), metering)?;
        let mut control = swarm.behaviour().streams.new_control();
        let mut accept =
            |protocol| control.accept(protocol).map_err(|error| Error::Listen(error.to_string()));
        let conversations = accept(sync::PROTOCOL)?;
        let (blobs, joins) = (accept(serve::PROTOCOL)?, accept(pair::PROTOCOL)?);
        let cache = accept(mirror_serve::PROTOCOL)?;
        let tellings = accept(introduce::PROTOCOL)?;
        let listening = Listening::start(&mut swarm, config.listen)?;
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let members = Members::new(store.clone());
        if config.members_only {
            // Gossip knows no members: news go by the conversations.
            swarm.behaviour_mut().gossip.unsubscribe(&gossipsub::IdentTopic::new(TOPIC));
        }
        let learned = Arc::new(Learned::default());
        let sketches = Sketches::default();
        let context = Context {
            store: store.clone(),
            control,
            reports: sender.clone(),
            learned,
            sketches,
            doors: Doors::new(config.members_only, members.clone()),
            local: *swarm.local_peer_id(),
            keys: config.keys,
            proven: Proven::default(),
            meter,
            budget,
        };
        let mut tasks = JoinSet::new();
        for answering in [
            serve::run(blobs, context.clone(), members.clone()).boxed(),
            mirror_serve::run(cache, store.clone(), members.clone(), sender.clone()).boxed(),
            introduce::serve(tellings, sender.clone()).boxed(),
            pair::serve(joins, pairing, sender).boxed(),
            context.budget.clone().run().boxed(),
        ] {
            tasks.spawn(answering.map(|()| Done::Quietly));
        }
        Ok(Self {
            swarm,
            commands,
            reports,
            admissions: store.subscribe(),
            conversations,
            tasks,
            contacts: contacts(config.dial, &store)?,
            dials: HashMap::new(),
            peers: Peers::default(),
            lobby: Lobby::default(),
            known: Known::default(),
            flights: HashMap::new(),
            lanes: Lanes::default(),
            reaching: HashMap::new(),
            listening,
            network: Network::new(),
            introductions,
            judging: 0,
            neighbours: Neighbours::new(members),
            frugal: Frugal::default(),
            budget_changes: context.budget.watch(),
            arrivals: watch::channel(0).0,
            context,
        })
    }

    /// Our own peer id.
    pub(super) fn local(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Opens streams to connected peers.
    pub(super) fn control(&self) -> Control {
        self.context.control.clone()
    }

    /// Runs until every handle is gone, or the store.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        loop {
            self.dial();
            self.listening.answer(&self.swarm);
            self.introduce();
            let wake = self.wake_at();
            tokio::select! {
                event = self.swarm.select_next_some() => self.happened(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return Ok(()),
                },
                Some(report) = self.reports.recv() => self.report(report),
                Some((peer, stream)) = self.conversations.next() => self.respond(peer, stream),
                Some(done) = self.tasks.join_next() => self.done(done),
                admission = self.admissions.recv() => self.admitted(admission)?,
                change = self.network.changed() => self.network_changed(change),
                Ok(()) = self.budget_changes.changed() => self.budget_changed(),
                () = sleep_until(wake) => self.pardon(),
            }
        }
    }

    fn dial(&mut self) {
        let peers = &self.peers;
        for mut dial in self.contacts.due(Instant::now(), |peer| peers.has_line(peer)) {
            if dial.has_names() {
                self.tasks.spawn(async move {
                    dial.addresses = address::resolve(dial.addresses).await;
                    Done::Resolved(dial)
                });
            } else {
                self.call(&dial);
            }
        }
    }

    pub(super) fn call(&mut self, dial: &Dial) {
        let Some(options) = dial.options() else {
            return self.contacts.failed(dial.number, false, Instant::now(), entropy());
        };
        let connection = options.connection_id();
        self.dials.insert(connection, dial.number);
        if let Err(error) = self.swarm.dial(options) {
            self.not_reached(connection, &error);
        }
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let dial = self.contacts.next_due(|peer| self.peers.has_line(peer));
        let next = [
            dial,
            self.listening.next_answer(),
            self.peers.next_pardon(),
            self.introductions.next(),
        ]
        .into_iter()
        .flatten()
        .min();
        next.unwrap_or(now + IDLE_WAKE).max(now)
    }

    fn pardon(&mut self) {
        for peer in self.peers.pardon(Instant::now()) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let address = endpoint.get_remote_address().clone();
                self.context.meter.is_of(&address, peer_id);
                self.context.budget.arrive(peer_id, &address);
                let (called, ours) = (endpoint.is_listener(), network::ours_towards(&address));
                let line = Line { id: connection_id, address: address.clone(), called, ours };
                let dead = self.peers.connect(peer_id, line, Instant::now());
                for old in &dead {
                    tracing::info!(peer = %peer_id, "it calls again: its old line is dead");
                    self.swarm.close_connection(*old);
                }
                self.connected(peer_id, connection_id, address);
                if !dead.is_empty() {
                    // The conversation may be on a dead line, and that may never come to an end.
                    self.open_conversation(peer_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let is_gone = self.peers.disconnect(peer_id, connection_id);
                if is_gone {
                    self.disconnected(peer_id, cause.map(|cause| cause.to_string()));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.not_reached(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::info!(%address, "listening for peers");
                self.listening.heard(listener_id);
                self.introductions.news();
                self.ask_system();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "not listening there any more");
                self.introductions.news();
                self.ask_system();
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                tracing::warn!("an address to listen on is gone");
                self.listening.heard(listener_id);
            }
            SwarmEvent::Behaviour(event) => self.noticed(event),
            _ => {}
        }
    }

    /// Lines that are dead as of this change end, and everybody is dialled anew.
    fn network_changed(&mut self, change: Change) {
        let dead = match change {
            Change::Appeared => Vec::new(),
            Change::Gone(ours) => self.peers.lines_from(Some(ours)),
            Change::Slept => self.peers.lines_from(None),
        };
        tracing::info!(?change, dead = dead.len(), "the network has changed");
        self.introductions.news();
        for (peer, connection) in dead {
            self.swarm.close_connection(connection);
            // Not when libp2p has seen the end of it: that may never come through.
            if self.peers.disconnect(peer, connection) {
                self.disconnected(peer, Some("the network has changed".to_owned()));
            }
        }
        self.contacts.network_changed(Instant::now());
    }

    fn noticed(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                let (now, interfaces) = (Instant::now(), Interfaces::read());
                found
                    .into_iter()
                    .filter(|(_, address)| is_dialable(address) && interfaces.is_neighbour(address))
                    .for_each(|(peer, address)| self.contacts.hint(peer, address, now));
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                gone.iter().for_each(|(peer, address)| self.contacts.expire(*peer, address));
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.gossiped(message_id, propagation_source, message.data),
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            }) if self.flights.is_empty() => {
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        let found = self.contacts.connected(peer, self.dials.remove(&connection));
        let found = found.unwrap_or(Found::Inbound);
        let reached: Vec<_> =
            self.reaching.iter().filter(|(_, (of, _))| *of == peer).map(|(id, _)| *id).collect();
        for (_, reply) in reached.iter().filter_map(|id| self.reaching.remove(id)) {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(()));
        }
        if self.peers.arrive(peer, address, found) {
            tracing::info!(%peer, found = found.word(), "a peer is connected");
            self.known.forget();
            self.neighbours.arrive();
            self.introductions.news();
            self.count_crowd();
            self.weigh_links();
            self.arrivals.send_modify(|n| *n += 1);
            self.open_conversation(peer);
        }
    }

    /// Opens the conversation with a peer, in place of one that there was, if that is for us to do.
    fn open_conversation(&mut self, peer: PeerId) {
        if self.local() < peer {
            let (prompts, receiver) = mpsc::channel(sync::PROMPTS_MAX);
            let conversation = sync::initiate(self.context.clone(), peer, receiver);
            self.converse(peer, prompts, conversation);
        }
    }

    /// The peer opened the conversation: that is for the one with the lower id to do.
    fn respond(&mut self, peer: PeerId, stream: Stream) {
        if peer < self.local() {
            let (prompts, receiver) = mpsc::channel(sync::PROMPTS_MAX);
            let conversation = sync::respond(self.context.clone(), peer, stream, receiver);
            self.converse(peer, prompts, conversation);
        }
    }

    fn converse(
        &mut self,
        peer: PeerId,
        prompts: mpsc::Sender<Prompt>,
        conversation: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let task = self.tasks.spawn(async {
            conversation.await;
            Done::Quietly
        });
        connected.converse(prompts, task);
    }

    fn disconnected(&mut self, peer: PeerId, cause: Option<String>) {
        tracing::info!(%peer, cause = cause.unwrap_or_default(), "a peer is gone");
        self.peers.leave(peer);
        self.known.forget();
        self.neighbours.leave(&peer);
        self.introductions.leave(&peer);
        self.count_crowd();
        self.context.proven.forget(&peer);
        self.context.budget.leave(&peer);
        self.weigh_links();
        self.arrivals.send_modify(|n| *n += 1);
        self.contacts.lost(peer, Instant::now(), entropy());
    }

    fn not_reached(&mut self, connection: ConnectionId, error: &DialError) {
        let ourselves = matches!(error, DialError::LocalPeerId { .. });
        tracing::debug!(%error, "a dial failed");
        if let Some(dial) = self.dials.remove(&connection) {
            self.contacts.failed(dial, ourselves, Instant::now(), entropy());
        }
        if let Some((peer, reply)) = self.reaching.remove(&connection) {
            let connected = self.swarm.is_connected(&peer);
            let answer =
                if connected { Ok(()) } else { Err(Error::Unreachable(error.to_string())) };
            let _ = reply.send(answer);
        }
    }

    /// Tells the mesh what is new here, unless a peer told us.
    fn admitted(&mut self, admission: Result<Arc<Admission>, RecvError>) -> Result<(), Error> {
        let admission = match admission {
            Ok(admission) => admission,
            // The sync streams carry what was missed.
            Err(RecvError::Lagged(_)) => {
                self.neighbours.members.forget();
                self.members_changed();
                return Ok(());
            }
            Err(RecvError::Closed) => return Err(Error::Stopped),
        };
        let is_authority = |item: &NewItem| matches!(item.collection, Collection::Authority(_));
        if admission.new.iter().any(is_authority) {
            self.neighbours.members.forget();
            self.members_changed();
        }
        if self.context.doors.are_closed() || self.frugal.is_silent() {
            return Ok(());
        }
        for message in announce::messages(&admission, &self.context.learned, &self.context.store) {
            let topic = gossipsub::IdentTopic::new(TOPIC);
            if let Err(error) = self.swarm.behaviour_mut().gossip.publish(topic, message) {
                // Nobody to tell is normal when alone.
                tracing::debug!(%error, "not gossiped");
            }
        }
        Ok(())
    }

    fn gossiped(&mut self, id: MessageId, source: PeerId, message: Vec<u8>) {
        if self.judging >= JUDGED_MAX {
            let verdict = gossipsub::MessageAcceptance::Ignore.into();
            return self.judged(id, source, verdict);
        }
        self.judging += 1;
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let verdict = announce::judge(&context, source, message).await;
            Done::Judged { id, source, verdict }
        });
    }

    pub(super) fn judged(&mut self, id: MessageId, source: PeerId, verdict: Verdict) {
        if matches!(verdict.acceptance, gossipsub::MessageAcceptance::Reject) {
            self.punish(source, Offence::Signature);
        }
        if let (Some(want), Some(peer)) = (verdict.want, self.peers.get_mut(&source)) {
            peer.prompt(Prompt::Want(vec![want]));
        }
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id, &source, verdict.acceptance);
    }

    /// Lowers the peer's score, and refuses it for a while when it is down.
    pub(super) fn punish(&mut self, peer: PeerId, offence: Offence) {
        if self.peers.punish(peer, offence, Instant::now()) {
            tracing::warn!(%peer, ?offence, "a peer is cut off");
            self.lobby.forget(peer);
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }
}

/// What is configured, and what we were told before.
fn contacts(configured: Vec<Multiaddr>, store: &Store) -> Result<Contacts, Error> {
    let now = Instant::now();
    let mut contacts = Contacts::default();
    for address in configured {
        dialable(&address)?;
        contacts.add(address, Found::Configured, now);
    }
    for address in store.rows(PEER_ROW)?.keys() {
        match address.parse() {
            Ok(address) => contacts.add(address, Found::Told, now),
            Err(error) => tracing::warn!(address, %error, "a remembered address is not one"),
        }
    }
    Ok(contacts)
}
