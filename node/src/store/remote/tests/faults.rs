//! A bucket in memory that counts what it is asked, and fails as it is told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use tokio::sync::watch;

/// The bucket.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    objects: InMemory,
    /// Nobody answers.
    pub(super) down: AtomicBool,
    /// An answer breaks off after so many bytes; 0 for never.
    pub(super) cut_after: AtomicUsize,
    /// The last part of an upload is lost, and nobody says so.
    pub(super) tears: AtomicBool,
    /// The next upload in parts fails after its first one.
    pub(super) fails_parts: AtomicBool,
    /// Conditions are not known here.
    pub(super) unconditional: AtomicBool,
    /// Requests that bring an object, and those that take one.
    pub(super) puts: AtomicUsize,
    pub(super) gets: AtomicUsize,
    /// Bytes that came up in the largest request.
    pub(super) largest: AtomicUsize,
    /// An answer stands still after so many bytes, until this says 0.
    pub(super) pauses_after: watch::Sender<usize>,
    /// By how much objects are older than they are.
    ages: Mutex<BTreeMap<String, Duration>>,
}

/// Whether it is a blob, and not what nodes tell each other.
fn is_blob(path: &Path) -> bool {
    path.filename().is_some_and(|name| name.len() == 64)
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

fn unwell<T>(why: &str) -> Result<T> {
    Err(object_store::Error::Generic { store: "faulty", source: why.into() })
}

impl Faulty {
    fn up(&self) -> Result<()> {
        if self.down.load(SeqCst) { unwell("connection refused") } else { Ok(()) }
    }

    /// What is there, behind the faults.
    pub(super) async fn object(&self, key: &str) -> Option<Vec<u8>> {
        let got = self.objects.get(&key.into()).await.ok()?;
        Some(got.bytes().await.unwrap().to_vec())
    }

    /// Puts something there, past everything.
    pub(super) async fn replace(&self, key: &str, bytes: Vec<u8>) {
        self.objects.put(&key.into(), bytes.into()).await.unwrap();
    }

    /// Removes it, as a keeper of the bucket may.
    pub(super) async fn lose(&self, key: &str) {
        self.objects.delete(&key.into()).await.unwrap();
    }

    /// What is there, by its key.
    pub(super) async fn keys(&self) -> Vec<String> {
        let listed = self.objects.list(None).map(|about| about.unwrap().location.to_string());
        listed.collect().await
    }

    /// Makes it as old as that.
    pub(super) fn age(&self, key: &str, by: Duration) {
        self.ages.lock().unwrap().insert(key.to_owned(), by);
    }

    fn aged(&self, mut about: ObjectMeta) -> ObjectMeta {
        if let Some(by) = self.ages.lock().unwrap().get(about.location.as_ref()) {
            about.last_modified -= *by;
        }
        about
    }

    /// Requests since the last call: (brought, taken).
    pub(super) fn asked(&self) -> (usize, usize) {
        (self.puts.swap(0, SeqCst), self.gets.swap(0, SeqCst))
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.up()?;
        if is_blob(path) {
            self.puts.fetch_add(1, SeqCst);
            self.largest.fetch_max(payload.content_length(), SeqCst);
        }
        if self.unconditional.load(SeqCst) && options.mode == object_store::PutMode::Create {
            let (operation, implementer) = ("If-None-Match".into(), "faulty".into());
            return Err(object_store::Error::NotImplemented { operation, implementer });
        }
        self.objects.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.up()?;
        self.puts.fetch_add(usize::from(is_blob(path)), SeqCst);
        let upload = self.objects.put_multipart_opts(path, options).await?;
        let (fails, tears) = (self.fails_parts.swap(false, SeqCst), self.tears.swap(false, SeqCst));
        Ok(Box::new(Parts { upload, fails, tears, sent: 0 }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.up()?;
        let whole = !options.head;
        let mut got = self.objects.get_opts(path, options).await?;
        got.meta = self.aged(got.meta);
        if !whole || !is_blob(path) {
            return Ok(got);
        }
        self.gets.fetch_add(1, SeqCst);
        let (cut, pause) = (self.cut_after.load(SeqCst), *self.pauses_after.borrow());
        if cut > 0 {
            let bytes = whole_of(got.payload).await?;
            let pieces = [Ok(bytes.slice(..cut.min(bytes.len()))), unwell("connection reset")];
            got.payload = GetResultPayload::Stream(stream::iter(pieces).boxed());
        } else if pause > 0 {
            let (bytes, mut goes_on) =
                (whole_of(got.payload).await?, self.pauses_after.subscribe());
            let (first, rest) = (bytes.slice(..pause), bytes.slice(pause..));
            let rest = stream::once(async move {
                goes_on.wait_for(|pause| *pause == 0).await.unwrap();
                Ok(rest)
            });
            let pieces = stream::iter([Ok(first)]).chain(rest);
            got.payload = GetResultPayload::Stream(pieces.boxed());
        }
        Ok(got)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(why) = self.up() {
            return stream::iter([Err(why)]).boxed();
        }
        let ages = self.ages.lock().unwrap().clone();
        let aged = move |about: Result<ObjectMeta>| {
            about.map(|mut about| {
                about.last_modified -=
                    ages.get(about.location.as_ref()).copied().unwrap_or_default();
                about
            })
        };
        self.objects.list(prefix).map(aged).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

async fn whole_of(payload: GetResultPayload) -> Result<Bytes> {
    let GetResultPayload::Stream(stream) = payload;
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    Ok(pieces.concat().into())
}

#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    fails: bool,
    tears: bool,
    sent: usize,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.sent += 1;
        if self.fails && self.sent > 1 {
            return Box::pin(std::future::ready(unwell("connection reset")));
        }
        if self.tears && self.sent > 1 {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.upload.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
