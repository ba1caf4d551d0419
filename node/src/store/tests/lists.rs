//! Lists of seals and revocations that are blobs.

use crdt::derive::Fallen;
use crdt::statement::IdList;
use crdt::{Body, Digest, Statement, StatementId, Verified};
use tempfile::tempdir;

use super::super::Store;
use super::world::{Realm, describe, key, package};

/// A list that is a blob, with its bytes.
fn list_of(ids: &[StatementId]) -> (IdList, Vec<u8>) {
    let mut ids = ids.to_vec();
    ids.extend((0..501_u64).map(|n| StatementId(Digest::of(&n.to_le_bytes()))));
    let (list, bytes) = IdList::of(ids).unwrap();
    (list, bytes.expect("more than a statement takes"))
}

fn seal(realm: &Realm, list: IdList) -> Statement {
    Statement::new(realm.id, None, Body::Seal { releases: list }).unwrap()
}

fn stands(store: &Store, realm: &Realm) -> bool {
    store.package(&realm.id, &package("x")).unwrap().is_some()
}

#[tokio::test]
async fn a_seal_whose_list_lacks_is_not_yet_known_and_counts_when_it_comes() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    // By a stranger: the seal alone makes it stand.
    let release = Verified::sign(realm.release("x", "1.0.0", b"x"), &[&key(90)]);
    let (list, bytes) = list_of(&[release.statement().id()]);
    let blob = list.blob().unwrap();
    let seal = Verified::sign(seal(&realm, list), &[&realm.root]);
    store.admit(vec![release, seal.clone()], None).await.unwrap();
    assert!(!stands(&store, &realm));
    assert_eq!(store.missing_lists(&realm.id).unwrap(), std::slice::from_ref(&blob));
    assert_eq!(store.wanted_lists().unwrap(), std::slice::from_ref(&blob));
    assert!(store.is_referenced(&blob.digest).unwrap(), "peers of the realm get it");
    super::stored(&store, &bytes).await;
    assert!(stands(&store, &realm));
    assert!(store.missing_lists(&realm.id).unwrap().is_empty());
    assert!(store.wanted_lists().unwrap().is_empty());
    drop(store);
    let store = Store::open_with(home.path(), describe).unwrap();
    assert!(stands(&store, &realm));
    // A root takes it back: all that it named.
    let next = realm.next(|root| root.cleared = vec![seal.statement().id()]);
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    assert!(!stands(&store, &realm));
}

#[tokio::test]
async fn a_list_that_is_held_before_its_seal_counts_at_once() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = Verified::sign(realm.release("x", "1.0.0", b"x"), &[&key(90)]);
    let (list, bytes) = list_of(&[release.statement().id()]);
    super::stored(&store, &bytes).await;
    let seal = Verified::sign(seal(&realm, list), &[&realm.root]);
    // The release comes last of all.
    store.admit(vec![seal], None).await.unwrap();
    store.admit(vec![release], None).await.unwrap();
    assert!(stands(&store, &realm));
}

#[tokio::test]
async fn a_keep_list_that_lacks_is_not_yet_known() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.sign(realm.release("x", "1.0.0", b"x"));
    let lost = realm.sign(realm.release("x", "2.0.0", b"lost"));
    let (keep, bytes) = list_of(&[release.statement().id()]);
    let (key, reason) = (realm.publisher.public(), "lost".to_owned());
    let revoke = Statement::new(realm.id, None, Body::Revoke { key, keep, reason }).unwrap();
    let revoke_id = revoke.id();
    let revoke = Verified::sign(revoke, &[&realm.root]);
    store.admit(vec![release, lost, revoke], None).await.unwrap();
    let fallen = |store: &Store| {
        let view = store.derived(&realm.id, &package("x")).unwrap().unwrap();
        view.fallen.into_values().flatten().map(|one| one.why).collect::<Vec<_>>()
    };
    assert_eq!(fallen(&store), [Fallen::NotYetKnown, Fallen::NotYetKnown]);
    super::stored(&store, &bytes).await;
    assert_eq!(fallen(&store), [Fallen::Revoked(vec![revoke_id])]);
    let view = store.package(&realm.id, &package("x")).unwrap().unwrap();
    assert_eq!(view.versions.keys().collect::<Vec<_>>(), ["1.0.0"]);
    let package = package("x");
    let publishers = store.publishers(&realm.id, &package).unwrap();
    assert!(publishers.keys[&key].holds(&view.versions["1.0.0"].releases[0]));
}

#[tokio::test]
async fn a_blob_that_is_no_list_names_nothing() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = Verified::sign(realm.release("x", "1.0.0", b"x"), &[&key(90)]);
    let id = *release.statement().id().0.as_bytes();
    let twice = [id, id].concat();
    let short = id[..31].to_vec();
    let longer = [[0; 32], id].concat();
    store.admit(vec![release], None).await.unwrap();
    for (bytes, count) in [(twice, 2), (short, 1), (longer, 1)] {
        let list = IdList::Blob { digest: Digest::of(&bytes), count };
        store.admit(vec![Verified::sign(seal(&realm, list), &[&realm.root])], None).await.unwrap();
        assert_eq!(store.missing_lists(&realm.id).unwrap().len(), 1);
        super::stored(&store, &bytes).await;
        assert!(store.missing_lists(&realm.id).unwrap().is_empty(), "it is known to be none");
        assert!(!stands(&store, &realm));
    }
}

#[tokio::test]
async fn lists_by_strangers_are_neither_wanted_nor_handed_out() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let (list, bytes) = list_of(&[]);
    let digest = list.blob().unwrap().digest;
    let seal = seal(&realm, list);
    store.admit(vec![Verified::sign(seal.clone(), &[&key(90)])], None).await.unwrap();
    assert!(store.wanted_lists().unwrap().is_empty());
    super::stored(&store, &bytes).await;
    assert!(!store.is_referenced(&digest).unwrap());
    store.admit(vec![Verified::sign(seal, &[&realm.root])], None).await.unwrap();
    assert!(store.is_referenced(&digest).unwrap());
    drop(store);
    // Nothing is young after a start.
    let store = Store::open_with(home.path(), describe).unwrap();
    store.set_own_keys([]);
    let other = super::stored(&store, b"nobody names it").await;
    drop(store);
    let store = Store::open_with(home.path(), describe).unwrap();
    store.set_own_keys([]);
    assert_eq!(store.evictable(std::collections::BTreeSet::new()).await.unwrap().len(), 1);
    let (gone, seen, _) = store.collect_blobs(None, false).await.unwrap();
    assert_eq!((gone.count, seen), (1, 2), "never garbage while the statement is held");
    assert!(store.blob(&other.digest).unwrap().is_none());
    assert!(store.blob(&digest).unwrap().is_some());
}
