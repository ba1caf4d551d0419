//! The sync stream of each connected peer: who opens it, who reads and who writes.
//!
//! `/griot/sync/1` is opened by the side with the lower peer id and lives as long as the
//! connection; when it breaks, that side opens it again after a pause. Three futures run side by
//! side in one task, so that a side that writes is always reading too:
//!
//! ```text
//!   stream ──▶ reader ──frames──▶ conversation ──bytes──▶ writer ──▶ stream
//! ```
//!
//! What is said is in `conversation`. The queues between the three are short and bounded: a slow
//! link, or a slow disk, holds the other side back.
//!
//! Source: mesh.md sections 2 and 7.

use std::time::Duration;

use crdt::StatementId;
use crdt::message::{Decoder, Frame};
use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, StreamExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::choose::back_off;
use super::command::{Context, Report};
use super::conversation::{Conversation, Ended};
use super::frame::{self, Broken};
use super::peers::Offence;
use super::swarm::entropy;

/// The protocol.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/griot/sync/1");
/// Prompts that wait for one conversation.
pub(super) const PROMPTS_MAX: usize = 16;

/// Frames that were read and wait for the session.
const FRAMES_MAX: usize = 2;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// A peer that takes nothing for this long is cut off.
const PATIENCE: Duration = Duration::from_secs(60);
/// The farewell may take this long.
const FAREWELL: Duration = Duration::from_secs(2);
/// Opening the stream.
const OPENING: Duration = Duration::from_secs(20);
/// An answer on a live connection comes sooner.
const TRY_ANOTHER: Duration = Duration::from_secs(4);
/// A conversation that lasted this long was a good one: the next starts without much of a pause.
const GOOD: Duration = Duration::from_secs(60);

/// What others want of a conversation.
#[derive(Debug)]
pub(super) enum Prompt {
    /// A person asked: compare now.
    Compare,
    /// Who is a member may have changed.
    Members,
    /// An announcement named these.
    Want(Vec<StatementId>),
}

/// Opens the stream, and opens it again when it breaks, until the peer is gone.
pub(super) async fn initiate(context: Context, peer: PeerId, mut prompts: mpsc::Receiver<Prompt>) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        match timeout(OPENING, open(&context.control, peer)).await {
            Ok(Some(stream)) => talk(&context, peer, stream, true, &mut prompts).await,
            Ok(None) => tracing::debug!(%peer, "no sync stream"),
            Err(_) => tracing::debug!(%peer, "opening the sync stream took too long"),
        }
        if began.elapsed() > GOOD {
            failures = 0;
        }
        sleep(back_off(failures, entropy())).await;
        failures += 1;
    }
}

/// Opens a stream on one of the connections with the peer. Nobody can say which, and one of them
/// may be dead without an end: who gets no answer tries another, while the first goes on.
async fn open(control: &Control, peer: PeerId) -> Option<Stream> {
    let mut tries = FuturesUnordered::new();
    loop {
        let mut control = control.clone();
        tries.push(async move { control.open_stream(peer, PROTOCOL).await });
        let impatience = sleep(TRY_ANOTHER);
        tokio::pin!(impatience);
        loop {
            tokio::select! {
                opened = tries.next() => match opened {
                    Some(Ok(stream)) => return Some(stream),
                    Some(Err(error)) => tracing::debug!(%peer, %error, "a stream was not opened"),
                    None => return None,
                },
                () = &mut impatience => break,
            }
        }
    }
}

/// Takes part in the conversation that the peer opened.
pub(super) async fn respond(
    context: Context,
    peer: PeerId,
    stream: Stream,
    mut prompts: mpsc::Receiver<Prompt>,
) {
    talk(&context, peer, stream, false, &mut prompts).await;
}

async fn talk(
    context: &Context,
    peer: PeerId,
    stream: Stream,
    initiator: bool,
    prompts: &mut mpsc::Receiver<Prompt>,
) {
    let (reader, writer) = stream.split();
    let (frames_in, frames) = mpsc::channel(FRAMES_MAX);
    let (out, bytes) = mpsc::channel(1);
    let writing = write(writer, bytes);
    tokio::pin!(writing);
    let ended = {
        let conversation = Conversation::new(context, peer, initiator, out);
        tokio::select! {
            ended = conversation.run(frames, prompts) => ended,
            ended = read(reader, frames_in) => ended,
            ended = &mut writing => ended,
        }
    };
    if let Err(Ended::Said(_)) = &ended {
        // What was handed to the writer last says why: let it go out.
        let _ = timeout(FAREWELL, &mut writing).await;
    }
    match ended {
        Ok(()) => tracing::debug!(%peer, "the peer ended the conversation"),
        Err(error) => {
            tracing::debug!(%peer, %error, "a conversation ended");
            if matches!(error, Ended::Frame(_)) {
                let _ = context.reports.send(Report::Offence(peer, Offence::Garbage)).await;
            }
        }
    }
}

/// Reads frames. Decoding inflates, and looks at every key: that is not for the async threads.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Frame>,
) -> Result<(), Ended> {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = reader.read(&mut buffer).await.map_err(Broken::Cut)?;
        if count == 0 {
            return Ok(());
        }
        decoder.feed(&buffer[..count]);
        let decoding = tokio::task::spawn_blocking(move || {
            let decoded = std::iter::from_fn(|| decoder.next_frame().transpose());
            let decoded = decoded.collect::<Result<Vec<Frame>, crdt::Error>>();
            (decoder, decoded)
        });
        let (back, decoded) = decoding.await.map_err(|_| Ended::Stopped)?;
        decoder = back;
        for frame in decoded? {
            if frames.send(frame).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut bytes: mpsc::Receiver<Vec<u8>>,
) -> Result<(), Ended> {
    while let Some(bytes) = bytes.recv().await {
        frame::send(&mut writer, &bytes, PATIENCE).await?;
    }
    Ok(())
}
