//! Uploads that go on where they were: after a cut line, a killed client, a restart of the node.
//!
//! A session is a file `uploads/<id>.data` that grows at its end, and a mark beside it that says
//! what it is for and how far it is durable (`mark`). It survives a crash with what its last
//! checkpoint covered; the caller learns that offset and goes on from there. Finished, it is a
//! staged file as any other upload, and the session is gone; a session that nobody has used for
//! [`EXPIRY_SECONDS`] goes too, and so does a crash's rest without a sound mark.
//!
//! The id is random: who knows it and has the owner's token may write. One writes at a time; who
//! comes later takes over, since the one before has mostly lost its line without noticing.
//!
//! Does not decide what becomes of the bytes. Source: OCI distribution specification, "Pushing
//! blobs", for what a client may expect of such a session.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::blob::now_seconds;
use super::disk::Opening;
use super::hashing::Hasher;
use super::kinds::Amount;
use super::{Error, Hashes, Inner, Store, blocking, lock};
use mark::Head;
use writer::Live;

mod hold;
mod mark;
mod writer;

pub(super) use hold::is_held;
pub use writer::SessionWriter;

/// Sessions of all owners together.
const SESSIONS_MAX: usize = 1024;
/// Sessions of one owner.
const OWNER_SESSIONS_MAX: usize = 64;
/// Bytes in the sessions of one owner.
const OWNER_BYTES_MAX: u64 = 64 << 30;
/// A session that nobody has written to for so long is removed: seven days.
pub const EXPIRY_SECONDS: u64 = 7 * 24 * 60 * 60;
/// How long who takes over waits for the one before to let go.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);
/// The longest label.
const LABEL_MAX_BYTES: usize = 128;

/// The name of a session: 128 random bits, as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    fn draw() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crdt::digest::to_hex(&self.0))
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        crdt::digest::from_hex(text).map(Self).ok_or(Error::NoSession)
    }
}

/// What a session is started for.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Who may go on with it.
    pub owner: String,
    /// Whose routes it belongs to: a format's id.
    pub purpose: String,
    /// What the owner calls it: a start with the same label finds the same session again.
    pub label: Option<String>,
    /// Which checksums to compute beside BLAKE3 and sha256.
    pub hashes: Hashes,
    /// The most that it may hold, in bytes.
    pub limit: u64,
    /// Its size at the end, if that is known.
    pub size: Option<u64>,
}

/// What there is of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Bytes that it has.
    pub bytes: u64,
    /// Its size at the end, if that was said.
    pub size: Option<u64>,
    /// Seconds of this node's clock when it was last written to.
    pub used: u64,
}

/// Whose session is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'o> {
    /// The owner's name.
    pub name: &'o str,
    /// Whose routes it belongs to.
    pub purpose: &'o str,
}

/// All sessions of this store.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    rows: BTreeMap<SessionId, Row>,
}

#[derive(Debug)]
struct Row {
    head: Head,
    bytes: Arc<AtomicU64>,
    sequence: u64,
    used: u64,
    place: Place,
}

/// Where the running hashes of a session are.
#[derive(Debug)]
enum Place {
    /// Nowhere: the bytes must be read again.
    Cold,
    /// Kept, nobody writes.
    Parked(Box<Hasher>),
    /// With the one who writes, or makes the files; cancelled: somebody else wants to.
    Open(CancellationToken),
}

/// A session as it is handed to the one who writes.
#[derive(Debug)]
struct Lease {
    head: Head,
    bytes: Arc<AtomicU64>,
    sequence: u64,
    hasher: Option<Box<Hasher>>,
}

impl Sessions {
    fn bytes_of(&self, owner: &str) -> u64 {
        let own = self.rows.values().filter(|row| row.head.owner == owner);
        own.map(|row| row.bytes.load(Ordering::Relaxed)).sum()
    }

    fn row(&mut self, id: SessionId, owner: Owner<'_>) -> Result<&mut Row, Error> {
        let name = hashed(owner.name);
        let row = self.rows.get_mut(&id).ok_or(Error::NoSession)?;
        let its = row.head.owner == name && row.head.purpose == owner.purpose;
        if its { Ok(row) } else { Err(Error::NoSession) }
    }

    /// A session that was started just so.
    fn same(&self, head: &Head) -> Option<SessionId> {
        let same = |row: &Row| Head { created: row.head.created, ..head.clone() } == row.head;
        let label = head.label.as_ref()?;
        let of_label = |row: &Row| row.head.label.as_ref() == Some(label) && same(row);
        self.rows.iter().find(|(_, row)| of_label(row)).map(|(id, _)| *id)
    }

    /// Enters a new one, if there is room in the list.
    fn enter(&mut self, id: SessionId, head: Head) -> Result<(), Error> {
        let own = self.rows.values().filter(|row| row.head.owner == head.owner).count();
        if own >= OWNER_SESSIONS_MAX {
            return Err(Error::TooManySessions { limit: OWNER_SESSIONS_MAX });
        }
        if self.rows.len() >= SESSIONS_MAX {
            return Err(Error::TooManySessions { limit: SESSIONS_MAX });
        }
        let used = head.created;
        let place = Place::Open(CancellationToken::new());
        self.rows.insert(id, Row { head, bytes: Arc::default(), sequence: 0, used, place });
        Ok(())
    }

