//! What members of the site hold of a package of an upstream.
//!
//! An install asks this for hundreds of packages within seconds. So each member has one [`line`]:
//! a stream that stays open, on which questions follow each other without waiting for the answers.
//! Everybody is asked at once and nobody is waited for longer than a second; who was late is left
//! out for a while, so that a silent member costs a second once and not for each package. [`Told`]
//! keeps answers for a few seconds, in bounded number. Hints: nothing here is believed.
//!
//! Source: trust.md section 10, mesh.md section 7.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, StreamExt as _};
use libp2p::PeerId;
use libp2p_stream::Control;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::FileHint;
use super::command::Report;
use super::frame::{self, Broken};
use super::held::PROGRESS;
use super::mirror_frame::{FILES_MAX, Frame, Listing};
use super::mirror_link::{Link, receive};
use super::peers::Offence;

/// Questions to one member that wait for the line.
pub(super) const QUESTIONS_MAX: usize = 1_024;
/// Questions on a line that wait for their answers.
const PIPELINED: usize = 64;
/// Asking all members takes at most this long.
const ASKING: Duration = Duration::from_secs(1);
/// Answers are good for this long; and so long a member that was late is not asked.
const FRESH: Duration = Duration::from_secs(10);
/// A line on which nothing is asked ends, before the other side ends it.
const IDLE: Duration = Duration::from_secs(60);
/// After a line broke.
const PAUSE: Duration = Duration::from_secs(1);
/// Packages of which answers are kept.
const PACKAGES_MAX: usize = 4_096;
/// Bytes of hints that are kept.
const TOLD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Files of one package, over all members.
const MERGED_MAX: usize = 2 * FILES_MAX;

/// One question to one member. Dropped, it was not answered.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) listing: Listing,
    pub(super) reply: oneshot::Sender<Vec<FileHint>>,
}

/// A member's line, as the swarm's task sees it.
#[derive(Debug)]
pub(super) struct Line {
    questions: mpsc::Sender<Question>,
    silent_since: Option<Instant>,
}

impl Line {
    /// To a line that is being started.
    pub(super) const fn new(questions: mpsc::Sender<Question>) -> Self {
        Self { questions, silent_since: None }
    }

    /// It was late.
    pub(super) const fn is_late(&mut self, now: Instant) {
        self.silent_since = Some(now);
    }

    /// Puts a question; `None` for a member that was late a moment ago, or that has too many.
    pub(super) fn ask(
        &self,
        listing: &Listing,
        now: Instant,
    ) -> Option<oneshot::Receiver<Vec<FileHint>>> {
        if self.silent_since.is_some_and(|since| now.duration_since(since) < FRESH) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let question = Question { listing: listing.clone(), reply };
        self.questions.try_send(question).ok().map(|()| answer)
    }
}

/// What all members said, and who said nothing in time.
pub(super) async fn collect(
    asked: Vec<(PeerId, oneshot::Receiver<Vec<FileHint>>)>,
) -> (Vec<FileHint>, Vec<PeerId>) {
    let mut late: HashSet<PeerId> = asked.iter().map(|(peer, _)| *peer).collect();
    let mut answers: FuturesUnordered<_> =
        asked.into_iter().map(|(peer, answer)| async move { (peer, answer.await) }).collect();
    let deadline = Instant::now() + ASKING;
    let (mut merged, mut seen) = (Vec::new(), HashSet::new());
    while let Ok(Some((peer, answer))) = timeout_at(deadline, answers.next()).await {
        late.remove(&peer);
        for hint in answer.unwrap_or_default() {
            let is_new = seen.insert((hint.version.clone(), hint.file.clone(), hint.digest));
            if is_new && merged.len() < MERGED_MAX {
                merged.push(hint);
            }
        }
    }
    (merged, late.into_iter().collect())
}

