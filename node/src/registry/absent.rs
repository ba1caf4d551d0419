//! What an upstream has said of a name in doubt: "there is none", and documents that suddenly lack
//! most of what they had.
//!
//! A miss is remembered for a minute, in memory alone, and forgotten when something of the name is
//! published or admitted. A shrunken document replaces a good one only when it is said twice, a
//! minute apart: a proxy that answers nonsense for a moment must not empty what is held.
//!
//! Source: formats/README.md sections 1 and 4.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt::statement::Subject;
use crdt::{Digest, PackageId};
use tokio::sync::broadcast::{self, error::TryRecvError};

use crate::store::{Admission, Store};

/// How long a "there is none" is believed, and how far apart a doubtful word must be said twice.
const A_MINUTE: Duration = Duration::from_secs(60);
/// Names and documents remembered at most; who asks for more makes room by forgetting all.
const REMEMBERED_MAX: usize = 10_000;

/// Names that an upstream did not have a moment ago.
#[derive(Debug)]
pub(super) struct Absences(Mutex<Known>);

#[derive(Debug)]
struct Known {
    names: BTreeMap<(PackageId, Digest), Instant>,
    admissions: broadcast::Receiver<Arc<Admission>>,
}

impl Absences {
    pub(super) fn new(store: &Store) -> Self {
        let admissions = store.subscribe();
        Self(Mutex::new(Known { names: BTreeMap::new(), admissions }))
    }

    /// The origin has just said that it has no such package.
    pub(super) fn learn(&self, package: &PackageId, origin: &Digest) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.keep_up();
        if known.names.len() >= REMEMBERED_MAX {
            known.names.clear();
        }
        known.names.insert((package.clone(), *origin), Instant::now());
    }

    /// Whether it said so within the last minute.
    pub(super) fn knows(&self, package: &PackageId, origin: &Digest) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.keep_up();
        let said = known.names.get(&(package.clone(), *origin));
        said.is_some_and(|at| at.elapsed() < A_MINUTE)
    }

    /// It may have the package now.
    pub(super) fn forget(&self, package: &PackageId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.retain(|(name, _), _| name != package);
    }
}

impl Known {
    /// Forgets what statements have come about since the last look.
    fn keep_up(&mut self) {
        loop {
            match self.admissions.try_recv() {
                Ok(admission) => {
                    // A receipt is no reason: the upstream itself has just been heard, and a mirror
                    // that reissues without end would have it asked again and again.
                    for package in admission.new.iter().filter_map(|new| new.package.as_ref()) {
                        self.names.retain(|(name, _), _| name != package);
                    }
                }
                Err(TryRecvError::Lagged(_)) => self.names.clear(),
                Err(_) => return,
            }
        }
    }
}

/// Doubtful words that were said once.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<BTreeMap<Subject, Instant>>);

impl Doubts {
    /// The upstream has said that what is held is right.
    pub(super) fn settle(&self, subject: &Subject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }

    /// Whether a document with so many versions may take the place of one with so many. None at all
    /// is what a 404 has.
    pub(super) fn allows(&self, subject: &Subject, held: usize, new: usize, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held == 0 || (new > 0 && new.saturating_mul(2) >= held) {
            said.remove(subject);
            return true;
        }
        if said.len() >= REMEMBERED_MAX {
            said.clear();
        }
        let first = *said.entry(subject.clone()).or_insert(now);
        let allowed = now.duration_since(first) >= A_MINUTE;
        if allowed {
            said.remove(subject);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_document_goes_only_when_it_is_said_twice_a_minute_apart() {
        let subject = Subject {
            origin: Digest::of(b"origin"),
            format: "npm".to_owned(),
            document: "pad".to_owned(),
            variant: "full".to_owned(),
        };
        let (doubts, start) = (Doubts::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(doubts.allows(&subject, 0, 0, start), "nothing was held");
        assert!(doubts.allows(&subject, 10, 5, start), "half of it is a release taken back");
        assert!(!doubts.allows(&subject, 10, 4, at(1)));
        assert!(!doubts.allows(&subject, 10, 4, at(60)), "59 seconds later");
        assert!(doubts.allows(&subject, 10, 4, at(61)));
        assert!(!doubts.allows(&subject, 10, 0, at(70)), "a new doubt begins anew");
        doubts.settle(&subject);
        assert!(!doubts.allows(&subject, 10, 0, at(140)), "it was confirmed in between");
        assert!(doubts.allows(&subject, 10, 11, at(80)), "the good one is back");
        assert!(!doubts.allows(&subject, 10, 0, at(131)), "and the doubt was forgotten");
    }
}
