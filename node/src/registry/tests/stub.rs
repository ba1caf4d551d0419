//! A tiny upstream format, a local server that speaks it, and a node that asks it.
//!
//! A document is lines: `name N`, `tag T V`, and for each version
//! `version V FILE URL KIND:HEX [signed=WORD] [says=WORD]`.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex};

use crdt::digest::to_hex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::store::cached::CachedDocument;

/// A format whose upstreams speak lines.
pub(super) const TINY: Rules = Rules {
    format: "tiny",
    upstream: Some(UpstreamRules {
        variants: &[
            Variant { name: "full", accept: "text/full" },
            Variant { name: "short", accept: "text/short" },
        ],
        document: |name| name.to_owned(),
        file: |_, file| format!("files/{file}"),
        version_of: |_, _| None,
        outline,
        locate: None,
        document_bytes_max: 64 * 1024,
        token_scheme: None,
        signatures: Some(SignatureRules {
            keys: "-/keys",
            verify: |_, version, keys| {
                let word = String::from_utf8_lossy(keys).trim().to_owned();
                let right = format!("{word}-{}", version.version);
                let found = version.signatures.iter().any(|(_, signature)| *signature == right);
                if found && !word.is_empty() { Ok(()) } else { Err("not signed".to_owned()) }
            },
        }),
        differs: |declared, meta| {
            let line = String::from_utf8_lossy(declared);
            let says = line.split_whitespace().find_map(|word| word.strip_prefix("says="))?;
            let meta = String::from_utf8_lossy(meta);
            (!meta.contains(says)).then(|| format!("it says {says}, the file says {meta}"))
        },
    }),
    ..STRICT
};

fn outline(_: &str, from: &mut dyn BufRead) -> Result<Outline, String> {
    let (mut outline, mut at, mut line) = (Outline::default(), 0, String::new());
    loop {
        line.clear();
        let read = from.read_line(&mut line).map_err(|error| error.to_string())? as u64;
        if read == 0 {
            break;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["name", name] => outline.name = (*name).to_owned(),
            ["tag", tag, version] => {
                outline.tags.insert((*tag).to_owned(), (*version).to_owned());
            }
            ["version", version, file, url, sum, more @ ..] => {
                let signed = more.iter().filter_map(|word| word.strip_prefix("signed="));
                outline.versions.push(OutlineVersion {
                    version: (*version).to_owned(),
                    written: (*version).to_owned(),
                    yanked: None,
                    files: vec![OutlineFile {
                        file: (*file).to_owned(),
                        url: (*url).to_owned(),
                        size: None,
                        declared: declared(sum)?,
                        ..OutlineFile::default()
                    }],
                    signatures: signed.map(|s| ("k".to_owned(), s.to_owned())).collect(),
                    declared: at..at + read,
                });
            }
            _ => return Err("a line that says nothing".to_owned()),
        }
        at += read;
    }
    if outline.name.is_empty() { Err("no name".to_owned()) } else { Ok(outline) }
}

fn declared(sum: &str) -> Result<Declared, String> {
    let (kind, hex) = sum.split_once(':').ok_or("no checksum")?;
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    let wrong = |_| "wrong length".to_owned();
    Ok(match kind {
        "sha512" => {
            Declared { sha512: Some(bytes.try_into().map_err(wrong)?), ..Declared::default() }
        }
        "sha1" => Declared { sha1: Some(bytes.try_into().map_err(wrong)?), ..Declared::default() },
        _ => Declared::default(),
    })
}

/// `sha512:…` of a text.
pub(super) fn sha512(text: &str) -> String {
    use sha2::Digest as _;
    format!("sha512:{}", to_hex(&sha2::Sha512::digest(text)))
}

/// `sha1:…` of a text.
pub(super) fn sha1(text: &str) -> String {
    use sha1::Digest as _;
    format!("sha1:{}", to_hex(&sha1::Sha1::digest(text)))
}

/// What is in the file of a version.
pub(super) fn content(name: &str, version: &str) -> String {
    format!("{name} {version} bytes")
}

/// A document whose versions have strong checksums and files at `url`.
pub(super) fn document(url: &str, name: &str, versions: &[&str]) -> String {
    let mut text = format!("name {name}\n");
    if let Some(last) = versions.last() {
        text += &format!("tag latest {last}\n");
    }
    for version in versions {
        text += &line(url, name, version, &sha512(&content(name, version)));
    }
    text
}

pub(super) fn line(url: &str, name: &str, version: &str, more: &str) -> String {
    let file = format!("{name}-{version}.txt");
    format!("version {version} {file} {url}files/{file} {more}\n")
}

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers.
    Well,
    /// Takes connections and says nothing.
    BlackHole,
    /// Nobody listens.
    Closed,
    /// 503 to everything.
    Broken,
    /// Half of each file, and the rest when it is well again.
    Halfway,
}

#[derive(Debug)]
struct Shared {
    pages: BTreeMap<String, (u16, String, String)>,
    log: Vec<(String, String)>,
    mood: Mood,
    etags: bool,
}

