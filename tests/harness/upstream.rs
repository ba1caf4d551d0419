//! An outside registry that tests publish to and then break: the read side of npm, of PyPI and of
//! cargo, on loopback.
//!
//! It stands for what people have behind griot: a public registry, a poor proxy, a captive portal,
//! a black hole. Everything is built from values; switches change while it runs; every request is
//! kept. It has its own threads and uses nothing of griot, so that it cannot share a mistake with
//! it. Both test crates and the unit tests of `node` include this one file by its path.
//!
//! ```ignore
//! let stub = Stub::start();
//! stub.publish("left-pad", "1.0.0", |p| p.dependency("pad", "^1.0.0"));
//! stub.switch(|s| s.black_hole = true);
//! assert_eq!(stub.requests().len(), 1);
//! ```
//!
//! Source: formats/npm.md sections 1, 2 and 8; formats/pypi.md; formats/cargo.md.

#![allow(dead_code, unused_imports, reason = "each crate that includes it uses a part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;

#[path = "upstream/connection.rs"]
mod connection;
#[path = "upstream/crates.rs"]
pub(crate) mod crates;
#[path = "upstream/documents.rs"]
mod documents;
#[path = "upstream/listener.rs"]
mod listener;
#[path = "upstream/packing.rs"]
mod packing;
#[path = "upstream/python.rs"]
pub(crate) mod python;

pub(crate) use crates::Crate;
use documents::{Package, Signer};
use listener::Listener;
pub(crate) use packing::{Release, tarred};
pub(crate) use python::Distribution;

/// Where the documents say that the tarballs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Tarballs {
    /// `/NAME/-/FILE`, at the registry itself.
    #[default]
    Usual,
    /// Under another folder of the registry, such as `files/v2`.
    Folder(String),
    /// On another port, below `/files/`.
    OtherHost,
}

/// What goes wrong. All off at the start, but for `etag`, `ranges`, `core_metadata` and
/// `project_json`.
#[derive(Debug, Clone)]
pub(crate) struct Switches {
    /// No validators, no abbreviated form, no tag but `latest`; of Python HTML alone.
    pub(crate) crippled: bool,
    /// Sends ETag and Last-Modified, and answers 304 to them.
    pub(crate) etag: bool,
    /// Honours `Range` on tarballs.
    pub(crate) ranges: bool,
    /// Serves the METADATA of wheels beside them, and says so on the page.
    pub(crate) core_metadata: bool,
    /// Serves the older JSON of Python's projects, as the index that is built into poetry does.
    pub(crate) project_json: bool,
    /// Accepts connections and requests, and never answers.
    pub(crate) black_hole: bool,
    /// A login page in HTML with status 200, whatever is asked.
    pub(crate) portal: bool,
    /// Tarballs have other bytes than their checksums say, of the same number.
    pub(crate) wrong_bytes: bool,
    /// Closes the connection after so many bytes of a body.
    pub(crate) cut_after: Option<u64>,
    /// How many bodies are cut before all is well again.
    pub(crate) cuts: u32,
    /// Sends so many bytes of a longer body, and the others once this is `None`.
    pub(crate) pause_after: Option<u64>,
    /// (part of the path, how long before the first byte); an empty part is all paths.
    pub(crate) slow: Option<(String, Duration)>,
    /// Versions carry `dist.signatures`, and the key is served.
    pub(crate) signed: bool,
    /// Leaves the signatures out, as some proxies do; the key is still served.
    pub(crate) strip_signatures: bool,
    /// 401 without `Authorization: Bearer TOKEN`, or the bare token where cargo sends one; the
    /// second listener wants none.
    pub(crate) require_token: Option<String>,
    /// Every answer has this status, with a short JSON error.
    pub(crate) status: Option<u16>,
    /// Bodies without a length, in chunks.
    pub(crate) chunked: bool,
    /// Where the documents point for files.
    pub(crate) tarballs: Tarballs,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            crippled: false,
            etag: true,
            ranges: true,
            core_metadata: true,
            project_json: true,
            black_hole: false,
            portal: false,
            wrong_bytes: false,
            cut_after: None,
            cuts: u32::MAX,
            pause_after: None,
            slow: None,
            signed: false,
            strip_signatures: false,
            require_token: None,
            status: None,
            chunked: false,
            tarballs: Tarballs::Usual,
        }
    }
}

