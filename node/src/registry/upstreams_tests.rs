//! Adoption of upstreams against a real store, without a network.

use crdt::routes::{Ground, Source};
use crdt::statement::{Counter, Pattern, Root};
use crdt::{Body, RealmId, SecretKey, Statement, Verified};
use tempfile::TempDir;

use super::*;
use crate::registry::tests::STRICT;
use crate::registry::{Outcome, Rules, Setup};
use crate::store::{FollowKind, Store};
use crate::upstream::Upstream;

const ONE: &str = "https://packages.test/one/";
const TWO: &str = "https://packages.test/two/";

struct Node {
    registry: Registry,
    root: SecretKey,
    own: RealmId,
    home: TempDir,
}

impl Node {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let root = SecretKey::from_seed(&[1; 32]);
        let genesis = Root::of_one(root.public(), [7; 16], "village", Vec::new());
        let genesis = Verified::sign(Statement::genesis(genesis).unwrap(), &[&root]);
        let own = genesis.statement().realm();
        let registry = open(&home, own);
        registry.follow(own, FollowKind::Own, Vec::new(), Vec::new()).await.unwrap();
        registry.admit(vec![genesis]).await.unwrap();
        Self { registry, root, own, home }
    }

    async fn add(&self, url: &str) -> Adopted {
        self.registry.upstream_add(choice(url)).await.unwrap()
    }

    /// A `route` of the realm, as `griot upstream add` signs it.
    async fn route(&self, pattern: &str, (origin, url): (Digest, &str), n: u64) {
        let source =
            RouteSource::Upstream { origin, format: "npm".to_owned(), url: url.to_owned() };
        let body = Body::Route {
            format: "npm".to_owned(),
            pattern: Pattern::parse(pattern).unwrap(),
            source,
            counter: Counter { epoch: 0, n },
        };
        let statement = Statement::new(self.own, None, body).unwrap();
        self.registry.admit(vec![Verified::sign(statement, &[&self.root])]).await.unwrap();
    }

    fn default(&self) -> Option<String> {
        self.registry.default_endpoint("npm").unwrap().map(|endpoint| endpoint.url)
    }

    fn asked(&self, name: &str) -> Result<Endpoint, Error> {
        let package = PackageId::new("npm", name);
        let decision = self.registry.decide(&package).unwrap();
        self.registry.endpoint(&package, &decision)
    }
}

fn open(home: &TempDir, own: RealmId) -> Registry {
    let store = Store::open(home.path()).unwrap();
    Registry::new(Setup {
        upstream: Upstream::new(store.clone(), true).unwrap(),
        mirror: SecretKey::from_seed(&[77; 32]),
        store,
        mesh: None,
        rules: vec![Rules { format: "npm", ..STRICT }],
        publisher: SecretKey::from_seed(&[78; 32]),
        own,
    })
    .unwrap()
}

fn choice(url: &str) -> UpstreamChoice {
    UpstreamChoice { format: "npm".to_owned(), url: url.to_owned(), ..UpstreamChoice::default() }
}

fn id(url: &str) -> Digest {
    origin::id(&origin::normalise(url).unwrap())
}

#[tokio::test]
async fn the_first_is_the_default_until_another_takes_its_place() {
    let node = Node::start().await;
    assert_eq!(node.default(), None);
    let failure = node.asked("left-pad").unwrap_err();
    assert_eq!(failure.outcome, Outcome::NotFound);
    assert_eq!(failure.hint.as_deref(), Some("griot upstream add npm URL"));

    assert!(node.add("HTTPS://Packages.Test:443/one").await.default);
    assert!(!node.add(TWO).await.default);
    assert_eq!(node.default().as_deref(), Some(ONE));
    let taken = UpstreamChoice { default: true, ..choice(TWO) };
    assert!(node.registry.upstream_add(taken).await.unwrap().default);
    assert_eq!(node.asked("left-pad").unwrap().url, TWO);
    let rows = node.registry.upstream_list().unwrap();
    let defaults: Vec<_> = rows.iter().filter(|row| row.default).map(|row| &row.url).collect();
    assert_eq!(defaults, [TWO]);

    assert!(!node.add(ONE).await.default, "adopted again, it does not come back by itself");
    assert_eq!(node.registry.upstream_list().unwrap().len(), 2);
}

