//! Receipts in the store: the newest stays, whoever says it first, and within their quota.

use std::sync::atomic::Ordering;

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, MemoryIndex};
use crdt::statement::{Grant, MAX_COUNTER, Pattern, Receipt, Subject, Via};
use crdt::{Body, Collection, Digest, PublicKey, SecretKey, Statement, Verified};
use redb::ReadableTableMetadata as _;
use tempfile::tempdir;

use super::super::admission::STRANGER_ITEMS_MAX;
use super::super::receipts::RECEIPTS_MAX;
use super::super::tables;
use super::super::{AcceptedMirror, FollowKind, Followed, Store, believed_mirrors};
use super::world::{Realm, key, package};

fn subject(document: &str) -> Subject {
    Subject {
        origin: Digest::of(b"origin"),
        format: "npm".into(),
        document: document.into(),
        variant: "full".into(),
    }
}

pub(super) fn receipt(document: &str, n: u64) -> Receipt {
    Receipt {
        subject: subject(document),
        blake3: Digest::of(&n.to_le_bytes()),
        size: 7,
        content_type: "application/json".into(),
        etag: Some("\"e\"".into()),
        last_modified: None,
        fetched_at: 1,
        via: Via::Tls,
        n,
        checksums: None,
    }
}

impl Realm {
    /// A realm that grants `mirror` to the key 90 for every format, and to 91 for npm.
    pub(super) fn with_mirrors(n: u8) -> Self {
        let mut realm = Self::new(n);
        realm.content.grants.push(mirror("*", key(90).public()));
        realm.content.grants.push(mirror("npm", key(91).public()));
        let genesis = Statement::genesis(realm.content.clone()).unwrap();
        realm.genesis = Verified::sign(genesis, &[&realm.root]);
        realm.id = realm.genesis.statement().realm();
        realm
    }

    pub(super) fn says(&self, content: Receipt, authors: &[&SecretKey]) -> Verified {
        let statement = Statement::new(self.id, None, Body::Receipt(content)).unwrap();
        Verified::sign(statement, authors)
    }
}

fn mirror(format: &str, to: PublicKey) -> Grant {
    let grant = Grant::to_key("mirror", Pattern::parse("*").unwrap(), to);
    Grant { format: format.into(), ..grant }
}

fn held(store: &Store, realm: &Realm, document: &str) -> Vec<(PublicKey, u64)> {
    let found = store.receipts(&realm.id, &subject(document)).unwrap();
    found.into_iter().map(|one| (one.author, one.receipt.n)).collect()
}

/// What is held is what the fingerprint says, the log names nothing else, no row is left over.
#[track_caller]
fn assert_sound(store: &Store, realm: &Realm) {
    let part = Collection::Receipts(realm.id, "npm".into());
    let items = Index::items(store, &part);
    let mut state = Fingerprint::empty();
    items.iter().for_each(|item| state.add(item));
    let states: std::collections::BTreeMap<_, _> =
        Index::collections(store, &realm.id).into_iter().collect();
    assert_eq!(states.get(&part).cloned().unwrap_or_default(), state);
    assert!(items.iter().all(|item| store.holds(item)));
    let log = Index::log(store, 0, 10_000).unwrap();
    let logged = log.iter().filter(|(_, collection, _)| *collection == part).count();
    assert_eq!(logged, items.len());
    let txn = store.read().unwrap();
    assert_eq!(txn.open_table(tables::LATEST).unwrap().len().unwrap(), items.len() as u64);
    assert_eq!(txn.open_table(tables::LOG).unwrap().len().unwrap(), log.len() as u64);
}

#[tokio::test]
async fn the_newest_stays_in_either_order_and_the_rest_leaves_no_trace() {
    for backwards in [false, true] {
        let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
        let store = realm.store(home.path()).await;
        let author = key(90);
        let mut all: Vec<_> = (1..6).map(|n| realm.says(receipt("x", n), &[&author])).collect();
        let newest = all[4].clone();
        if backwards {
            all.reverse();
        }
        for one in &all {
            let admission = store.admit(vec![one.clone()], None).await.unwrap();
            assert_eq!(admission.ignored, 0, "one that is outdated is no loss");
            assert_eq!(admission.new.len(), usize::from(!backwards || *one == newest));
            assert!(admission.new.iter().all(|new| new.package.is_none()));
        }
        assert_eq!(held(&store, &realm, "x"), [(author.public(), 5)]);
        assert_eq!(held(&store, &realm, "y"), []);
        assert_eq!(store.counts().unwrap().statements, 2);
        assert!(store.statement(&newest.statement().id()).unwrap().is_some());
        assert_sound(&store, &realm);
        // What came once and was replaced does not come back.
        assert!(store.admit(all.clone(), None).await.unwrap().new.is_empty());
        assert_sound(&store, &realm);
    }
}

