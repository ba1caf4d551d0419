//! What has to be so of a home that a crash left, once it is open: all that was promised, nothing
//! by half, nothing that nobody names.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crdt::Digest;
use futures::FutureExt as _;
use redb::ReadableTable as _;

use super::super::blob::record;
use super::super::sessions::SessionId;
use super::super::tables::{self, Tables as _};
use super::super::{Error, Store};
use super::crash_disk_life::{OWNER, UPLOAD};
use super::crash_disk_scenes::{Check, Fact, size_of};
use super::{files, noise};

/// A panic is a failure like others.
pub(super) async fn panicless<T>(
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// The rows, the files and the counter of the quota agree, and each file has the bytes of its name;
/// but for those that are known to be loose.
pub(super) fn check_whole(
    store: &Store,
    loose: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, String> {
    let (held, bytes, counted) = records(store).map_err(|why| why.to_string())?;
    if bytes != counted {
        return Err(format!("{bytes} bytes are recorded, {counted} are counted"));
    }
    let known = |digest: &Digest| !loose.contains(digest);
    let names = files(store.home(), "blobs").into_iter();
    let names: BTreeSet<String> =
        names.filter(|name| name.parse().is_ok_and(|digest| known(&digest))).collect();
    let listed: BTreeSet<String> =
        held.iter().filter(|digest| known(digest)).map(Digest::to_hex).collect();
    if names != listed {
        return Err(format!("files {names:?}, records {listed:?}"));
    }
    for digest in held.iter().filter(|digest| known(digest)) {
        let bytes = fs_err::read(store.inner.paths.blob(digest)).map_err(|why| why.to_string())?;
        if Digest::of(&bytes) != *digest {
            return Err(format!("{digest} has wrong bytes"));
        }
    }
    Ok(held)
}

/// Recorded blobs, the sum of their sizes, and the sum that is kept.
fn records(store: &Store) -> Result<(BTreeSet<Digest>, u64, u64), Error> {
    let txn = store.read()?;
    let (mut held, mut bytes) = (BTreeSet::new(), 0);
    for row in txn.table(tables::BLOB)?.iter()? {
        let digest = Digest::from_bytes(*row?.0.value());
        bytes += record(&txn, &digest)?.map_or(0, |info| info.size);
        held.insert(digest);
    }
    Ok((held, bytes, txn.meta(tables::META_BLOB_BYTES)?))
}

/// Groups that the map vouches for have their bytes: the download can be finished.
async fn fetched(store: &Store, digest: &Digest) -> Result<u64, String> {
    let size = size_of(digest);
    let partial = store.partial(digest, size as u64).await.map_err(|why| why.to_string())?;
    let data = fs_err::read(store.inner.paths.partial_data(digest)).map_err(|e| e.to_string())?;
    let (right, mut lacks, mut from) = (noise(size), 0, 0);
    let mut missing = partial.missing(usize::MAX, u64::MAX);
    missing.push(size as u64..size as u64);
    for range in missing {
        let known = from as usize..range.start as usize;
        if data[known.clone()] != right[known.clone()] {
            return Err(format!("{digest}: {known:?} is vouched for and wrong"));
        }
        lacks += range.end - range.start;
        from = range.end;
    }
    Ok(size as u64 - lacks)
}

/// The upload has what was promised of it, and nothing else.
fn uploaded(store: &Store, id: SessionId, promised: Option<u64>) -> Result<(), String> {
    let found = store.session(id, OWNER).ok();
    let Some(least) = promised else {
        return found.map_or(Ok(()), |it| Err(format!("{it:?} should be over")));
    };
    let found = found.ok_or(format!("upload {id} is lost"))?;
    let data = fs_err::read(store.inner.paths.session_data(id)).map_err(|why| why.to_string())?;
    let held = usize::try_from(found.bytes).map_err(|why| why.to_string())?;
    if found.bytes < least || data.get(..held) != noise(UPLOAD).get(..held) {
        return Err(format!("of upload {id} {least} bytes were kept, {held} are there"));
    }
    Ok(())
}

/// The last word on each thing.
#[derive(Default)]
struct Known {
    blobs: BTreeMap<Digest, Option<bool>>,
    halves: BTreeMap<Digest, u64>,
    uploads: BTreeMap<SessionId, Option<Option<u64>>>,
    loose: BTreeSet<Digest>,
    truths: BTreeMap<String, Check>,
}

impl Known {
    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Moving(digest) => _ = self.blobs.insert(*digest, None),
            Fact::Held(digest) => _ = self.blobs.insert(*digest, Some(true)),
            Fact::Gone(digest) => {
                self.loose.remove(digest);
                self.blobs.insert(*digest, Some(false));
            }
            Fact::Loose(digest) => {
                self.loose.insert(*digest);
                self.blobs.insert(*digest, None);
            }
            Fact::Fetched(digest, bytes) => _ = self.halves.insert(*digest, *bytes),
            Fact::Upload(id, promised) => _ = self.uploads.insert(*id, Some(*promised)),
            Fact::Ending(id) => _ = self.uploads.insert(*id, None),
            Fact::True(what, check) => _ = self.truths.insert(what.clone(), Arc::clone(check)),
        }
    }
}

/// All facts; `is_new`: it was opened just now.
pub(super) async fn check(store: &Store, facts: &[Fact], is_new: bool) -> Result<(), String> {
    let mut known = Known::default();
    for fact in facts {
        known.learn(fact);
    }
    if let Some((what, _)) = known.truths.iter().find(|(_, check)| !check(store)) {
        return Err(format!("lost: {what}"));
    }
    let held = check_whole(store, &known.loose)?;
    let home = store.home();
    if is_new && !files(home, "tmp").is_empty() {
        return Err(format!("tmp has {:?}", files(home, "tmp")));
    }
    for (digest, promised) in known.blobs {
        if promised.is_some_and(|promised| promised != held.contains(&digest)) {
            return Err(format!("{digest} should be held: {promised:?}"));
        }
    }
    for (digest, bytes) in known.halves {
        if !held.contains(&digest) {
            let found = fetched(store, &digest).await?;
            if found < bytes {
                return Err(format!("{digest}: {bytes} bytes were kept, {found} are there"));
            }
        }
    }
    let uploads = known.uploads.into_iter();
    uploads.filter_map(|(id, it)| Some((id, it?))).try_for_each(|(id, it)| uploaded(store, id, it))
}

/// After a sweep each file has somebody who names it.
pub(super) async fn nothing_is_left(store: &Store) -> Result<(), String> {
    store.collect_files(false).await.map_err(|why| why.to_string())?;
    let held = check_whole(store, &BTreeSet::new())?;
    let is_held = |name: &String| name.parse().is_ok_and(|digest| held.contains(&digest));
    let trees = files(store.home(), "outboard");
    let marks: Vec<String> = files(store.home(), "uploads");
    let is_pair = |name: &String| {
        let (stem, other) = match name.strip_suffix(".data") {
            Some(stem) => (stem, "mark"),
            None => (name.trim_end_matches(".mark"), "data"),
        };
        marks.contains(&format!("{stem}.{other}"))
    };
    if !trees.iter().all(is_held) || !marks.iter().all(is_pair) {
        return Err(format!("left: {trees:?} {marks:?}, held {held:?}"));
    }
    let halves = files(store.home(), "partial");
    let is_over = |name: &String| is_held(&name.chars().take(64).collect());
    if halves.iter().any(is_over) { Err(format!("halves of blobs: {halves:?}")) } else { Ok(()) }
}