/// Answers one member's questions as long as there are any to come.
pub(super) async fn line(
    control: Control,
    peer: PeerId,
    mut questions: mpsc::Receiver<Question>,
    reports: mpsc::Sender<Report>,
) {
    while let Some(first) = questions.recv().await {
        let talked = async {
            let link = Link::open(&control, peer).await?;
            talk(link, first, &mut questions).await
        };
        let Err(error) = talked.await else { continue };
        tracing::debug!(%peer, %error, "a member does not say what it holds");
        if matches!(error, Broken::Garbage(_)) {
            // A mesh that has stopped has no scores.
            let _ = reports.send(Report::Offence(peer, Offence::Garbage)).await;
        }
        // What was asked meanwhile is not answered.
        while questions.try_recv().is_ok() {}
        sleep(PAUSE).await;
    }
}

/// What is waited for on a stream, in the order in which it is answered.
type Waiting = (u32, oneshot::Sender<Vec<FileHint>>);

async fn talk(
    link: Link,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
) -> Result<(), Broken> {
    let (reader, writer) = link.stream.split();
    let (asked, waiting) = mpsc::channel(PIPELINED);
    // At once, or both sides would write and neither read.
    let both = tokio::try_join!(write(writer, first, questions, asked), read(reader, waiting));
    both.map(|_| ())
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
    asked: mpsc::Sender<Waiting>,
) -> Result<(), Broken> {
    let mut bytes = Frame::HELLO.encode();
    let mut next = Some(first);
    let mut id: u32 = 0;
    while let Some(Question { listing, reply }) = next {
        id = id.wrapping_add(1);
        bytes.extend_from_slice(&Frame::FilesOf { id, listing }.encode());
        frame::send(&mut writer, &bytes, PROGRESS).await?;
        bytes.clear();
        if asked.send((id, reply)).await.is_err() {
            break;
        }
        next = timeout(IDLE, questions.recv()).await.unwrap_or(None);
    }
    Ok(())
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut waiting: mpsc::Receiver<Waiting>,
) -> Result<(), Broken> {
    let mut greeted = false;
    while let Some((asked, reply)) = waiting.recv().await {
        if !greeted {
            match receive(&mut reader, PROGRESS).await? {
                Frame::Hello { .. } => greeted = true,
                _ => return Err(Broken::Garbage("something before its greeting")),
            }
        }
        let files = answer(&mut reader, asked).await?;
        // Whoever asked may have gone.
        let _ = reply.send(files);
    }
    Ok(())
}

async fn answer(
    reader: &mut (impl AsyncRead + Unpin),
    asked: u32,
) -> Result<Vec<FileHint>, Broken> {
    let mut all = Vec::new();
    loop {
        match receive(reader, PROGRESS).await? {
            Frame::Files { id, last, files } if id == asked => {
                let is_empty = files.is_empty();
                all.extend(files);
                if all.len() > FILES_MAX {
                    return Err(Broken::Garbage("an endless list of files"));
                }
                if last {
                    return Ok(all);
                }
                if is_empty {
                    return Err(Broken::Garbage("an empty part of a list"));
                }
            }
            _ => return Err(Broken::Garbage("what was not asked for")),
        }
    }
}

/// Answers of the last seconds, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Told {
    answers: HashMap<Listing, (Instant, Vec<FileHint>)>,
    bytes: usize,
    waiting: HashMap<Listing, Vec<oneshot::Sender<Vec<FileHint>>>>,
    generation: u64,
}

impl Told {
    /// A fresh answer, if there is one.
    pub(super) fn fresh(&self, listing: &Listing, now: Instant) -> Option<Vec<FileHint>> {
        let (at, hints) = self.answers.get(listing)?;
        (now.duration_since(*at) <= FRESH).then(|| hints.clone())
    }

    /// Waits for the answer; says whether nobody has asked yet, and as of when.
    pub(super) fn wait(
        &mut self,
        listing: &Listing,
        reply: oneshot::Sender<Vec<FileHint>>,
    ) -> Option<u64> {
        let waiting = self.waiting.entry(listing.clone()).or_default();
        waiting.push(reply);
        (waiting.len() == 1).then_some(self.generation)
    }

