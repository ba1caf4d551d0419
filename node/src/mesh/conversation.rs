//! Feeds `crdt::session` and does what it asks.
//!
//! ```text
//!   frames, prompts, admissions, follows, time ──▶ session ──▶ frames out
//!                                                     │
//!                     verify, store.admit ◀── batches ┘  one at a time, in order
//! ```
//!
//! Signatures are verified here, off the async threads, and only those that are not held already;
//! the session itself is called there too, because it reads the store. Decides nothing: the order
//! of the conversation is the session's, what is kept is the store's. The cursor is stored with
//! what it stands for, so a crash repeats a little and loses nothing.
//!
//! Source: index.md section 7.7, trust.md section 12.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crdt::message::Frame;
use crdt::session::{Bearer, Input, Output, Session};
use crdt::{Envelope, Verified};
use libp2p::PeerId;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::announce::unknown_part;
use super::command::{Context, Report};
use super::frame::Broken;
use super::peers::Offence;
use super::sync::Prompt;
use crate::store::{self, Admission};

/// Statements for the lobby that are verified in one conversation, per minute.
const LOBBY_PER_MINUTE: usize = 1024;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Stream(#[from] Broken),
    #[error(transparent)]
    Frame(#[from] crdt::Error),
    #[error("{0}")]
    Said(&'static str),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a task of ours was stopped")]
    Stopped,
}

/// The peer's store epoch, and its sequence up to which we have its log.
type Cursor = Option<(u64, u64)>;
/// Statements that came together, and the cursor that they move.
type Batch = (Vec<Envelope>, Cursor);
/// A batch that is being verified and admitted; ends with its cursor and how many signatures of it
/// were broken. It never waits in a queue of ours: while an input is handled nobody polls it, and a
/// place that it was given there would be lost to everybody.
type Admitting = Pin<Box<dyn Future<Output = Result<(Cursor, usize), Ended>> + Send>>;

/// One conversation in full swing.
pub(super) struct Conversation<'a> {
    context: &'a Context,
    peer: PeerId,
    initiator: bool,
    began: Instant,
    session: Option<Session>,
    /// Encoded frames that the session gave out.
    outgoing: VecDeque<Vec<u8>>,
    out: mpsc::Sender<Vec<u8>>,
    /// Batches in the order of their coming: a cursor stands for all before it.
    batches: VecDeque<Batch>,
    admitting: Option<Admitting>,
    lobby_shown: (Instant, usize),
    closing: Option<&'static str>,
    /// The follows that the session knows, as the store counts them.
    follows: u64,
}

impl<'a> Conversation<'a> {
    /// Before the first word.
    pub(super) fn new(
        context: &'a Context,
        peer: PeerId,
        initiator: bool,
        out: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        let began = Instant::now();
        let (own, keys) = (context.local.to_bytes(), Arc::clone(&context.keys));
        let bearer = Bearer { own, peer: peer.to_bytes(), keys };
        let frugal = context.budget.is_metered_peer(&peer);
        Self {
            context,
            peer,
            initiator,
            began,
            session: Some(Session::new(context.sketches.clone()).bearing(bearer).frugal(frugal)),
            outgoing: VecDeque::new(),
            out,
            batches: VecDeque::new(),
            admitting: None,
            lobby_shown: (began, 0),
            closing: None,
            follows: 0,
        }
    }

    /// Talks until somebody ends it.
    pub(super) async fn run(
        mut self,
        mut frames: mpsc::Receiver<Frame>,
        prompts: &mut mpsc::Receiver<Prompt>,
    ) -> Result<(), Ended> {
        let mut admissions = self.context.store.subscribe();
        let mut follows = self.context.store.watch_follows();
        self.follows = *follows.borrow_and_update();
        let (initiator, out) = (self.initiator, self.out.clone());
        let seen = self.context.store.peer_seen(&self.peer.to_bytes())?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| Ended::Stopped)?;
        self.handle(Input::Start { key, initiator, seen }).await?;
        loop {
            if let (Some(reason), true) = (self.closing, self.outgoing.is_empty()) {
                return Err(Ended::Said(reason));
            }
            let (due, reading) = (self.due(), self.is_reading());
            let input = tokio::select! {
                permit = out.reserve(), if !self.outgoing.is_empty() => {
                    let permit = permit.map_err(|_| Ended::Stopped)?;
                    if let Some(bytes) = self.outgoing.pop_front() {
                        permit.send(bytes);
                    }
                    continue;
                }
                done = finish(&mut self.admitting) => self.admitted(done?).await?,
                Some(frame) = frames.recv(), if reading => Input::Frame(frame),
                news = news(&mut admissions, self.context) => news?,
                changed = changed(&mut follows) => {
                    self.follows = changed?;
                    Input::FollowsChanged
                }
                Some(prompt) = prompts.recv() => prompted(prompt),
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => Input::Timeout,
            };
            self.handle(input).await?;
        }
    }

    /// The next time-out; while something given out waits to be written, time stands still.
    fn due(&self) -> Option<Instant> {
        let due = self.session.as_ref()?.next_timeout().filter(|_| self.outgoing.is_empty());
        due.map(|ms| self.began + Duration::from_millis(ms))
    }

    fn is_reading(&self) -> bool {
        self.closing.is_none() && self.session.as_ref().is_some_and(|session| !session.is_full())
    }

    /// Feeds one input off the async threads, then does what comes out.
    async fn handle(&mut self, input: Input) -> Result<(), Ended> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut session = self.session.take().ok_or(Ended::Stopped)?;
        let index = self.context.doors.sight(self.context.store.clone(), &self.peer);
        let handled = tokio::task::spawn_blocking(move || {
            session.handle(now, input, &index);
            let (mut frames, mut orders) = (Vec::new(), Vec::new());
            while let Some(output) = session.poll() {
                match output {
                    // Encoding compresses: that is for here too.
                    Output::Send(frame) => frames.push(frame.encode()),
                    order => orders.push(order),
                }
            }
            (session, frames, orders)
        });
        let (session, frames, orders) = handled.await.map_err(|_| Ended::Stopped)?;
        self.session = Some(session);
        self.outgoing.extend(frames);
        for order in orders {
            self.obey(order).await?;
        }
        self.admit_next();
        Ok(())
    }

    async fn obey(&mut self, output: Output) -> Result<(), Ended> {
        let peer = self.peer;
        match output {
            Output::Send(frame) => self.outgoing.push_back(frame.encode()),
            Output::Admit { envelopes, cursor } => self.batches.push_back((envelopes, cursor)),
            Output::Close(reason) => self.closing = Some(reason),
            Output::Cursor { epoch, sequence } => {
                self.context.store.set_peer_seen(&peer.to_bytes(), epoch, sequence).await?;
            }
            Output::Lobby(envelopes) => {
                let shown = self.visit(envelopes).await;
                self.tell(Report::Lobby(peer, shown)).await?;
            }
            Output::Proven(keys) => self.context.proven.note(peer, keys),
            Output::PeerFollows(realms) => self.tell(Report::Follows(peer, realms)).await?,
            Output::InSync => self.tell(Report::InSync(peer, self.follows)).await?,
            Output::Behind(pairs) => self.tell(Report::Behind(peer, pairs)).await?,
            // Before a later InSync is told: what the peer lacked decides what that is worth.
            Output::Lacked(items) => {
                self.context.store.note_lacked(&peer.to_bytes(), items).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, report: Report) -> Result<(), Ended> {
        self.context.reports.send(report).await.map_err(|_| Ended::Stopped)
    }

    /// Verifies what a stranger shows, as much as one may show in a minute.
    async fn visit(&mut self, mut envelopes: Vec<Envelope>) -> Vec<Verified> {
        if self.lobby_shown.0.elapsed() > Duration::from_secs(60) {
            self.lobby_shown = (Instant::now(), 0);
        }
        envelopes.truncate(LOBBY_PER_MINUTE.saturating_sub(self.lobby_shown.1));
        self.lobby_shown.1 += envelopes.len();
        let verified = tokio::task::spawn_blocking(move || {
            let sound = envelopes.into_iter().filter_map(|envelope| envelope.verify().ok());
            sound.collect::<Vec<_>>()
        });
        verified.await.unwrap_or_default()
    }

    /// One batch at a time, in order.
    fn admit_next(&mut self) {
        if self.admitting.is_none()
            && let Some((envelopes, cursor)) = self.batches.pop_front()
        {
            let admitting = admit(self.context.clone(), self.peer, envelopes, cursor);
            self.admitting = Some(Box::pin(admitting));
        }
    }

    async fn admitted(&mut self, (cursor, broken): (Cursor, usize)) -> Result<Input, Ended> {
        self.admitting = None;
        for _ in 0..broken {
            self.tell(Report::Offence(self.peer, Offence::Signature)).await?;
        }
        Ok(Input::Admitted { cursor })
    }
}

async fn finish(admitting: &mut Option<Admitting>) -> Result<(Cursor, usize), Ended> {
    match admitting {
        Some(admitting) => admitting.await,
        None => std::future::pending().await,
    }
}

/// What was admitted here, from whomever. Whatever a slow listener missed, the next CHECK finds.
async fn news(
    admissions: &mut broadcast::Receiver<Arc<Admission>>,
    context: &Context,
) -> Result<Input, Ended> {
    loop {
        match admissions.recv().await {
            Ok(admission) => {
                let heard = admission.new.iter().all(|new| context.learned.knows(&new.item));
                let new = admission.new.iter().map(|new| (new.collection.clone(), new.item));
                let new = new.collect();
                return Ok(if heard { Input::Heard(new) } else { Input::New(new) });
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Err(Ended::Stopped),
        }
    }
}

async fn changed(follows: &mut watch::Receiver<u64>) -> Result<u64, Ended> {
    follows.changed().await.map_err(|_| Ended::Stopped)?;
    Ok(*follows.borrow_and_update())
}

fn prompted(prompt: Prompt) -> Input {
    match prompt {
        Prompt::Compare => Input::Compare,
        Prompt::Members => Input::FollowsChanged,
        Prompt::Want(ids) => Input::Want(ids),
    }
}

/// Verifies what is not held yet, admits it, and remembers the cursor with it.
async fn admit(
    context: Context,
    peer: PeerId,
    envelopes: Vec<Envelope>,
    cursor: Cursor,
) -> Result<(Cursor, usize), Ended> {
    let store = context.store.clone();
    let checked = tokio::task::spawn_blocking(move || check(&store, envelopes));
    let (verified, broken) = checked.await.map_err(|_| Ended::Stopped)?;
    context.learned.note(&verified);
    let kept = cursor.map(|(epoch, sequence)| (peer.to_bytes(), epoch, sequence));
    if !verified.is_empty() {
        context.store.admit(verified, kept).await?;
    } else if let Some((peer, epoch, sequence)) = kept {
        context.store.set_peer_seen(&peer, epoch, sequence).await?;
    }
    Ok((cursor, broken))
}

/// The envelopes whose new signatures verify, and how many had one that does not.
fn check(store: &store::Store, envelopes: Vec<Envelope>) -> (Vec<Verified>, usize) {
    let new = envelopes.into_iter().filter_map(|envelope| unknown_part(store, envelope));
    let (mut verified, mut broken) = (Vec::new(), 0);
    for envelope in new {
        match envelope.verify() {
            Ok(envelope) => verified.push(envelope),
            Err(_) => broken += 1,
        }
    }
    (verified, broken)
}
