//! How fresh the news of a realm are, and whether some are missing.
//!
//! A node with the role `beat` says now and then how much of the realm it has heard of. Who holds
//! no more than that and other statements is being kept from some: a peer hides them. Who holds
//! less is behind, which sync mends by itself. Age is a warning and never a wall: nothing here
//! decides what may be installed, and a clock only colours what is shown.
//!
//! Source: trust.md sections 4, 7 (a peer hides a revocation; old state; silence) and 12.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crdt::statement::{Beat, Counter, MAX_COUNTER};
use crdt::{Body, PublicKey, RealmId, Statement, Verified};
use serde::{Deserialize, Serialize};

use super::{Error, Registry, freshness};
use crate::store::Counted;

/// The least time between two beats of a realm, if nothing else was asked for.
pub const BEAT_EVERY: Duration = Duration::from_secs(10 * 60);
/// Seconds after which a beat is repeated although nothing has changed.
const AGAIN_AFTER_S: u64 = 24 * 60 * 60;
/// News older than this many seconds are worth a warning.
const OLD_AFTER_S: u64 = 30 * 24 * 60 * 60;
/// How far, in seconds, an author's clock may be ahead of this node's.
const CLOCKS_APART_S: u64 = 24 * 60 * 60;

/// What the beats of a realm say of what this node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// No beat is held.
    Nothing,
    /// An author counts just what this node does.
    All,
    /// This node holds more than any author had when he spoke.
    More,
    /// Fewer than an author had: they are on their way, or cannot be reached.
    Behind,
    /// As many as an author had, but others: somebody keeps some back.
    Incomplete,
}

/// How fresh the news of a realm are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Which realm.
    pub realm: RealmId,
    /// What it calls itself.
    pub title: String,
    /// What is said of what this node holds.
    pub heard: Heard,
    /// Seconds since 1970 of the newest beat, by its author's clock; absent if there is none.
    pub at: Option<u64>,
    /// How long ago that was, for people.
    pub ago: Option<String>,
    /// One sentence, where there is something to do or to know.
    pub note: Option<String>,
}

/// What is counted of each realm, while nothing of it changes.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<RealmId, ([u8; 32], Counted)>>);

impl Registry {
    /// Says at most so often, for each realm that lets this node, how much it has heard of.
    ///
    /// # Errors
    /// Never: what fails is logged, and tried again.
    pub async fn beat(self, every: Duration) -> Result<(), Infallible> {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.beat_once().await {
                tracing::warn!(%error, "could not say how much was heard of");
            }
        }
    }

    pub(super) async fn beat_once(&self) -> Result<(), Error> {
        let mut beats = Vec::new();
        for followed in self.inner.store.followed()? {
            beats.extend(self.next_beat(&followed.realm)?);
        }
        if !beats.is_empty() {
            self.inner.store.admit(beats, None).await?;
        }
        Ok(())
    }

    /// The next beat of this node, if it may give one and the last says something else.
    fn next_beat(&self, realm: &RealmId) -> Result<Option<Verified>, Error> {
        let authority = self.inner.store.authority(realm)?;
        let author = self.inner.mirror.public();
        let Some(head) = authority.path.last().copied() else { return Ok(None) };
        if !authority.keys_with("beat").contains(&author) {
            return Ok(None);
        }
        let last = self.inner.store.beats(realm)?;
        let last = last.into_iter().find(|(key, _)| *key == author).map(|(_, beat)| beat);
        let Counted { digest, count } = self.counted(realm)?;
        let claimed_time = freshness::now();
        let says_it = |beat: &Beat| {
            let age = claimed_time.abs_diff(beat.claimed_time);
            beat.head == head && beat.digest == digest && age < AGAIN_AFTER_S
        };
        if last.as_ref().is_some_and(says_it) {
            return Ok(None);
        }
        let epoch = authority.epoch();
        let before = last.map_or(0, |beat| beat.counter.last_in(epoch));
        let n = self.inner.store.next_counter(before)?;
        if n > MAX_COUNTER {
            return Ok(None);
        }
        let counter = Counter { epoch, n };
        let beat = Beat { head, counter, digest, count, claimed_time };
        let statement = Statement::new(*realm, None, Body::Beat(beat))?;
        Ok(Some(Verified::sign(statement, &[&self.inner.mirror])))
    }

    /// What this node counts of a realm.
    fn counted(&self, realm: &RealmId) -> Result<Counted, Error> {
        let mark = self.inner.store.counted_mark(realm)?;
        let known = || self.inner.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, counted)) = known().get(realm)
            && *of == mark
        {
            return Ok(*counted);
        }
        let counted = self.inner.store.counted(realm)?;
        known().insert(*realm, (mark, counted));
        Ok(counted)
    }

    /// How fresh the news of a realm are.
    ///
    /// # Errors
    /// When the store fails.
    pub fn news(&self, realm: &RealmId) -> Result<News, Error> {
        let authority = self.inner.store.authority(realm)?;
        let title = authority.head.as_ref().map(|head| head.title.clone()).unwrap_or_default();
        let authors = authority.keys_with("beat");
        let counts = |(key, beat): &(PublicKey, Beat)| {
            authors.contains(key) && authority.admits(beat.counter)
        };
        let mut beats = self.inner.store.beats(realm)?;
        beats.retain(counts);
        let own = if beats.is_empty() { None } else { Some(self.counted(realm)?) };
        let judged = beats.iter().filter_map(|(_, beat)| Some(judge(beat, &own?)));
        let heard = judged.max().unwrap_or(Heard::Nothing);
        let latest = freshness::now().saturating_add(CLOCKS_APART_S);
        let times = beats.iter().map(|(_, beat)| beat.claimed_time);
        let at = times.filter(|at| *at <= latest).max();
        let note = note(heard, at, realm);
        let ago = at.map(|at| freshness::age_words(freshness::now().saturating_sub(at)));
        Ok(News { realm: *realm, title, heard, at, ago, note })
    }

    /// The same for every followed realm.
    ///
    /// # Errors
    /// When the store fails.
    pub fn news_of_all(&self) -> Result<Vec<News>, Error> {
        let followed = self.inner.store.followed()?.into_iter();
        followed.map(|followed| self.news(&followed.realm)).collect()
    }
}

fn judge(beat: &Beat, own: &Counted) -> Heard {
    match own.count.cmp(&beat.count) {
        std::cmp::Ordering::Less => Heard::Behind,
        std::cmp::Ordering::Greater => Heard::More,
        std::cmp::Ordering::Equal if own.digest == beat.digest => Heard::All,
        std::cmp::Ordering::Equal => Heard::Incomplete,
    }
}

fn note(heard: Heard, at: Option<u64>, realm: &RealmId) -> Option<String> {
    let age = at.map(|at| freshness::now().saturating_sub(at));
    match (heard, age) {
        (Heard::Incomplete, _) => Some(format!(
            "the view of {realm} is incomplete: some peer keeps statements back; connect to \
             another one: griot peer add ADDRESS"
        )),
        (Heard::Behind, Some(age)) => Some(format!(
            "more of {realm} was heard of elsewhere {} ago and has not arrived here yet",
            freshness::age_words(age)
        )),
        (_, Some(age)) if age > OLD_AFTER_S => Some(format!(
            "the news of {realm} are {} old: what you have goes on installing, what is new is \
             not known here",
            freshness::age_words(age)
        )),
        _ => None,
    }
}
