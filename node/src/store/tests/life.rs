//! What goes and what stays: room, garbage, rot.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crdt::Digest;
use crdt::statement::Subject;
use tempfile::tempdir;

use super::super::cached::{CachedBy, CachedDocument, CachedFile};
use super::super::gc::Garbage;
use super::super::kinds::Amount;
use super::super::usage::DAY;
use super::super::verify::{Checked, Rotten};
use super::super::{BlobInfo, Error, FollowKind, Hashes, Store, blob};
use super::world::Realm;
use super::{files, noise, open_here, stored};

pub(super) fn document(name: &str, body: &BlobInfo) -> CachedDocument {
    CachedDocument {
        subject: Subject {
            origin: Digest::of(b"origin"),
            format: "npm".into(),
            document: name.into(),
            variant: "full".into(),
        },
        body: Some(body.digest),
        size: body.size,
        content_type: "application/json".into(),
        etag: None,
        last_modified: None,
        moved: None,
        fetched_at: 1,
        checked_at: 1,
        by: CachedBy::Upstream,
        earlier: Vec::new(),
    }
}

pub(super) fn file(package: &str, info: &BlobInfo) -> CachedFile {
    CachedFile {
        origin: Digest::of(b"origin"),
        format: "npm".into(),
        package: package.into(),
        version: "1.0.0".into(),
        file: format!("{package}-1.0.0.tgz"),
        digest: info.digest,
        size: info.size,
        by: CachedBy::Checksum,
    }
}

fn held(store: &Store, info: &BlobInfo) -> bool {
    store.blob(&info.digest).unwrap().is_some()
}

fn none() -> BTreeSet<Digest> {
    BTreeSet::new()
}

async fn evictable(store: &Store, pinned: BTreeSet<Digest>) -> Vec<Digest> {
    let found = store.evictable(pinned).await.unwrap();
    found.into_iter().map(|one| one.digest).collect()
}

/// A store with a release of its own, one of somebody else, and one file of an upstream.
async fn three(store: Store) -> (Store, [BlobInfo; 3]) {
    let (own, other) = (Realm::new(1), Realm::new(2));
    let store = own.held_by(store).await;
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    store.admit(vec![other.genesis.clone()], None).await.unwrap();
    let mine = stored(&store, b"mine").await;
    let theirs = stored(&store, b"theirs").await;
    let cached = stored(&store, b"cached").await;
    store.admit(vec![own.sign(own.release("x", "1.0.0", b"mine"))], None).await.unwrap();
    store.admit(vec![other.sign(other.release("y", "1.0.0", b"theirs"))], None).await.unwrap();
    store.put_cached_file(file("z", &cached)).await.unwrap();
    (store, [mine, theirs, cached])
}

#[tokio::test]
async fn what_was_published_here_or_pinned_is_no_candidate() {
    let home = tempdir().unwrap();
    let (store, [mine, theirs, cached]) = three(open_here(home.path())).await;
    store.inner.uses.grow_old();
    // Nobody has said yet which keys are this node's.
    assert_eq!(evictable(&store, none()).await, [cached.digest]);
    store.set_own_keys([]);
    let found = store.evictable(none()).await.unwrap();
    assert_eq!(found.len(), 2, "the own realm's stays without a key, too: {found:?}");
    assert!(found.iter().all(|one| one.of_peers == (one.digest == theirs.digest)));
    let pinned = BTreeSet::from([theirs.digest, cached.digest]);
    assert_eq!(evictable(&store, pinned.clone()).await, []);
    let all = BTreeSet::from([mine.digest, theirs.digest, cached.digest]);
    assert!(store.evict(all.clone(), pinned).await.unwrap().is_empty());
    assert!(held(&store, &mine) && held(&store, &theirs) && held(&store, &cached));
    store.set_own_keys([Realm::new(2).publisher.public()]);
    let kinds = store.kinds(none()).await.unwrap();
    assert_eq!((kinds.published.count, kinds.mirrored.count, kinds.cached.count), (2, 0, 1));
    assert_eq!(kinds.cached_packages, 1);
    assert_eq!(store.evict(all, none()).await.unwrap(), std::slice::from_ref(&cached));
    assert_eq!(store.evicted(), (1, cached.size));
    assert!(held(&store, &mine) && held(&store, &theirs) && !held(&store, &cached));
    assert!(store.cached_files(&Digest::of(b"origin"), "npm", "z").unwrap().is_empty());
    assert!(!store.is_cached(&cached.digest).unwrap());
}

