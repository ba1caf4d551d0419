//! All digests of a stream in the one pass that writes it.
//!
//! BLAKE3 names the blob and sha256 is shown by every format; sha512, sha1 and md5 are computed
//! only where a format shows them, because sha512 alone is the dearest step of an upload.
//! Source: mesh.md section 6.1.

use crdt::{Checksums, Digest};
use sha2::Digest as _;

use super::Hashes;

/// The running state of every hash that was asked for.
#[derive(Debug)]
pub(super) struct Hasher {
    size: u64,
    blake3: Box<blake3::Hasher>,
    sha256: sha2::Sha256,
    sha512: Option<sha2::Sha512>,
    sha1: Option<sha1::Sha1>,
    md5: Option<md5::Md5>,
}

impl Hasher {
    /// Of no bytes yet.
    pub(super) fn new(hashes: Hashes) -> Self {
        Self {
            size: 0,
            blake3: Box::default(),
            sha256: sha2::Sha256::new(),
            sha512: hashes.sha512.then(sha2::Sha512::new),
            sha1: hashes.sha1.then(sha1::Sha1::new),
            md5: hashes.md5.then(md5::Md5::new),
        }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        if let Some(hash) = &mut self.sha512 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha1 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.md5 {
            hash.update(bytes);
        }
    }

    /// Size, name and checksums of what passed.
    pub(super) fn finish(self) -> (u64, Digest, Checksums) {
        let digest = Digest::from_bytes(*self.blake3.finalize().as_bytes());
        let checksums = Checksums {
            sha256: self.sha256.finalize().into(),
            sha512: self.sha512.map(|hash| hash.finalize().into()),
            sha1: self.sha1.map(|hash| hash.finalize().into()),
            md5: self.md5.map(|hash| hash.finalize().into()),
        };
        (self.size, digest, checksums)
    }
}

/// What is known from either: two computations over the same bytes.
pub(super) fn merge(old: &Checksums, new: &Checksums) -> Checksums {
    Checksums {
        sha256: old.sha256,
        sha512: old.sha512.or(new.sha512),
        sha1: old.sha1.or(new.sha1),
        md5: old.md5.or(new.md5),
    }
}
