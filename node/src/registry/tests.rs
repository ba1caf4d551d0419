//! The use-cases against a real store in a temporary home, without a mesh.

use std::cmp::Ordering;
use std::io::Read as _;

use crdt::routes::{Ground, Source};
use crdt::statement::{Grant, Pattern, Root, RouteSource};
use crdt::{Body, Digest, PackageId, RealmId, SecretKey, SlotState, Statement, Verified};
use tempfile::TempDir;

use super::*;
use crate::store::{FollowKind, Followed, Hashes};

mod arrives;
mod bounds;
mod fresh;
mod heard;
mod judged;
mod mirrors;
mod remote_files;
mod remote_receipts;
mod stub;
mod together;

/// A format whose files say `name version rest`, one file a version.
pub(super) const STRICT: Rules = Rules {
    format: "strict",
    canonical_name: |name| {
        let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if ok { Ok(name.to_owned()) } else { Err(format!("{name} is not a name")) }
    },
    publishable: |_| Ok(()),
    canonical_version: |v| {
        semver::Version::parse(v).map(|v| v.to_string()).map_err(|e| e.to_string())
    },
    compare_versions: |a, b| match (semver::Version::parse(a), semver::Version::parse(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    },
    is_prerelease: |v| v.contains('-'),
    resolve: |range, versions| {
        let range = semver::VersionReq::parse(range).map_err(|e| e.to_string())?;
        let parse = |v: &String| semver::Version::parse(v).ok();
        Ok(versions
            .iter()
            .filter(|v| parse(v).is_some_and(|v| range.matches(&v)))
            .max_by_key(|v| parse(v))
            .cloned())
    },
    hashes: Hashes { sha512: true, sha1: true, md5: false },
    files_may_join: false,
    file_name: Some(|name, version| format!("{name}-{version}.txt")),
    extract: Some(|file, _| {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let mut words = text.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            return Err("no name and version in it".to_owned());
        };
        Ok(Extracted {
            name: name.to_owned(),
            version: version.to_owned(),
            meta: text.clone().into_bytes(),
            extractor_version: 1,
            readme: None,
        })
    }),
    admits: |meta| match meta.ends_with(b"unfit") {
        false => Ok(()),
        true => Err("it says that it is unfit".to_owned()),
    },
    spelling: None,
    tag_name: |tag| match tag.contains(' ') {
        false => Ok(()),
        true => Err(format!("{tag:?} has a blank in it")),
    },
    upstream: None,
    describe: |_| String::new(),
    twins: |_| Vec::new(),
};

/// A format for any file; files may join a version.
const LOOSE: Rules = Rules {
    format: "loose",
    canonical_version: |v| Ok(v.to_owned()),
    files_may_join: true,
    file_name: None,
    extract: None,
    ..STRICT
};

/// A node without a mesh, its personal realm and its keys.
struct Node {
    registry: Registry,
    own: RealmId,
    _home: TempDir,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn publish_grant(pattern: &str, to: &SecretKey) -> Grant {
    Grant::to_key("publish", Pattern::parse(pattern).unwrap(), to.public())
}

fn genesis(root: &SecretKey, grants: Vec<Grant>) -> Verified {
    let body = Root::of_one(root.public(), [7; 16], "village", grants);
    Verified::sign(Statement::genesis(body).unwrap(), &[root])
}

impl Node {
    async fn start(seed: u8) -> Self {
        let home = TempDir::new().unwrap();
        let store = Store::open(home.path()).unwrap();
        let (root, publisher) = (key(seed), key(seed + 100));
        let genesis = genesis(&root, vec![publish_grant("*", &publisher)]);
        let own = genesis.statement().realm();
        follow(&store, own, FollowKind::Own).await;
        store.admit(vec![genesis], None).await.unwrap();
        let registry = Registry::new(Setup {
            upstream: Upstream::new(store.clone(), true).unwrap(),
            mirror: SecretKey::from_seed(&[77; 32]),
            store,
            mesh: None,
            rules: vec![STRICT, LOOSE],
            publisher,
            own,
        })
        .unwrap();
        Self { registry, own, _home: home }
    }