#[tokio::test]
async fn what_came_just_now_is_not_let_go_and_a_handle_outlives_its_name() {
    let home = tempdir().unwrap();
    let (store, [_, _, cached]) = three(open_here(home.path())).await;
    let all = BTreeSet::from([cached.digest]);
    assert!(store.evict(all.clone(), none()).await.unwrap().is_empty());
    store.inner.uses.grow_old();
    let (_, mut file) = store.open_blob(&cached.digest).await.unwrap().unwrap();
    assert_eq!(store.evict(all, none()).await.unwrap().len(), 1);
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut file, &mut bytes).await.unwrap();
    assert_eq!(bytes, b"cached");
    assert_eq!(files(home.path(), "blobs").len(), 2);
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn the_least_recently_used_goes_first_also_after_a_restart() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let now = blob::now_seconds();
    let mut infos = Vec::new();
    for name in ["a", "b", "c"] {
        let info = stored(&store, name.as_bytes()).await;
        store.put_cached_file(file(name, &info)).await.unwrap();
        infos.push(info);
    }
    store.inner.uses.grow_old();
    // Stored at the same second: the uses alone tell them apart.
    for (info, ahead) in infos.iter().zip([500, 900, 100]) {
        store.inner.uses.touch_at(&info.digest, now + ahead);
    }
    let order = [infos[2].digest, infos[0].digest, infos[1].digest];
    assert_eq!(evictable(&store, none()).await, order);
    // A clock that ran ahead says nothing.
    store.inner.uses.touch_at(&infos[1].digest, now + 3 * DAY);
    assert_eq!(evictable(&store, none()).await[0], infos[1].digest);
    store.inner.uses.touch_at(&infos[1].digest, now + DAY);
    assert_eq!(store.flush_uses().await.unwrap(), 3);
    assert_eq!(store.flush_uses().await.unwrap(), 0, "one row for each blob and day");
    store.touch(&infos[0].digest);
    assert_eq!(store.flush_uses().await.unwrap(), 0);
    drop(store);
    let store = open_here(home.path());
    assert_eq!(evictable(&store, none()).await[2], infos[1].digest, "its day is the last");
    store.remove_blob(&infos[1].digest).await.unwrap();
    assert_eq!(evictable(&store, none()).await.len(), 2);
}

#[tokio::test]
async fn a_document_goes_with_its_row_and_an_earlier_body_alone() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let (old, new) = (stored(&store, b"old").await, stored(&store, b"new").await);
    store.put_cached_document(document("pad", &old)).await.unwrap();
    store.put_cached_document(document("pad", &new)).await.unwrap();
    store.inner.uses.grow_old();
    let subject = document("pad", &new).subject;
    let gone = store.evict(BTreeSet::from([old.digest]), none()).await.unwrap();
    assert_eq!(gone, std::slice::from_ref(&old));
    let row = store.cached_document(&subject).unwrap().unwrap();
    assert_eq!((row.body, row.earlier), (Some(new.digest), Vec::new()));

    let old = stored(&store, b"old").await;
    store.put_cached_document(document("pad", &old)).await.unwrap();
    store.inner.uses.grow_old();
    let gone = store.evict(BTreeSet::from([old.digest]), none()).await.unwrap();
    assert_eq!(gone.len(), 2, "the earlier body had no other reason to be here");
    assert!(store.cached_document(&subject).unwrap().is_none());
    assert!(!store.is_cached(&new.digest).unwrap());
    assert!(files(home.path(), "blobs").is_empty());
}

