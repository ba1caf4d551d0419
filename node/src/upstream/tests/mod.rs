//! The client against a registry that goes wrong in every way we know.

mod bodies;
mod hostile;
mod reach;
mod redirects;

use std::io::Read as _;
use std::time::Duration;

use crdt::Digest;
use tempfile::TempDir;

use super::{Answer, Ask, Endpoint, Error, Progress, Upstream};
use crate::store::{Hashes, Store};
use crate::stub::Stub;

/// Longer than anything here takes on the slowest machine.
const SOON: Duration = Duration::from_secs(20);
const FILE: &str = "left-pad/-/left-pad-1.0.0.tgz";

/// A stub with left-pad, a store, and a client between them.
struct World {
    home: TempDir,
    stub: Stub,
    store: Store,
    upstream: Upstream,
    endpoint: Endpoint,
}

impl World {
    /// The tarball of left-pad has at least so many bytes.
    fn with(padding: usize) -> Self {
        let stub = Stub::start();
        stub.publish("left-pad", "1.0.0", |p| p.padding(padding));
        let home = TempDir::new().unwrap();
        let store = Store::open(home.path()).unwrap();
        let upstream = Upstream::new(store.clone(), false).unwrap();
        let endpoint = endpoint(&stub.url());
        Self { home, stub, store, upstream, endpoint }
    }

    fn new() -> Self {
        Self::with(0)
    }

    fn ask(&self, path: &str) -> Ask {
        let file = path.contains("/-/");
        Ask {
            url: format!("{}{path}", self.stub.url()),
            accept: if file { "*/*" } else { "application/json" }.to_owned(),
            etag: None,
            last_modified: None,
            hashes: Hashes { sha512: file, ..Hashes::default() },
            limit: 64 << 20,
            never_html: true,
            urgent: true,
            arrival: None,
            progress: Progress::default(),
        }
    }

    async fn get(&self, ask: &Ask) -> Result<Answer, Error> {
        let flight = self.upstream.get(&self.endpoint, ask);
        tokio::time::timeout(SOON, flight).await.expect("an answer or an error in time")
    }

    /// The bytes that the stub has for a path.
    fn truth(&self, path: &str) -> Vec<u8> {
        self.stub.bytes(&format!("/{path}"), "application/json").unwrap()
    }

    /// Nothing was kept, also not for a while.
    fn check_nothing_kept(&self) {
        for folder in ["tmp", "blobs"] {
            let left = std::fs::read_dir(self.home.path().join(folder)).unwrap();
            assert_eq!(left.count(), 0, "{folder}");
        }
    }
}

fn endpoint(url: &str) -> Endpoint {
    let url = crdt::origin::normalise(url).unwrap();
    Endpoint { origin: crdt::origin::id(&url), url, credential: None }
}

/// The bytes of an answer; its digest fits them.
#[track_caller]
fn body(answer: Result<Answer, Error>) -> Vec<u8> {
    let Ok(Answer::Body { staged, .. }) = answer else { panic!("no body: {answer:?}") };
    let mut bytes = Vec::new();
    staged.open().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(
        (staged.info().digest, staged.info().size),
        (Digest::of(&bytes), bytes.len() as u64)
    );
    bytes
}

#[track_caller]
fn wrong(answer: Result<Answer, Error>) -> String {
    match answer {
        Err(Error::Wrong(why)) => why,
        other => panic!("not refused as wrong: {other:?}"),
    }
}