/// A server on a port of its own.
pub(super) struct Stub {
    pub(super) url: String,
    shared: Arc<Mutex<Shared>>,
    _tasks: JoinSet<()>,
}

impl Stub {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (pages, log) = (BTreeMap::new(), Vec::new());
        let shared = Shared { pages, log, mood: Mood::Well, etags: true };
        let shared = Arc::new(Mutex::new(shared));
        let (state, mut tasks) = (Arc::clone(&shared), JoinSet::new());
        tasks.spawn(serve(listener, state));
        Self { url, shared, _tasks: tasks }
    }

    /// Gives a body under a path.
    pub(super) fn put(&self, path: &str, body: &str) {
        self.put_as(path, 200, "text/plain", body);
    }

    pub(super) fn put_as(&self, path: &str, status: u16, content_type: &str, body: &str) {
        let page = (status, content_type.to_owned(), body.to_owned());
        self.shared.lock().unwrap().pages.insert(format!("/{path}"), page);
    }

    /// A package with the files of its versions.
    pub(super) fn publish(&self, name: &str, versions: &[&str]) {
        self.put(name, &document(&self.url, name, versions));
        for version in versions {
            self.put(&format!("files/{name}-{version}.txt"), &content(name, version));
        }
    }

    pub(super) fn remove(&self, path: &str) {
        self.shared.lock().unwrap().pages.remove(&format!("/{path}"));
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.shared.lock().unwrap().mood = mood;
    }

    /// Neither ETag nor anything else to ask conditionally by.
    pub(super) fn cripple(&self) {
        self.shared.lock().unwrap().etags = false;
    }

    /// How often a path was asked for by GET.
    pub(super) fn asked(&self, path: &str) -> usize {
        let shared = self.shared.lock().unwrap();
        let line = format!("GET /{path} HTTP/1.1");
        shared.log.iter().filter(|(first, _)| *first == line).count()
    }

    /// The lines of all requests but those for a sign of life, which a node sends at its start.
    pub(super) fn requests(&self) -> Vec<String> {
        let shared = self.shared.lock().unwrap();
        let lines = shared.log.iter().map(|(first, _)| first.clone());
        lines.filter(|line| !line.starts_with("HEAD ")).collect()
    }
}

/// Answers until the port is closed, and again when it is opened.
async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let address = listener.local_addr().unwrap();
    let (mut listener, mut open) = (Some(listener), JoinSet::new());
    loop {
        let closed = shared.lock().unwrap().mood == Mood::Closed;
        let (Some(port), false) = (&listener, closed) else {
            open.abort_all();
            listener = if closed { None } else { TcpListener::bind(address).await.ok() };
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        };
        let look = tokio::time::sleep(std::time::Duration::from_millis(5));
        tokio::select! {
            accepted = port.accept() => {
                let (stream, _) = accepted.unwrap();
                open.spawn(answer(stream, Arc::clone(&shared)));
            }
            () = look => {}
        }
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first = head.lines().next().unwrap_or_default().to_owned();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mood, page, etags) = {
        let mut shared = shared.lock().unwrap();
        shared.log.push((first.clone(), head.clone()));
        (shared.mood, shared.pages.get(&path).cloned(), shared.etags)
    };
    let reply = match mood {
        Mood::BlackHole => return std::future::pending().await,
        Mood::Closed => return,
        Mood::Broken => reply(503, "text/plain", "", "out of order"),
        Mood::Well | Mood::Halfway => match page {
            None => reply(404, "text/plain", "", "none"),
            Some((status, kind, body)) => {
                let etag = format!("\"{}\"", &Digest::of(body.as_bytes()).to_hex()[..16]);
                let known =
                    etags && head.to_lowercase().contains(&format!("if-none-match: {etag}"));
                let header = if etags { format!("etag: {etag}\r\n") } else { String::new() };
                if known {
                    reply(304, &kind, &header, "")
                } else {
                    reply(status, &kind, &header, &body)
                }
            }
        },
    };
    let reply = if first.starts_with("HEAD") {
        reply.split("\r\n\r\n").next().map(|head| format!("{head}\r\n\r\n")).unwrap_or_default()
    } else {
        reply
    };
    // Who asked may have gone.
    let _ = match mood {
        Mood::Halfway if path.starts_with("/files/") => {
            let (first, rest) = reply.as_bytes().split_at(reply.len() / 2);
            let _ = stream.write_all(first).await;
            let well = || async { shared.lock().unwrap().mood != Mood::Halfway };
            until("the server goes on", well).await;
            stream.write_all(rest).await
        }
        _ => stream.write_all(reply.as_bytes()).await,
    };
}

fn reply(status: u16, kind: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{header}\
         connection: close\r\n\r\n{body}"
    )
}

/// A node that asks upstreams.
pub(super) struct Asker {
    pub(super) registry: Registry,
    pub(super) own: RealmId,
    tasks: JoinSet<Result<(), Error>>,
    home: TempDir,
}

/// The key that the node's own receipts are signed with.
pub(super) fn mirror() -> SecretKey {
    key(77)
}