#[tokio::test]
async fn a_pattern_routes_its_names_alone_and_goes_with_its_upstream() {
    let node = Node::start().await;
    node.add(ONE).await;
    let scoped = UpstreamChoice { pattern: Some("@acme/*".to_owned()), ..choice(TWO) };
    assert!(!node.registry.upstream_add(scoped).await.unwrap().default);
    assert_eq!(node.asked("@acme/ui").unwrap().url, TWO);
    assert_eq!(node.asked("left-pad").unwrap().url, ONE);
    let rows = node.registry.upstream_list().unwrap();
    assert_eq!(rows[1].patterns, ["@acme/*"]);

    let gone = node.registry.upstream_remove("npm", &id(TWO).to_string()).await.unwrap();
    assert_eq!(gone.unwrap().url, TWO);
    assert_eq!(node.asked("@acme/ui").unwrap().url, ONE);
    assert!(node.registry.route_list().unwrap().is_empty());
    assert_eq!(node.registry.upstream_remove("npm", TWO).await.unwrap(), None);
}

#[tokio::test]
async fn a_pattern_alone_is_no_default() {
    let node = Node::start().await;
    let scoped = UpstreamChoice { pattern: Some("@acme/*".to_owned()), ..choice(TWO) };
    node.registry.upstream_add(scoped).await.unwrap();
    assert_eq!(node.default(), None);
    assert_eq!(node.asked("left-pad").unwrap_err().outcome, Outcome::NotFound);
}

#[tokio::test]
async fn the_sites_route_is_the_default_of_who_has_adopted_nothing() {
    let node = Node::start().await;
    node.route("*", (id(ONE), ONE), 1).await;
    assert_eq!(node.asked("left-pad").unwrap().url, ONE);
    let rows = node.registry.upstream_list().unwrap();
    assert_eq!((rows[0].of.as_str(), rows[0].default, rows[0].origin), ("site", true, id(ONE)));
    assert_eq!(rows[0].patterns, ["*"]);
    node.route("@acme/*", (id(TWO), TWO), 2).await;
    assert_eq!(node.asked("@acme/ui").unwrap().url, TWO);
    assert!(!node.add(ONE).await.default);
    let rows = node.registry.upstream_list().unwrap();
    assert_eq!(rows.len(), 2, "each once: {rows:?}");
    assert_eq!((rows[0].of.as_str(), rows[0].site, rows[0].default), ("own", true, true));
    assert!(!node.add("https://packages.test/mine").await.default, "the site has one");
    assert_eq!(node.default().as_deref(), Some(ONE));
    let mine = UpstreamChoice { default: true, ..choice("https://packages.test/mine") };
    node.registry.upstream_add(mine).await.unwrap();
    assert_eq!(node.default().as_deref(), Some("https://packages.test/mine/"));
}

#[tokio::test]
async fn a_route_whose_url_is_not_the_one_that_was_hashed_counts_for_nothing() {
    let node = Node::start().await;
    node.route("*", (id(ONE), "https://evil.test/"), 1).await;
    assert_eq!(node.default(), None);
    assert!(node.registry.upstream_list().unwrap().is_empty());
    node.route("@acme/*", (id(TWO), "https://evil.test/"), 2).await;
    assert_eq!(node.asked("@acme/ui").unwrap_err().outcome, Outcome::NotFound);
    node.route("@acme/*", (id(TWO), "https://packages.test/two"), 3).await;
    assert_eq!(node.asked("@acme/ui").unwrap_err().outcome, Outcome::NotFound, "not normalised");
}

#[tokio::test]
async fn the_credential_goes_to_the_endpoint_and_is_never_listed() {
    let node = Node::start().await;
    let with = UpstreamChoice { credential: Some("s3cret\n".to_owned()), ..choice(ONE) };
    let adopted = node.registry.upstream_add(with).await.unwrap();
    assert!(!format!("{adopted:?}").contains("s3cret"));
    node.add(ONE).await;
    let endpoint = node.asked("left-pad").unwrap();
    assert_eq!(endpoint.credential.as_deref(), Some("Bearer s3cret"), "kept when not given again");
    let rows = node.registry.upstream_list().unwrap();
    assert!(rows[0].credential);
    assert!(!serde_json::to_string(&rows).unwrap().contains("s3cret"));
    let basic = UpstreamChoice { credential: Some("Basic bWU6cHc=".to_owned()), ..choice(ONE) };
    node.registry.upstream_add(basic).await.unwrap();
    assert_eq!(node.asked("x").unwrap().credential.as_deref(), Some("Basic bWU6cHc="));
}