    /// Follows a realm whose releases key 61 signs.
    async fn meet(&self, kind: FollowKind) -> RealmId {
        let genesis = genesis(&key(60), vec![publish_grant("*", &key(61))]);
        let realm = genesis.statement().realm();
        self.registry.follow(realm, kind, Vec::new(), Vec::new()).await.unwrap();
        self.registry.admit(vec![genesis]).await.unwrap();
        realm
    }

    async fn publish(&self, text: &str) -> Result<Published, Error> {
        let mut words = text.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        self.publish_file("strict", (name, version), &format!("{name}-{version}.txt"), text).await
    }

    async fn publish_file(
        &self,
        format: &'static str,
        (name, version): (&str, &str),
        file: &str,
        text: &str,
    ) -> Result<Published, Error> {
        let mut writer = self.registry.stage(format).await?;
        writer.write(bytes::Bytes::copy_from_slice(text.as_bytes())).await?;
        let staged = writer.finish().await?;
        let publication = Publication {
            format,
            name: name.to_owned(),
            version: version.to_owned(),
            files: vec![(file.to_owned(), staged)],
            tags: Vec::new(),
            realm: None,
            claimed_time: Some(1),
        };
        self.registry.publish(&admin(), publication).await
    }

    async fn read(&self, name: &str, version: &str) -> Result<VerifiedBytes, Error> {
        let file = format!("{name}-{version}.txt");
        self.registry.artifact(Door::Virtual, &strict(name), version, &file).await
    }

    async fn text(&self, name: &str, version: &str) -> Result<String, Error> {
        use tokio::io::AsyncReadExt as _;
        let mut got = self.read(name, version).await?;
        let mut text = String::new();
        got.file.read_to_string(&mut text).await.unwrap();
        Ok(text)
    }

    async fn metadata(&self, name: &str) -> Result<Metadata, Error> {
        self.registry.metadata(Door::Virtual, &strict(name)).await
    }

    /// A release by `signer`, with bytes that are stored beforehand, as sync would bring it.
    async fn receive(&self, realm: RealmId, signer: &SecretKey, text: &str, meta: &str) {
        let mut writer = self.registry.stage("strict").await.unwrap();
        writer.write(bytes::Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
        let staged = writer.finish().await.unwrap();
        let info = self.registry.store().commit(staged).await.unwrap();
        let mut words = text.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let file = crdt::statement::File {
            name: format!("{name}-{version}.txt"),
            size: info.size,
            blake3: info.digest,
            checksums: info.checksums,
            meta: Some(crdt::statement::Meta {
                extractor: "strict".to_owned(),
                version: 1,
                body: crdt::statement::MetaBody::Inline(meta.as_bytes().to_vec()),
            }),
        };
        let release = crdt::statement::Release {
            version: version.to_owned(),
            written: version.to_owned(),
            files: vec![file],
            extras: None,
            claimed_time: 2,
        };
        let statement = Statement::new(realm, Some(strict(name)), Body::Release(release)).unwrap();
        self.registry.admit(vec![Verified::sign(statement, &[signer])]).await.unwrap();
    }
}

async fn follow(store: &Store, realm: RealmId, kind: FollowKind) {
    let followed = Followed { realm, kind, claims: Vec::new(), order: 0, mirrors: Vec::new() };
    store.follow(followed).await.unwrap();
}

fn strict(name: &str) -> PackageId {
    PackageId::new("strict", name)
}

fn admin() -> Principal {
    Principal { name: "test".to_owned(), scopes: vec![Scope::Admin], ..Principal::anonymous() }
}

fn outcome<T: std::fmt::Debug>(result: Result<T, Error>) -> Outcome {
    result.unwrap_err().outcome
}

#[tokio::test]
async fn what_is_published_is_served_and_listed() {
    let node = Node::start(1).await;
    let published = node.publish("pad 1.0.0 first").await.unwrap();
    assert_eq!((published.realm, published.new, published.routed), (node.own, true, false));
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 first");
    let metadata = node.metadata("pad").await.unwrap();
    assert_eq!(metadata.offered, ["1.0.0"]);
    assert_eq!(metadata.tags["latest"], "1.0.0");
    assert_eq!(metadata.meta("1.0.0", "pad-1.0.0.txt"), Some(&b"pad 1.0.0 first"[..]));
}

#[tokio::test]
async fn the_same_bytes_again_succeed_and_other_bytes_conflict() {
    let node = Node::start(1).await;
    let first = node.publish("pad 1.0.0 first").await.unwrap();
    let again = node.publish("pad 1.0.0 first").await.unwrap();
    assert_eq!((again.new, again.release), (false, first.release));
    assert_eq!(outcome(node.publish("pad 1.0.0 other").await), Outcome::Conflict);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 first");
}

#[tokio::test]
async fn a_withdrawn_version_is_gone_and_cannot_come_back_with_other_bytes() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 first").await.unwrap();
    let gone = node.registry.withdraw(&admin(), &strict("pad"), ("1.0.0", None), "oops").await;
    gone.unwrap();
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::NotFound);
    assert_eq!(outcome(node.publish("pad 1.0.0 other").await), Outcome::Conflict);
    node.publish("pad 1.0.0 first").await.unwrap();
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 first");
}

