//! Whole requests through the dispatcher, against a real registry and store, without a mesh.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use crdt::statement::{Grant, Pattern, Root};
use crdt::{PackageId, SecretKey, Statement, Verified};
use http_body_util::BodyExt as _;
use node::formats::{ALL, Front, serve};
use node::http::auth::{TokenScope, Tokens};
use node::http::ready::{DISK_BYTES, Folder, MEMORY_BYTES, Ready};
use node::registry::{Registry, Scope, Setup, UpstreamChoice};
use node::store::{Blobs, FollowKind, Followed, Slot, Store};
use node::upstream::Upstream;
use serde_json::Value;
use tempfile::TempDir;

use crate::upstream::Stub;

use crate::npm::{publish_body, tarball};

mod bucket;
#[expect(dead_code, reason = "each of the two that include it uses a part")]
#[path = "../../src/store/remote/tests/server.rs"]
mod bucket_server;
mod cargo;
mod generic;
mod native;
mod npm;
mod npm_arriving;
mod npm_audit;
mod npm_changes;
mod npm_hostile;
mod npm_offline;
mod npm_ready;
mod npm_upstream;
mod prefetch;
mod pypi;
#[path = "../../../tests/harness/upstream.rs"]
mod upstream;

const HOST: &str = "127.0.0.1:7878";
const ADMIN: &str = "admin-secret";

/// A node with its personal realm, asked by way of its dispatcher.
struct Node {
    front: Front,
    home: TempDir,
    /// What runs behind; it ends with the node.
    _background: tokio::task::JoinSet<()>,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Node {
    async fn start() -> Self {
        Self::open(true).await
    }

    /// One that takes what it does not host from a stub.
    async fn before(stub: &Stub) -> Self {
        let node = Self::open(false).await;
        let choice = UpstreamChoice {
            format: "npm".to_owned(),
            url: stub.url(),
            credential: None,
            same_as: Vec::new(),
            pattern: None,
            default: true,
        };
        node.front.registry.upstream_add(choice).await.unwrap();
        node
    }

    async fn open(offline: bool) -> Self {
        Self::open_at(TempDir::new().unwrap(), Blobs::Here, offline).await
    }

    async fn open_in(blobs: Blobs, offline: bool) -> Self {
        Self::open_at(TempDir::new().unwrap(), blobs, offline).await
    }

    /// The same home after a restart.
    async fn restart(self, offline: bool) -> Self {
        let Self { front, home, mut _background } = self;
        _background.shutdown().await;
        front.ready.settled().await;
        drop(front);
        Self::open_at(home, Blobs::Here, offline).await
    }

    async fn open_at(home: TempDir, blobs: Blobs, offline: bool) -> Self {
        // Without TLS no test needs it, but the client wants to know whose it would be.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = Store::open_in(home.path(), |_, _| String::new(), blobs).unwrap();
        let (root, publisher) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let genesis = genesis(&root, &publisher);
        let own = genesis.statement().realm();
        let followed = Followed {
            realm: own,
            kind: FollowKind::Own,
            claims: Vec::new(),
            order: 0,
            mirrors: Vec::new(),
        };
        store.follow(followed).await.unwrap();
        store.admit(vec![genesis], None).await.unwrap();
        let rules = ALL.iter().map(|format| format.rules).collect();
        let registry = Registry::new(Setup {
            upstream: Upstream::new(store.clone(), offline).unwrap(),
            mirror: SecretKey::from_seed(&[77; 32]),
            store: store.clone(),
            mesh: None,
            rules,
            publisher,
            own,
        })
        .unwrap();
        let tokens = Tokens::open(store, ADMIN.to_owned()).unwrap();
        let hosts = Arc::new(vec![HOST.to_owned(), "localhost:7878".to_owned()]);
        let mut background = tokio::task::JoinSet::new();
        let behind = registry.clone();
        background.spawn(async move {
            let _ = behind.run_background().await;
        });
        let rendered = home.path().join("rendered");
        let folder = Folder::new(&rendered, DISK_BYTES, Box::new(|_| true));
        let ready = Ready::new(MEMORY_BYTES, Some(folder));
        Self { front: Front { registry, tokens, hosts, ready }, home, _background: background }
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(target).header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = serve(self.front.clone(), request.body(body.into()).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], "").await
    }

    async fn put(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.ask("PUT", target, &[("authorization", "Bearer admin-secret")], body).await
    }

