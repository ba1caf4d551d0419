//! One request, hop by hop, with time limits and the breaker's bookkeeping.
//!
//! Redirects are followed by hand, because what travels with them is decided here: the credential
//! goes to the endpoint's own host alone, from https there is no way to http, and an upstream
//! elsewhere cannot send this node to services of its own machine. Proxies and TLS roots are those
//! of the system (`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`). Bodies are read in `body`.
//!
//! Source: formats/README.md sections 4 and 7.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use url::{Host, Url};

use super::breaker::Event;
use super::line::{Line, Lines};
use super::progress::Progress;
use super::{Endpoint, Error};

/// Longer than this nobody waits for a byte.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// To connect, when nobody waits.
const CONNECT: Duration = Duration::from_secs(5);
/// To connect, when a person waits.
const CONNECT_URGENT: Duration = Duration::from_secs(1);
const REDIRECTS_MAX: usize = 5;
/// A connection that was kept, and that the other side has closed meanwhile, says nothing about it:
/// what is safe to ask twice is asked again, so often.
const AGAIN_MAX: u32 = 3;
/// Connections that are kept for the next request, each origin.
const IDLE_MAX: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(60);
/// An answer that brings less than [`SLOW_BYTES`] in so long, once it is as old as that, is given
/// up: a byte now and then would hold a turn for ever.
const SLOW_TIME: Duration = Duration::from_secs(60);
/// 1 KiB a second.
const SLOW_BYTES: u64 = 60 * 1024;
/// Of what an upstream says with an error, this much is read.
const WORDS_BYTES: usize = 1024;
/// For so long.
const WORDS_TIME: Duration = Duration::from_secs(2);
/// And this much is repeated.
const WORDS_CHARS: usize = 200;

/// What goes out: everything of a request but where it goes.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) urgent: bool,
    pub(super) progress: Progress,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) line: Arc<Line>,
    url: Arc<Url>,
    progress: Progress,
    /// A redirect led to another host than the one that was asked.
    pub(super) strayed: bool,
    /// Where redirects led, if there were any.
    pub(super) moved: Option<Url>,
    /// When its last byte came.
    last: Duration,
    pace: Pace,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Reply {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Cut> {
        let waiting = self.progress.asked(&self.line, &self.url);
        let piece = timeout(SILENCE, self.response.chunk()).await;
        drop(waiting);
        match piece {
            Ok(Ok(piece)) => {
                self.last = self.line.now();
                self.line.saw(Event::Byte);
                let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                if piece.is_some() && self.pace.is_slow(self.last, bytes) {
                    return Err(Cut::Slow);
                }
                Ok(piece)
            }
            Ok(Err(why)) => Err(Cut::Broken(explain(&why))),
            Err(_) => {
                self.line.saw(Event::Silence { since: self.last });
                Err(Cut::Silent)
            }
        }
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = self.response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    }

    /// Whether it calls itself a web page.
    pub(super) fn is_html(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        kind.starts_with("text/html") || kind.starts_with("application/xhtml")
    }

    /// What a status that is no answer is, with the upstream's first words.
    pub(super) async fn refusal(mut self) -> Error {
        let status = self.response.status();
        let mut words = Vec::new();
        let read = async {
            while !self.is_html() && words.len() < WORDS_BYTES {
                let Ok(Some(piece)) = self.chunk().await else { break };
                words.extend_from_slice(&piece[..piece.len().min(WORDS_BYTES)]);
            }
        };
        // What came by then is what it says.
        let _ = timeout(WORDS_TIME, read).await;
        let mut why = plain(&String::from_utf8_lossy(&words));
        if why.is_empty() {
            why = status.canonical_reason().unwrap_or_default().to_owned();
        }
        let wait = self.header("retry-after").and_then(|text| text.trim().parse::<u32>().ok());
        if let Some(seconds) = wait {
            why.push_str(&format!("; it asks to wait {seconds} s"));
        }
        Error::Status { status: status.as_u16(), why }
    }
}

