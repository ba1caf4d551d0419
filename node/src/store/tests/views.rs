//! Views follow what they are made of.

use crdt::{ChainStatus, Content, Digest, SlotState, Verified};
use redb::ReadableTable;
use tempfile::tempdir;

use super::super::tables::{self, META_FOLD, set_meta};
use super::super::{FollowKind, Slot, Store};
use super::world::{Realm, describe, grant, key, package};

fn content(verified: &Verified) -> Content {
    let crdt::Body::Release(release) = verified.statement().body() else { panic!("a release") };
    Content::of(&release.files[0])
}

fn slot(realm: &Realm, name: &str, version: &str) -> Slot {
    Slot {
        realm: realm.id,
        package: package(name),
        version: version.into(),
        file: format!("{name}-{version}.tgz"),
    }
}

#[tokio::test]
async fn a_view_follows_admission_and_withdrawal() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let x = package("x");
    assert!(store.package(&realm.id, &x).unwrap().is_none());
    assert_eq!(store.revision(&x).unwrap(), 0);
    let release = realm.sign(realm.release("x", "1.0.0", b"x"));
    let id = release.statement().id();
    let tag = realm.sign(realm.tag("x", "latest", id, 4));
    store.admit(vec![release.clone(), tag], None).await.unwrap();
    let view = store.package(&realm.id, &x).unwrap().unwrap();
    assert_eq!(view.versions["1.0.0"].state, SlotState::Ok);
    assert_eq!(view.tags["latest"], "1.0.0");
    assert_eq!(store.realms_with(&x).unwrap(), [realm.id]);
    assert_eq!(store.revision(&x).unwrap(), 1);
    store.admit(vec![realm.sign(realm.withdraw("x", id))], None).await.unwrap();
    assert!(store.package(&realm.id, &x).unwrap().is_none());
    assert!(store.realms_with(&x).unwrap().is_empty());
    // Whoever signs the next tag must still outbid the old one.
    assert_eq!(store.derived(&realm.id, &x).unwrap().unwrap().tag_counters["latest"].n, 4);
    assert_eq!(store.revision(&x).unwrap(), 2);
    let counts = store.counts().unwrap();
    assert_eq!((counts.realms, counts.packages, counts.releases, counts.statements), (1, 0, 0, 4));
}

#[tokio::test]
async fn a_view_follows_a_pin_and_its_removal() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let first = realm.sign(realm.release("x", "1.0.0", b"first"));
    let second = realm.sign(realm.release("x", "1.0.0", b"second"));
    store.admit(vec![first.clone(), second.clone()], None).await.unwrap();
    let state = |store: &Store| {
        let view = store.package(&realm.id, &package("x")).unwrap().unwrap();
        let file = view.versions["1.0.0"].files["x-1.0.0.tgz"].clone();
        (file.state, file.serves)
    };
    assert_eq!(state(&store), (SlotState::Disputed, None));
    let slot = slot(&realm, "x", "1.0.0");
    assert!(store.pin_content(&slot, content(&first), false).await.unwrap());
    assert_eq!(state(&store), (SlotState::DisputedPinned, Some(content(&first))));
    // A pin is set once; only an accept replaces it.
    assert!(!store.pin_content(&slot, content(&second), false).await.unwrap());
    assert_eq!(state(&store).1, Some(content(&first)));
    let before = store.revision(&package("x")).unwrap();
    assert!(store.pin_content(&slot, content(&second), true).await.unwrap());
    assert!(!store.pin_content(&slot, content(&second), true).await.unwrap());
    assert_eq!(state(&store).1, Some(content(&second)));
    assert_eq!(store.revision(&package("x")).unwrap(), before + 1);
    assert_eq!(store.pins(&realm.id, &package("x")).unwrap().len(), 1);
    assert!(store.pins(&realm.id, &package("x2")).unwrap().is_empty());
    assert!(store.unpin_content(&slot).await.unwrap());
    assert!(!store.unpin_content(&slot).await.unwrap());
    assert_eq!(state(&store), (SlotState::Disputed, None));
}

