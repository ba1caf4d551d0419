//! Who may show a restored node that it is up to date.

use crdt::session::Index as _;
use crdt::{Item, RealmId, Verified};
use tempfile::{TempDir, tempdir};

use super::super::backup::{Order, Progress};
use super::super::restore::restore;
use super::super::{FollowKind, NotYet, Store};
use super::world::Realm;

const WITNESS: &[u8] = b"witness";

fn order(folder: &std::path::Path) -> Order {
    let row = |_: &str, _: &str, value: &[u8]| Some(value.to_vec());
    Order { folder: folder.to_owned(), files: Vec::new(), row, is_own: true }
}

/// A backup of a store, restored into a new home.
async fn again(store: &Store) -> (TempDir, Store) {
    let (there, back) = (tempdir().unwrap(), tempdir().unwrap());
    store.back_up(order(there.path()), Box::new(|_: Progress| true)).await.unwrap();
    restore(there.path(), &back.path().join("home"), Box::new(|_: Progress| true)).unwrap();
    let restored = Store::open(&back.path().join("home")).unwrap();
    (back, restored)
}

fn item(verified: &Verified) -> Item {
    let key = *verified.signatures().keys().next().unwrap();
    Item { id: verified.statement().id(), key }
}

struct World {
    realm: Realm,
    release: Verified,
    _homes: [TempDir; 2],
    store: Store,
}

impl World {
    /// A restored store that had met the witness before.
    async fn new() -> Self {
        let (realm, home) = (Realm::new(1), tempdir().unwrap());
        let store = realm.store(home.path()).await;
        let release = realm.sign(realm.release("a", "1.0.0", b"a"));
        store.admit(vec![release.clone()], None).await.unwrap();
        store.set_peer_seen(WITNESS, 5, 6).await.unwrap();
        let (back, restored) = again(&store).await;
        Self { realm, release, _homes: [home, back], store: restored }
    }

    fn is_held_back(&self) -> bool {
        self.store.may_be_outdated(&self.realm.id).unwrap()
    }
}

#[tokio::test]
async fn a_member_that_was_known_before_and_lacks_nothing_of_the_backup_is_a_witness() {
    let world = World::new().await;
    let (store, own) = (&world.store, [world.realm.id]);
    assert!(world.is_held_back());
    let stranger = store.regain(b"a newcomer", &own).await;
    assert!(matches!(stranger, Err(NotYet::Unknown)), "{stranger:?}");
    let others = store.regain(WITNESS, &[RealmId(crdt::Digest::of(b"other"))]).await;
    assert!(matches!(others, Err(NotYet::FollowsOthers)), "{others:?}");
    // What was signed since the restore, everybody may lack.
    let newer = world.realm.sign(world.realm.release("a", "2.0.0", b"b"));
    store.admit(vec![newer.clone()], None).await.unwrap();
    store.note_lacked(WITNESS, vec![item(&newer)]).await.unwrap();
    assert!(world.is_held_back());
    store.regain(WITNESS, &own).await.unwrap();
    assert!(!world.is_held_back() && !store.restored().unwrap());
    store.note_lacked(WITNESS, vec![item(&world.release)]).await.unwrap();
    assert!(!store.restored().unwrap(), "that is over");
}

#[tokio::test]
async fn who_lacked_something_of_the_backup_is_none_also_after_a_restart() {
    let world = World::new().await;
    let own = [world.realm.id];
    world.store.note_lacked(WITNESS, vec![item(&world.release)]).await.unwrap();
    let home = world.store.home().to_owned();
    drop(world.store);
    let store = Store::open(&home).unwrap();
    let behind = store.regain(WITNESS, &own).await;
    assert!(matches!(behind, Err(NotYet::Behind)), "{behind:?}");
    store.set_up_to_date().await.unwrap();
    assert!(!store.may_be_outdated(&own[0]).unwrap());
}

#[tokio::test]
async fn the_site_counts_too_and_a_realm_made_since_not_at_all() {
    let world = World::new().await;
    let (store, site) = (&world.store, Realm::new(2));
    store.follow(site.followed(FollowKind::Site)).await.unwrap();
    let alone = store.regain(WITNESS, &[world.realm.id]).await;
    assert!(matches!(alone, Err(NotYet::FollowsOthers)), "{alone:?}");
    assert!(store.may_be_outdated(&site.id).unwrap());
    // As after a backup without keys: the realm is the site, and the own one is new.
    store.unfollow(&world.realm.id).await.unwrap();
    let new = Realm::new(3);
    store.follow(new.followed(FollowKind::Own)).await.unwrap();
    assert!(!store.may_be_outdated(&new.id).unwrap());
    assert!(store.may_be_outdated(&world.realm.id).unwrap());
    let none = store.regain(WITNESS, &[site.id, new.id]).await;
    assert!(matches!(none, Err(NotYet::NoRealm)), "{none:?}");
}

#[tokio::test]
async fn a_restore_of_a_restored_node_makes_no_new_witnesses() {
    let world = World::new().await;
    world.store.set_peer_seen(b"a newcomer", 7, 8).await.unwrap();
    let (_back, store) = again(&world.store).await;
    let own = [world.realm.id];
    let newcomer = store.regain(b"a newcomer", &own).await;
    assert!(matches!(newcomer, Err(NotYet::Unknown)), "{newcomer:?}");
    store.regain(WITNESS, &own).await.unwrap();
    assert!(store.log(0, 1).is_some());
}
