//! What was fetched from upstreams: rows, the bytes that they hold alive, names by checksum.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use crdt::routes::Source;
use crdt::statement::Subject;
use crdt::{Digest, PackageId, SecretKey};
use sha2::Digest as _;
use tempfile::tempdir;

use super::super::cached::{CachedBy, CachedDocument, CachedFile};
use super::super::{BlobInfo, Error, Hashes, Store};
use super::world::Realm;
use super::{files, staged, stored};

pub(super) fn subject(document: &str) -> Subject {
    let origin = Digest::of(b"origin");
    let (format, variant) = ("npm".to_owned(), "full".to_owned());
    Subject { origin, format, document: document.to_owned(), variant }
}

pub(super) fn document(name: &str, body: Option<&BlobInfo>) -> CachedDocument {
    CachedDocument {
        subject: subject(name),
        body: body.map(|info| info.digest),
        size: body.map_or(0, |info| info.size),
        content_type: "application/json".to_owned(),
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        moved: None,
        fetched_at: 1_600_000_000,
        checked_at: u64::MAX,
        by: CachedBy::Upstream,
        earlier: Vec::new(),
    }
}

pub(super) fn file(package: &str, name: &str, info: &BlobInfo) -> CachedFile {
    CachedFile {
        origin: Digest::of(b"origin"),
        format: "npm".to_owned(),
        package: package.to_owned(),
        version: "1.0.0".to_owned(),
        file: name.to_owned(),
        digest: info.digest,
        size: info.size,
        by: CachedBy::Checksum,
    }
}

fn held(store: &Store, info: &BlobInfo) -> bool {
    store.blob(&info.digest).unwrap().is_some()
}

#[tokio::test]
async fn rows_survive_a_restart_unchanged() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let body = stored(&store, b"{}").await;
    let author = SecretKey::from_seed(&[7; 32]).public();
    let grounds = [
        CachedBy::Upstream,
        CachedBy::Receipt { author },
        CachedBy::Agreement { authors: vec![author, author] },
        CachedBy::Checksum,
    ];
    let mut rows = Vec::new();
    for (number, by) in grounds.into_iter().enumerate() {
        let name = format!("@scope/p{number}");
        let row = CachedDocument { by: by.clone(), ..document(&name, Some(&body)) };
        store.put_cached_document(row.clone()).await.unwrap();
        let held = CachedFile { by, ..file(&name, "p.tgz", &body) };
        store.put_cached_file(held.clone()).await.unwrap();
        rows.push((row, held));
    }
    let absent = document("absent", None);
    store.put_cached_document(absent.clone()).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    for (row, held) in rows {
        assert_eq!(store.cached_document(&row.subject).unwrap(), Some(row));
        let found = store.cached_files(&held.origin, "npm", &held.package).unwrap();
        assert_eq!(found, [held]);
    }
    assert_eq!(store.cached_document(&absent.subject).unwrap(), Some(absent));
    assert_eq!(store.cached_document(&subject("other")).unwrap(), None);
    assert_eq!(store.cached_documents("npm").unwrap().len(), 5);
    assert!(store.cached_documents("pypi").unwrap().is_empty());
    assert!(store.is_cached(&body.digest).unwrap());
}

#[tokio::test]
async fn files_of_a_package_are_not_those_of_its_neighbours() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, b"bytes").await;
    for (package, name) in [("a", "a-1.tgz"), ("a", "a-2.tgz"), ("a-b", "x.tgz"), ("", "y.tgz")] {
        store.put_cached_file(file(package, name, &info)).await.unwrap();
    }
    let origin = Digest::of(b"origin");
    let names = |package: &str| -> Vec<String> {
        let found = store.cached_files(&origin, "npm", package).unwrap();
        found.into_iter().map(|file| file.file).collect()
    };
    assert_eq!(
        (names("a"), names("a-b")),
        (vec!["a-1.tgz".into(), "a-2.tgz".into()], vec!["x.tgz".into()])
    );
    assert!(store.cached_files(&Digest::of(b"other"), "npm", "a").unwrap().is_empty());
}

