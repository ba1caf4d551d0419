//! Joining by invite: one request and one answer on `/griot/pair/1`.
//!
//! The stream is authenticated by noise: the joiner speaks to the peer id that the invite's address
//! names, and nobody else can read the secret. What the answer is, the daemon decides, by the
//! [`Pairing`](super::Pairing) given at the start. Nothing here survives a crash, and nothing needs
//! to: a join that was cut is tried again.
//!
//! Source: mesh.md section 7; DESIGN section 4.

use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::peer_of;
use super::command::{Report, reap};
use super::frame::{self, Broken};
use super::{Error, PairAnswer, PairRequest, Pairing};

/// The protocol.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/griot/pair/1");
/// Longest request or answer.
const BYTES_MAX: usize = 4 * 1024;
/// The type byte of the one frame each way.
const KIND: u8 = 1;
/// Each step takes at most this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Joins that are answered at a time; more are dropped and tried again.
const JOINS_MAX: usize = 16;

/// The one peer that all addresses of an invite name.
pub(super) fn invited_peer(addresses: &[Multiaddr]) -> Result<PeerId, Error> {
    let refused = |why: &str| Error::Refused(why.to_owned());
    let mut peers = addresses.iter().map(peer_of);
    let first = peers.next().flatten();
    let first = first.ok_or_else(|| refused("the invite has no address that ends in /p2p/ID"))?;
    if peers.all(|peer| peer == Some(first)) {
        Ok(first)
    } else {
        Err(refused("the addresses of the invite name different peers"))
    }
}

/// Hands in the request to a peer that is connected, and waits for the answer.
pub(super) async fn ask(
    mut control: Control,
    peer: PeerId,
    request: &PairRequest,
) -> Result<PairAnswer, Error> {
    let unreachable = |why: String| Error::Unreachable(why);
    let opening = timeout(PATIENCE, control.open_stream(peer, PROTOCOL)).await;
    let stream = opening.map_err(|_| unreachable("it does not answer".to_owned()))?;
    let mut stream = stream.map_err(|error| unreachable(error.to_string()))?;
    let answer = async {
        write(&mut stream, request).await?;
        read(&mut stream).await
    };
    answer.await.map_err(|error: Broken| unreachable(error.to_string()))
}

/// Answers those who come with an invite, until the mesh stops.
pub(super) async fn serve(
    mut incoming: IncomingStreams,
    pairing: Pairing,
    reports: mpsc::Sender<Report>,
) {
    let mut joins = JoinSet::new();
    while let Some((peer, stream)) = incoming.next().await {
        reap(&mut joins);
        if joins.len() < JOINS_MAX {
            joins.spawn(welcome(stream, peer, pairing.clone(), reports.clone()));
        }
    }
}

async fn welcome(
    mut stream: Stream,
    peer: PeerId,
    pairing: Pairing,
    reports: mpsc::Sender<Report>,
) {
    let served = async {
        let request: PairRequest = read(&mut stream).await?;
        let answer = pairing(request, peer).await;
        // The task may be gone.
        let _ = reports.send(Report::Joined(peer)).await;
        write(&mut stream, &answer).await?;
        Ok::<_, Broken>(stream.close().await?)
    };
    if let Err(error) = served.await {
        tracing::debug!(%peer, %error, "a join was cut");
    }
}

async fn write<T: Serialize>(stream: &mut Stream, message: &T) -> Result<(), Broken> {
    let body =
        minicbor_serde::to_vec(message).map_err(|_| Broken::Garbage("what cannot be written"))?;
    let length = u32::try_from(body.len() + 1).map_err(|_| Broken::Garbage("too much"))?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.push(KIND);
    bytes.extend_from_slice(&body);
    frame::send(stream, &bytes, PATIENCE).await
}

async fn read<T: DeserializeOwned>(stream: &mut Stream) -> Result<T, Broken> {
    let received: Option<Bytes> = frame::receive(stream, BYTES_MAX, PATIENCE, PATIENCE).await?;
    let received = received.ok_or(Broken::Cut(std::io::ErrorKind::UnexpectedEof.into()))?;
    match received.split_first() {
        Some((&KIND, body)) => {
            minicbor_serde::from_slice(body).map_err(|_| Broken::Garbage("a malformed frame"))
        }
        _ => Err(Broken::Garbage("a frame of another type")),
    }
}
