//! Whom a change concerns: never fewer than it may, and nobody else where that can be known.

use std::collections::BTreeSet;

use crdt::routes::{Rule, Source};
use crdt::statement::{Counter, Pattern, RouteSource};
use crdt::{PackageId, Verified};
use tempfile::TempDir;

use super::super::changes::Scope;
use super::super::{FollowKind, Generation, Slot, Store};
use super::cached::{document, file};
use super::receipts::receipt;
use super::stored;
use super::world::{Realm, package};

/// A store with a package of two, and the numbers of both as they were last looked at.
struct Watched {
    realm: Realm,
    store: Store,
    seen: [Generation; 2],
    _home: TempDir,
}

impl Watched {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let realm = Realm::new(1);
        let store = realm.store(home.path()).await;
        let seen = ["left", "other"].map(|name| store.generation(&package(name)));
        Self { realm, store, seen, _home: home }
    }

    /// Who was concerned since the last time: the package `left`, another one.
    fn concerned(&mut self) -> (bool, bool) {
        let [left, other] = self.seen.map(|seen| !self.store.is_current(&seen));
        self.seen = ["left", "other"].map(|name| self.store.generation(&package(name)));
        (left, other)
    }

    async fn admit(&mut self, what: Verified) -> (bool, bool) {
        assert!(!self.store.admit(vec![what], None).await.unwrap().new.is_empty());
        self.concerned()
    }

    fn slot(&self) -> Slot {
        Slot {
            realm: self.realm.id,
            package: package("left"),
            version: "1.0.0".into(),
            file: "left-1.0.0.tgz".into(),
        }
    }
}

const NOBODY: (bool, bool) = (false, false);
const ONE: (bool, bool) = (true, false);
const ALL: (bool, bool) = (true, true);

#[tokio::test]
async fn statements_of_a_package_concern_it_alone_and_those_of_a_realm_all() {
    let mut at = Watched::new().await;
    let release = at.realm.release("left", "1.0.0", b"bytes");
    let id = release.id();
    let said = [
        at.realm.sign(release),
        at.realm.sign(at.realm.tag("left", "old", id, 1)),
        at.realm.sign(at.realm.withdraw("left", id)),
    ];
    for statement in said {
        assert_eq!(at.admit(statement.clone()).await, ONE, "{statement:?}");
        at.store.admit(vec![statement], None).await.unwrap();
        assert_eq!(at.concerned(), NOBODY, "it is known already");
    }
    let receipt = crdt::Body::Receipt(receipt("left", 1));
    let receipt = crdt::Statement::new(at.realm.id, None, receipt).unwrap();
    assert_eq!(at.admit(at.realm.sign(receipt)).await, ONE, "a receipt is of a document");
    let route = Verified::sign(at.realm.route("left"), &[&at.realm.root]);
    assert_eq!(at.admit(route).await, ALL, "a pattern may cover any name");
    let root = at.realm.next(|root| root.grants.clear());
    assert_eq!(at.admit(Verified::sign(root, &[&at.realm.root])).await, ALL);
    at.store.admit(Vec::new(), Some((b"peer".to_vec(), 1, 1))).await.unwrap();
    assert_eq!(at.concerned(), NOBODY, "how far a peer was heard");
}

#[tokio::test]
async fn what_came_from_an_upstream_concerns_the_package_of_its_document() {
    let mut at = Watched::new().await;
    let commits = at.store.commits();
    let info = stored(&at.store, b"a body").await;
    assert_eq!(at.concerned(), NOBODY, "what is kept lacks no blob");
    assert!(at.store.commits() > commits, "what is not kept is looked up anew");
    at.store.put_cached_document(document("left", Some(&info))).await.unwrap();
    assert_eq!(at.concerned(), ONE);
    at.store.put_cached_document(document("left", None)).await.unwrap();
    assert_eq!(at.concerned(), ONE, "the upstream has it no more");
    let file = file("left", "left-1.0.0.tgz", &info);
    at.store.put_cached_file(file).await.unwrap();
    assert_eq!(at.concerned(), ONE);
}