/// Why a body ended too early.
#[derive(Debug)]
pub(super) enum Cut {
    /// The connection broke.
    Broken(String),
    /// Nothing came for too long.
    Silent,
    /// Too little came for too long.
    Slow,
}

impl Cut {
    /// What it is to a person.
    pub(super) fn why(self) -> String {
        match self {
            Self::Broken(why) => why,
            Self::Silent => silent(),
            Self::Slow => {
                let (bytes, seconds) = (SLOW_BYTES, SLOW_TIME.as_secs());
                format!("it sends less than {bytes} bytes in {seconds} s")
            }
        }
    }
}

/// How fast a body comes: at times of one clock, counted from when it began.
#[derive(Debug)]
struct Pace {
    since: Duration,
    bytes: u64,
}

impl Pace {
    const fn begin(at: Duration) -> Self {
        Self { since: at, bytes: 0 }
    }

    /// Takes a piece; whether the whole of a span has brought too little.
    fn is_slow(&mut self, now: Duration, bytes: u64) -> bool {
        self.bytes += bytes;
        if now.saturating_sub(self.since) < SLOW_TIME {
            return false;
        }
        let slow = self.bytes < SLOW_BYTES;
        *self = Self::begin(now);
        slow
    }
}

/// One line, without what a terminal would obey.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(WORDS_CHARS).collect()
}

/// The innermost cause, without the URL: that may hold a secret.
fn explain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "no connection in time".to_owned() } else { plain(&cause.to_string()) }
}

/// Made when first needed: reading the system's TLS roots takes a while, and offline it is in vain.
#[derive(Debug, Default)]
struct Pool {
    made: OnceLock<Result<reqwest::Client, String>>,
}

impl Pool {
    fn client(&self, connect: Duration) -> Result<&reqwest::Client, Error> {
        let made = self.made.get_or_init(|| build(connect));
        made.as_ref().map_err(|why| Error::Store(format!("no HTTP client: {why}")))
    }
}

fn build(connect: Duration) -> Result<reqwest::Client, String> {
    // One for the process; if somebody was faster, theirs serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plan = || {
        reqwest::Client::builder()
            .user_agent(concat!("griot/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_gzip()
            .connect_timeout(connect)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME)
            .tcp_keepalive(SILENCE)
    };
    plan().build().or_else(|why| {
        // A machine without any TLS roots still reaches what speaks plain HTTP.
        tracing::warn!("{}: no https upstream can be verified", explain(&why));
        plan().tls_certs_only([]).build().map_err(|why| explain(&why))
    })
}

/// Asks origins.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) lines: Lines,
    urgent: Pool,
    patient: Pool,
}

impl Client {
    /// Touches nothing yet.
    pub(super) fn new() -> Self {
        Self { lines: Lines::new(), urgent: Pool::default(), patient: Pool::default() }
    }