#[tokio::test]
async fn the_credential_of_an_adopted_upstream_serves_the_sites_route_to_it() {
    let node = Node::start().await;
    node.route("*", (id(ONE), ONE), 1).await;
    node.add(TWO).await;
    let with = UpstreamChoice { credential: Some("s3cret".to_owned()), ..choice(ONE) };
    node.registry.upstream_add(with).await.unwrap();
    node.registry.upstream_remove("npm", TWO).await.unwrap();
    let endpoint = node.registry.default_endpoint("npm").unwrap().unwrap();
    assert_eq!(endpoint.url, ONE);
    assert_eq!(endpoint.credential.as_deref(), Some("Bearer s3cret"));
}

#[tokio::test]
async fn origins_declared_the_same_are_so_both_ways() {
    let node = Node::start().await;
    let same = UpstreamChoice { same_as: vec![id(TWO), id(ONE)], ..choice(ONE) };
    let adopted = node.registry.upstream_add(same).await.unwrap();
    assert_eq!(adopted.same_as, [id(TWO)], "itself is not named");
    let both = BTreeSet::from([id(ONE), id(TWO)]);
    for origin in [id(ONE), id(TWO)] {
        assert_eq!(node.registry.same_origins("npm", &origin).unwrap(), both);
    }
    let other = id("https://other.test/");
    assert_eq!(node.registry.same_origins("npm", &other).unwrap(), BTreeSet::from([other]));
}

#[tokio::test]
async fn a_pinned_upstream_is_asked_although_the_default_is_another() {
    let node = Node::start().await;
    let first = node.add(ONE).await;
    let taken = UpstreamChoice { default: true, ..choice(TWO) };
    node.registry.upstream_add(taken).await.unwrap();
    let package = PackageId::new("npm", "left-pad");
    let source = Source::Upstream { origin: Some(first.origin) };
    let pinned = Decision { source, ground: Ground::Pin, pending: None };
    assert_eq!(node.registry.endpoint(&package, &pinned).unwrap().url, ONE);
    let realm = Source::Realm { realm: node.own };
    let by_door = Decision { source: realm, ground: Ground::Published, pending: None };
    assert_eq!(node.registry.endpoint(&package, &by_door).unwrap().url, TWO);
}

#[tokio::test]
async fn what_is_no_upstream_is_refused_and_nothing_is_kept() {
    let node = Node::start().await;
    let bad =
        ["", "packages.test", "ftp://packages.test/", "http://a b/", "http://:80/", "http://[::1"];
    for url in bad.into_iter().chain(["https://me:secret@packages.test/"]) {
        let refused = node.registry.upstream_add(choice(url)).await.unwrap_err();
        assert_eq!(refused.outcome, Outcome::Invalid, "{url}");
        assert!(!refused.message.contains("secret"), "{refused}");
    }
    let long = format!("https://packages.test/{}", "a".repeat(URL_BYTES_MAX));
    let wrong = [
        choice(&long),
        UpstreamChoice { format: "nosuch".to_owned(), ..choice(ONE) },
        UpstreamChoice { credential: Some("two\nlines".to_owned()), ..choice(ONE) },
        UpstreamChoice { credential: Some(String::new()), ..choice(ONE) },
    ];
    for choice in wrong {
        assert_eq!(node.registry.upstream_add(choice).await.unwrap_err().outcome, Outcome::Invalid);
    }
    assert!(node.registry.upstream_list().unwrap().is_empty());
    let neither = node.registry.upstream_remove("npm", "neither").await.unwrap_err();
    assert_eq!(neither.outcome, Outcome::Invalid);
}

#[tokio::test]
async fn what_was_adopted_is_there_after_a_restart() {
    let node = Node::start().await;
    node.add(ONE).await;
    let Node { registry, home, own, .. } = node;
    drop(registry);
    let again = open(&home, own);
    assert_eq!(again.default_endpoint("npm").unwrap().unwrap().url, ONE);
}
