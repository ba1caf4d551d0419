//! HTTP/1.1 of the stub: reads requests of one connection, answers them, spoils the answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::Digest as _;

use super::documents::{self, Found};
use super::packing::hex;
use super::{Raw, Seen, Shared, State, Switches};

/// Longer than any test: until the switch is turned back or the stub ends.
const FOREVER: Duration = Duration::from_secs(3600);
/// A request's body, at most.
const BODY_MAX: u64 = 16 << 20;
const PORTAL: &str = "<!DOCTYPE html>\n<html><body><h1>Welcome to the village Wi-Fi</h1>\
                      <form>Please log in</form></body></html>\n";

struct Request {
    seen: Seen,
    body: Vec<u8>,
}

impl Request {
    /// The next one of the connection; `None` at its end.
    fn read(reader: &mut BufReader<TcpStream>, other_host: bool) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut seen = Seen { method, path, headers, other_host, body: Vec::new(), status: None };
        let body = Self::body(reader, &seen)?;
        seen.body.clone_from(&body);
        Some(Self { seen, body })
    }

    fn body(reader: &mut BufReader<TcpStream>, seen: &Seen) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if seen.header("transfer-encoding").is_none() {
            let length = seen.header("content-length").map_or(Some(0), |it| it.parse().ok())?;
            reader.take(BODY_MAX.min(length)).read_to_end(&mut body).ok()?;
            return Some(body);
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = u64::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
            reader.take(size.min(BODY_MAX)).read_to_end(&mut body).ok()?;
            line.clear();
            reader.read_line(&mut line).ok()?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    /// The body's JSON, also if it came compressed.
    fn json(&self) -> Option<Value> {
        if self.seen.header("content-encoding") != Some("gzip") {
            return serde_json::from_slice(&self.body).ok();
        }
        let plain = flate2::read::GzDecoder::new(self.body.as_slice()).take(BODY_MAX);
        serde_json::from_reader(plain).ok()
    }
}

