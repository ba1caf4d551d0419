//! The folder: read back as it was, or not at all; its bound; what is not worth it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::http::ready::stored::{Folder, Stored};

/// A home for one folder, across restarts.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, max: u64) -> Folder {
        Folder::new(&self.0.path().join("rendered"), max, Box::new(|_| true))
    }

    /// Documents as after a start.
    fn ready(&self) -> Ready {
        Ready::new(MEMORY_BYTES, Some(self.folder(DISK_BYTES)))
    }

    /// All files, with their folders left out.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(names) = fs_err::read_dir(self.0.path().join("rendered")) else { return vec![] };
        let mut found = Vec::new();
        for place in names.map(|it| it.unwrap().path()) {
            if place.is_dir() {
                found.extend(fs_err::read_dir(place).unwrap().map(|it| it.unwrap().path()));
            } else {
                found.push(place);
            }
        }
        found
    }
}

/// What a look-up finds: a document of these bytes.
fn looked(seed: Seed, bytes: Vec<u8>) -> Looked {
    let render: Render = Box::new(move || async move { Ok(made(bytes)) }.boxed());
    Looked { seed, stamp: None, age: None, stale: false, render, lies: None }
}

fn place_of(key: &str) -> Place {
    place(key, &Arc::default())
}

/// 5 MB as a packument is, which are packed well.
fn large() -> Vec<u8> {
    let mut text = String::with_capacity(5 << 20);
    for number in 0_u64.. {
        let sum = blake3::hash(&number.to_le_bytes()).to_hex();
        text.push_str(&format!("\"1.0.{number}\":{{\"dist\":{{\"shasum\":\"{}\"}}}},", &sum[..8]));
        if text.len() > 5 << 20 {
            return text.into_bytes();
        }
    }
    unreachable!()
}

async fn all_forms(document: &Document) -> Vec<(HeaderMap, Vec<u8>)> {
    let mut found = Vec::new();
    for coding in ["identity", "gzip", "zstd"] {
        let headers = asks(&[(header::ACCEPT_ENCODING, coding)]);
        let answer = document.answer(&Method::GET, &headers, None).await.unwrap();
        found.push((answer.headers().clone(), body(answer).await));
    }
    found
}

#[tokio::test]
async fn a_restart_renders_and_packs_nothing_again() {
    let (home, bytes) = (Home::new(), large());
    let first = home.ready();
    let found = first.found(&place_of("a"), looked(seed(), bytes.clone())).await.unwrap();
    first.settled().await;
    let before = all_forms(&found.document).await;
    assert_eq!(first.counts(), Counts { rendered: 1, packed: 1, ..Counts::default() });
    assert_eq!(before[1].0["content-encoding"], "gzip");
    drop((found, first));

    let second = home.ready();
    let found = second.found(&place_of("a"), looked(seed(), bytes)).await.unwrap();
    assert_eq!(second.counts(), Counts { read_back: 1, ..Counts::default() });
    assert_eq!(all_forms(&found.document).await, before);
    let again = second.found(&place_of("a"), looked(seed(), Vec::new())).await.unwrap();
    assert!(Arc::ptr_eq(&again.document, &found.document), "then it is held");
    assert_eq!(second.counts(), Counts { read_back: 1, ..Counts::default() });
}

#[tokio::test]
async fn another_seed_or_key_is_another_document() {
    let home = Home::new();
    let ready = home.ready();
    ready.found(&place_of("a"), looked(seed(), TEXT.repeat(1000))).await.unwrap();
    ready.settled().await;
    let other = Seed::of("test 2", &[]);
    for (key, seed) in [("a", other), ("b", seed())] {
        let ready = home.ready();
        let found = ready.found(&place_of(key), looked(seed, b"new".to_vec())).await.unwrap();
        assert_eq!(found.document.held().unwrap(), &b"new"[..], "{key}");
        assert_eq!(ready.counts().read_back, 0);
    }
    // A new document takes the place of the old one under its key.
    let ready = home.ready();
    ready.found(&place_of("a"), looked(other, TEXT.repeat(2000))).await.unwrap();
    ready.settled().await;
    assert_eq!(home.files().len(), 1);
    let ready = home.ready();
    ready.found(&place_of("a"), looked(other, Vec::new())).await.unwrap();
    assert_eq!(ready.counts().read_back, 1);
}

#[tokio::test]
async fn whatever_is_not_whole_is_dropped_and_made_anew() {
    let (home, bytes) = (Home::new(), TEXT.repeat(1000));
    let ready = home.ready();
    ready.found(&place_of("a"), looked(seed(), bytes.clone())).await.unwrap();
    ready.settled().await;
    let [file] = &*home.files() else { panic!("{:?}", home.files()) };
    let whole = fs_err::read(file).unwrap();
    let mut broken = vec![Vec::new(), vec![0; whole.len()], [&*whole, b"x"].concat()];
    for cut in [1, 7, 8, 20, 40, 43, 44, 60, whole.len() / 2, whole.len() - 1] {
        broken.push(whole[..cut].to_vec());
    }
    for at in [0, 9, 41, 50, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        broken.push(flipped);
    }
    // The end never reached the disk, but its length did.
    let mut torn = whole.clone();
    torn[whole.len() / 2..].fill(0);
    broken.push(torn);
    for (number, broken) in broken.into_iter().enumerate() {
        fs_err::write(file, broken).unwrap();
        let ready = home.ready();
        let found = ready.found(&place_of("a"), looked(seed(), bytes.clone())).await.unwrap();
        assert_eq!(found.document.held().unwrap(), bytes, "{number}");
        let anew = Counts { rendered: 1, packed: 1, ..Counts::default() };
        assert_eq!(ready.counts(), anew, "{number}");
        ready.settled().await;
        assert_eq!(fs_err::read(file).unwrap(), whole, "{number}");
    }
}