#[tokio::test]
async fn views_follow_a_change_of_authority() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let newcomer = key(33);
    let theirs = Verified::sign(realm.release("x", "1.0.0", b"x"), &[&newcomer]);
    store.admit(vec![theirs], None).await.unwrap();
    assert!(store.package(&realm.id, &package("x")).unwrap().is_none());
    assert!(!store.is_granted(&newcomer.public()).unwrap());
    let next = realm.next(|root| root.grants.push(grant(newcomer.public())));
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    assert!(store.package(&realm.id, &package("x")).unwrap().is_some());
    assert!(store.is_granted(&newcomer.public()).unwrap());
    assert_eq!(store.authority(&realm.id).unwrap().epoch(), 1);
    assert_eq!(store.authority_statements(&realm.id).unwrap().len(), 2);
}

#[tokio::test]
async fn a_rival_root_does_not_move_a_node_off_its_chain() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let ours = realm.next(|root| root.title = "ours".into());
    let rival = realm.next(|root| root.title = "rival".into());
    store.admit(vec![Verified::sign(ours.clone(), &[&realm.root])], None).await.unwrap();
    store.admit(vec![Verified::sign(rival.clone(), &[&realm.root])], None).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    let authority = store.authority(&realm.id).unwrap();
    assert_eq!((authority.status, authority.path[1]), (ChainStatus::ForkPinned, ours.id()));
    // Who hears of both at once stays before them.
    let (bob, other) = (tempdir().unwrap(), [ours, rival]);
    let store = realm.store(bob.path()).await;
    let both = other.map(|root| Verified::sign(root, &[&realm.root])).to_vec();
    store.admit(both, None).await.unwrap();
    let authority = store.authority(&realm.id).unwrap();
    assert_eq!((authority.status, authority.path.len()), (ChainStatus::Forked, 1));
}

#[tokio::test]
async fn artifacts_are_found_by_what_releases_name() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("x", "1.0.0", b"bytes");
    store.admit(vec![realm.sign(release.clone())], None).await.unwrap();
    let found = store.artifact(&Digest::of(b"bytes")).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].size, found[0].file.as_str()), (5, "x-1.0.0.tgz"));
    assert_eq!((found[0].release, found[0].checksums.is_some()), (release.id(), true));
    let extras = store.artifact(&Digest::of(b"readme")).unwrap();
    assert_eq!((extras[0].size, extras[0].checksums.is_some()), (6, false));
    assert!(store.is_referenced(&Digest::of(b"readme")).unwrap());
    assert!(!store.is_referenced(&Digest::of(b"other")).unwrap());
}

#[tokio::test]
async fn search_finds_names_and_descriptions_in_pages() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let names = ["alpha", "beta", "gamma"];
    let releases = names.map(|name| realm.sign(realm.release(name, "1.0.0", name.as_bytes())));
    store.admit(releases.to_vec(), None).await.unwrap();
    let (rows, total) = store.search("SAYS hello", Some("npm"), 2, 1).unwrap();
    assert_eq!(total, 3);
    let found: Vec<_> = rows.iter().map(|row| row.package.name.as_str()).collect();
    assert_eq!(found, ["beta", "gamma"]);
    assert_eq!(rows[0].description, "npm: beta says hello");
    assert_eq!((rows[0].versions, rows[0].realm), (1, realm.id));
    assert_eq!(store.search("ALPH", None, 10, 0).unwrap().1, 1);
    assert_eq!(store.search("", Some("np"), 10, 0).unwrap().1, 0);
    assert_eq!(store.search("", Some("npm"), 0, 0).unwrap().1, 3);
}

#[tokio::test]
async fn unfollowing_forgets_statements_and_views_and_keeps_pins() {
    let (own, other, home) = (Realm::new(1), Realm::new(2), tempdir().unwrap());
    let store = own.store(home.path()).await;
    let mut follows = store.watch_follows();
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    assert!(follows.has_changed().unwrap());
    follows.mark_unchanged();
    let mine = own.sign(own.release("x", "1.0.0", b"x"));
    let theirs = other.sign(other.release("x", "1.0.0", b"x"));
    let all = vec![mine, other.genesis.clone(), theirs.clone()];
    store.admit(all.clone(), None).await.unwrap();
    assert_eq!(store.realms_with(&package("x")).unwrap().len(), 2);
    let pinned = slot(&other, "x", "1.0.0");
    store.pin_content(&pinned, content(&theirs), false).await.unwrap();
    store.document(&other.id, &package("x")).await.unwrap();
    assert!(store.unfollow(&other.id).await.unwrap());
    assert!(!store.unfollow(&other.id).await.unwrap());
    assert!(follows.has_changed().unwrap());
    assert_eq!(store.realms_with(&package("x")).unwrap(), [own.id]);
    assert!(store.package_statements(&other.id, &package("x")).unwrap().is_empty());
    assert!(crdt::session::Index::collections(&store, &other.id).is_empty());
    assert_eq!(store.authority(&other.id).unwrap().status, ChainStatus::Unknown);
    assert_eq!(store.artifact(&Digest::of(b"x")).unwrap().len(), 1);
    assert_eq!(crdt::session::Index::log(&store, 0, 99).unwrap().len(), 2);
    assert_eq!(store.counts().unwrap().statements, 2);
    assert_eq!(store.pins(&other.id, &package("x")).unwrap().len(), 1);
    // What is followed again comes again, with the pin.
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    assert_eq!(store.admit(all, None).await.unwrap().new.len(), 2);
    let view = store.package(&other.id, &package("x")).unwrap().unwrap();
    assert_eq!(view.versions["1.0.0"].state, SlotState::Ok);
}