    async fn token(&self, scopes: &[Scope], patterns: &[(&str, &str)]) -> String {
        let pattern =
            |(format, name): &(&str, &str)| ((*format).to_owned(), Pattern::parse(name).unwrap());
        let scope = TokenScope {
            scopes: scopes.to_vec(),
            realm: None,
            patterns: patterns.iter().map(pattern).collect(),
            expires_hours: None,
            name: "bob".to_owned(),
        };
        format!("Bearer {}", self.front.tokens.create(scope).await.unwrap().token)
    }
}

fn genesis(root: &SecretKey, publisher: &SecretKey) -> Verified {
    let grant = Grant::to_key("publish", Pattern::parse("*").unwrap(), publisher.public());
    let body = Root::of_one(root.public(), [7; 16], "village", vec![grant]);
    Verified::sign(Statement::genesis(body).unwrap(), &[root])
}

#[tokio::test]
async fn who_may_publish_is_asked_before_the_body_is_read() {
    let node = Node::start().await;
    let reader = node.token(&[Scope::Read], &[]).await;
    let narrow = node.token(&[Scope::Publish], &[("npm", "@acme/ui")]).await;
    let body = || {
        let read = Err::<bytes::Bytes, _>(std::io::Error::other("the body was read"));
        Body::from_stream(futures::stream::iter([read]))
    };
    for (target, token, status) in [
        ("/npm/demo", "", 401),
        ("/npm/demo", "Bearer wrong", 401),
        ("/npm/demo", &reader, 403),
        ("/npm/@acme%2fui-evil", &narrow, 403),
        ("/generic/demo/1/f", "", 401),
        ("/generic/demo/1/f", &reader, 403),
    ] {
        let headers: &[(&str, &str)] =
            if token.is_empty() { &[] } else { &[("authorization", token)] };
        let answer = node.ask("PUT", target, headers, body()).await;
        assert_eq!(answer.status, status, "{target} {}", answer.text());
        assert!(answer.text().contains("griot token create") || status == 403);
        assert_eq!(status == 401, !answer.header("www-authenticate").is_empty());
    }
    let missing = node.ask("PUT", "/npm/demo", &[("authorization", &reader)], "").await;
    assert!(missing.text().contains("`publish`") && missing.text().contains("--scope publish"));
    let ui = tarball("@acme/ui", "1.0.0", "x");
    let body = publish_body("@acme/ui", "1.0.0", &ui).to_string();
    let answer = node.ask("PUT", "/npm/@acme%2fui", &[("authorization", &narrow)], body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn what_nobody_mounts_is_a_short_404() {
    let node = Node::start().await;
    for path in [
        "/",
        "/nothing",
        "/.well-known/x",
        "/npm%2fdemo",
        "/NPM/demo",
        "/generic",
        "/generic/a/1/f/g",
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    for path in ["/npm/..%2f..%2fetc", "/generic/a/%2e%2e/f", "/generic/a//f", "/npm/%00"] {
        assert_eq!(node.get(path).await.status, 400, "{path}");
        assert_eq!(node.put(path, "x").await.status, 400, "{path}");
    }
    assert!(fs_err::read_dir(node.home.path()).unwrap().count() > 0);
}

#[tokio::test]
async fn a_download_that_breaks_off_pins_nothing_and_a_whole_one_does() {
    let node = Node::start().await;
    // Of a small file the first piece is the whole.
    let path = "/generic/demo/1.0.0/demo.bin";
    assert_eq!(node.put(path, vec![7; 300_000]).await.status, 201);
    let registry = &node.front.registry;
    let (store, realm) = (registry.store(), registry.own_realm());
    let package = PackageId::new("generic", "demo");
    let slot = Slot {
        realm,
        package: package.clone(),
        version: "1.0.0".to_owned(),
        file: "demo.bin".to_owned(),
    };
    store.unpin_content(&slot).await.unwrap();
    let request = || Request::get(path).header("host", HOST).body(Body::empty()).unwrap();
    let mut broken = serve(node.front.clone(), request()).await.into_body();
    broken.frame().await.unwrap().unwrap();
    drop(broken);
    node.ask("HEAD", path, &[], "").await;
    node.ask("GET", path, &[("range", "bytes=1-")], "").await;
    assert!(store.pins(&realm, &package).unwrap().is_empty());
    node.get(path).await;
    assert_eq!(store.pins(&realm, &package).unwrap().len(), 1);
}