#[tokio::test]
async fn bytes_of_two_names_go_with_both_rows_or_not_at_all() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let info = stored(&store, b"twins").await;
    store.put_cached_file(file("a", &info)).await.unwrap();
    store.put_cached_file(file("b", &info)).await.unwrap();
    store.inner.uses.grow_old();
    assert!(
        store
            .evict(BTreeSet::from([info.digest]), BTreeSet::from([info.digest]))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.is_cached(&info.digest).unwrap());
    assert_eq!(store.evict(BTreeSet::from([info.digest]), none()).await.unwrap().len(), 1);
    for package in ["a", "b"] {
        assert!(store.cached_files(&Digest::of(b"origin"), "npm", package).unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_quota_refuses_unless_a_sweep_makes_room_in_time() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let info = stored(&store, &noise(2000)).await;
    store.put_cached_file(file("a", &info)).await.unwrap();
    store.inner.uses.grow_old();
    store.set_limits(Some(1000), None);
    let refused = store.writer(Hashes::default(), 1).await;
    assert!(matches!(refused, Err(Error::OverQuota { quota: 1000, held: 2000, .. })));
    assert!(matches!(store.partial(&Digest::of(b"x"), 1).await, Err(Error::OverQuota { .. })));
    let _sweeping = store.sweeping();
    let sweep = async {
        store.room_wanted().await;
        // With the byte of the download that was refused.
        assert_eq!(store.excess().unwrap(), 2000 + 1 - 850);
        let went = store.evict(BTreeSet::from([info.digest]), none()).await.unwrap();
        store.swept(went.is_empty());
    };
    let (writer, ()) = futures::join!(store.writer(Hashes::default(), 1), sweep);
    writer.expect("there is room now");
    let room = store.room().unwrap();
    assert_eq!((room.held, room.left(), room.excess()), (0, 1000, 0));
}

#[tokio::test]
async fn garbage_goes_once_nobody_can_be_about_to_name_it() {
    let home = tempdir().unwrap();
    let (store, [mine, theirs, cached]) = three(Store::open(home.path()).unwrap()).await;
    let lost = stored(&store, b"lost").await;
    let (gone, seen, next) = store.collect_blobs(None, false).await.unwrap();
    assert_eq!((gone, seen, next), (Amount::default(), 4, None), "it may be a publish");
    store.inner.uses.grow_old();
    let one = Amount { count: 1, bytes: 4 };
    assert_eq!(store.collect_blobs(None, true).await.unwrap().0, one);
    assert!(held(&store, &lost), "that was a trial");
    // The same bytes are published again meanwhile: their blob is there already.
    let again = stored(&store, b"lost").await;
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0, Amount::default());
    store.inner.uses.grow_old();
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0, one);
    assert!(!held(&store, &again));
    assert!(held(&store, &mine) && held(&store, &theirs) && held(&store, &cached));
    assert_eq!(store.counts().unwrap().blob_bytes, mine.size + theirs.size + cached.size);
}

#[tokio::test]
async fn files_without_an_owner_go_and_a_download_under_way_stays() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, &noise(3000)).await;
    let stray = Digest::of(b"stray");
    let shard = home.path().join("blobs").join(&stray.to_hex()[..2]);
    fs_err::create_dir_all(&shard).unwrap();
    fs_err::write(shard.join(stray.to_hex()), b"stray").unwrap();
    fs_err::write(shard.join("README"), b"a person's own").unwrap();
    fs_err::write(home.path().join("outboard").join(stray.to_hex()), b"tree").unwrap();
    let old = Digest::of(b"old half");
    let busy = Digest::of(b"busy half");
    drop(store.partial(&old, 40_000).await.unwrap());
    let under_way = store.partial(&busy, 40_000).await.unwrap();
    let fresh = Digest::of(b"fresh half");
    drop(store.partial(&fresh, 40_000).await.unwrap());
    let long_ago = SystemTime::now() - Duration::from_secs(8 * DAY);
    for digest in [old, busy] {
        let data = home.path().join(format!("partial/{}.data", digest.to_hex()));
        let data = fs_err::OpenOptions::new().write(true).open(data).unwrap();
        data.file().set_modified(long_ago).unwrap();
    }
    let trial = store.collect_files(true).await.unwrap();
    let went = store.collect_files(false).await.unwrap();
    assert_eq!(trial, went);
    let counts = |g: Garbage| (g.partial.count, g.orphans.count, g.trees.count);
    assert_eq!(counts(went), (1, 1, 1));
    assert_eq!(files(home.path(), "blobs").len(), 2, "the blob, and what is no blob");
    assert!(held(&store, &info));
    let left = files(home.path(), "partial");
    assert!(left.iter().any(|name| name.starts_with(&busy.to_hex())), "{left:?}");
    assert!(left.iter().any(|name| name.starts_with(&fresh.to_hex())), "{left:?}");
    assert!(!left.iter().any(|name| name.starts_with(&old.to_hex())), "{left:?}");
    drop(under_way);
}