#[tokio::test]
async fn one_batch_may_replace_within_itself() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let all: Vec<_> = [2, 5, 3].map(|n| realm.says(receipt("x", n), &[&key(90)])).into();
    let admission = store.admit(all.clone(), None).await.unwrap();
    let told: Vec<_> = admission.new.iter().map(|new| new.item.id).collect();
    assert_eq!(told, [all[1].statement().id()], "subscribers hear of what is there");
    assert_eq!(held(&store, &realm, "x"), [(key(90).public(), 5)]);
    assert_sound(&store, &realm);
}

#[tokio::test]
async fn each_signer_is_an_author_and_authors_do_not_replace_one_another() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let (one, two) = (key(90), key(91));
    let both = realm.says(receipt("x", 1), &[&one, &two]);
    store.admit(vec![both.clone()], None).await.unwrap();
    store.admit(vec![realm.says(receipt("x", 2), &[&one])], None).await.unwrap();
    let mut expected = vec![(one.public(), 2), (two.public(), 1)];
    expected.sort();
    assert_eq!(held(&store, &realm, "x"), expected);
    let left = store.statement(&both.statement().id()).unwrap().unwrap();
    assert_eq!(left.signatures().keys().collect::<Vec<_>>(), [&two.public()]);
    assert!(Index::envelope(&store, &both.statement().id(), &[one.public()]).is_none());
    assert_sound(&store, &realm);
    store.admit(vec![realm.says(receipt("x", 3), &[&two])], None).await.unwrap();
    assert!(store.statement(&both.statement().id()).unwrap().is_none(), "nobody says it any more");
    assert_sound(&store, &realm);
}

#[tokio::test]
async fn a_counter_without_effect_is_counted_as_not_taken() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    store.admit(vec![realm.says(receipt("x", MAX_COUNTER), &[&key(90)])], None).await.unwrap();
    let beyond = realm.says(receipt("x", MAX_COUNTER + 1), &[&key(90)]);
    let admission = store.admit(vec![beyond], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (0, 1));
    assert_eq!(held(&store, &realm, "x"), [(key(90).public(), MAX_COUNTER)]);
}

#[tokio::test]
async fn any_history_gives_the_set_of_the_memory_index() {
    let realm = Realm::with_mirrors(1);
    let authors = [key(90), key(91)];
    let mut all = vec![realm.genesis.clone()];
    for n in 0..60_u64 {
        let mut content = receipt(&format!("doc-{}", n % 4), n * 7 % 11);
        content.size = n % 3;
        let signers: Vec<&SecretKey> = match n % 3 {
            0 => authors.iter().collect(),
            at => vec![&authors[usize::try_from(at - 1).unwrap()]],
        };
        all.push(realm.says(content, &signers));
    }
    let mut memory = MemoryIndex::new(1);
    memory.follow(realm.id);
    all.iter().for_each(|verified| drop(memory.admit(verified.clone())));
    for (step, backwards) in [(1, false), (1, true), (5, true), (1000, false), (1000, true)] {
        let home = tempdir().unwrap();
        let store = realm.store(home.path()).await;
        let mut all = all.clone();
        if backwards {
            all.reverse();
        }
        for batch in all.chunks(step) {
            store.admit(batch.to_vec(), None).await.unwrap();
        }
        let states = Index::collections(&store, &realm.id).into_iter().collect();
        assert_eq!(memory.fingerprints(), states, "{step} {backwards}");
        assert_sound(&store, &realm);
    }
}

#[tokio::test]
async fn a_restart_and_a_rebuild_keep_what_counts() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    store.admit(vec![realm.sign(realm.release("x", "1.0.0", b"x"))], None).await.unwrap();
    for n in 1..4 {
        store.admit(vec![realm.says(receipt("x", n), &[&key(90)])], None).await.unwrap();
    }
    // The views were made by other rules, as far as the next start knows.
    let change = |_: &_, txn: &redb::WriteTransaction| tables::set_meta(txn, tables::META_FOLD, 0);
    store.write(change, |_, ()| {}).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(held(&store, &realm, "x"), [(key(90).public(), 3)]);
    assert_sound(&store, &realm);
    assert!(store.package(&realm.id, &package("x")).unwrap().is_some());
    let old = realm.says(receipt("x", 2), &[&key(90)]);
    assert!(store.admit(vec![old], None).await.unwrap().new.is_empty());
    assert!(store.unfollow(&realm.id).await.unwrap());
    assert_eq!(held(&store, &realm, "x"), []);
    let txn = store.read().unwrap();
    assert_eq!(txn.open_table(tables::LATEST).unwrap().len().unwrap(), 0);
}