#[tokio::test]
async fn a_name_whose_every_release_was_withdrawn_stays_with_its_realm() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 first").await.unwrap();
    let pad = strict("pad");
    node.registry.withdraw(&admin(), &pad, ("1.0.0", None), "oops").await.unwrap();
    let reader = Node::start(2).await;
    let realm = node.own;
    reader.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new()).await.unwrap();
    let store = node.registry.store();
    reader.registry.admit(store.authority_statements(&realm).unwrap()).await.unwrap();
    reader.registry.admit(store.package_statements(&realm, &pad).unwrap()).await.unwrap();
    let decision = reader.registry.decide(&pad).unwrap();
    assert_eq!((decision.source, decision.ground), (Source::Realm { realm }, Ground::Published));
    assert_eq!(outcome(reader.metadata("pad").await), Outcome::NotFound);
    assert_eq!(
        reader.registry.decide(&strict("other")).unwrap().source,
        Source::Upstream { origin: None }
    );
}

#[tokio::test]
async fn files_join_a_version_only_where_the_format_allows_it() {
    let node = Node::start(1).await;
    node.publish_file("loose", ("kit", "1"), "a.bin", "a").await.unwrap();
    node.publish_file("loose", ("kit", "1"), "b.bin", "b").await.unwrap();
    let kit = PackageId::new("loose", "kit");
    let view = node.registry.store().package(&node.own, &kit).unwrap().unwrap();
    assert_eq!(view.versions["1"].files.len(), 2);
    let other = node.publish_file("loose", ("kit", "1"), "a.bin", "changed").await;
    assert_eq!(outcome(other), Outcome::Conflict);
    let wrong = node.publish_file("strict", ("pad", "1.0.0"), "x.txt", "pad 1.0.0").await;
    assert_eq!(outcome(wrong), Outcome::Invalid);
}

#[tokio::test]
async fn an_archive_that_says_something_else_is_refused_and_nothing_stays() {
    let node = Node::start(1).await;
    let file = "pad-1.0.0.txt";
    let lies = node.publish_file("strict", ("pad", "1.0.0"), file, "evil 9.9.9").await;
    assert_eq!(outcome(lies), Outcome::Invalid);
    assert_eq!(outcome(node.metadata("pad").await), Outcome::NotFound);
    assert_eq!(node.registry.store().counts().unwrap().blobs, 0);
}

