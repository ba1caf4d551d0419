//! Peers told by peers: `/griot/peers/1`, and what may be believed of it.
//!
//! ```text
//!  stream  =  one frame, then the end:  length u32 LE | 1 | CBOR [signed peer record…]
//! ```
//!
//! A node tells each acquaintance its own addresses and those that its other acquaintances gave it
//! themselves, at most sixteen, each signed by the peer that it is about. An acquaintance is a
//! member of the site, or follows a realm that this node follows too: strangers are told nothing
//! and nobody hears of them. What was heard second-hand is not passed on.
//!
//! A record is a hint for a dial. Its signature keeps a liar from inventing addresses for others,
//! not from inventing his own, so what is dialled depends on where the teller is: a peer on the
//! internet cannot make us dial loopback, private or link-local addresses (that would be a scan of
//! our network by proxy). Nothing here survives a restart.
//!
//! Source: mesh.md sections 7 and 8, DESIGN section 4.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use minicbor::{Decoder, Encoder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::{ip_of, is_dialable, is_private, peer_of};
use super::command::{Done, Report, reap};
use super::frame::{self, Broken};
use super::listening;
use super::swarm::Driver;

/// The protocol.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/griot/peers/1");
/// Records of one telling.
const RECORDS_MAX: usize = 16;
/// Longest record.
const RECORD_BYTES_MAX: usize = 1024;
/// Longest telling.
const BYTES_MAX: usize = RECORDS_MAX * (RECORD_BYTES_MAX + 3) + 8;
/// The type byte of the one frame.
const KIND: u8 = 1;
/// Addresses in a record of ours.
const ADDRESSES_MAX: usize = 8;
/// Each step takes at most this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tellings that are read at a time; more are dropped.
const READ_MAX: usize = 16;
/// Tellings of one peer that are read in a minute.
const TELLINGS_MAX: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Tellers that are counted.
const TELLERS_MAX: usize = 1024;
/// News wait this long for more of them.
const GATHER: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });
/// The same is told again after this, so that it does not expire.
const AGAIN: Duration = Duration::from_secs(20 * 60);
/// With as many peers, those that others name are not dialled.
const CROWD: usize = 8;

/// What the task knows of addresses at first hand.
pub(super) struct Introductions {
    key: Keypair,
    /// Whether those that are told are dialled.
    dials: bool,
    /// Our own record, and what it says.
    own: Option<(Vec<Multiaddr>, Vec<u8>)>,
    /// What connected peers said of themselves.
    records: HashMap<PeerId, (Vec<Multiaddr>, Vec<u8>)>,
    /// What each was told last, as a hash, and when.
    told: HashMap<PeerId, (blake3::Hash, Instant)>,
    next: Option<Instant>,
}

impl Introductions {
    pub(super) fn new(key: Keypair, dials: bool) -> Self {
        let (records, told) = (HashMap::new(), HashMap::new());
        Self { key, dials, own: None, records, told, next: None }
    }

    /// Something that is worth telling has changed.
    pub(super) fn news(&mut self) {
        let soon = Instant::now() + GATHER;
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
    }

    /// When to tell next.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The last connection of a peer is gone.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        self.records.remove(peer);
        self.told.remove(peer);
    }

    /// Our own record, signed anew when the addresses are others.
    fn own(&mut self, addresses: Vec<Multiaddr>) -> Option<Vec<u8>> {
        if self.own.as_ref().is_none_or(|(before, _)| *before != addresses) {
            let signed = PeerRecord::new(&self.key, addresses.clone()).ok()?;
            let bytes = signed.into_signed_envelope().into_protobuf_encoding();
            self.own = Some((addresses, bytes));
        }
        self.own.as_ref().map(|(_, bytes)| bytes.clone())
    }

    /// What to tell an acquaintance now; `None` if it has heard all that.
    fn telling(&mut self, to: PeerId, own: &[u8], about: &[PeerId]) -> Option<Vec<u8>> {
        let others = about.iter().filter(|peer| **peer != to);
        let others = others.filter_map(|peer| self.records.get(peer)).map(|(_, bytes)| &bytes[..]);
        let records: Vec<&[u8]> = std::iter::once(own).chain(others).take(RECORDS_MAX).collect();
        let bytes = encode(&records);
        let (hash, now) = (blake3::hash(&bytes), Instant::now());
        let is_known = |(last, at): &(blake3::Hash, Instant)| *last == hash && *at + AGAIN > now;
        if self.told.get(&to).is_some_and(is_known) {
            return None;
        }
        self.told.insert(to, (hash, now));
        Some(bytes)
    }
}

