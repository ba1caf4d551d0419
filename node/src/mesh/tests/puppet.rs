//! A peer that is moved by hand: real libp2p, but what it says is up to the test.

use std::ops::Range;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Stream, StreamProtocol, gossipsub, identity};
use libp2p_stream::{Control, IncomingStreams};
use tokio::sync::{mpsc, oneshot};

use super::super::behaviour::{self, Metering, TOPIC};
use super::super::frame::{self, Frame};
use super::super::{introduce, mirror_frame, mirror_serve, serve};
use super::*;
use crate::store::partial::encode;

/// A peer without a mind of its own.
pub(super) struct Puppet {
    pub(super) id: PeerId,
    orders: mpsc::Sender<Order>,
    control: Control,
    blobs: IncomingStreams,
    cache: IncomingStreams,
    tellings: IncomingStreams,
    _tasks: JoinSet<()>,
}

enum Order {
    Dial(Multiaddr),
    Publish(Vec<u8>, oneshot::Sender<bool>),
}

/// How much of a blob a puppet serves.
#[derive(Clone, Copy)]
pub(super) enum Served {
    /// Until the peer has enough.
    All,
    /// This much of it, and then nothing more.
    Bytes(u64),
}

impl Puppet {
    pub(super) fn start() -> Self {
        let key = identity::Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let mut swarm = behaviour::swarm(key, ("puppet", false), Metering::none()).expect("builds");
        let mut control = swarm.behaviour().streams.new_control();
        let blobs = control.accept(serve::PROTOCOL).expect("is the first to accept");
        let cache = control.accept(mirror_serve::PROTOCOL).expect("is the first to accept");
        let tellings = control.accept(introduce::PROTOCOL).expect("is the first to accept");
        let (orders, mut received) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::OutgoingConnectionError { error, .. } = event {
                            panic!("{error}");
                        }
                    }
                    order = received.recv() => match order {
                        Some(Order::Dial(address)) => swarm.dial(address).expect("dials"),
                        Some(Order::Publish(message, reply)) => {
                            let topic = gossipsub::IdentTopic::new(TOPIC);
                            let published = swarm.behaviour_mut().gossip.publish(topic, message);
                            let _ = reply.send(published.is_ok());
                        }
                        None => return,
                    },
                }
            }
        });
        Self { id, orders, control, blobs, cache, tellings, _tasks: tasks }
    }

    pub(super) async fn meet(&self, node: &Node) {
        self.orders.send(Order::Dial(node.address().await)).await.expect("obeys");
        eventually("the puppet is connected", async || node.sees(self.id).await).await;
    }

    /// Publishes as soon as somebody listens.
    pub(super) async fn publish(&self, message: Vec<u8>) {
        eventually("the puppet publishes", async || {
            let (reply, published) = oneshot::channel();
            self.orders.send(Order::Publish(message.clone(), reply)).await.expect("obeys");
            published.await.expect("answers")
        })
        .await;
    }

    pub(super) async fn open(&self, node: &Node, protocol: StreamProtocol) -> Stream {
        let mut control = self.control.clone();
        control.open_stream(node.mesh.local_peer(), protocol).await.expect("opens")
    }

    /// Says these bytes and waits until the node ends the stream.
    pub(super) async fn say(&self, node: &Node, protocol: StreamProtocol, bytes: &[u8]) {
        let mut stream = self.open(node, protocol).await;
        // The node may end it before it has read all.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the node still listens to garbage");
    }

    /// Says that it holds whatever is asked for, and answers the first GET with this.
    pub(super) async fn answer_with(&mut self, piece: &Frame) {
        let (_, mut stream) = self.blobs.next().await.expect("somebody asks");
        send(&mut stream, &Frame::HELLO).await;
        loop {
            let read = frame::receive(&mut stream, 1 << 20, DEADLINE, DEADLINE).await;
            let Ok(Some(request)) = read else { return };
            match Frame::decode(request).expect("a node speaks well") {
                Frame::Have { .. } => send(&mut stream, &Frame::Held { bits: vec![1] }).await,
                Frame::Get { .. } => send(&mut stream, piece).await,
                _ => {}
            }
        }
    }

    /// Says that it holds whatever is asked for, and answers each MGET with these bodies.
    pub(super) async fn give_small(&mut self, bodies: &[&'static [u8]]) {
        let (_, mut stream) = self.blobs.next().await.expect("somebody asks");
        send(&mut stream, &Frame::HELLO).await;
        loop {
            let read = frame::receive(&mut stream, 1 << 20, DEADLINE, DEADLINE).await;
            let Ok(Some(request)) = read else { return };
            match Frame::decode(request).expect("a node speaks well") {
                Frame::Have { digests } => {
                    let bits = vec![(1 << digests.len()) - 1];
                    send(&mut stream, &Frame::Held { bits }).await;
                }
                Frame::GetMany { id, .. } => {
                    let bodies = bodies.iter().map(|body| Some(bytes::Bytes::from_static(body)));
                    send(&mut stream, &Frame::Small { id, bodies: bodies.collect() }).await;
                }
                _ => {}
            }
        }
    }

    /// Answers the first question of one stream of the mirror protocol with these bytes, and then
    /// ends the stream.
    pub(super) async fn mirror_with(&mut self, answer: &[u8]) {
        let (_, mut stream) = self.cache.next().await.expect("somebody asks");
        let hello = mirror_frame::Frame::HELLO.encode();
        stream.write_all(&hello).await.expect("somebody listens");
        for _ in 0..2 {
            let read = frame::receive(&mut stream, 1 << 20, DEADLINE, DEADLINE).await;
            read.expect("somebody asks").expect("a question");
        }
        // The other side may have had enough.
        let _ = stream.write_all(answer).await;
        let _ = stream.close().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    /// Whether somebody has told it of peers until now.
    pub(super) fn was_told(&mut self) -> bool {
        self.tellings.next().now_or_never().is_some()
    }

    /// Ends one stream of the mirror protocol before anything is said.
    pub(super) async fn drop_a_question(&mut self) {
        self.cache.next().await.expect("somebody asks");
    }

    /// Takes questions of the mirror protocol, and never says a word, as long as this is polled.
    pub(super) async fn keep_silent(mut self) {
        let mut streams = Vec::new();
        while let Some((_, stream)) = self.cache.next().await {
            streams.push(stream);
        }
    }

    /// Says that it holds everything, and then gives it byte by byte, as long as this is polled.
    pub(super) async fn trickle(mut self) {
        let mut streams = JoinSet::new();
        while let Some((_, stream)) = self.blobs.next().await {
            streams.spawn(trickle(stream));
        }
    }

    /// Answers one stream of blob requests out of another node's store; returns what was asked.
    pub(super) async fn serve(
        &mut self,
        store: &Store,
        digest: &Digest,
        served: Served,
    ) -> Vec<Range<u64>> {
        let (_, mut stream) = self.blobs.next().await.expect("somebody asks");
        let mut asked = Vec::new();
        let mut left = match served {
            Served::All => u64::MAX,
            Served::Bytes(bytes) => bytes,
        };
        send(&mut stream, &Frame::HELLO).await;
        while left > 0 {
            let read = frame::receive(&mut stream, 1 << 20, DEADLINE, DEADLINE).await;
            let Ok(Some(request)) = read else { break };
            match Frame::decode(request).expect("a node speaks well") {
                Frame::Have { digests } => {
                    assert_eq!(digests, [*digest]);
                    send(&mut stream, &Frame::Held { bits: vec![1] }).await;
                }
                Frame::Get { id, ranges, .. } => {
                    let range = ranges[0].clone();
                    asked.push(range.clone());
                    let mut start = range.start;
                    while start < range.end && left > 0 {
                        let piece = start..range.end.min(start + frame::DATA_BYTES_MAX);
                        let encoded = encode(store, digest, piece.clone()).await;
                        let encoded = encoded.expect("reads").expect("is held");
                        start = piece.end;
                        left = left.saturating_sub(piece.end - piece.start);
                        send(&mut stream, &Frame::Data { id, range: piece, encoded }).await;
                    }
                }
                _ => {}
            }
        }
        asked
    }
}

async fn trickle(mut stream: Stream) {
    send(&mut stream, &Frame::HELLO).await;
    loop {
        let read = frame::receive(&mut stream, 1 << 20, DEADLINE, DEADLINE).await;
        let Ok(Some(request)) = read else { return };
        match Frame::decode(request).expect("a node speaks well") {
            Frame::Have { digests } => {
                let bits = vec![0xff; digests.len().div_ceil(8)];
                send(&mut stream, &Frame::Held { bits }).await;
            }
            Frame::Get { id, ranges, .. } => {
                let encoded = vec![0; 64 * 1024].into();
                let data = Frame::Data { id, range: ranges[0].clone(), encoded };
                drip(&mut stream, &data).await;
            }
            Frame::GetMany { id, .. } => {
                let body = vec![0; 60 * 1024].into();
                drip(&mut stream, &Frame::Small { id, bodies: vec![Some(body)] }).await;
            }
            _ => {}
        }
    }
}

/// Byte by byte, until the other side has had enough.
async fn drip(stream: &mut Stream, frame: &Frame) {
    for byte in frame.encode() {
        if stream.write_all(&[byte]).await.and(stream.flush().await).is_err() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn send(stream: &mut Stream, frame: &Frame) {
    // The other side may have had enough.
    let _ = frame::send(stream, &frame.encode(), DEADLINE).await;
}