    /// Keeps what was said, unless somebody came or went meanwhile; gives those who wait for it.
    pub(super) fn keep(
        &mut self,
        listing: &Listing,
        (hints, generation): (&[FileHint], u64),
        now: Instant,
    ) -> Vec<oneshot::Sender<Vec<FileHint>>> {
        let bytes = weight(hints);
        if generation == self.generation && bytes <= TOLD_BYTES_MAX {
            if self.answers.len() >= PACKAGES_MAX || self.bytes + bytes > TOLD_BYTES_MAX {
                self.answers.clear();
                self.bytes = 0;
            }
            self.bytes += bytes;
            if let Some((_, old)) = self.answers.insert(listing.clone(), (now, hints.to_vec())) {
                self.bytes -= weight(&old);
            }
        }
        self.waiting.remove(listing).unwrap_or_default()
    }

    /// A peer came or went: what was said before may be wrong now.
    pub(super) fn forget(&mut self) {
        self.answers.clear();
        self.bytes = 0;
        self.generation += 1;
    }
}

/// About how much memory hints take.
fn weight(hints: &[FileHint]) -> usize {
    hints.iter().map(|hint| hint.version.len() + hint.file.len() + size_of::<FileHint>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::Digest;

    fn listing(at: usize) -> Listing {
        Listing { origin: Digest::of(b"o"), format: "npm".to_owned(), package: at.to_string() }
    }

    fn hint(file: &str) -> FileHint {
        FileHint { version: "1".into(), file: file.into(), digest: Digest::of(b"x"), size: 1 }
    }

    #[test]
    fn an_answer_is_kept_for_ten_seconds_and_until_somebody_comes_or_goes() {
        let (mut told, now) = (Told::default(), Instant::now());
        let hints = [hint("a")];
        told.keep(&listing(1), (&hints, 0), now);
        assert_eq!(told.fresh(&listing(1), now + FRESH).as_deref(), Some(&hints[..]));
        assert_eq!(told.fresh(&listing(1), now + FRESH + Duration::from_secs(1)), None);
        told.forget();
        assert_eq!(told.fresh(&listing(1), now), None);
        told.keep(&listing(1), (&hints, 0), now);
        assert_eq!(told.fresh(&listing(1), now), None, "asked before it came");
        told.keep(&listing(1), (&hints, 1), now);
        assert!(told.fresh(&listing(1), now).is_some());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut told, now) = (Told::default(), Instant::now());
        let large = vec![hint(&"f".repeat(400)); FILES_MAX];
        for at in 0..20 {
            told.keep(&listing(at), (&large, 0), now);
            told.keep(&listing(at), (&large, 0), now);
            let held: usize = told.answers.values().map(|(_, hints)| weight(hints)).sum();
            assert_eq!(held, told.bytes);
            assert!(held <= TOLD_BYTES_MAX);
        }
        for at in 0..=PACKAGES_MAX {
            told.keep(&listing(at), (&[], 0), now);
        }
        assert!(told.answers.len() <= PACKAGES_MAX);
    }

    #[tokio::test]
    async fn who_says_nothing_is_waited_for_a_second_and_named() {
        let (quick, silent) = (PeerId::random(), PeerId::random());
        let (reply, answer) = oneshot::channel();
        let (_never, nothing) = oneshot::channel();
        reply.send(vec![hint("a"), hint("a"), hint("b")]).expect("is waited for");
        let began = Instant::now();
        let (hints, late) = collect(vec![(quick, answer), (silent, nothing)]).await;
        assert_eq!(hints, [hint("a"), hint("b")]);
        assert_eq!(late, [silent]);
        assert!(began.elapsed() >= ASKING && began.elapsed() < 10 * ASKING);
    }
}