#[tokio::test]
async fn publishing_needs_scope_and_name_and_grant() {
    let node = Node::start(1).await;
    let check = |who: Principal, realm| {
        let registry = node.registry.clone();
        async move { registry.check_publish(&who, "strict", "pad", realm).await }
    };
    assert_eq!(outcome(check(Principal::anonymous(), None).await), Outcome::Unauthenticated);
    let reader = Principal { scopes: vec![Scope::Read], ..Principal::anonymous() };
    assert_eq!(outcome(check(reader, None).await), Outcome::Forbidden);
    let pattern = ("strict".to_owned(), Pattern::parse("other-*").unwrap());
    let narrow = Principal { patterns: vec![pattern], ..admin() };
    assert_eq!(outcome(check(narrow, None).await), Outcome::Forbidden);
    let foreign = genesis(&key(50), Vec::new()).statement().realm();
    assert_eq!(outcome(check(admin(), Some(foreign)).await), Outcome::Forbidden);
    follow(node.registry.store(), foreign, FollowKind::Followed).await;
    node.registry.admit(vec![genesis(&key(50), Vec::new())]).await.unwrap();
    assert_eq!(outcome(check(admin(), Some(foreign)).await), Outcome::Forbidden);
    assert_eq!(check(admin(), None).await.unwrap(), node.own);
}

#[tokio::test]
async fn an_unrouted_name_goes_to_the_site_that_grants_the_key_else_to_the_own_realm() {
    let node = Node::start(1).await;
    let site = genesis(&key(60), vec![publish_grant("shared-*", &key(101))]);
    let realm = site.statement().realm();
    node.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new()).await.unwrap();
    node.registry.admit(vec![site]).await.unwrap();
    assert_eq!(node.publish("shared-pad 1.0.0").await.unwrap().realm, realm);
    assert_eq!(node.publish("mine 1.0.0").await.unwrap().realm, node.own);
}

#[tokio::test]
async fn a_new_claim_waits_behind_a_pin_until_it_is_accepted() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 mine").await.unwrap();
    let realm = node.meet(FollowKind::Followed).await;
    node.receive(realm, &key(61), "pad 2.0.0 theirs", "pad 2.0.0 theirs").await;
    assert_eq!(node.metadata("pad").await.unwrap().offered, ["1.0.0"]);

    let pattern = Pattern::parse("pad").unwrap();
    let claim = crdt::realm::Claim { format: "strict".to_owned(), pattern };
    node.registry.follow(realm, FollowKind::Followed, vec![claim], Vec::new()).await.unwrap();
    let decision = node.registry.decide(&strict("pad")).unwrap();
    assert_eq!(decision.ground, Ground::Pin);
    assert_eq!(decision.source, Source::Realm { realm: node.own });
    assert_eq!(decision.pending, Some(Source::Realm { realm }));

    node.registry.accept_source(&strict("pad"), Source::Realm { realm }).await.unwrap();
    assert_eq!(node.metadata("pad").await.unwrap().offered, ["2.0.0"]);
}

#[tokio::test]
async fn an_own_route_takes_effect_at_once() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 mine").await.unwrap();
    node.registry.route_add("strict", "pad", RouteSource::Deny).await.unwrap();
    assert_eq!(outcome(node.metadata("pad").await), Outcome::Forbidden);
    assert!(node.registry.route_remove("strict", "pad").await.unwrap());
    assert_eq!(node.metadata("pad").await.unwrap().offered, ["1.0.0"]);
}