    fn lease(&mut self, id: SessionId, owner: Owner<'_>) -> Result<Turn, Error> {
        let row = self.row(id, owner)?;
        let token = CancellationToken::new();
        let hasher = match std::mem::replace(&mut row.place, Place::Open(token.clone())) {
            Place::Cold => None,
            Place::Parked(hasher) => Some(hasher),
            Place::Open(other) => {
                other.cancel();
                row.place = Place::Open(other);
                return Ok(Turn::Wait);
            }
        };
        let (head, bytes) = (row.head.clone(), Arc::clone(&row.bytes));
        Ok(Turn::Mine(Lease { head, bytes, sequence: row.sequence, hasher }, token))
    }
}

/// Whether the session is free.
enum Turn {
    Wait,
    Mine(Lease, CancellationToken),
}

/// The owner as it is written down.
fn hashed(owner: &str) -> String {
    blake3::hash(owner.as_bytes()).to_hex().to_string()
}

impl Store {
    /// Starts a session, durably; or finds the one that the same owner started so before.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Full`] for a size that does not fit,
    /// [`Error::TooManySessions`].
    pub async fn start_session(&self, new: NewSession) -> Result<Session, Error> {
        if let Some(size) = new.size.filter(|size| *size > new.limit) {
            tracing::debug!(size, "a session was asked for that is too large");
            return Err(Error::TooLarge { limit: new.limit });
        }
        let label = new.label.filter(|label| label.len() <= LABEL_MAX_BYTES);
        let head = Head {
            owner: hashed(&new.owner),
            purpose: new.purpose,
            label,
            hashes: (new.hashes.sha512, new.hashes.sha1, new.hashes.md5),
            limit: new.limit,
            size: new.size,
            created: now_seconds(),
        };
        let inner = Arc::clone(&self.inner);
        blocking(move || start(&inner, head)).await
    }

    /// A session, if it is this owner's.
    ///
    /// # Errors
    /// [`Error::NoSession`].
    pub fn session(&self, id: SessionId, owner: Owner<'_>) -> Result<Session, Error> {
        let mut sessions = lock(&self.inner.sessions);
        sessions.row(id, owner).map(|row| shown(id, row))
    }

    /// Opens a session for writing at its end, which must be `at` if that is given. Who writes to
    /// it now is told to let go.
    ///
    /// # Errors
    /// [`Error::Offset`] with the true one, [`Error::NoSession`], [`Error::SessionBusy`].
    pub async fn open_session(
        &self,
        id: SessionId,
        owner: Owner<'_>,
        at: Option<u64>,
    ) -> Result<SessionWriter, Error> {
        let (lease, token) = self.lease(id, owner, at).await?;
        let inner = Arc::clone(&self.inner);
        let live = blocking(move || {
            let live = Live::open(&inner, id, lease).map(Box::new).inspect_err(|why| {
                let lost = matches!(why, Error::NoSession);
                if lost { forget(&inner, id) } else { free(&inner, id) }
            });
            live.map_err(|why| inner.explain(why, 0))
        })
        .await?;
        Ok(SessionWriter::new(&self.inner, live, token))
    }

    async fn lease(
        &self,
        id: SessionId,
        owner: Owner<'_>,
        at: Option<u64>,
    ) -> Result<(Lease, CancellationToken), Error> {
        let turn = async {
            loop {
                let freed = self.inner.parked.notified();
                tokio::pin!(freed);
                // From here on it hears; what is free already is seen below.
                freed.as_mut().enable();
                if let Turn::Mine(lease, token) = lock(&self.inner.sessions).lease(id, owner)? {
                    return Ok::<_, Error>((lease, token));
                }
                freed.await;
            }
        };
        let turn = tokio::time::timeout(TAKE_OVER_MAX, turn).await;
        let (lease, token) = turn.map_err(|_| Error::SessionBusy)??;
        let held = lease.bytes.load(Ordering::Relaxed);
        if at.is_some_and(|at| at != held) {
            let mut sessions = lock(&self.inner.sessions);
            if let Some(row) = sessions.rows.get_mut(&id) {
                row.place = lease.hasher.map_or(Place::Cold, Place::Parked);
            }
            drop(sessions);
            self.inner.parked.notify_waiters();
            return Err(Error::Offset { at: held });
        }
        Ok((lease, token))
    }

