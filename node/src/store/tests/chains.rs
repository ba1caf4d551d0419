//! A person chooses between the chains of a realm.

use crdt::{ChainStatus, Statement, Verified};
use tempfile::tempdir;

use super::super::{Error, Store};
use super::world::{Realm, grant, key, package};

fn epoch_of_one(realm: &Realm, who: u8, title: &str) -> Statement {
    realm.next(|root| {
        root.title = title.into();
        root.roots = vec![key(who).public()];
        root.grants = vec![grant(key(who).public())];
    })
}

/// A realm whose genesis has a recovery key.
fn recoverable() -> Realm {
    let mut realm = Realm::new(1);
    realm.content.recovery = vec![crdt::statement::recovery_hash(&key(80).public())];
    realm.content.rk = 1;
    let genesis = Statement::genesis(realm.content.clone()).unwrap();
    realm.genesis = Verified::sign(genesis, &[&realm.root]);
    realm.id = realm.genesis.statement().realm();
    realm
}

#[tokio::test]
async fn a_pending_recovery_is_accepted_by_a_person_and_outlives_a_restart() {
    let (realm, home) = (recoverable(), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let stolen = epoch_of_one(&realm, 40, "stolen");
    let rescue = epoch_of_one(&realm, 50, "rescued");
    let theirs = Verified::sign(realm.release("x", "1.0.0", b"theirs"), &[&key(40)]);
    let ours = Verified::sign(realm.release("x", "1.0.0", b"ours"), &[&key(50)]);
    store.admit(vec![Verified::sign(stolen, &[&realm.root, &key(40)])], None).await.unwrap();
    store.admit(vec![theirs, ours.clone()], None).await.unwrap();
    let rescued = Verified::sign(rescue.clone(), &[&key(80), &key(50)]);
    store.admit(vec![rescued], None).await.unwrap();
    let serves = |store: &Store| {
        let view = store.package(&realm.id, &package("x")).unwrap().unwrap();
        view.versions["1.0.0"].releases.clone()
    };
    let pending = store.authority(&realm.id).unwrap();
    assert_eq!(pending.status, ChainStatus::RecoverPending);
    assert_eq!(pending.evidence, [rescue.id()]);
    assert_ne!(serves(&store), [ours.statement().id()], "nothing moves without a person");
    let accepted = store.accept_chain(&realm.id, &rescue.id()).await.unwrap();
    assert_eq!((accepted.status, accepted.path[1]), (ChainStatus::Ok, rescue.id()));
    assert_eq!(store.authority(&realm.id).unwrap(), accepted);
    assert_eq!(serves(&store), [ours.statement().id()]);
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.authority(&realm.id).unwrap(), accepted);
}

#[tokio::test]
async fn one_side_of_a_fork_is_accepted_and_the_other_again() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let [a, b] = [epoch_of_one(&realm, 40, "a"), epoch_of_one(&realm, 50, "b")];
    let both =
        [(&a, 40), (&b, 50)].map(|(it, n)| Verified::sign(it.clone(), &[&realm.root, &key(n)]));
    store.admit(both.to_vec(), None).await.unwrap();
    assert_eq!(store.authority(&realm.id).unwrap().status, ChainStatus::Forked);
    for side in [&a, &b, &a] {
        let chain = store.accept_chain(&realm.id, &side.id()).await.unwrap();
        assert_eq!((chain.status, chain.path[1]), (ChainStatus::ForkPinned, side.id()));
        assert_eq!(chain.evidence.len(), 2, "the proof stays");
    }
}

#[tokio::test]
async fn a_chain_that_does_not_hold_is_not_accepted_and_changes_nothing() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let unsigned = epoch_of_one(&realm, 40, "nobody agreed");
    store.admit(vec![Verified::sign(unsigned.clone(), &[&key(40)])], None).await.unwrap();
    let before = store.authority(&realm.id).unwrap();
    let absent = epoch_of_one(&realm, 41, "never came");
    let release = realm.release("x", "1.0.0", b"x");
    store.admit(vec![realm.sign(release.clone())], None).await.unwrap();
    for root in [unsigned.id(), absent.id(), release.id()] {
        let refused = store.accept_chain(&realm.id, &root).await.unwrap_err();
        assert!(matches!(refused, Error::NoChain { .. }), "{refused}");
        assert_eq!(store.authority(&realm.id).unwrap(), before);
    }
}