/// Whether an address may be dialled that a peer gave us who is itself at `teller`.
fn is_believable(address: &Multiaddr, teller: IpAddr) -> bool {
    let has_port = !address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
    let Some(ip) = ip_of(address) else { return false };
    let is_near = match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    let believable = if is_near {
        teller.is_loopback()
    } else {
        is_global(ip) || (is_private(teller) && is_private(ip) && !is_link_local(ip))
    };
    believable && has_port && is_dialable(address)
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether it is one address in the whole world.
fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            let is_reserved = first == 0 || first >= 240;
            !is_private(ip) && !is_shared && !is_reserved && !v4.is_multicast()
        }
        // Global unicast, without 6to4, which carries addresses of IPv4.
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[0] != 0x2002,
    }
}

fn encode(records: &[&[u8]]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    let written = (|| {
        out.array(records.len() as u64)?;
        records.iter().try_for_each(|record| out.bytes(record).map(|_| ()))
    })();
    let () = written.unwrap_or_else(|error: minicbor::encode::Error<std::convert::Infallible>| {
        panic!("a vector takes all that is written to it: {error}")
    });
    out.into_writer()
}

/// The records of a telling, each verified to be by the peer that it is about.
fn decode(body: &[u8]) -> Result<Vec<PeerRecord>, Broken> {
    let malformed = |_: minicbor::decode::Error| Broken::Garbage("a malformed frame");
    let mut input = Decoder::new(body);
    let count = input.array().map_err(malformed)?;
    let count = count.filter(|count| *count <= RECORDS_MAX as u64);
    let mut records = Vec::new();
    for _ in 0..count.ok_or(Broken::Garbage("too many records"))? {
        let bytes = input.bytes().map_err(malformed)?;
        let bytes = (bytes.len() <= RECORD_BYTES_MAX).then_some(bytes);
        let bytes = bytes.ok_or(Broken::Garbage("a record that is too long"))?;
        let envelope = SignedEnvelope::from_protobuf_encoding(bytes);
        let envelope = envelope.map_err(|_| Broken::Garbage("a record that is none"))?;
        let record = PeerRecord::from_signed_envelope(envelope);
        records.push(record.map_err(|_| Broken::Garbage("a record of somebody else"))?);
    }
    if input.position() != body.len() {
        return Err(Broken::Garbage("bytes after the end"));
    }
    Ok(records)
}

/// Tells one peer; whether it listens is its own business.
async fn tell(mut control: Control, peer: PeerId, body: Vec<u8>) {
    let Ok(length) = u32::try_from(body.len() + 1) else { return };
    let told = async {
        let opening = timeout(PATIENCE, control.open_stream(peer, PROTOCOL)).await;
        let mut stream = opening.map_err(|_| "it does not answer".to_owned())?;
        let stream = stream.as_mut().map_err(|error| error.to_string())?;
        let bytes = [&length.to_le_bytes()[..], &[KIND], &body].concat();
        frame::send(stream, &bytes, PATIENCE).await.map_err(|error| error.to_string())?;
        stream.close().await.map_err(|error| error.to_string())
    };
    if let Err(error) = told.await {
        tracing::debug!(%peer, error, "a peer was not told of others");
    }
}

/// Hears what peers tell, until the mesh stops.
pub(super) async fn serve(mut incoming: IncomingStreams, reports: mpsc::Sender<Report>) {
    let mut heard = JoinSet::new();
    let mut counted: HashMap<PeerId, (Instant, u32)> = HashMap::new();
    while let Some((peer, stream)) = incoming.next().await {
        reap(&mut heard);
        let now = Instant::now();
        counted.retain(|_, (since, _)| *since + MINUTE > now);
        let is_full = counted.len() >= TELLERS_MAX && !counted.contains_key(&peer);
        let (_, tellings) = counted.entry(peer).or_insert((now, 0));
        *tellings += 1;
        if heard.len() < READ_MAX && *tellings <= TELLINGS_MAX && !is_full {
            heard.spawn(hear(stream, peer, reports.clone()));
        }
        if is_full {
            counted.remove(&peer);
        }
    }
}

