//! The tasks of a running node: the only place that starts any.
//!
//! A task has a name and ends in one of two ways: because the node stops, or because something is
//! wrong. So a task that ends by itself, by an error or by a panic, stops the node with its reason;
//! a supervisor outside restarts it. At a stop each task is told by the token, has a bounded time
//! to finish what it is doing, and is dropped then. The store survives that at any point.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long a stop waits for requests under way.
const DRAIN: Duration = Duration::from_secs(10);

/// A task that ended although nobody had asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task `{name}` ended: {reason}")]
pub struct Ended {
    /// Which one.
    pub name: &'static str,
    /// Its error, or that it panicked.
    pub reason: String,
}

/// All tasks of one node.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a task that wants to finish its work watches.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that is dropped where it stands when the node stops.
    pub fn start<E: fmt::Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.start_draining(name, async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                result = task => result.map_err(|error| error.to_string()),
            }
        });
    }

    /// Starts a task that watches the [`Self::stop_token`] itself and ends in its own time.
    pub fn start_draining<E: fmt::Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = async move { task.await.map_err(|error| error.to_string()) };
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for the first task that ends by itself. Never returns while all are well.
    pub async fn first_end(&mut self) -> Ended {
        match self.set.join_next_with_id().await {
            Some(Ok((id, result))) => {
                let reason = result.err().unwrap_or_else(|| "it had nothing left to do".into());
                Ended { name: self.name(id), reason }
            }
            Some(Err(error)) => {
                Ended { name: self.name(error.id()), reason: format!("it panicked: {error}") }
            }
            None => std::future::pending().await,
        }
    }

    /// Tells every task to stop, waits a bounded time, drops the rest.
    pub async fn drain(mut self) {
        self.stop.cancel();
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("some requests were still under way after {DRAIN:?}: dropped");
        }
        self.set.shutdown().await;
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("unnamed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_is_named_with_its_reason() {
        let mut tasks = Tasks::new();
        tasks.start("patient", std::future::pending::<Result<(), String>>());
        tasks.start("hasty", async { Err::<(), _>("no more road") });
        let ended = tasks.first_end().await;
        assert_eq!((ended.name, ended.reason.as_str()), ("hasty", "no more road"));
        tasks.drain().await;
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let mut tasks = Tasks::new();
        tasks.start("broken", async {
            assert!(std::hint::black_box(false), "an invariant broke");
            Ok::<(), String>(())
        });
        let ended = tasks.first_end().await;
        assert_eq!(ended.name, "broken");
        assert!(ended.reason.contains("panicked"), "{}", ended.reason);
    }

    #[tokio::test]
    async fn a_stop_lets_a_draining_task_finish() {
        let mut tasks = Tasks::new();
        let stop = tasks.stop_token();
        let (done, finished) = tokio::sync::oneshot::channel();
        tasks.start_draining("server", async move {
            stop.cancelled().await;
            done.send(()).map_err(|()| "nobody listens")
        });
        tasks.drain().await;
        assert_eq!(finished.await, Ok(()));
    }
}
