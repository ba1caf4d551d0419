//! What a flight waits for at this moment: nothing yet, an origin, or this machine's own work.
//!
//! A person is to wait no longer for an origin that is silent. An origin is not silent because this
//! machine is busy with what it sent, nor because the bytes come from another host. So a request
//! says here what it waits for, and `patience` looks at that alone.
//!
//! Source: formats/README.md section 4.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use super::line::Line;

/// Of one flight; clones are of the same one. Who flies tells it, who waits for it looks at it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Stage>>);

/// How far a flight is.
#[derive(Debug, Clone, Default)]
pub(super) enum Stage {
    /// Nothing was asked yet: it waits for a place in the background.
    #[default]
    NotBegun,
    /// For its turn at an origin.
    Queued(Arc<Line>, Arc<Url>),
    /// For a byte of an origin, since then.
    Asked(Arc<Line>, Arc<Url>, Duration),
    /// What came is worked on here.
    Working,
}

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stage: Stage) {
        // A plain value: a panic cannot leave it half changed.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Until the guard goes, the flight waits for its turn there.
    pub(super) fn queued(&self, line: &Arc<Line>, url: &Arc<Url>) -> Waiting<'_> {
        self.set(Stage::Queued(Arc::clone(line), Arc::clone(url)));
        Waiting { progress: self, line: None }
    }

    /// Until the guard goes, the flight waits for a byte of that origin.
    pub(super) fn asked(&self, line: &Arc<Line>, url: &Arc<Url>) -> Waiting<'_> {
        self.set(Stage::Asked(Arc::clone(line), Arc::clone(url), line.now()));
        line.awaited(true);
        Waiting { progress: self, line: Some(Arc::clone(line)) }
    }
}

/// Ends a time of waiting, also one that is given up.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    progress: &'a Progress,
    line: Option<Arc<Line>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.awaited(false);
        }
        self.progress.set(Stage::Working);
    }
}
