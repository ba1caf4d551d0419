//! The set only grows, by what may enter, in any order.

use std::collections::BTreeMap;

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, MemoryIndex};
use crdt::{Collection, Digest, Envelope, Item, Signature, Statement, Verified};
use tempfile::tempdir;

use super::super::admission::{STRANGER_BYTES_MAX, STRANGER_ITEMS_MAX, UNFOUNDED_ITEMS_MAX};
use super::super::tables::{self, META_FLOOR, set_meta};
use super::super::{FollowKind, Store};
use super::world::{Realm, key, package};

fn fingerprints(store: &Store, realm: &Realm) -> BTreeMap<Collection, Fingerprint> {
    Index::collections(store, &realm.id).into_iter().collect()
}

/// A history with several packages, signers and kinds.
fn history(realm: &Realm) -> Vec<Verified> {
    let mut all =
        vec![realm.genesis.clone(), Verified::sign(realm.route("@acme/*"), &[&realm.root])];
    for n in 0..12 {
        let (name, version) = (format!("pkg-{}", n % 3), format!("1.{n}.0"));
        let release = realm.release(&name, &version, &[n]);
        let id = release.id();
        all.push(realm.sign(release.clone()));
        all.push(Verified::sign(release, &[&realm.root, &key(7)]));
        all.push(realm.sign(realm.tag(&name, "latest", id, u64::from(n))));
    }
    all
}

#[tokio::test]
async fn any_split_of_a_history_gives_the_fingerprints_of_the_memory_index() {
    let realm = Realm::new(1);
    let all = history(&realm);
    let mut memory = MemoryIndex::new(1);
    memory.follow(realm.id);
    for verified in &all {
        memory.admit(verified.clone());
    }
    for (step, backwards) in [(1, false), (1, true), (5, true), (7, false), (1000, true)] {
        let home = tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        store.follow(realm.followed(FollowKind::Followed)).await.unwrap();
        let mut all = all.clone();
        if backwards {
            all.reverse();
        }
        for batch in all.chunks(step) {
            store.admit(batch.to_vec(), None).await.unwrap();
        }
        assert_eq!(fingerprints(&store, &realm), memory.fingerprints(), "{step} {backwards}");
        for (collection, _) in memory.fingerprints() {
            let mut items = Index::items(&store, &collection);
            items.sort();
            assert_eq!(items, Index::items(&memory, &collection));
        }
        let view = store.package(&realm.id, &package("pkg-0")).unwrap().unwrap();
        assert_eq!(view.versions.len(), 4);
        assert_eq!(view.tags["latest"], "1.9.0");
    }
}

#[tokio::test]
async fn admitting_twice_changes_nothing() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let first = store.admit(history(&realm), None).await.unwrap();
    assert_eq!(first.new.len(), 1 + 12 * 4);
    let sequences: Vec<u64> = first.new.iter().map(|new| new.sequence).collect();
    assert_eq!(sequences, (2..=50).collect::<Vec<_>>());
    let before = (fingerprints(&store, &realm), store.revision(&package("pkg-0")).unwrap());
    let again = store.admit(history(&realm), None).await.unwrap();
    assert_eq!((again.new.len(), again.ignored), (0, 0));
    let after = (fingerprints(&store, &realm), store.revision(&package("pkg-0")).unwrap());
    assert_eq!((before, store.last_sequence()), (after, 50));
}

#[tokio::test]
async fn red_19_a_realm_that_is_not_followed_is_ignored_and_counted() {
    let (own, other, home) = (Realm::new(1), Realm::new(2), tempdir().unwrap());
    let store = own.store(home.path()).await;
    let batch = vec![other.genesis.clone(), other.sign(other.release("x", "1.0.0", b"x"))];
    let admission = store.admit(batch, None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (0, 2));
    assert_eq!(store.counts().unwrap().statements, 1);
    assert!(store.statement(&other.genesis.statement().id()).unwrap().is_none());
    assert!(!store.is_referenced(&Digest::of(b"x")).unwrap());
}