#[tokio::test]
async fn a_followed_realm_supplies_no_name_that_it_did_not_claim() {
    let node = Node::start(1).await;
    let realm = node.meet(FollowKind::Followed).await;
    node.receive(realm, &key(61), "theirs 1.0.0", "theirs 1.0.0").await;
    assert_eq!(outcome(node.metadata("theirs").await), Outcome::NotFound);
    let pattern = Pattern::parse("theirs").unwrap();
    let claim = crdt::realm::Claim { format: "strict".to_owned(), pattern };
    node.registry.follow(realm, FollowKind::Followed, vec![claim], Vec::new()).await.unwrap();
    assert_eq!(node.metadata("theirs").await.unwrap().offered, ["1.0.0"]);
}

#[tokio::test]
async fn a_disputed_version_is_offered_to_nobody_but_to_who_has_pinned_it() {
    let (node, reader) = (Node::start(1).await, Node::start(2).await);
    let shared =
        genesis(&key(60), vec![publish_grant("*", &key(101)), publish_grant("*", &key(62))]);
    let realm = shared.statement().realm();
    for one in [&node, &reader] {
        one.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new()).await.unwrap();
        one.registry.admit(vec![shared.clone()]).await.unwrap();
    }
    assert_eq!(node.publish("pad 1.2.0 mine").await.unwrap().realm, realm);
    reader.receive(realm, &key(101), "pad 1.2.0 mine", "pad 1.2.0 mine").await;
    for one in [&node, &reader] {
        one.receive(realm, &key(62), "pad 1.2.0 rival", "pad 1.2.0 rival").await;
        one.receive(realm, &key(62), "pad 1.1.0 calm", "pad 1.1.0 calm").await;
    }
    assert_eq!(node.text("pad", "1.2.0").await.unwrap(), "pad 1.2.0 mine");
    let info = node.registry.info(&strict("pad")).await.unwrap();
    assert_eq!(info.versions[1].state, "disputed-pinned");
    assert_eq!(info.versions[1].artifacts.len(), 2);

    assert_eq!(outcome(reader.read("pad", "1.2.0").await), Outcome::Conflict);
    assert_eq!(reader.metadata("pad").await.unwrap().offered, ["1.1.0"]);
    let rival = Digest::of(b"pad 1.2.0 rival");
    assert!(reader.registry.by_digest(&rival).await.is_ok());
    let pad = strict("pad");
    let accept = reader.registry.accept_content(&pad, "1.2.0", "pad-1.2.0.txt", &rival);
    accept.await.unwrap();
    assert_eq!(reader.text("pad", "1.2.0").await.unwrap(), "pad 1.2.0 rival");
}

#[tokio::test]
async fn only_a_completed_artifact_pins_and_metadata_pins_nothing() {
    let node = Node::start(1).await;
    let realm = node.meet(FollowKind::Site).await;
    node.receive(realm, &key(61), "pad 1.0.0 a", "pad 1.0.0 a").await;
    node.metadata("pad").await.unwrap();
    let got = node.read("pad", "1.0.0").await.unwrap();
    assert!(node.registry.store().pins(&realm, &strict("pad")).unwrap().is_empty());
    got.completion.unwrap().completed().await;
    assert_eq!(node.registry.store().pins(&realm, &strict("pad")).unwrap().len(), 1);
    assert_eq!(node.registry.decide(&strict("pad")).unwrap().ground, Ground::Pin);
}

#[tokio::test]
async fn a_yank_hides_from_ranges_and_an_unyank_shows_again() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 a").await.unwrap();
    node.publish("pad 1.1.0 b").await.unwrap();
    let pad = strict("pad");
    node.registry.yank(&admin(), &pad, "1.1.0", Some("broken")).await.unwrap();
    let metadata = node.metadata("pad").await.unwrap();
    assert_eq!(metadata.tags["latest"], "1.0.0");
    assert_eq!(node.registry.resolve(&metadata, "^1").unwrap(), "1.0.0");
    assert_eq!(node.text("pad", "1.1.0").await.unwrap(), "pad 1.1.0 b");
    node.registry.yank(&admin(), &pad, "1.1.0", None).await.unwrap();
    assert_eq!(node.metadata("pad").await.unwrap().tags["latest"], "1.1.0");
}