async fn hear(mut stream: Stream, peer: PeerId, reports: mpsc::Sender<Report>) {
    let records = async {
        let received = frame::receive(&mut stream, BYTES_MAX, PATIENCE, PATIENCE).await?;
        let received = received.ok_or(Broken::Cut(std::io::ErrorKind::UnexpectedEof.into()))?;
        match received.split_first() {
            Some((&KIND, body)) => decode(body),
            _ => Err(Broken::Garbage("a frame of another type")),
        }
    };
    let report = match records.await {
        Ok(records) => Report::Introduced(peer, records),
        Err(Broken::Garbage(why)) => {
            tracing::debug!(%peer, why, "a peer tells garbage of others");
            Report::Offence(peer, super::peers::Offence::Garbage)
        }
        Err(_) => return,
    };
    // The task may be gone.
    let _ = reports.send(report).await;
}

impl Driver {
    /// A peer told of itself and of others.
    pub(super) fn introduced(&mut self, teller: PeerId, records: Vec<PeerRecord>) {
        let Some(from) = self.peers.get(&teller).and_then(|peer| ip_of(&peer.address)) else {
            return;
        };
        if !self.context.doors.are_open_to(&teller) {
            return;
        }
        let now = Instant::now();
        for record in records {
            let peer = record.peer_id();
            let is_own = peer_of_none(record.addresses()) && peer != self.local();
            if !is_own || (peer != teller && self.peers.has_line(&peer)) {
                continue;
            }
            let believed = record.addresses().iter().filter(|one| is_believable(one, from));
            let addresses: Vec<_> = believed.take(ADDRESSES_MAX).cloned().collect();
            tracing::debug!(%peer, by = %teller, ?addresses, "heard where a peer is");
            let full = |address: Multiaddr| address.with(Protocol::P2p(peer));
            if self.introductions.dials {
                self.contacts.tell(peer, addresses.iter().cloned().map(full).collect(), now);
            }
            if peer == teller {
                let bytes = record.into_signed_envelope().into_protobuf_encoding();
                let before = self.introductions.records.insert(peer, (addresses, bytes));
                let now = self.introductions.records.get(&peer);
                if before.as_ref() != now {
                    self.introductions.news();
                }
            }
        }
    }

    /// Tells every acquaintance what it has not heard, if it is time.
    pub(super) fn introduce(&mut self) {
        let now = Instant::now();
        if self.introductions.next.is_none_or(|next| next > now) {
            return;
        }
        self.introductions.next = Some(now + AGAIN);
        let mut addresses = listening::addresses(&self.swarm);
        addresses.truncate(ADDRESSES_MAX);
        let bare = |address: &Multiaddr| {
            address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
        };
        let addresses = addresses.iter().map(bare).collect();
        let Some(own) = self.introductions.own(addresses) else { return };
        let acquaintances = self.acquaintances();
        for peer in &acquaintances {
            if let Some(body) = self.introductions.telling(*peer, &own, &acquaintances) {
                let telling = tell(self.context.control.clone(), *peer, body);
                self.tasks.spawn(async {
                    telling.await;
                    Done::Quietly
                });
            }
        }
    }

    /// Who is connected and no stranger.
    fn acquaintances(&self) -> Vec<PeerId> {
        let followed = self.context.store.followed().unwrap_or_default();
        let ours = |realm| followed.iter().any(|known| known.realm == realm);
        let are_closed = self.context.doors.are_closed();
        let is_one = |(id, peer): &(&PeerId, &super::peers::Peer)| {
            let follows_ours = !are_closed && peer.follows.iter().any(|realm| ours(*realm));
            follows_ours || self.neighbours.members.is_member(id)
        };
        let mut all: Vec<PeerId> = self.peers.iter().filter(is_one).map(|(id, _)| *id).collect();
        all.sort_unstable();
        all
    }

    /// A peer came or went: with enough of them, no more are looked for.
    pub(super) fn count_crowd(&mut self) {
        self.contacts.set_crowded(self.peers.ids().len() >= CROWD);
    }
}

/// Whether no address names a peer: the record does that.
fn peer_of_none(addresses: &[Multiaddr]) -> bool {
    addresses.iter().all(|address| peer_of(address).is_none())
}

#[cfg(test)]
#[path = "introduce_tests.rs"]
mod tests;