#[tokio::test]
async fn only_a_mirror_of_the_format_has_more_than_a_strangers_room() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let count = usize::try_from(STRANGER_ITEMS_MAX).unwrap();
    let many = |author: u8| -> Vec<Verified> {
        let all = 0..count + 8;
        all.map(|n| realm.says(receipt(&format!("{author}-{n}"), 1), &[&key(author)])).collect()
    };
    for mirror in [90, 91] {
        assert_eq!(store.admit(many(mirror), None).await.unwrap().new.len(), count + 8);
    }
    // The publisher may publish, and is a stranger to receipts.
    let admission = store.admit(many(101), None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (count, 8));
    // A stranger corrects himself within his room, and gets no more of it.
    let newer: Vec<_> =
        (0..count).map(|n| realm.says(receipt(&format!("101-{n}"), 2), &[&key(101)])).collect();
    assert_eq!(store.admit(newer, None).await.unwrap().new.len(), count);
    assert_eq!(store.admit(many(50), None).await.unwrap().new.len(), 0);
    let mut pypi = receipt("flask", 1);
    pypi.subject.format = "pypi".into();
    let admission = store.admit(vec![realm.says(pypi.clone(), &[&key(91)])], None).await.unwrap();
    assert_eq!(admission.ignored, 1, "it is a mirror for npm alone");
    assert_eq!(store.admit(vec![realm.says(pypi, &[&key(90)])], None).await.unwrap().new.len(), 1);
    assert_sound_but_for_pypi(&store, &realm, 3 * count + 16);
    // A root makes the publisher a mirror: what it said counts against no stranger's limit.
    let next = realm.next(|root| root.grants.push(mirror("npm", realm.publisher.public())));
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    assert_eq!(store.admit(many(101), None).await.unwrap().new.len(), 8);
    assert_eq!(store.admit(many(50), None).await.unwrap().new.len(), count);
}

fn assert_sound_but_for_pypi(store: &Store, realm: &Realm, count: usize) {
    let npm = Collection::Receipts(realm.id, "npm".into());
    assert_eq!(Index::items(store, &npm).len(), count);
    let states = Index::collections(store, &realm.id);
    let state = states.iter().find(|(part, _)| *part == npm).map(|(_, state)| state.count);
    assert_eq!(state, Some(count as u64));
}

#[tokio::test]
async fn who_was_a_mirror_once_keeps_room_but_no_belief() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let next = realm.next(|root| root.grants.retain(|grant| grant.role != "mirror"));
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    let all: Vec<_> =
        (0..40).map(|n| realm.says(receipt(&format!("{n}"), 1), &[&key(90)])).collect();
    assert_eq!(store.admit(all, None).await.unwrap().new.len(), 40);
    let authority = store.authority(&realm.id).unwrap();
    assert_eq!(believed_mirrors(&realm.followed(FollowKind::Own), &authority), []);
}

#[tokio::test]
async fn receipts_over_their_quota_wait_and_nothing_else_does() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    assert_eq!(store.inner.receipts_max.swap(10, Ordering::Relaxed), RECEIPTS_MAX);
    let say = |document: usize, n| realm.says(receipt(&format!("{document}"), n), &[&key(90)]);
    let admission = store.admit((0..12).map(|d| say(d, 1)).collect(), None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (10, 2));
    // What is held is replaced, releases enter, and what waited is still not taken.
    let mut more = vec![say(3, 2), say(11, 1)];
    more.push(realm.sign(realm.release("x", "1.0.0", b"x")));
    let admission = store.admit(more, None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (2, 1));
    assert_eq!(held(&store, &realm, "3"), [(key(90).public(), 2)]);
    assert_eq!(held(&store, &realm, "11"), []);
    assert_sound(&store, &realm);
    // Once there is room, it comes like anything that was not taken before.
    store.inner.receipts_max.store(11, Ordering::Relaxed);
    let admission = store.admit(vec![say(10, 1), say(11, 1)], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (1, 1));
}

#[tokio::test]
async fn red_19_nodes_with_other_quotas_agree_once_they_are_raised() {
    let realm = Realm::with_mirrors(1);
    let (small_home, large_home) = (tempdir().unwrap(), tempdir().unwrap());
    let small = realm.store(small_home.path()).await;
    let large = realm.store(large_home.path()).await;
    small.inner.receipts_max.store(5, Ordering::Relaxed);
    let all: Vec<_> =
        (0..20_u64).map(|n| realm.says(receipt(&format!("{}", n % 10), n), &[&key(90)])).collect();
    let states = |store: &Store| Index::collections(store, &realm.id);
    for batch in all.chunks(3) {
        large.admit(batch.to_vec(), None).await.unwrap();
        small.admit(batch.to_vec(), None).await.unwrap();
    }
    assert_ne!(states(&small), states(&large));
    small.inner.receipts_max.store(RECEIPTS_MAX, Ordering::Relaxed);
    small.admit(all, None).await.unwrap();
    assert_eq!(states(&small), states(&large));
    assert_sound(&small, &realm);
}

