//! What the task does for the handle and for its subtasks: one function a command or report.
//!
//! All of it runs inside the swarm's task and returns at once; what takes time becomes a subtask,
//! whose end comes back here. A caller that has gone away is not an error.
//!
//! Source: mesh.md sections 7 and 8.

use crdt::Digest;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::discovery::Found;
use super::held;
use super::swarm::{Command, Done, Driver, Report};
use super::sync::Prompt;
use super::transfer::Flight;
use super::{Error, PeerInfo};

impl Driver {
    /// Does what the handle asks.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Addresses(reply) => self.asked_addresses.push(reply),
            Command::Peers(reply) => answer(reply, self.list()),
            Command::Offers(reply) => answer(reply, self.lobby.offers()),
            Command::Add(address, reply) => {
                self.contacts.add(address, Found::Told, Instant::now());
                answer(reply, ());
            }
            Command::Remove(address, reply) => answer(reply, self.contacts.remove(&address)),
            Command::Fetch { digest, size, reply } => self.fetch(digest, size, reply),
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
            Report::Offence(peer, offence) => self.punish(peer, offence),
            Report::Follows(peer, realms) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.follows = realms;
                }
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
            Ok(Done::Landed(digest, result)) => self.landed(digest, &result),
            Ok(Done::Asked { digests, asked, held, reply }) => {
                self.known.keep(&asked, &held, Instant::now());
                answer(reply, self.known.answer(&digests));
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn list(&self) -> Vec<PeerInfo> {
        let info = |(id, peer): (&PeerId, &super::peers::Peer)| PeerInfo {
            id: id.to_string(),
            address: peer.address.to_string(),
            behind: peer.behind,
            follows: peer.follows.clone(),
            offers: self.lobby.realms_of(*id),
            found: peer.found.word().to_owned(),
        };
        let mut list: Vec<PeerInfo> = self.peers.iter().map(info).collect();
        list.sort_by(|one, other| one.id.cmp(&other.id));
        list
    }

    /// Joins the flight of this digest, or starts one.
    fn fetch(&mut self, digest: Digest, size: u64, reply: oneshot::Sender<Result<(), Error>>) {
        let waiting = self.flights.entry(digest).or_default();
        waiting.push(reply);
        if waiting.len() > 1 {
            return;
        }
        let flight = Flight {
            digest,
            size,
            peers: self.peers.ids(),
            store: self.context.store.clone(),
            places: self.places.clone(),
            reports: self.context.reports.clone(),
        };
        let control = self.context.control.clone();
        self.tasks.spawn(async move { Done::Landed(digest, flight.run(control).await) });
    }

    fn landed(&mut self, digest: Digest, result: &Result<(), Error>) {
        for reply in self.flights.remove(&digest).into_iter().flatten() {
            answer(reply, result.as_ref().copied().map_err(Error::echo));
        }
    }

    fn ask_who_holds(&mut self, digests: Vec<Digest>, reply: oneshot::Sender<Vec<bool>>) {
        let asked = self.known.unknown(&digests, Instant::now());
        let peers = self.peers.ids();
        if asked.is_empty() || peers.is_empty() {
            return answer(reply, self.known.answer(&digests));
        }
        let control = self.context.control.clone();
        self.tasks.spawn(async move {
            let held = held::ask(control, peers, asked.clone()).await;
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

    /// Where others can reach us, each with our id; loopback only if there is nothing else.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        let (near, far): (Vec<_>, Vec<_>) = self.swarm.listeners().cloned().partition(is_loopback);
        let mut addresses = if far.is_empty() { near } else { far };
        addresses.sort();
        let ours = self.local();
        addresses.into_iter().map(|address| address.with(Protocol::P2p(ours))).collect()
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // Whoever asked may have gone.
    let _ = reply.send(value);
}
