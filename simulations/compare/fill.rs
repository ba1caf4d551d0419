//! `fill-store HOME SPARSE SMALL`: puts very many blobs into the store of a node that is not
//! running, and prints the digests of some of the small ones, a line each.
//!
//! What a full store costs a node is measured with it. `SPARSE` blobs of 1 GiB are holes in files
//! under made-up names, which nobody may read back; `SMALL` blobs of 100 bytes are true. Their
//! records are written as `docs/reference/disk.md` says, in few transactions and without a sync
//! for each file: this is not how a store is filled, only how it then looks.
//! Source: docs/reference/disk.md.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use crdt::{Checksums, Digest};
use fs_err as fs;
use redb::{Database, ReadableTable, TableDefinition};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const BLOB: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("blob");
const SHA256: TableDefinition<'_, &[u8; 32], &[u8; 32]> = TableDefinition::new("sha256");

const HELD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("held");

/// The layout that this program knows.
const SCHEMA: u64 = 3;
const SPARSE_BYTES: u64 = 1 << 30;
/// How many of the small ones are named.
const NAMED: u64 = 1000;
/// A row of `blob`: the fields and their order are the store's.
#[derive(Serialize)]
struct BlobInfo {
    digest: Digest,
    size: u64,
    checksums: Checksums,
    stored: u64,
}

/// Records a transaction.
const BATCH: usize = 50_000;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [home, sparse, small] = words.as_slice() else {
        bail!("usage: fill-store HOME SPARSE SMALL");
    };
    let (home, sparse, small) = (PathBuf::from(home), sparse.parse()?, small.parse()?);
    let file = home.join("store.redb");
    let database = Database::open(&file).with_context(|| format!("open {}", file.display()))?;
    check_layout(&database)?;
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0..sparse {
        batch.push(sparse_blob(&home, number)?);
    }
    for number in 0..small {
        let blob = small_blob(&home, number)?;
        if number % (small / NAMED).max(1) == 0 {
            println!("{}", blob.digest.to_hex());
        }
        batch.push(blob);
        if batch.len() == BATCH {
            record(&database, &std::mem::take(&mut batch))?;
        }
    }
    record(&database, &batch)
}

fn check_layout(database: &Database) -> anyhow::Result<()> {
    let txn = database.begin_write()?;
    let found = txn.open_table(META)?.get("schema")?.map_or(0, |row| row.value());
    txn.abort()?;
    if found != SCHEMA {
        bail!("the store has layout {found}, and this program writes {SCHEMA}");
    }
    Ok(())
}

/// A file that is one hole, under a name that no bytes have.
fn sparse_blob(home: &Path, number: u64) -> anyhow::Result<BlobInfo> {
    let mut made_up = *blake3::hash(&number.to_le_bytes()).as_bytes();
    // Spread over the folders, and never what a small one has.
    made_up[31] ^= 0xff;
    let digest = Digest::from_bytes(made_up);
    place(home, &digest)?.set_len(SPARSE_BYTES)?;
    Ok(info(digest, SPARSE_BYTES, made_up))
}

/// 100 bytes that are what their name says.
fn small_blob(home: &Path, number: u64) -> anyhow::Result<BlobInfo> {
    let body = format!("{number:0100}");
    let digest = Digest::of(body.as_bytes());
    place(home, &digest)?.write_all(body.as_bytes())?;
    Ok(info(digest, body.len() as u64, Sha256::digest(body.as_bytes()).into()))
}

fn place(home: &Path, digest: &Digest) -> anyhow::Result<fs::File> {
    let name = digest.to_hex();
    let folder = home.join("blobs").join(&name[..2]);
    fs::create_dir_all(&folder)?;
    let path = folder.join(&name);
    Ok(fs::File::create_new(path)?)
}

fn info(digest: Digest, size: u64, sha256: [u8; 32]) -> BlobInfo {
    let checksums = Checksums { sha256, sha512: None, sha1: None, md5: None };
    BlobInfo { digest, size, checksums, stored: 0 }
}

fn record(database: &Database, batch: &[BlobInfo]) -> anyhow::Result<()> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    {
        let (mut blobs, mut names) = (txn.open_table(BLOB)?, txn.open_table(SHA256)?);
        for info in batch {
            blobs.insert(info.digest.as_bytes(), minicbor_serde::to_vec(info)?.as_slice())?;
            names.insert(&info.checksums.sha256, info.digest.as_bytes())?;
        }
        let mut meta = txn.open_table(META)?;
        let before = meta.get("blob_bytes")?.map_or(0, |row| row.value());
        meta.insert("blob_bytes", before + batch.iter().map(|info| info.size).sum::<u64>())?;
        // The sums by kind are void: the node counts once more when it is asked.
        txn.open_table(HELD)?.remove("own")?;
    }
    txn.commit()?;
    Ok(())
}