#[tokio::test]
async fn views_made_by_other_rules_are_derived_anew_at_open() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    store.admit(vec![realm.sign(realm.release("x", "1.0.0", b"x"))], None).await.unwrap();
    let before = store.package(&realm.id, &package("x")).unwrap();
    let spoil = |_: &_, txn: &redb::WriteTransaction| {
        txn.open_table(tables::VIEW)?.retain(|_, _| false)?;
        txn.open_table(tables::VIEW_VERSION)?.retain(|_, _| false)?;
        set_meta(txn, META_FOLD, 0)
    };
    store.write(spoil, |_, ()| {}).await.unwrap();
    assert_eq!(store.package(&realm.id, &package("x")).unwrap(), None);
    drop(store);
    let store = Store::open_with(home.path(), |format, meta| describe(format, meta).to_uppercase());
    let store = store.unwrap();
    assert_eq!(store.package(&realm.id, &package("x")).unwrap(), before);
    assert_eq!(store.search("x", None, 9, 0).unwrap().0[0].description, "NPM: X SAYS HELLO");
}

#[tokio::test]
async fn red_18_admission_never_touches_automerge() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let all: Vec<_> = (0..1000)
        .map(|n| realm.sign(realm.release(&format!("p{}", n % 9), &format!("1.{n}.0"), b"x")))
        .collect();
    store.admit(all, None).await.unwrap();
    assert_eq!(store.document_applies(), 0);
    let saved = store.document(&realm.id, &package("p0")).await.unwrap();
    assert_eq!(store.document_applies(), 1);
    assert_eq!(crdt::document::Document::load(&saved).unwrap().values().len(), 112);
    // Looking again applies nothing, nor does a name that nobody published.
    store.document(&realm.id, &package("unheard-of")).await.unwrap();
    assert_eq!(store.document(&realm.id, &package("p0")).await.unwrap(), saved);
    assert_eq!(store.document_applies(), 1);
}

#[tokio::test]
async fn a_saved_document_catches_up_and_is_rebuilt_if_it_does_not_load() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let x = package("x");
    let heads = |saved: &[u8]| crdt::document::Document::load(saved).unwrap().heads();
    store.admit(vec![realm.sign(realm.release("x", "1.0.0", b"x"))], None).await.unwrap();
    store.document(&realm.id, &x).await.unwrap();
    store.admit(vec![realm.sign(realm.release("x", "1.1.0", b"y"))], None).await.unwrap();
    let good = heads(&store.document(&realm.id, &x).await.unwrap());
    assert_eq!(good.len(), 2);
    let spoil = |_: &_, txn: &redb::WriteTransaction| {
        let mut table = txn.open_table(tables::AM_DOC)?;
        let key = *table.first()?.unwrap().0.value();
        let (version, applied, mut saved) = {
            let row = table.get(&key)?.unwrap();
            let (version, applied, saved) = row.value();
            (version, applied, saved.to_vec())
        };
        let middle = saved.len() / 2;
        saved.truncate(middle);
        table.insert(&key, (version, applied, saved.as_slice()))?;
        Ok(())
    };
    store.write(spoil, |_, ()| {}).await.unwrap();
    let before = store.document_applies();
    assert_eq!(heads(&store.document(&realm.id, &x).await.unwrap()), good);
    assert_eq!(store.document_applies(), before + 1);
}