#[tokio::test]
async fn a_strangers_signature_makes_room_for_a_mirrors_on_a_receipt_too() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let strangers: Vec<SecretKey> = (10..26).map(key).collect();
    let crowd = realm.says(receipt("x", 1), &strangers.iter().collect::<Vec<_>>());
    assert_eq!(store.admit(vec![crowd.clone()], None).await.unwrap().new.len(), 16);
    let mirrored = realm.says(receipt("x", 1), &[&key(90)]);
    assert_eq!(store.admit(vec![mirrored], None).await.unwrap().new.len(), 1);
    let authors: Vec<_> = held(&store, &realm, "x").into_iter().map(|(author, _)| author).collect();
    assert_eq!(authors.len(), 16);
    assert!(authors.contains(&key(90).public()));
    let statement = store.statement(&crowd.statement().id()).unwrap().unwrap();
    assert_eq!(statement.signatures().keys().copied().collect::<Vec<_>>(), authors);
    // Who had to go may come back with a newer one, as there is room again.
    let gone = strangers.iter().find(|one| !authors.contains(&one.public())).unwrap();
    let newer = realm.says(receipt("x", 2), &[gone]);
    assert_eq!(store.admit(vec![newer], None).await.unwrap().new.len(), 1);
    assert_eq!(held(&store, &realm, "x").len(), 17);
}

#[tokio::test]
async fn a_realm_without_genesis_keeps_receipts_for_later() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = Store::open(home.path()).unwrap();
    store.follow(realm.followed(FollowKind::Site)).await.unwrap();
    let all: Vec<_> =
        (0..40).map(|n| realm.says(receipt(&format!("{n}"), 1), &[&key(90)])).collect();
    assert_eq!(store.admit(all, None).await.unwrap().new.len(), 40);
    store.admit(vec![realm.genesis.clone()], None).await.unwrap();
    let txn = store.read().unwrap();
    assert_eq!(txn.open_table(tables::STRANGER).unwrap().len().unwrap(), 0);
    drop(txn);
    assert_sound(&store, &realm);
}

#[tokio::test]
async fn receipts_are_not_shown_in_the_lobby_nor_filed_under_a_package() {
    let (realm, home) = (Realm::with_mirrors(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    store.admit(vec![realm.says(receipt("x", 1), &[&key(90)])], None).await.unwrap();
    assert_eq!(Index::lobby(&store).len(), 1);
    assert!(store.package(&realm.id, &package("x")).unwrap().is_none());
    assert!(store.package_statements(&realm.id, &package("x")).unwrap().is_empty());
    assert!(!store.is_referenced(&Digest::of(&1_u64.to_le_bytes())).unwrap());
}

#[test]
fn belief_is_what_was_accepted_and_is_granted_still() {
    let realm = Realm::with_mirrors(1);
    let authority = crdt::realm::authority(realm.id, [&realm.genesis], &[]);
    let (any, npm, gone) = (key(90).public(), key(91).public(), key(92).public());
    let followed = |kind, pairs: &[(PublicKey, &str)]| {
        let accepted = |(key, format): &(PublicKey, &str)| {
            let format = (*format).to_owned();
            AcceptedMirror { key: *key, format }
        };
        Followed { mirrors: pairs.iter().map(accepted).collect(), ..realm.followed(kind) }
    };
    let believed = |kind, pairs: &[(PublicKey, &str)]| -> Vec<(PublicKey, String)> {
        believed_mirrors(&followed(kind, pairs), &authority)
    };
    let sorted = |pairs: &[(PublicKey, &str)]| {
        let mut all: Vec<_> = pairs.iter().map(|(key, of)| (*key, (*of).to_owned())).collect();
        all.sort();
        all
    };
    let all = [(any, "*"), (npm, "npm")];
    assert_eq!(believed(FollowKind::Own, &[]), sorted(&all));
    assert_eq!(believed(FollowKind::Site, &[]), []);
    assert_eq!(believed(FollowKind::Site, &all), sorted(&all));
    assert_eq!(believed(FollowKind::Followed, &all), [], "only the site's word counts");
    // Neither side makes it broader than the other.
    let crossed = [(any, "npm"), (npm, "*"), (gone, "*"), (npm, "pypi")];
    assert_eq!(believed(FollowKind::Site, &crossed), sorted(&[(any, "npm"), (npm, "npm")]));
    let other = Realm::new(2);
    let strange = Followed { realm: other.id, ..followed(FollowKind::Own, &all) };
    assert_eq!(believed_mirrors(&strange, &authority), []);
}