/// Answers requests until the connection ends.
pub(super) fn serve(stream: TcpStream, shared: &Shared, other_host: bool) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    while let Some(request) = Request::read(&mut reader, other_host) {
        let last = request.seen.header("connection") == Some("close");
        if !answer(&stream, shared, &request) || last {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Whether the connection can be used again.
fn answer(stream: &TcpStream, shared: &Shared, request: &Request) -> bool {
    let place = {
        let mut state = shared.lock();
        state.seen.push(request.seen.clone());
        state.seen.len() - 1
    };
    if !wait(shared, request) {
        return false;
    }
    let (reply, switches) = {
        let mut state = shared.lock();
        let mut switches = state.switches.clone();
        let reply = decide(&state, &switches, shared, request);
        let cut = switches.cut_after.filter(|at| (*at as usize) < reply.body.len());
        if cut.is_some() && state.switches.cuts > 0 {
            state.switches.cuts = state.switches.cuts.saturating_sub(1);
        } else {
            switches.cut_after = None;
        }
        // Requests can be forgotten while this one waits.
        if let Some(seen) = state.seen.get_mut(place) {
            seen.status = Some(reply.status);
        }
        (reply, switches)
    };
    send(stream, &reply, (&switches, shared), request.seen.method == "HEAD").is_ok()
        && switches.cut_after.is_none()
}

/// The black hole and the slow start; says whether there is an answer at all.
fn wait(shared: &Shared, request: &Request) -> bool {
    let switches = shared.lock().switches.clone();
    if switches.black_hole {
        shared.wait_until(FOREVER, |state| !state.switches.black_hole);
        return false;
    }
    if let Some((part, time)) = &switches.slow
        && request.seen.path.contains(part.as_str())
    {
        shared.wait_until(*time, |state| state.switches.slow.is_none());
    }
    !shared.lock().ended
}

fn decide(state: &State, switches: &Switches, shared: &Shared, request: &Request) -> Raw {
    if switches.portal {
        return Raw::ok("text/html; charset=utf-8", PORTAL);
    }
    if let Some(status) = switches.status {
        return refusal(status, "this registry refuses everything");
    }
    let path = request.seen.path.split('?').next().unwrap_or_default();
    if let Some(token) = switches.require_token.as_ref().filter(|_| !request.seen.other_host) {
        let bare = path.starts_with("/index/") || path.starts_with("/api/v1/crates");
        let wanted = if bare { token.clone() } else { format!("Bearer {token}") };
        if request.seen.header("authorization") != Some(&wanted) {
            let login = "Cargo login_url=\"https://packages.test/me\"";
            return refusal(401, "a token is needed").header("www-authenticate", login);
        }
    }
    if let Some(raw) = state.raw.get(path) {
        return raw.clone();
    }
    if request.seen.method == "POST" {
        return audit(state, path, request);
    }
    let accept: Vec<&str> = request
        .seen
        .headers
        .iter()
        .filter(|(name, _)| name == "accept")
        .map(|(_, value)| value.as_str())
        .collect();
    match documents::find(state, switches, shared, &request.seen.path, &accept.join(", ")) {
        Some(found) => conditional(found, switches, &request.seen),
        None => refusal(404, "Not found"),
    }
}

fn refusal(status: u16, why: &str) -> Raw {
    let body = serde_json::json!({ "error": why }).to_string();
    Raw { status, ..Raw::ok("application/json", body) }
}

/// Advisories of the packages that the body names.
fn audit(state: &State, path: &str, request: &Request) -> Raw {
    if path != "/-/npm/v1/security/advisories/bulk" {
        return refusal(404, "Not found");
    }
    let Some(Value::Object(asked)) = request.json() else {
        return refusal(400, "the body is no object");
    };
    let known = asked.keys().filter_map(|name| state.advisories.get_key_value(name));
    let found: Map<_, _> = known.map(|(name, all)| (name.clone(), all.clone().into())).collect();
    Raw::ok("application/json", Value::Object(found).to_string())
}

/// 304, 206 or 200.
fn conditional(found: Found, switches: &Switches, seen: &Seen) -> Raw {
    let validators = switches.etag && !switches.crippled;
    let etag = format!("\"{}\"", &hex(&sha2::Sha256::digest(&found.body))[..32]);
    let modified = documents::dates(found.changed).1;
    let mut reply = Raw::ok(found.content_type, found.body);
    if validators {
        reply = reply.header("etag", &etag).header("last-modified", &modified);
        let unchanged = match seen.header("if-none-match") {
            Some(held) => held.split(',').any(|one| one.trim() == etag),
            None => seen.header("if-modified-since") == Some(&modified),
        };
        if unchanged {
            return Raw { status: 304, body: Vec::new(), ..reply };
        }
    }
    if !found.file || !switches.ranges {
        return reply;
    }
    let condition = seen.header("if-range");
    let same = condition.is_none_or(|it| validators && (it == etag || it == modified));
    match seen.header("range").filter(|_| same) {
        Some(range) => partial(reply, range),
        None => reply.header("accept-ranges", "bytes"),
    }
}

/// Only `bytes=FIRST-` and `bytes=FIRST-LAST`.
fn partial(reply: Raw, range: &str) -> Raw {
    let size = reply.body.len();
    let ends = range.strip_prefix("bytes=").and_then(|it| it.split_once('-'));
    let Some((first, last)) = ends else { return reply };
    let Ok(first) = first.parse::<usize>() else { return reply };
    let last = last.parse::<usize>().unwrap_or(usize::MAX).min(size.saturating_sub(1));
    if first > last {
        let body = Vec::new();
        return Raw { status: 416, body, ..reply }
            .header("content-range", &format!("bytes */{size}"));
    }
    let body = reply.body[first..=last].to_vec();
    let place = format!("bytes {first}-{last}/{size}");
    Raw { status: 206, body, ..reply }.header("content-range", &place)
}

fn send(
    mut stream: &TcpStream,
    reply: &Raw,
    (switches, shared): (&Switches, &Shared),
    headless: bool,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let bodiless = headless || reply.status == 304;
    let chunked = switches.chunked && !bodiless;
    match chunked {
        true => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        false if reply.status == 304 => head.push_str("\r\n"),
        false => head.push_str(&format!("content-length: {}\r\n\r\n", reply.body.len())),
    }
    stream.write_all(head.as_bytes())?;
    if bodiless {
        return Ok(());
    }
    let cut = switches.cut_after.map_or(reply.body.len(), |at| at as usize);
    let mut body = &reply.body[..cut];
    if let Some(pause) = switches.pause_after.filter(|at| (*at as usize) < body.len() && !chunked) {
        let (before, after) = body.split_at(pause as usize);
        stream.write_all(before)?;
        shared.wait_until(FOREVER, |state| state.switches.pause_after.is_none());
        body = after;
    }
    if !chunked {
        return stream.write_all(body);
    }
    for piece in body.chunks(16 << 10) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    match switches.cut_after {
        Some(_) => Ok(()),
        None => stream.write_all(b"0\r\n\r\n"),
    }
}