#[tokio::test]
async fn two_earlier_bodies_are_held_and_older_ones_removed() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut bodies = Vec::new();
    for text in ["one", "two", "three", "four"] {
        bodies.push(stored(&store, text.as_bytes()).await);
        store.put_cached_document(document("p", bodies.last())).await.unwrap();
        // The same once more, as after a revalidation, pushes nothing out.
        store.put_cached_document(document("p", bodies.last())).await.unwrap();
    }
    let row = store.cached_document(&subject("p")).unwrap().unwrap();
    assert_eq!(row.earlier, [bodies[2].digest, bodies[1].digest]);
    assert_eq!(
        bodies.iter().map(|it| held(&store, it)).collect::<Vec<_>>(),
        [false, true, true, true]
    );
    assert!(!store.is_cached(&bodies[0].digest).unwrap());
    assert!(store.is_cached(&bodies[1].digest).unwrap());
    // An earlier body that comes back is the newest, and no longer an earlier one.
    store.put_cached_document(document("p", Some(&bodies[1]))).await.unwrap();
    let row = store.cached_document(&subject("p")).unwrap().unwrap();
    assert_eq!(row.earlier, [bodies[3].digest, bodies[2].digest]);
    // The upstream has it no more: what lockfiles ask for stays.
    store.put_cached_document(document("p", None)).await.unwrap();
    let row = store.cached_document(&subject("p")).unwrap().unwrap();
    assert_eq!(row.earlier, [bodies[1].digest, bodies[3].digest]);
    assert!(!held(&store, &bodies[2]));
    assert!(files(home.path(), "tmp").is_empty());
    assert_eq!(files(home.path(), "blobs").len(), 2);
}

#[tokio::test]
async fn bytes_that_another_row_or_a_release_names_are_not_removed() {
    let home = tempdir().unwrap();
    let realm = Realm::new(1);
    let store = realm.store(home.path()).await;
    let shared = stored(&store, b"shared").await;
    let released = stored(&store, b"released").await;
    let release = realm.release("x", "1.0.0", b"released");
    store.admit(vec![realm.sign(release)], None).await.unwrap();
    assert!(store.is_referenced(&released.digest).unwrap());
    store.put_cached_file(file("q", "q.tgz", &shared)).await.unwrap();
    store.put_cached_file(file("p", "p.tgz", &shared)).await.unwrap();
    let other = stored(&store, b"other").await;
    store.put_cached_file(file("p", "p.tgz", &released)).await.unwrap();
    store.put_cached_file(file("p", "p.tgz", &other)).await.unwrap();
    assert!(held(&store, &shared) && held(&store, &released) && held(&store, &other));
    assert!(!store.is_cached(&released.digest).unwrap());
    store.put_cached_file(file("q", "q.tgz", &other)).await.unwrap();
    assert!(!held(&store, &shared), "nobody names it any more");
    let lie = stored(&store, b"sent for a lying hint").await;
    assert!(store.remove_unused_blob(&lie.digest).await.unwrap());
    for used in [&released, &other] {
        assert!(!store.remove_unused_blob(&used.digest).await.unwrap());
    }
    assert!(!held(&store, &lie) && held(&store, &released) && held(&store, &other));
}

#[tokio::test]
async fn a_blob_is_found_by_its_strong_checksums_until_it_is_removed() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let plain = stored(&store, b"hello").await;
    let sha512: [u8; 64] = sha2::Sha512::digest(b"hello").into();
    assert_eq!(store.blob_by_sha256(&plain.checksums.sha256).unwrap(), Some(plain.digest));
    assert_eq!(store.blob_by_sha512(&sha512).unwrap(), None, "it was not computed");
    // A second copy brings the sum that lacked.
    let hashes = Hashes { sha512: true, ..Hashes::default() };
    let mut writer = store.writer(hashes, 5).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    store.commit(writer.finish().await.unwrap()).await.unwrap();
    assert_eq!(store.blob_by_sha512(&sha512).unwrap(), Some(plain.digest));
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.blob_by_sha512(&sha512).unwrap(), Some(plain.digest));
    store.remove_blob(&plain.digest).await.unwrap();
    assert_eq!(store.blob_by_sha512(&sha512).unwrap(), None);
    assert_eq!(store.blob_by_sha256(&plain.checksums.sha256).unwrap(), None);
}