#[tokio::test]
async fn bytes_that_lie_elsewhere_are_not_stored_again() {
    let (home, bytes) = (Home::new(), TEXT.repeat(20_000));
    let lying = |lies: bool| {
        let (shown, made_of) = (bytes.clone(), bytes.clone());
        let found: Lies = Box::new(move |size| {
            assert_eq!(size, shown.len() as u64);
            async move { Ok(Plain::Held(shown.into())) }.boxed()
        });
        let made = move || async move { Ok(Made { lies: true, ..made(made_of) }) }.boxed();
        let render: Render = Box::new(made);
        Looked { render, lies: lies.then_some(found), ..looked(seed(), Vec::new()) }
    };
    let ready = home.ready();
    let found = ready.found(&place_of("a"), lying(true)).await.unwrap();
    ready.settled().await;
    let stored = fs_err::metadata(&home.files()[0]).unwrap().len();
    assert!(stored < bytes.len() as u64 / 10, "{stored}");
    let second = home.ready();
    let again = second.found(&place_of("a"), lying(true)).await.unwrap();
    assert_eq!(second.counts(), Counts { read_back: 1, ..Counts::default() });
    assert_eq!(all_forms(&again.document).await, all_forms(&found.document).await);
    let third = home.ready();
    third.found(&place_of("a"), lying(false)).await.unwrap();
    assert_eq!(third.counts().rendered, 1, "nobody knows where they are");
}

#[tokio::test]
async fn small_documents_and_those_of_no_folder_leave_nothing() {
    let home = Home::new();
    let ready = home.ready();
    ready.found(&place_of("a"), looked(seed(), TEXT.to_vec())).await.unwrap();
    ready.settled().await;
    let none = Ready::new(MEMORY_BYTES, None);
    none.found(&place_of("b"), looked(seed(), TEXT.repeat(1000))).await.unwrap();
    none.settled().await;
    assert_eq!(home.files(), Vec::<PathBuf>::new());
}

fn stored(bytes: usize) -> Stored {
    let packed = pack::Packed { gzip: None, zstd: Some(vec![7; bytes].into()) };
    Stored { label: made("").label, size: 1, plain: None, packed }
}

fn age(file: &std::path::Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::options().append(true).open(file).unwrap().set_modified(then).unwrap();
}

#[test]
fn the_folder_stays_below_its_bound_and_what_was_used_stays() {
    let home = Home::new();
    let folder = home.folder(1 << 20);
    let mut before = BTreeSet::new();
    for number in 0_u64..200 {
        folder.put(&number.to_string(), seed(), &stored(20_000)).unwrap();
        assert!(folder.taken() <= 1 << 20, "{}", folder.taken());
        for file in home.files() {
            // The first was used a moment ago, each other when it came.
            if before.insert(file.clone()) {
                age(&file, 10_000 - number);
            }
        }
        assert!(folder.get("0", seed()).is_some(), "{number}");
    }
    assert!(folder.taken() > 1 << 19, "the room is used: {}", folder.taken());
    assert!(folder.get("199", seed()).is_some() && folder.get("1", seed()).is_none());
    // One that alone takes more than all may does not empty the folder.
    folder.put("large", seed(), &stored(2 << 20)).unwrap();
    assert!(folder.get("large", seed()).is_none() && folder.get("0", seed()).is_some());
    // A smaller bound holds from the first that comes; what was being written goes.
    let unfinished = home.0.path().join("rendered").join("new-7");
    fs_err::write(&unfinished, b"half").unwrap();
    let smaller = home.folder(100 << 10);
    smaller.put("last", seed(), &stored(20_000)).unwrap();
    assert!(smaller.taken() <= 100 << 10, "{}", smaller.taken());
    assert!(smaller.get("last", seed()).is_some() && !unfinished.exists());
}

#[test]
fn a_full_device_gets_all_of_it_back() {
    let home = Home::new();
    home.folder(1 << 20).put("a", seed(), &stored(20_000)).unwrap();
    let path = home.0.path().join("rendered");
    let full = Folder::new(&path, 1 << 20, Box::new(|bytes| bytes < 10_000));
    assert!(full.put("b", seed(), &stored(20_000)).is_err());
    assert_eq!(home.files(), Vec::<PathBuf>::new());
    full.put("c", seed(), &stored(1_000)).unwrap();
    assert!(full.get("c", seed()).is_some());
}

#[test]
fn the_folder_may_go_at_any_time() {
    let home = Home::new();
    let folder = home.folder(1 << 20);
    folder.put("a", seed(), &stored(20_000)).unwrap();
    fs_err::remove_dir_all(home.0.path().join("rendered")).unwrap();
    assert!(folder.get("a", seed()).is_none());
    folder.put("a", seed(), &stored(20_000)).unwrap();
    assert!(folder.get("a", seed()).is_some());
}