#[tokio::test]
async fn red_31_what_only_a_stranger_names_is_not_for_handing_out() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("probe", "1.0.0", b"cached from an upstream");
    let digest = Digest::of(b"cached from an upstream");
    let probe = Verified::sign(release.clone(), &[&key(200)]);
    assert_eq!(store.admit(vec![probe], None).await.unwrap().new.len(), 1);
    assert!(!store.is_referenced(&digest).unwrap(), "its author is nobody here");
    store.admit(vec![realm.sign(release)], None).await.unwrap();
    assert!(store.is_referenced(&digest).unwrap());
}

/// An envelope with signatures that nobody verified: the store is told that they were.
fn claimed(statement: &Statement, signers: impl Iterator<Item = u8>, byte: u8) -> Verified {
    let signatures = signers.map(|n| (key(n).public(), Signature([byte; 64]))).collect();
    Verified::from_admitted(Envelope { statement: statement.clone(), signatures })
}

#[tokio::test]
async fn red_06_of_two_signatures_by_one_key_the_least_stays() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("x", "1.0.0", b"x");
    for byte in [5, 9, 3] {
        store.admit(vec![claimed(&release, [101].into_iter(), byte)], None).await.unwrap();
    }
    let held = store.statement(&release.id()).unwrap().unwrap();
    assert_eq!(held.signatures()[&key(101).public()], Signature([3; 64]));
    assert_eq!(store.last_sequence(), 2);
}

#[tokio::test]
async fn a_statement_keeps_sixteen_signatures_and_known_keys_go_first() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("x", "1.0.0", b"x");
    let admission = store.admit(vec![claimed(&release, 10..27, 0)], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (16, 1));
    // The publisher takes a stranger's place, and everything agrees about it.
    let admission = store.admit(vec![realm.sign(release.clone())], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (1, 0));
    let held = store.statement(&release.id()).unwrap().unwrap();
    assert_eq!(held.signatures().len(), 16);
    let collection = release.collection();
    let mut state = Fingerprint::empty();
    let items = Index::items(&store, &collection);
    items.iter().for_each(|item| state.add(item));
    assert_eq!(items.len(), 16);
    assert_eq!(fingerprints(&store, &realm)[&collection], state);
    assert_eq!(Index::log(&store, 0, 100).unwrap().len(), 1 + 16);
    assert!(store.package(&realm.id, &package("x")).unwrap().is_some());
    // Another stranger finds no room.
    let admission = store.admit(vec![claimed(&release, 40..41, 0)], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (0, 1));
}

#[tokio::test]
async fn one_envelope_may_evict_and_improve_at_once() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("x", "1.0.0", b"x");
    store.admit(vec![claimed(&release, 10..26, 5)], None).await.unwrap();
    let everybody = claimed(&release, (10..26).chain([101]), 1);
    let admission = store.admit(vec![everybody], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (1, 1));
    let held = store.statement(&release.id()).unwrap().unwrap();
    let items = Index::items(&store, &release.collection());
    assert_eq!((held.signatures().len(), items.len()), (16, 16));
    assert!(items.iter().all(|item| held.signatures()[&item.key] == Signature([1; 64])));
}

