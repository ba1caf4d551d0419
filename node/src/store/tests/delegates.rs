//! Realms that are followed because a grant names them.

use crdt::session::Index as _;
use crdt::statement::{Grant, Grantee, Pattern};
use crdt::{ChainStatus, RealmId, Statement, Verified};
use tempfile::tempdir;

use super::super::delegates::DELEGATES_MAX;
use super::super::{FollowKind, Store};
use super::world::{Realm, key, package};

fn to_realm(pattern: &str, realm: RealmId) -> Grant {
    let to = Grantee::Realm(realm);
    Grant { to, ..Grant::to_key("publish", Pattern::parse(pattern).unwrap(), key(1).public()) }
}

/// A realm whose genesis delegates to these.
fn above(n: u8, below: &[RealmId]) -> Realm {
    let mut realm = Realm::new(n);
    realm.content.grants.extend(below.iter().map(|realm| to_realm("*", *realm)));
    let genesis = Statement::genesis(realm.content.clone()).unwrap();
    realm.genesis = Verified::sign(genesis, &[&realm.root]);
    realm.id = realm.genesis.statement().realm();
    realm
}

fn kind(store: &Store, realm: &Realm) -> Option<FollowKind> {
    let followed = store.followed().unwrap().into_iter().find(|one| one.realm == realm.id);
    followed.map(|one| one.kind)
}

#[tokio::test]
async fn a_realm_that_a_grant_names_is_followed_for_its_authority_and_ends_with_the_grant() {
    let (team, home) = (Realm::new(2), tempdir().unwrap());
    let company = above(1, &[team.id]);
    let store = company.store(home.path()).await;
    assert_eq!(kind(&store, &team), Some(FollowKind::Delegate));
    assert!(store.follows().contains(&team.id), "peers are asked for it");
    let theirs = Verified::sign(company.release("x", "1.0.0", b"x"), &[&team.publisher]);
    let own = team.sign(team.release("own", "1.0.0", b"own"));
    store.admit(vec![theirs, team.genesis.clone(), own], None).await.unwrap();
    assert!(store.package(&company.id, &package("x")).unwrap().is_some());
    assert!(store.derived(&team.id, &package("own")).unwrap().is_none(), "it supplies no names");
    assert!(store.realms_with(&package("own")).unwrap().is_empty());
    // The team revokes its key: that cuts it in the company, too.
    let body = crdt::Body::Revoke {
        key: team.publisher.public(),
        keep: crdt::statement::IdList::Inline(vec![]),
        reason: "left".into(),
    };
    let revoke = Statement::new(team.id, None, body).unwrap();
    store.admit(vec![Verified::sign(revoke, &[&team.root])], None).await.unwrap();
    assert!(store.package(&company.id, &package("x")).unwrap().is_none());
    let next = company.next(|root| root.grants.truncate(1));
    let mut follows = store.watch_follows();
    follows.mark_unchanged();
    store.admit(vec![Verified::sign(next, &[&company.root])], None).await.unwrap();
    assert_eq!(kind(&store, &team), None);
    assert!(follows.has_changed().unwrap());
    assert_eq!(store.authority(&team.id).unwrap().status, ChainStatus::Unknown);
    assert!(store.collections(&team.id).is_empty());
}

#[tokio::test]
async fn a_persons_follow_takes_the_place_and_gives_it_back() {
    let (team, home) = (Realm::new(2), tempdir().unwrap());
    let company = above(1, &[team.id]);
    let store = company.store(home.path()).await;
    let own = team.sign(team.release("own", "1.0.0", b"own"));
    store.admit(vec![team.genesis.clone(), own], None).await.unwrap();
    store.follow(team.followed(FollowKind::Followed)).await.unwrap();
    assert_eq!(kind(&store, &team), Some(FollowKind::Followed));
    assert!(store.package(&team.id, &package("own")).unwrap().is_some(), "derived now");
    assert!(store.unfollow(&team.id).await.unwrap());
    assert_eq!(kind(&store, &team), Some(FollowKind::Delegate));
    assert!(store.derived(&team.id, &package("own")).unwrap().is_none());
    assert_eq!(store.authority(&team.id).unwrap().status, ChainStatus::Ok, "its statements stay");
    assert!(store.unfollow(&company.id).await.unwrap());
    assert!(store.followed().unwrap().is_empty(), "nobody delegates to it any more");
}

#[tokio::test]
async fn delegation_reaches_three_realms_deep_and_no_further() {
    let home = tempdir().unwrap();
    let mut chain = vec![Realm::new(10)];
    for n in (5..10).rev() {
        let below = chain[0].id;
        chain.insert(0, above(n, &[below]));
    }
    let store = chain[0].store(home.path()).await;
    for realm in &chain[1..] {
        store.admit(vec![realm.genesis.clone()], None).await.unwrap();
    }
    let kinds: Vec<_> = chain.iter().map(|realm| kind(&store, realm)).collect();
    let delegate = Some(FollowKind::Delegate);
    assert_eq!(kinds, [Some(FollowKind::Own), delegate, delegate, delegate, None, None]);
    // A cycle ends by itself.
    let back = chain[3].next(|root| root.grants.push(to_realm("*", chain[0].id)));
    store.admit(vec![Verified::sign(back, &[&chain[3].root])], None).await.unwrap();
    assert_eq!(store.authority(&chain[3].id).unwrap().epoch(), 1);
    assert_eq!(store.followed().unwrap().len(), 4);
}

#[tokio::test]
async fn thirty_two_delegates_of_a_realm_are_followed_and_one_more_is_not() {
    for (named, followed) in [(DELEGATES_MAX, DELEGATES_MAX), (DELEGATES_MAX + 1, DELEGATES_MAX)] {
        let home = tempdir().unwrap();
        let below: Vec<_> =
            (0..named).map(|n| Realm::new(100 + u8::try_from(n).unwrap()).id).collect();
        let store = above(1, &below).store(home.path()).await;
        assert_eq!(store.followed().unwrap().len(), 1 + followed);
    }
}
