//! How long a person should wait for an origin.
//!
//! Not a time limit of a request: a flight goes on behind. As long as the origin shows life on any
//! request, waiting is worth it; after 400 ms without a byte it is asked for a sign of life,
//! because a live server can be slow on one document. Silence opens the breaker, so the next one
//! does not wait at all.
//!
//! Source: formats/README.md section 4.

use std::time::Duration;

use reqwest::{Method, Request};
use tokio::time::{sleep_until, timeout, timeout_at};

use super::Endpoint;
use super::breaker::{Event, PROBE_EVERY};
use super::client::{Client, parse};
use super::line::Line;

/// Without a byte for so long, a probe goes out.
const PROBE_AFTER: Duration = Duration::from_millis(400);
/// Between two probes of one wait.
const PROBE_PAUSE: Duration = Duration::from_millis(800);
/// Nobody waits longer, however lively the origin is.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Returns when a person should not wait any longer.
pub(super) async fn patience(client: &Client, endpoint: &Endpoint) {
    let line = client.lines.line(&endpoint.origin);
    tokio::select! {
        () = line.until_down() => {}
        () = outlast(client, &line, endpoint) => {}
    }
}

/// Asks for a sign of life. Whatever it says is life; a silence opens the breaker, and so does a
/// connection that does not come about. An origin that is away is asked as rarely as the breaker
/// lets anybody through.
pub(super) async fn probe(client: &Client, endpoint: &Endpoint) {
    let line = client.lines.line(&endpoint.origin);
    if line.away().is_some() {
        if line.pass().is_ok() {
            let _ = timeout(PROBE_EVERY, head(client, &line, endpoint)).await;
        }
        return;
    }
    tokio::select! {
        () = patience(client, endpoint) => {}
        () = head(client, &line, endpoint) => {}
    }
}

/// Returns when the origin was silent for too long, which is then known, or after the longest wait.
async fn outlast(client: &Client, line: &Line, endpoint: &Endpoint) {
    let begun = line.now();
    let mut next_probe = begun + PROBE_AFTER;
    loop {
        let now = line.now();
        let (quiet_since, limit) = {
            let breaker = line.breaker();
            (breaker.quiet_since(begun), breaker.quiet_limit())
        };
        if now >= begun + WAIT_MAX {
            return;
        }
        if now >= quiet_since + limit {
            let why = format!("not a byte in {:.1} s", limit.as_secs_f32());
            line.failed(Event::Silence { since: quiet_since }, why);
            return;
        }
        let end = (quiet_since + limit).min(begun + WAIT_MAX);
        let probe_at = next_probe.max(quiet_since + PROBE_AFTER);
        if now < probe_at {
            sleep_until(line.instant(end.min(probe_at))).await;
            continue;
        }
        next_probe = now + PROBE_PAUSE;
        if let Ok(_turn) = line.probe.try_acquire() {
            // Whatever it says is life, and the breaker was told; what it does not say is not.
            let _ = timeout_at(line.instant(end), head(client, line, endpoint)).await;
        }
    }
}

async fn head(client: &Client, line: &Line, endpoint: &Endpoint) {
    if let Ok(url) = parse(&endpoint.url) {
        let _ = client.send(line, Request::new(Method::HEAD, url), true).await;
    }
}