#[tokio::test]
async fn red_19_strangers_get_32_pairs_of_a_realm_and_known_keys_always_enter() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let mut strangers = Vec::new();
    for n in 0..=STRANGER_ITEMS_MAX {
        let release = realm.release("spam", &format!("1.0.{n}"), b"spam");
        strangers.push(Verified::sign(release, &[&key(50)]));
    }
    let admission = store.admit(strangers, None).await.unwrap();
    assert_eq!((admission.new.len() as u64, admission.ignored), (STRANGER_ITEMS_MAX, 1));
    assert!(store.package(&realm.id, &package("spam")).unwrap().is_none());
    let honest = store.admit(vec![realm.sign(realm.release("x", "1.0.0", b"x"))], None).await;
    assert_eq!(honest.unwrap().new.len(), 1);
    // A root may bring a key that was unknown, and makes the stranger one of ours.
    let next = realm.next(|root| {
        root.roots = vec![key(60).public()];
        root.grants.push(super::world::grant(key(50).public()));
    });
    let next = Verified::sign(next, &[&realm.root, &key(60)]);
    assert_eq!(store.admit(vec![next], None).await.unwrap().new.len(), 2);
    let view = store.package(&realm.id, &package("spam")).unwrap().unwrap();
    assert_eq!(view.versions.len() as u64, STRANGER_ITEMS_MAX);
    let more = Verified::sign(realm.release("spam", "2.0.0", b"spam"), &[&key(51)]);
    assert_eq!(store.admit(vec![more], None).await.unwrap().new.len(), 1);
}

#[tokio::test]
async fn red_19_strangers_get_64_kib_of_a_realm() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let big = |n: u64| {
        let reason = "x".repeat(2000);
        let release = crdt::StatementId(Digest::of(&n.to_le_bytes()));
        let body = crdt::Body::Withdraw { release, reason };
        Verified::sign(Statement::new(realm.id, Some(package("x")), body).unwrap(), &[&key(50)])
    };
    let size = big(0).statement().payload().len() as u64;
    let fit = STRANGER_BYTES_MAX / size;
    assert!(fit < STRANGER_ITEMS_MAX);
    let admission = store.admit((0..=fit).map(big).collect(), None).await.unwrap();
    assert_eq!((admission.new.len() as u64, admission.ignored), (fit, 1));
}

#[tokio::test]
async fn before_the_genesis_everybody_is_unknown_and_few_are_lost() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = Store::open(home.path()).unwrap();
    store.follow(realm.followed(FollowKind::Followed)).await.unwrap();
    let all: Vec<_> =
        (0..100).map(|n| realm.sign(realm.release("x", &format!("1.0.{n}"), b"x"))).collect();
    assert_eq!(store.admit(all, None).await.unwrap().new.len(), 100);
    assert!(store.package(&realm.id, &package("x")).unwrap().is_none());
    store.admit(vec![realm.genesis.clone()], None).await.unwrap();
    assert_eq!(store.package(&realm.id, &package("x")).unwrap().unwrap().versions.len(), 100);
    // The publisher counts against no limit any more.
    let change = |_: &_, txn: &redb::WriteTransaction| {
        Ok(redb::ReadableTableMetadata::len(&txn.open_table(tables::STRANGER)?)?)
    };
    assert_eq!(store.write(change, |_, _| {}).await.unwrap(), 0);
}

#[tokio::test]
async fn red_19_a_realm_without_genesis_has_a_limit_too() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = Store::open(home.path()).unwrap();
    store.follow(realm.followed(FollowKind::Followed)).await.unwrap();
    let signers = usize::try_from(UNFOUNDED_ITEMS_MAX / 16).unwrap();
    let mut all: Vec<_> = (0..signers)
        .map(|n| claimed(&realm.release("x", &format!("1.0.{n}"), b"x"), 10..26, 0))
        .collect();
    all.push(claimed(&realm.release("x", "2.0.0", b"x"), 10..11, 0));
    let admission = store.admit(all, None).await.unwrap();
    assert_eq!((admission.new.len() as u64, admission.ignored), (UNFOUNDED_ITEMS_MAX, 1));
}