#[tokio::test]
async fn what_comes_from_outside_is_bounded() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let long = "x".repeat(100_000);
    let refused = store.put_cached_document(document(&long, None)).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    let row = CachedDocument {
        etag: Some(long.clone()),
        last_modified: Some(long.clone()),
        moved: Some(long.clone()),
        content_type: long,
        ..document("p", None)
    };
    store.put_cached_document(row).await.unwrap();
    let row = store.cached_document(&subject("p")).unwrap().unwrap();
    assert_eq!((row.etag, row.last_modified, row.moved), (None, None, None));
    assert_eq!(row.content_type, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_of_five_hundred_packages_shares_its_commits() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let body = stored(&store, b"{}").await;
    let begun = Instant::now();
    let names: Vec<String> = (0..500).map(|number| format!("p{number}")).collect();
    let puts = names.iter().map(|name| store.put_cached_document(document(name, Some(&body))));
    for done in futures::future::join_all(puts).await {
        done.unwrap();
    }
    let commits = store.inner.batch_commits.load(Ordering::Relaxed);
    println!("500 rows at once: {:?} in {commits} commits", begun.elapsed());
    assert_eq!(store.cached_documents("npm").unwrap().len(), 500);
    assert!((1..=50).contains(&commits), "{commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_small_rows_shares_its_commits_too() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let keys: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let puts = keys.iter().map(|key| store.put_shared_row("want", key, key.clone().into_bytes()));
    for done in futures::future::join_all(puts).await {
        done.unwrap();
    }
    assert!(keys.iter().all(|key| store.row("want", key).unwrap() == Some(key.clone().into())));
    let commits = store.inner.batch_commits.load(Ordering::Relaxed);
    assert!((1..=50).contains(&commits), "{commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_at_once_share_commits_and_each_has_its_bytes_and_its_row() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut waiting = Vec::new();
    for number in 0..200 {
        // Every tenth has the bytes of the one before.
        let bytes = format!("file {}", number - u32::from(number % 10 == 9));
        let staged = staged(&store, bytes.as_bytes()).await.unwrap();
        let row = file(&format!("p{number}"), "p.tgz", staged.info());
        waiting.push((staged, row));
    }
    let commits = waiting.into_iter().map(|(staged, row)| {
        let store = &store;
        async move {
            let info = store.commit_file(staged, row.clone()).await.unwrap();
            let package = PackageId::new("npm", row.package.clone());
            let source = Source::Upstream { origin: Some(row.origin) };
            assert!(store.pin_source(&package, source.clone(), false).await.unwrap());
            assert!(!store.pin_source(&package, source, false).await.unwrap());
            (info, row)
        }
    });
    let kept = futures::future::join_all(commits).await;
    let commits = store.inner.batch_commits.load(Ordering::Relaxed);
    assert!((1..=100).contains(&commits), "{commits} commits for 400 changes");
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert!(files(home.path(), "tmp").is_empty());
    assert_eq!(files(home.path(), "blobs").len(), 180);
    for (info, row) in kept {
        assert!(held(&store, &info));
        let rows = store.cached_files(&row.origin, "npm", &row.package).unwrap();
        let package = PackageId::new("npm", row.package.clone());
        assert_eq!(rows, [row]);
        assert!(store.pinned_source(&package).unwrap().is_some());
    }
}

#[tokio::test]
async fn a_body_whose_last_row_goes_in_the_commit_that_brings_it_again_stays() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, b"one").await;
    store.put_cached_file(file("p", "p.tgz", &info)).await.unwrap();
    store.remove_blob(&info.digest).await.unwrap();
    let other = stored(&store, b"two").await;
    let again = staged(&store, b"one").await.unwrap();
    let (put, brought) =
        futures::join!(store.put_cached_file(file("p", "p.tgz", &other)), store.commit(again),);
    put.unwrap();
    assert!(held(&store, &brought.unwrap()) && held(&store, &other));
}

#[tokio::test]
async fn a_row_is_kept_also_when_its_caller_goes_away() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    {
        let put = store.put_cached_document(document("p", None));
        futures::pin_mut!(put);
        assert!(futures::poll!(&mut put).is_pending());
    }
    // It shares the commit, or comes after it.
    store.put_cached_document(document("q", None)).await.unwrap();
    assert!(store.cached_document(&subject("p")).unwrap().is_some());
}