impl Asker {
    /// With the grants of its own realm beside the right to publish.
    pub(super) async fn start(grants: Vec<Grant>) -> Self {
        let home = TempDir::new().unwrap();
        let mut all = vec![publish_grant("*", &key(101))];
        all.extend(grants);
        let genesis = genesis(&key(1), all);
        let own = genesis.statement().realm();
        let registry = open(&home, own, false).await;
        follow(registry.store(), own, FollowKind::Own).await;
        registry.admit(vec![genesis]).await.unwrap();
        Self { tasks: run(&registry), registry, own, home }
    }

    /// With one upstream adopted.
    pub(super) async fn of(stub: &Stub) -> Self {
        let node = Self::start(Vec::new()).await;
        node.adopt(stub).await;
        node
    }

    pub(super) async fn adopt(&self, stub: &Stub) -> Digest {
        let (format, url) = ("tiny".to_owned(), stub.url.clone());
        let choice = UpstreamChoice { format, url, ..UpstreamChoice::default() };
        self.registry.upstream_add(choice).await.unwrap().origin
    }

    /// The same home, after a stop.
    pub(super) async fn restart(mut self, offline: bool) -> Self {
        self.tasks.shutdown().await;
        drop(self.registry);
        let registry = open(&self.home, self.own, offline).await;
        Self { tasks: run(&registry), registry, own: self.own, home: self.home }
    }

    pub(super) async fn document(&self, name: &str) -> Result<UpstreamDocument, Error> {
        self.ask(name, "full", false).await
    }

    pub(super) async fn ask(
        &self,
        name: &str,
        variant: &str,
        refresh: bool,
    ) -> Result<UpstreamDocument, Error> {
        let ask = DocumentAsk { variant, refresh, wanted: true };
        match self.registry.document(Door::Virtual, &tiny(name), ask).await? {
            Document::Upstream(document) => Ok(*document),
            Document::Hosted(hosted) => panic!("{hosted:?}"),
        }
    }

    pub(super) async fn versions(&self, name: &str) -> Vec<String> {
        let document = self.document(name).await.unwrap();
        document.outline.versions.iter().map(|found| found.version.clone()).collect()
    }

    pub(super) async fn read(&self, name: &str, version: &str) -> Result<VerifiedBytes, Error> {
        let file = format!("{name}-{version}.txt");
        self.registry.artifact(Door::Virtual, &tiny(name), version, &file).await
    }

    pub(super) async fn text(&self, name: &str, version: &str) -> Result<String, Error> {
        let mut got = self.read(name, version).await?;
        let mut text = String::new();
        got.file.read_to_string(&mut text).await.unwrap();
        Ok(text)
    }

    /// Puts bytes into the store, as a neighbour would bring them.
    pub(super) async fn hold(&self, text: &str) -> BlobInfo {
        let mut writer = self.registry.stage("tiny").await.unwrap();
        writer.write(bytes::Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
        let staged = writer.finish().await.unwrap();
        self.registry.store().commit(staged).await.unwrap()
    }

    /// The record of a document.
    pub(super) fn cached(&self, stub: &Stub, name: &str) -> Option<CachedDocument> {
        self.registry.store().cached_document(&subject(stub, name, "full")).unwrap()
    }

    /// Makes a document older than it may be.
    pub(super) async fn age(&self, stub: &Stub, name: &str) {
        let cached = self.cached(stub, name).unwrap();
        let old = CachedDocument { checked_at: cached.checked_at - 1_000, ..cached };
        self.registry.store().put_cached_document(old).await.unwrap();
    }

    /// Asks the upstream until it is known to be down.
    pub(super) async fn cut_off(&self, stub: &Stub, mood: Mood) {
        stub.mood(mood);
        let origin = crdt::origin::id(&stub.url);
        until("the breaker opens", || async {
            let _ = self.ask("nobody-has-this", "full", true).await;
            self.registry.inner.upstream.reach(&origin) == crate::upstream::Reach::Down
        })
        .await;
    }
}

pub(super) fn subject(stub: &Stub, name: &str, variant: &str) -> crdt::statement::Subject {
    crdt::statement::Subject {
        origin: crdt::origin::id(&stub.url),
        format: "tiny".to_owned(),
        document: name.to_owned(),
        variant: variant.to_owned(),
    }
}

pub(super) fn tiny(name: &str) -> PackageId {
    PackageId::new("tiny", name)
}

/// Waits for a fact; it must come within a generous time.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut fact: impl FnMut() -> F) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while !fact().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

async fn open(home: &TempDir, own: RealmId, offline: bool) -> Registry {
    let mut opened = Store::open(home.path());
    // What was under way on other threads lets go of the old one in its own time.
    while matches!(opened, Err(crate::store::Error::Locked)) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        opened = Store::open(home.path());
    }
    let store = opened.unwrap();
    Registry::new(Setup {
        upstream: Upstream::new(store.clone(), offline).unwrap(),
        mirror: mirror(),
        store,
        mesh: None,
        rules: vec![TINY, LOOSE],
        publisher: key(101),
        own,
    })
    .unwrap()
}

fn run(registry: &Registry) -> JoinSet<Result<(), Error>> {
    let mut tasks = JoinSet::new();
    tasks.spawn(registry.clone().run_background());
    tasks
}