#[tokio::test]
async fn a_package_of_yanked_versions_is_added_only_by_number() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 a").await.unwrap();
    let pad = strict("pad");
    node.registry.yank(&admin(), &pad, "1.0.0", Some("broken")).await.unwrap();
    assert_eq!(outcome(node.registry.add(&pad, None).await), Outcome::NotFound);
    assert_eq!(node.registry.add(&pad, Some("1.0.0")).await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn a_tag_moves_and_goes() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 a").await.unwrap();
    node.publish("pad 2.0.0-rc.1 b").await.unwrap();
    let pad = strict("pad");
    node.registry.set_tag(&admin(), &pad, "next", Some("2.0.0-rc.1")).await.unwrap();
    let tags = node.metadata("pad").await.unwrap().tags;
    assert_eq!((tags["latest"].as_str(), tags["next"].as_str()), ("1.0.0", "2.0.0-rc.1"));
    node.registry.set_tag(&admin(), &pad, "next", Some("1.0.0")).await.unwrap();
    assert_eq!(node.metadata("pad").await.unwrap().tags["next"], "1.0.0");
    node.registry.set_tag(&admin(), &pad, "next", None).await.unwrap();
    assert!(!node.metadata("pad").await.unwrap().tags.contains_key("next"));
    let absent = node.registry.set_tag(&admin(), &pad, "next", Some("9.0.0")).await;
    assert_eq!(outcome(absent), Outcome::NotFound);
}

#[tokio::test]
async fn red_24_a_release_whose_meta_is_not_in_its_bytes_is_refused_here() {
    let node = Node::start(1).await;
    let realm = node.meet(FollowKind::Site).await;
    node.receive(realm, &key(61), "pad 1.0.0 truth", "pad 1.0.0 lie").await;
    node.registry.check_meta(&Digest::of(b"pad 1.0.0 truth")).await.unwrap();
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::Corrupt);
    assert!(node.metadata("pad").await.unwrap().offered.is_empty());
    let why = node.registry.why(&strict("pad")).await.unwrap();
    assert!(why.iter().any(|line| line.contains("refused")), "{why:?}");
}

#[tokio::test]
async fn a_known_file_that_nobody_has_is_not_here_and_becomes_a_want() {
    let node = Node::start(1).await;
    let published = node.publish("pad 1.0.0 a").await.unwrap();
    node.registry.store().remove_blob(&published.files[0].digest).await.unwrap();
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::NotHere);
    assert_eq!(node.registry.wants().unwrap().len(), 1);
    let metadata = node.metadata("pad").await.unwrap();
    assert_eq!(
        (metadata.offered.len(), metadata.hidden.as_slice()),
        (0, &["1.0.0".to_owned()][..])
    );
}

#[tokio::test]
async fn what_was_served_keeps_installing_after_a_withdrawal() {
    let node = Node::start(1).await;
    let realm = node.meet(FollowKind::Site).await;
    node.receive(realm, &key(61), "pad 1.0.0 a", "pad 1.0.0 a").await;
    node.read("pad", "1.0.0").await.unwrap().completion.unwrap().completed().await;
    let view = node.registry.store().package(&realm, &strict("pad")).unwrap().unwrap();
    let withdrawn =
        Body::Withdraw { release: view.versions["1.0.0"].releases[0], reason: "gone".to_owned() };
    let statement = Statement::new(realm, Some(strict("pad")), withdrawn).unwrap();
    node.registry.admit(vec![Verified::sign(statement, &[&key(61)])]).await.unwrap();
    let view = node.registry.store().package(&realm, &strict("pad")).unwrap().unwrap();
    assert_eq!(view.versions["1.0.0"].state, SlotState::PinnedUnsupported);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 a");
    assert!(node.metadata("pad").await.unwrap().offered.is_empty());
}
