//! Facts about blobs in a bucket, on one in memory that can be made to fail.

mod contract;
mod copies;
mod endpoints;
mod faults;
mod flowing;
mod refusals;
#[expect(dead_code, reason = "each of the two that include it uses a part")]
mod server;
mod sweeps;
mod upkeep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::tests::{content, noise, staged, stored};
use super::super::{BlobInfo, Blobs, Bucket, Store};
use faults::Faulty;

/// Copies that a home holds in these tests, unless one says otherwise.
const ROOM: u64 = 1 << 30;

/// A bucket that only this test has.
fn bucket(cache_bytes: u64) -> (Bucket, Arc<Faulty>) {
    let objects = Arc::new(Faulty::default());
    (on(&objects, cache_bytes), objects)
}

/// One more view of a bucket, as another node has.
fn on(objects: &Arc<Faulty>, cache_bytes: u64) -> Bucket {
    Bucket {
        url: "s3://blobs/griot".into(),
        objects: Arc::<Faulty>::clone(objects),
        prefix: "griot".into(),
        cache_bytes,
    }
}

fn open(home: &Path, bucket: &Bucket) -> Store {
    Store::open_in(home, |_, _| String::new(), Blobs::Bucket(bucket.clone())).unwrap()
}

/// Where tests keep their blobs that do not say: in the home, or with `GRIOT_TEST_BUCKET` in a
/// bucket of each home's own, so that the store's facts are tried there, too.
pub(in super::super) fn usual_blobs(home: &Path) -> Blobs {
    static BUCKETS: Mutex<BTreeMap<PathBuf, Bucket>> = Mutex::new(BTreeMap::new());
    if std::env::var_os("GRIOT_TEST_BUCKET").is_none() {
        return Blobs::Here;
    }
    let mut buckets = BUCKETS.lock().unwrap();
    Blobs::Bucket(buckets.entry(home.to_owned()).or_insert_with(|| bucket(ROOM).0).clone())
}

/// Where a blob's object is.
fn key(info: &BlobInfo) -> String {
    let name = info.digest.to_hex();
    format!("griot/{}/{name}", &name[..2])
}

/// Whether the home has a copy.
fn copied(store: &Store, info: &BlobInfo) -> bool {
    store.inner.paths.blob(&info.digest).exists()
}

/// As if the cache had needed its room.
fn drop_copy(store: &Store, info: &BlobInfo) {
    fs_err::remove_file(store.inner.paths.blob(&info.digest)).unwrap();
}

/// As if the five seconds were over in which a silent bucket is left alone.
fn ask_again(store: &Store) {
    *super::lock(&store.inner.remote.as_ref().unwrap().trouble) = None;
}