    /// Follows redirects of a GET until an answer begins.
    pub(super) async fn follow(
        &self,
        endpoint: &Endpoint,
        url: &str,
        outgoing: &Outgoing,
    ) -> Result<Reply, Error> {
        let base = parse(&endpoint.url)?;
        let first = parse(url)?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            if is_inward(&base, &url) {
                let why = format!("the upstream points further in, to {}: refused", at(&url));
                return Err(Error::Wrong(why));
            }
            let mut reply = self.hop(endpoint, &base, &url, outgoing).await?;
            let Some(next) = next(&reply, &url)? else {
                reply.strayed = url.host() != first.host();
                reply.moved = (url != first).then_some(url);
                return Ok(reply);
            };
            url = next;
        }
        Err(Error::Wrong(format!("the upstream redirects more than {REDIRECTS_MAX} times")))
    }

    /// One request to one host.
    pub(super) async fn hop(
        &self,
        endpoint: &Endpoint,
        base: &Url,
        url: &Url,
        outgoing: &Outgoing,
    ) -> Result<Reply, Error> {
        let home = at(base) == at(url);
        let origin = if home { endpoint.origin } else { Digest::of(at(url).as_bytes()) };
        let line = self.lines.line(&origin);
        let (url, progress) = (Arc::new(url.clone()), &outgoing.progress);
        let waiting = progress.queued(&line, &url);
        let turn = line.turn().await?;
        drop(waiting);
        let mut request = Request::new(outgoing.method.clone(), Url::clone(&url));
        *request.headers_mut() = outgoing.headers.clone();
        if let Some(credential) = endpoint.credential.as_ref().filter(|_| home) {
            let mut value = HeaderValue::from_str(credential)
                .map_err(|_| Error::Wrong("the credential is no header".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        if !outgoing.body.is_empty() {
            *request.body_mut() = Some(outgoing.body.clone().into());
        }
        let waiting = progress.asked(&line, &url);
        let response = self.send(&line, request, outgoing.urgent).await?;
        drop(waiting);
        let last = line.now();
        let (pace, progress) = (Pace::begin(last), progress.clone());
        let (strayed, moved) = (false, None);
        Ok(Reply { response, line, url, progress, strayed, moved, last, pace, _turn: turn })
    }

    /// Sends, waits for the head of the answer, and tells the breaker.
    pub(super) async fn send(
        &self,
        line: &Line,
        request: Request,
        urgent: bool,
    ) -> Result<Response, Error> {
        let client = match urgent {
            true => self.urgent.client(CONNECT_URGENT)?,
            false => self.patient.client(CONNECT)?,
        };
        let begun = line.now();
        let is_repeated = request.method() != Method::POST;
        let mut again: u32 = if is_repeated { AGAIN_MAX } else { 0 };
        let mut next = Some(request);
        let mut broken = String::new();
        while let Some(request) = next.take() {
            let spare = request.try_clone();
            match timeout(SILENCE, client.execute(request)).await {
                Ok(Ok(response)) => {
                    line.saw(Event::FirstByte { after: line.now().saturating_sub(begun) });
                    return Ok(response);
                }
                Ok(Err(why)) if why.is_connect() => {
                    return Err(line.failed(Event::NoConnection { begun }, explain(&why)));
                }
                Ok(Err(why)) => {
                    broken = explain(&why);
                    next = spare.filter(|_| again > 0);
                    again = again.saturating_sub(1);
                }
                Err(_) => return Err(line.failed(Event::Silence { since: begun }, silent())),
            }
        }
        // Each time the connection ended without an answer, or with none that is HTTP: nobody there
        // speaks for the upstream. A single try may just have met a connection that was old.
        if is_repeated {
            return Err(line.failed(Event::NoConnection { begun }, broken));
        }
        Err(line.unreachable(broken))
    }
}

/// What [`Cut::Silent`] is to a person.
pub(super) fn silent() -> String {
    format!("not a byte in {} s", SILENCE.as_secs())
}

/// An http or https URL, without the user that may be in it.
pub(super) fn parse(url: &str) -> Result<Url, Error> {
    let wrong = || Error::Wrong("the upstream's address is no http or https URL".to_owned());
    let mut url = Url::parse(url).map_err(|_| wrong())?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    // Neither fails for a URL with a host.
    let clean = url.set_username("").is_ok() && url.set_password(None).is_ok();
    url.set_fragment(None);
    if is_web && clean { Ok(url) } else { Err(wrong()) }
}

/// Scheme, host and port: what a connection goes to.
fn at(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Where a redirect leads; `None` for other answers.
fn next(reply: &Reply, from: &Url) -> Result<Option<Url>, Error> {
    use StatusCode as S;
    let redirects = [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER];
    let keeping = [S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    let status = reply.response.status();
    if !redirects.contains(&status) && !keeping.contains(&status) {
        return Ok(None);
    }
    let location = reply.header(LOCATION.as_str()).and_then(|it| from.join(&it).ok());
    let Some(location) = location else {
        return Err(Error::Wrong("the upstream redirects to nowhere".to_owned()));
    };
    let location = parse(location.as_str())?;
    if from.scheme() == "https" && location.scheme() == "http" {
        let why = format!("the upstream redirects from https to {}: refused", at(&location));
        return Err(Error::Wrong(why));
    }
    Ok(Some(location))
}

/// Whether an upstream points further in than it is: from the world at this site's own network,
/// from either at this machine, or at what only it can reach.
fn is_inward(base: &Url, url: &Url) -> bool {
    depth(url) > depth(base)
}

/// How far in a host is, as far as its name tells: 2 this machine, 1 a private network, 0 the
/// world.
fn depth(url: &Url) -> u8 {
    let of_v4 = |ip: Ipv4Addr| match ip {
        ip if ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() => 2,
        ip if ip.is_private() => 1,
        _ => 0,
    };
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            if name == "localhost" || name.ends_with(".localhost") { 2 } else { 0 }
        }
        Some(Host::Ipv4(ip)) => of_v4(ip),
        Some(Host::Ipv6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => of_v4(ip),
            None if ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() => 2,
            None => u8::from(ip.is_unique_local()),
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_elsewhere_cannot_point_at_this_machine() {
        let inward = |base: &str, url: &str| is_inward(&parse(base).unwrap(), &parse(url).unwrap());
        let far = "https://packages.test/";
        let local = ["localhost", "127.1.2.3", "[::1]", "169.254.169.254", "0.0.0.0"];
        for host in local.into_iter().chain(["a.localhost.", "[::ffff:127.0.0.1]", "2130706433"]) {
            assert!(inward(far, &format!("http://{host}:7878/api")), "{host}");
            assert!(!inward("http://127.0.0.1:4873/", &format!("http://{host}/")), "{host}");
        }
        for host in ["192.168.1.2", "10.0.0.1", "[fd00::1]", "[::ffff:172.16.0.9]"] {
            assert!(inward(far, &format!("http://{host}/x")), "{host}");
            assert!(!inward("http://192.168.7.7/", &format!("http://{host}/x")), "{host}");
            assert!(inward("http://192.168.7.7/", "http://127.0.0.1:7878/api"));
        }
        assert!(!inward(far, "https://files.test/x"));
    }

    #[test]
    fn a_url_loses_its_user_and_others_are_refused() {
        let url = parse("https://me:secret@packages.test/a#b").unwrap();
        assert_eq!(url.as_str(), "https://packages.test/a");
        for url in ["ftp://packages.test/", "file:///etc/passwd", "packages.test", "data:,x"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_body_that_drips_is_given_up_after_its_first_minute_and_a_slow_link_is_not() {
        let at = |seconds: u64| Duration::from_secs(100 + seconds);
        let mut drip = Pace::begin(at(0));
        assert!(!drip.is_slow(at(20), 1) && !drip.is_slow(at(59), 1));
        assert!(drip.is_slow(at(61), 1));
        let mut burst = Pace::begin(at(0));
        assert!(!burst.is_slow(at(60), 10 << 20), "enough in the first minute");
        assert!(!burst.is_slow(at(90), 1), "the next minute is not over");
        assert!(burst.is_slow(at(120), 1), "what came before does not count for it");
        let mut link = Pace::begin(at(0));
        assert!((1..600).all(|second| !link.is_slow(at(second), 1100)));
    }

    #[test]
    fn what_an_upstream_says_is_one_short_plain_line() {
        assert_eq!(plain(" a\u{1b}[2J\r\nb\u{7f}c "), "a [2J b c");
        assert_eq!(plain(&"x ".repeat(1000)).chars().count(), WORDS_CHARS);
    }
}