#[tokio::test]
async fn a_cursor_is_kept_with_its_batch_and_alone() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    assert_eq!(store.peer_seen(b"peer").unwrap(), None);
    store.admit(history(&realm), Some((b"peer".to_vec(), 7, 99))).await.unwrap();
    assert_eq!(store.peer_seen(b"peer").unwrap(), Some((7, 99)));
    store.admit(Vec::new(), Some((b"peer".to_vec(), 7, 100))).await.unwrap();
    assert_eq!(store.peer_seen(b"peer").unwrap(), Some((7, 100)));
    store.set_peer_seen(b"peer", 8, 1).await.unwrap();
    assert_eq!(store.peer_seen(b"peer").unwrap(), Some((8, 1)));
}

#[tokio::test]
async fn subscribers_hear_what_is_new_once_it_is_durable() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let mut heard = store.subscribe();
    let release = realm.sign(realm.release("x", "1.0.0", b"x"));
    store.admit(vec![release.clone()], None).await.unwrap();
    store.admit(vec![release.clone()], None).await.unwrap();
    let admission = heard.recv().await.unwrap();
    assert_eq!(admission.new.len(), 1);
    assert_eq!(admission.new[0].package, Some(package("x")));
    assert_eq!(admission.new[0].item.key, realm.publisher.public());
    assert!(store.statement(&release.statement().id()).unwrap().is_some());
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn reopening_keeps_epoch_sequence_log_and_views() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    store.admit(history(&realm), None).await.unwrap();
    let seen = |store: &Store| {
        let view = store.package(&realm.id, &package("pkg-1")).unwrap().unwrap();
        let log = Index::log(store, 3, 1000).unwrap();
        let revision = store.revision(&package("pkg-1")).unwrap();
        (store.epoch(), store.last_sequence(), log, view, revision, fingerprints(store, &realm))
    };
    let before = seen(&store);
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(seen(&store), before);
    let other = tempdir().unwrap();
    assert_ne!(Store::open(other.path()).unwrap().epoch(), store.epoch());
}

#[tokio::test]
async fn the_log_is_what_a_resume_sends() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let all = history(&realm);
    store.admit(all.clone(), None).await.unwrap();
    let log = Index::log(&store, 0, 1000).unwrap();
    assert_eq!(log.len(), 50);
    assert_eq!(Index::log(&store, 48, 1000).unwrap(), log[48..]);
    assert_eq!(Index::log(&store, 0, 2).unwrap(), log[..2]);
    let Item { id, key } = log[10].2;
    assert!(store.holds(&log[10].2));
    let one = Index::envelope(&store, &id, &[key]).unwrap();
    assert_eq!(one.signatures().keys().collect::<Vec<_>>(), [&key]);
    assert!(Index::envelope(&store, &id, &[]).unwrap().signatures().len() >= 2);
    assert!(!store.holds(&Item { id, key: super::world::key(99).public() }));
    store.write(|_, txn| set_meta(txn, META_FLOOR, 10), |_, ()| {}).await.unwrap();
    assert!(Index::log(&store, 9, 10).is_none());
    assert_eq!(Index::log(&store, 10, 10).unwrap(), log[10..20]);
}

#[tokio::test]
async fn strangers_are_shown_roots_and_newest_releases_of_the_own_realm() {
    let (own, other, home) = (Realm::new(1), Realm::new(2), tempdir().unwrap());
    let store = own.store(home.path()).await;
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    let mut all = vec![other.genesis.clone()];
    for n in 0..40 {
        all.push(own.sign(own.release("x", &format!("1.0.{n}"), b"x")));
        all.push(own.sign(own.withdraw("y", crdt::StatementId(Digest::of(&[n])))));
    }
    store.admit(all, None).await.unwrap();
    let lobby = Index::lobby(&store);
    assert_eq!(lobby.len(), 32);
    assert_eq!(lobby[0].statement().id(), own.genesis.statement().id());
    let newest = own.release("x", "1.0.39", b"x").id();
    assert_eq!(lobby[1].statement().id(), newest);
    assert!(lobby.iter().all(|shown| shown.statement().realm() == own.id));
    assert!(lobby[1..].iter().all(|shown| shown.statement().kind() == "release"));
}