/// An answer that replaces the right one.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// The status code.
    pub(crate) status: u16,
    /// Names and values; a length is added.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as it goes out.
    pub(crate) body: Vec<u8>,
}

impl Raw {
    /// 200 with a content type.
    pub(crate) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status: 200, headers, body: body.into() }
    }

    /// A redirect.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        let headers = vec![("location".to_owned(), location.to_owned())];
        Self { status, headers, body: Vec::new() }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request that came, and the status that it got.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `GET`, `HEAD` …
    pub(crate) method: String,
    /// As it was on the wire, with the query.
    pub(crate) path: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// As it was on the wire.
    pub(crate) body: Vec<u8>,
    /// Whether it came to the second listener.
    pub(crate) other_host: bool,
    /// `None` while there is no answer; a black hole never gives one.
    pub(crate) status: Option<u16>,
}

impl Seen {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Everything that can change.
#[derive(Debug, Default)]
struct State {
    packages: BTreeMap<String, Package>,
    projects: python::Projects,
    crates: crates::Crates,
    advisories: BTreeMap<String, Vec<Value>>,
    raw: BTreeMap<String, Raw>,
    switches: Switches,
    seen: Vec<Seen>,
    published: u64,
    ended: bool,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    signer: Signer,
    address: SocketAddr,
    other: SocketAddr,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds this lock")
    }

    /// Waits until `over` says so, or until the stub ends.
    fn wait_until(&self, limit: Duration, over: impl Fn(&State) -> bool) {
        let waits = |state: &mut State| !state.ended && !over(state);
        let _ = self.changed.wait_timeout_while(self.lock(), limit, waits);
    }
}

/// A registry on loopback; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Stub {
    shared: Arc<Shared>,
    main: Listener,
    other: Listener,
}