/// Reads it to its end.
pub(in super::super) async fn check(store: &Store, info: &BlobInfo) -> Option<Rotten> {
    let Some(mut check) = store.check_blob(info.clone()).await.unwrap() else {
        return Some(Rotten::MISSING);
    };
    loop {
        match check.go_on().await.unwrap() {
            Checked::Going(on, _) => check = on,
            Checked::Sound => return None,
            Checked::Rotten(rotten) => return Some(rotten),
        }
    }
}

#[tokio::test]
async fn what_rots_is_put_aside_and_its_record_dropped() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let bytes = noise(2_500_000);
    let info = stored(&store, &bytes).await;
    let sound = stored(&store, b"sound").await;
    assert_eq!(check(&store, &info).await, None);
    let path = store.inner.paths.blob(&info.digest);
    let mut damaged = bytes.clone();
    damaged[2_000_000] ^= 1;
    fs_err::write(&path, &damaged).unwrap();
    let rotten = check(&store, &info).await.expect("one bit differs");
    // A good one took its place between the look and the move.
    let other = home.path().join("other");
    // Beside the damaged one, whose inode would else be free for it.
    fs_err::write(&other, &bytes).unwrap();
    fs_err::rename(&other, &path).unwrap();
    assert!(!store.quarantine(&info.digest, rotten).await.unwrap());
    assert!(held(&store, &info));

    fs_err::write(&path, &damaged).unwrap();
    let rotten = check(&store, &info).await.unwrap();
    assert!(store.quarantine(&info.digest, rotten).await.unwrap());
    assert!(!held(&store, &info) && held(&store, &sound));
    assert_eq!(files(home.path(), "quarantine"), [info.digest.to_hex()]);
    assert_eq!(store.quarantined().await.unwrap().count, 1);
    assert_eq!(store.counts().unwrap().blob_bytes, 5);
    assert!(store.open_blob(&info.digest).await.unwrap().is_none());
    assert_eq!(store.collect_files(false).await.unwrap().quarantined.count, 0, "evidence");
    stored(&store, &bytes).await;
    assert_eq!(check(&store, &info).await, None);
    assert_eq!(store.collect_files(false).await.unwrap().quarantined.count, 1);
    fs_err::remove_file(&path).unwrap();
    assert_eq!(check(&store, &info).await, Some(Rotten::MISSING));
    assert!(store.quarantine(&info.digest, Rotten::MISSING).await.unwrap());
    assert!(!held(&store, &info));
}

#[tokio::test]
async fn a_kill_between_the_record_and_the_move_leaves_no_rotten_blob() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, b"sound once").await;
    fs_err::write(store.inner.paths.blob(&info.digest), b"sound ONCE").unwrap();
    let digest = info.digest;
    let first_half = move |inner: &_, txn: &redb::WriteTransaction| {
        blob::announce(inner, [&digest])?;
        blob::forget(txn, &digest)
    };
    store.write(first_half, |_, ()| {}).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert!(!held(&store, &info));
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
}
