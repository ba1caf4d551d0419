//! Writing a blob: stream, hash, sync, rename.
use super::{Error, BlobInfo};
/// A temporary file on the blobs' device that hashes what passes. Dropped unfinished, it vanishes.
#[derive(Debug)] pub struct BlobWriter { _p: () }
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl BlobWriter {
    /// Takes bytes; hashing runs off the async threads. TooLarge past the limit; Full when the disk is.
    pub async fn write(&mut self, bytes: bytes::Bytes) -> Result<(), Error> { todo!() }
    pub fn written(&self) -> u64 { todo!() }
    /// Flushes and closes; nothing is visible yet.
    pub async fn finish(self) -> Result<Staged, Error> { todo!() }
}
/// Bytes written and hashed, not yet a blob: formats read it (`open`), then `Store::commit` or drop.
#[derive(Debug)] pub struct Staged { _p: () }
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Staged {
    pub fn info(&self) -> &BlobInfo { todo!() }
    /// For extractors: a plain file positioned at the start.
    pub fn open(&self) -> Result<std::fs::File, Error> { todo!() }
}