impl Stub {
    /// Listens on two free ports: the registry's, and one for files of another host.
    pub(crate) fn start() -> Self {
        let (main, other) = (listener::bind(), listener::bind());
        let address = |socket: &std::net::TcpListener| {
            socket.local_addr().expect("a bound socket has an address")
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            signer: Signer::new(),
            address: address(&main),
            other: address(&other),
        });
        let main = Listener::start(main, &shared, false);
        let other = Listener::start(other, &shared, true);
        Self { shared, main, other }
    }

    /// The base URL, with the slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.shared.address)
    }

    /// The base URL of the second listener.
    pub(crate) fn other_url(&self) -> String {
        format!("http://{}/", self.shared.other)
    }

    /// Makes a version, with a real tarball; `latest` points at it from then on.
    pub(crate) fn publish(&self, name: &str, version: &str, f: impl FnOnce(Release) -> Release) {
        let release = f(Release::new(name, version)).pack();
        let mut state = self.shared.lock();
        state.published += 1;
        let order = state.published;
        state.packages.entry(name.to_owned()).or_default().add(release, order);
    }

    /// The index that pip and uv are pointed at, with the slash at its end.
    pub(crate) fn simple_url(&self) -> String {
        format!("{}simple/", self.url())
    }

    /// One more wheel or sdist of a Python project.
    pub(crate) fn upload(&self, distribution: Distribution) {
        let mut state = self.shared.lock();
        state.published += 1;
        let kept = python::Kept::new(distribution, state.published);
        state.projects.entry(kept.project()).or_default().push(kept);
    }

    /// Yanks all files of a version of a Python project; with `None` it unyanks them.
    pub(crate) fn yank_python(&self, project: &str, version: &str, why: Option<&str>) {
        let mut state = self.shared.lock();
        let files = state.projects.get_mut(project).expect("the project was uploaded before");
        files.iter_mut().filter(|kept| kept.version() == version).for_each(|kept| kept.yank(why));
    }

    /// The sparse index that cargo is pointed at: it stands after `sparse+`.
    pub(crate) fn index_url(&self) -> String {
        format!("{}index/", self.url())
    }

    /// One more crate.
    pub(crate) fn add_crate(&self, new: Crate) {
        let mut state = self.shared.lock();
        state.published += 1;
        let kept = crates::Kept::new(new, state.published);
        state.crates.entry(kept.key()).or_default().push(kept);
    }

    /// Yanks or unyanks a version of a crate.
    pub(crate) fn yank_crate(&self, name: &str, version: &str, yanked: bool) {
        let mut state = self.shared.lock();
        let all = state.crates.get_mut(&name.to_lowercase()).expect("it was added before");
        all.iter_mut().filter(|kept| kept.version() == version).for_each(|kept| kept.yank(yanked));
    }

    /// Points a tag at a version.
    pub(crate) fn tag(&self, name: &str, tag: &str, version: &str) {
        self.change(name, |package| {
            package.tags.insert(tag.to_owned(), version.to_owned());
        });
    }

    /// Marks a version as deprecated.
    pub(crate) fn deprecate(&self, name: &str, version: &str, why: &str) {
        self.change(name, |package| package.deprecate(version, why));
    }

    /// Removes a version.
    pub(crate) fn unpublish(&self, name: &str, version: &str) {
        self.change(name, |package| package.remove(version));
    }

    fn change(&self, name: &str, f: impl FnOnce(&mut Package)) {
        let mut state = self.shared.lock();
        f(state.packages.get_mut(name).expect("the package was published before"));
    }

    /// One more advisory for a package: what a bulk audit answers for it.
    pub(crate) fn advise(&self, name: &str, advisory: Value) {
        self.shared.lock().advisories.entry(name.to_owned()).or_default().push(advisory);
    }

    /// Changes what goes wrong; requests that wait see it at once.
    pub(crate) fn switch(&self, f: impl FnOnce(&mut Switches)) {
        f(&mut self.shared.lock().switches);
        self.shared.changed.notify_all();
    }

    /// Answers `raw` to every request of this path, as it is on the wire (without the query).
    pub(crate) fn raw(&self, path: &str, raw: Raw) {
        self.shared.lock().raw.insert(path.to_owned(), raw);
    }

    /// Ends what [`Stub::raw`] began.
    pub(crate) fn unraw(&self, path: &str) {
        self.shared.lock().raw.remove(path);
    }

    /// Closes the registry's port, and the connections to it.
    pub(crate) fn down(&self) {
        self.main.stop();
    }

    /// Opens the same port again.
    pub(crate) fn up(&self) {
        self.main.again(&self.shared);
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        self.shared.lock().seen.clear();
    }

    /// How many requests have a path that contains this.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.shared.lock().seen.iter().filter(|seen| seen.path.contains(part)).count()
    }

    /// How many were answered with this status.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.shared.lock().seen.iter().filter(|seen| seen.status == Some(status)).count()
    }

    /// The bytes that a GET of this path gives while nothing is wrong, if there are any.
    pub(crate) fn bytes(&self, path: &str, accept: &str) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        let plain = Switches { signed: state.switches.signed, ..Switches::default() };
        documents::find(&state, &plain, &self.shared, path, accept).map(|found| found.body)
    }

    /// `sha512-…` of a version's tarball.
    pub(crate) fn integrity(&self, name: &str, version: &str) -> String {
        let state = self.shared.lock();
        let package = state.packages.get(name).expect("the package was published before");
        package.versions[version].integrity.clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        self.main.stop();
        self.other.stop();
    }
}