    /// Ends a session without its bytes. Who writes to it writes into nothing.
    ///
    /// # Errors
    /// [`Error::NoSession`]; when the disk refuses, it may come back after a power cut.
    pub async fn cancel_session(&self, id: SessionId, owner: Owner<'_>) -> Result<(), Error> {
        lock(&self.inner.sessions).row(id, owner)?;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            forget(&inner, id);
            let synced = inner.disk.sync_folder(&inner.paths.uploads());
            synced.map_err(|why| inner.explain(why.into(), 0))
        })
        .await
    }

    /// How many sessions there are, and the bytes that they have.
    pub(super) fn uploads_under_way(&self) -> Amount {
        let mut found = Amount::default();
        let sessions = lock(&self.inner.sessions);
        sessions.rows.values().for_each(|row| found.add(row.bytes.load(Ordering::Relaxed)));
        found
    }

    /// Removes the sessions that nobody has used since [`EXPIRY_SECONDS`]; says how many.
    ///
    /// # Errors
    /// When the disk or the database refuses, or the node is stopping.
    pub async fn sweep_sessions(&self) -> Result<usize, Error> {
        self.sweep_sessions_at(now_seconds()).await
    }

    /// The same as if it were another time.
    pub(super) async fn sweep_sessions_at(&self, now: u64) -> Result<usize, Error> {
        let inner = Arc::clone(&self.inner);
        let removed = blocking(move || {
            let old: Vec<_> = {
                let sessions = lock(&inner.sessions);
                let idle = |row: &Row| !matches!(row.place, Place::Open(_));
                let old = |row: &Row| row.used.saturating_add(EXPIRY_SECONDS) < now && idle(row);
                let rows = sessions.rows.iter();
                rows.filter(|(_, row)| old(row)).map(|(id, _)| *id).collect()
            };
            for id in &old {
                forget(&inner, *id);
            }
            if !old.is_empty() {
                let synced = inner.disk.sync_folder(&inner.paths.uploads());
                synced.map_err(|why| inner.explain(why.into(), 0))?;
            }
            Ok(old.len())
        })
        .await?;
        self.sweep_holds(now).await?;
        Ok(removed)
    }
}

fn shown(id: SessionId, row: &Row) -> Session {
    let bytes = row.bytes.load(Ordering::Relaxed);
    Session { id, bytes, size: row.head.size, used: row.used }
}

fn start(inner: &Arc<Inner>, head: Head) -> Result<Session, Error> {
    let id = SessionId::draw()?;
    {
        let mut sessions = lock(&inner.sessions);
        if let Some(found) = sessions.same(&head)
            && let Some(row) = sessions.rows.get(&found)
        {
            return Ok(shown(found, row));
        }
        sessions.enter(id, head.clone())?;
    }
    let made = inner.check_room(head.size.unwrap_or(0)).and_then(|()| make(inner, id, &head));
    if let Err(why) = made {
        forget(inner, id);
        return Err(inner.explain(why, 0));
    }
    free(inner, id);
    Ok(Session { id, bytes: 0, size: head.size, used: head.created })
}

fn make(inner: &Inner, id: SessionId, head: &Head) -> Result<(), Error> {
    inner.disk.open(&inner.paths.session_data(id), Opening::New)?;
    mark::create(&inner.disk, &inner.paths.session_mark(id), head)?;
    Ok(inner.disk.sync_folder(&inner.paths.uploads())?)
}

/// Nobody writes to it now; its bytes are read again when somebody does.
fn free(inner: &Inner, id: SessionId) {
    if let Some(row) = lock(&inner.sessions).rows.get_mut(&id) {
        row.place = Place::Cold;
    }
    inner.parked.notify_waiters();
}

/// Removes a session and its files.
fn forget(inner: &Inner, id: SessionId) {
    let row = lock(&inner.sessions).rows.remove(&id);
    if let Some(Row { place: Place::Open(token), .. }) = row {
        token.cancel();
    }
    inner.parked.notify_waiters();
    // Without its mark a file is removed at the next start, if not now.
    for path in [inner.paths.session_mark(id), inner.paths.session_data(id)] {
        if let Err(why) = inner.disk.remove(&path) {
            tracing::warn!(%id, %why, "a file of an upload was not removed");
        }
    }
}

/// Reads what a start finds: sessions that go on, and rests, which it removes.
pub(super) fn recover(inner: &Inner) -> Result<(), Error> {
    let (now, mut names) = (now_seconds(), Vec::new());
    for entry in fs_err::read_dir(inner.paths.uploads())? {
        names.push(entry?.path());
    }
    let mut rows = BTreeMap::new();
    for path in &names {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(id) = stem.and_then(|stem| stem.parse::<SessionId>().ok()) else { continue };
        if *path != inner.paths.session_mark(id) || !inner.paths.session_data(id).exists() {
            continue;
        }
        let Some((head, progress)) = mark::read(path) else { continue };
        if progress.used.saturating_add(EXPIRY_SECONDS) < now {
            continue;
        }
        let bytes = Arc::new(AtomicU64::new(progress.bytes));
        let (sequence, used, place) = (progress.sequence, progress.used, Place::Cold);
        rows.insert(id, Row { head, bytes, sequence, used, place });
    }
    for path in names {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let known =
            stem.and_then(|stem| stem.parse().ok()).is_some_and(|id| rows.contains_key(&id));
        if !known {
            inner.disk.remove(&path)?;
        }
    }
    lock(&inner.sessions).rows = rows;
    Ok(())
}