#[tokio::test]
async fn pins_concern_their_package_and_blobs_that_go_all() {
    let mut at = Watched::new().await;
    let info = stored(&at.store, b"bytes").await;
    at.admit(at.realm.sign(at.realm.release("left", "1.0.0", b"bytes"))).await;
    let slot = at.slot();
    let view = at.store.package(&at.realm.id, &package("left")).unwrap().unwrap();
    let content = view.versions["1.0.0"].files["left-1.0.0.tgz"].serves.clone().unwrap();
    assert!(at.store.pin_content(&slot, content, false).await.unwrap());
    assert_eq!(at.concerned(), ONE);
    assert!(at.store.unpin_content(&slot).await.unwrap());
    assert_eq!(at.concerned(), ONE);
    let source = Source::Realm { realm: at.realm.id };
    assert!(at.store.pin_source(&package("left"), source.clone(), false).await.unwrap());
    assert_eq!(at.concerned(), ONE);
    let accepted = Source::Upstream { origin: None };
    assert!(at.store.pin_source(&package("left"), accepted, true).await.unwrap());
    assert_eq!(at.concerned(), ONE);
    at.store.remove_blob(&info.digest).await.unwrap();
    assert_eq!(at.concerned(), ALL);
    let info = stored(&at.store, b"others").await;
    at.store.put_cached_document(document("left", Some(&info))).await.unwrap();
    at.concerned();
    at.store.evict(BTreeSet::from([info.digest]), BTreeSet::new()).await.unwrap();
    assert_eq!(at.concerned(), ALL);
}

#[tokio::test]
async fn what_may_touch_any_name_concerns_all_and_what_no_document_shows_nobody() {
    let mut at = Watched::new().await;
    let rule = Rule {
        format: "npm".into(),
        pattern: Pattern::parse("left").unwrap(),
        source: RouteSource::Deny,
        counter: Counter::default(),
        contested: false,
    };
    at.store.set_route(rule).await.unwrap();
    assert_eq!(at.concerned(), ALL);
    assert!(at.store.remove_route("npm", "left").await.unwrap());
    assert_eq!(at.concerned(), ALL);
    assert!(!at.store.remove_route("npm", "left").await.unwrap());
    assert_eq!(at.concerned(), NOBODY, "there was none");
    let other = Realm::new(2);
    at.store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    assert_eq!(at.concerned(), ALL);
    assert!(at.store.unfollow(&other.id).await.unwrap());
    assert_eq!(at.concerned(), ALL);
    for (kind, expected) in [("want", NOBODY), ("keep", NOBODY), ("upstream", ALL), ("note", ALL)] {
        at.store.put_row(kind, "key", vec![1]).await.unwrap();
        assert_eq!(at.concerned(), expected, "{kind}");
        at.store.put_shared_row(kind, "more", vec![1]).await.unwrap();
        assert_eq!(at.concerned(), expected, "{kind}");
        at.store.put_rows(kind, vec![("many".into(), vec![1])]).await.unwrap();
        assert_eq!(at.concerned(), expected, "{kind}");
        assert!(at.store.delete_row(kind, "key").await.unwrap());
        assert_eq!(at.concerned(), expected, "{kind}");
    }
    at.store.set_peer_seen(b"peer", 1, 2).await.unwrap();
    assert_eq!(at.concerned(), NOBODY);
    at.store.count_change();
    assert_eq!(at.concerned(), ALL);
}

#[tokio::test]
async fn a_commit_that_fails_concerns_all() {
    let mut at = Watched::new().await;
    let scope = |(): &()| Some(Scope::none());
    let fails = |_: &_, _: &_| Err(std::io::Error::other("the disk says no").into());
    assert!(at.store.write_scoped(scope, fails, |_, ()| {}).await.is_err());
    assert_eq!(at.concerned(), ALL);
}

#[test]
fn scopes_join_to_what_covers_both() {
    let (left, other) = (package("left"), PackageId::new("generic", "left"));
    let mut scope = Scope::none();
    scope.join(Scope::of(&left));
    scope.join(Scope::of(&other));
    assert_eq!(scope, Scope::Of(BTreeSet::from([left, other])));
    scope.join(Scope::All);
    assert_eq!(scope, Scope::All);
    scope.join(Scope::none());
    assert_eq!(scope, Scope::All);
}
