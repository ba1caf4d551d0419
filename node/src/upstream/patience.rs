//! How long a person should wait for an origin.
//!
//! Not a time limit of a request: a flight goes on behind. As long as the origin that it waits for
//! shows life on any request, waiting is worth it; after 400 ms without a byte it is asked for a
//! sign of life, because a live server can be slow on one document. Silence opens the breaker, so
//! the next one does not wait at all. While this machine works on what came, nobody is silent.
//!
//! Source: formats/README.md section 4.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Request};
use tokio::time::{sleep_until, timeout, timeout_at};
use url::Url;

use super::breaker::{Event, PROBE_EVERY};
use super::client::{Client, parse};
use super::line::Line;
use super::progress::Stage;
use super::{Endpoint, Progress};

/// Without a byte for so long, a probe goes out.
const PROBE_AFTER: Duration = Duration::from_millis(400);
/// Between two probes of one wait.
const PROBE_PAUSE: Duration = Duration::from_millis(800);
/// Nobody waits longer, however lively the origin is.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// How soon it is seen that a flight waits for something else.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Returns when a person should not wait any longer for a flight that begins at this endpoint.
pub(super) async fn patience(client: &Client, endpoint: &Endpoint, progress: &Progress) {
    let home = client.lines.line(&endpoint.origin);
    let begun = home.now();
    let mut wait = Wait { client, endpoint, begun, next_probe: begun + PROBE_AFTER };
    while home.now() < begun + WAIT_MAX {
        let is_worth_it = match progress.stage() {
            // Those who have the places may be stuck there.
            Stage::NotBegun => home.away().is_none(),
            Stage::Working => true,
            Stage::Queued(line, url) => {
                let since = line.awaited_since();
                wait.bear(&line, &url, since).await
            }
            Stage::Asked(line, url, since) => wait.bear(&line, &url, since).await,
        };
        if !is_worth_it {
            return;
        }
        sleep_until(home.instant(home.now() + LOOK_EVERY)).await;
    }
}

/// Asks for a sign of life. Whatever it says is life; a silence opens the breaker, and so does a
/// connection that does not come about. An origin that is away is asked as rarely as the breaker
/// lets anybody through.
pub(super) async fn probe(client: &Client, endpoint: &Endpoint) {
    let line = client.lines.line(&endpoint.origin);
    let Ok(url) = parse(&endpoint.url) else { return };
    if line.away().is_some() {
        if line.pass().is_ok() {
            let _ = timeout(PROBE_EVERY, head(client, &line, url)).await;
        }
        return;
    }
    let progress = Progress::default();
    let _waiting = progress.asked(&line, &Arc::new(url.clone()));
    tokio::select! {
        () = patience(client, endpoint, &progress) => {}
        () = head(client, &line, url) => {}
    }
}

/// One person's wait.
struct Wait<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    begun: Duration,
    next_probe: Duration,
}

impl Wait<'_> {
    /// Whether to go on waiting for this origin, of which somebody has waited for a byte since
    /// then. A silence that was too long is known from then on.
    async fn bear(&mut self, line: &Arc<Line>, url: &Url, since: Duration) -> bool {
        if line.away().is_some() {
            return false;
        }
        let (now, since) = (line.now(), since.max(self.begun));
        let (quiet_since, limit) = {
            let breaker = line.breaker();
            (breaker.quiet_since(since), breaker.quiet_limit())
        };
        if now >= quiet_since + limit {
            let why = format!("not a byte in {:.1} s", limit.as_secs_f32());
            line.failed(Event::Silence { since: quiet_since }, why);
            return false;
        }
        if now >= self.next_probe.max(quiet_since + PROBE_AFTER) {
            self.next_probe = now + PROBE_PAUSE;
            self.look_for_life(line, url, quiet_since + limit).await;
        }
        true
    }

    /// Whatever it says is life, and the breaker was told; what it does not say is not.
    async fn look_for_life(&self, line: &Arc<Line>, url: &Url, until: Duration) {
        let Ok(_turn) = line.probe.try_acquire() else { return };
        let home = self.client.lines.line(&self.endpoint.origin);
        let asked = if Arc::ptr_eq(line, &home) {
            parse(&self.endpoint.url).ok()
        } else {
            url.join("/").ok()
        };
        if let Some(asked) = asked {
            let _ = timeout_at(line.instant(until), head(self.client, line, asked)).await;
        }
    }
}

async fn head(client: &Client, line: &Line, url: Url) {
    let _ = client.send(line, Request::new(Method::HEAD, url), true).await;
}
