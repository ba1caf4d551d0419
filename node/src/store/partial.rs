//! Half downloads that survive a restart.
use super::{BlobInfo, Error, Hashes};
use crdt::Digest;
/// One download: a sparse file, its bao tree and a bitmap of verified 16 KiB groups.
#[derive(Debug)] pub struct Partial { _p: () }
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Partial {
    pub fn digest(&self) -> &Digest { todo!() }
    pub fn size(&self) -> u64 { todo!() }
    /// Byte ranges (group aligned) that lack, at most `spans` of at most `span_bytes` each.
    pub fn missing(&self, spans: usize, span_bytes: u64) -> Vec<std::ops::Range<u64>> { todo!() }
    /// Verifies one bao-encoded response for `range` (16 KiB groups, against the root and the tree held)
    /// and writes the groups that verify. WrongDigest at the first group that does not.
    pub async fn accept(&mut self, range: std::ops::Range<u64>, encoded: bytes::Bytes) -> Result<(), Error> { todo!() }
    /// Persists bitmap (data first). Called every 4 MiB or 2 s by the caller, and on drop best effort.
    pub async fn checkpoint(&mut self) -> Result<(), Error> { todo!() }
    pub fn is_complete(&self) -> bool { todo!() }
    /// All groups verified: hashes once for checksums, syncs, renames, records.
    pub async fn finish(self, hashes: Hashes) -> Result<BlobInfo, Error> { todo!() }
}
/// Sender's side: the bao encoding of a range of a held blob, tree made once and kept for blobs above 1 MiB.
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
pub async fn encode(store: &super::Store, digest: &Digest, range: std::ops::Range<u64>) -> Result<Option<bytes::Bytes>, Error> { todo!() }
