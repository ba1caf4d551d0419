//! Scenes in which things go: what nothing names, what must make room, what has rotted, uploads in
//! several requests.

use std::path::Path;

use bytes::Bytes;
use crdt::Digest;

use super::super::backup::full;
use super::super::blob::now_seconds;
use super::super::disk::Opening;
use super::super::sessions::{EXPIRY_SECONDS, NewSession, Owner, SessionId};
use super::super::verify::Checked;
use super::super::{BlobInfo, Error, Hashes};
use super::cached::file;
use super::crash_disk_scenes::{Fact, Stage};
use super::{noise, staged};

/// Bytes that the store did not write, durable but for their name.
pub(super) fn put(stage: &Stage, path: &Path, (at, bytes): (u64, &[u8])) -> Result<(), Error> {
    let disk = &stage.store.inner.disk;
    let folder = path.parent().expect("it lies in a folder");
    let done = disk.create_folder(folder).and_then(|()| {
        let file = disk.open(path, Opening::Kept)?;
        file.write_all_at(at, bytes)?;
        file.sync()
    });
    done.map_err(|why| full(why.into()))
}

/// A blob that a cached file names: row and bytes are there, or neither.
async fn cached(stage: &Stage, name: &'static str, bytes: &[u8]) -> Result<BlobInfo, Error> {
    let new = staged(&stage.store, bytes).await?;
    stage.told(Fact::Moving(new.info().digest));
    let row = file(name, "p.tgz", new.info());
    let info = stage.store.commit_file(new, row.clone()).await?;
    stage.told(Fact::Held(info.digest));
    stage.is_true(format!("{name} has its bytes, or no row"), move |store| {
        let rows = store.cached_files(&row.origin, "npm", name).unwrap();
        rows.is_empty() || store.blob(&row.digest).unwrap().is_some()
    });
    Ok(info)
}

/// With a backup that reads meanwhile, and without.
pub(super) async fn collection(stage: &Stage) -> Result<(), Error> {
    let store = &stage.store;
    let inner = &store.inner;
    cached(stage, "kept", &noise(8000)).await?;
    let unnamed = [stage.blob(&noise(8001)).await?.digest, stage.blob(&noise(8002)).await?.digest];
    collect(stage, &unnamed).await?;
    // A tree whose blob has gone, and a file that nobody recorded.
    put(stage, &inner.paths.tree(&unnamed[0]), (0, b"tree"))?;
    let orphan = Digest::of(b"nobody's");
    stage.told(Fact::Loose(orphan));
    put(stage, &inner.paths.blob(&orphan), (0, b"nobody's"))?;
    let gone = store.collect_files(false).await?;
    assert!(gone.trees.count >= 1 && gone.orphans.count >= 1, "{gone:?}");
    // What a backup reads goes when it ends, unless it has come again.
    let read = [stage.blob(&noise(8003)).await?.digest, stage.blob(&noise(8004)).await?.digest];
    let holding = store.hold_removals();
    collect(stage, &read).await?;
    assert!(read.iter().all(|digest| inner.paths.blob(digest).exists()), "a backup reads it");
    stage.blob(&noise(8004)).await?;
    drop(holding);
    // The other one is gone, or has an intent if the disk refused that.
    assert!(inner.paths.blob(&read[1]).exists());
    Ok(())
}

/// Nothing names these.
async fn collect(stage: &Stage, unnamed: &[Digest]) -> Result<(), Error> {
    stage.store.inner.uses.grow_old();
    unnamed.iter().for_each(|digest| stage.told(Fact::Moving(*digest)));
    // Also what an earlier try has left.
    for size in 8001..8005 {
        stage.told(Fact::Moving(Digest::of(&noise(size))));
    }
    stage.store.collect_blobs(None, false).await?;
    unnamed.iter().for_each(|digest| stage.told(Fact::Gone(*digest)));
    Ok(())
}

/// The quota is met; what can be had again goes with its rows, and then there is room.
pub(super) async fn eviction(stage: &Stage) -> Result<(), Error> {
    let store = &stage.store;
    store.set_limits(Some(u64::MAX), Some(0));
    let names = ["a", "b", "c", "d"];
    let mut held = Vec::new();
    for (name, size) in names.into_iter().zip(9000..) {
        held.push(cached(stage, name, &noise(size)).await?);
    }
    store.set_limits(Some(store.room()?.held), None);
    match staged(store, &noise(9100)).await {
        Err(Error::OverQuota { .. }) => {}
        Err(why) => return Err(why),
        Ok(_) => panic!("it is over the quota"),
    }
    store.inner.uses.grow_old();
    let found = store.evictable(Default::default()).await?;
    for (name, going) in names.into_iter().zip(&held).take(2) {
        assert!(found.iter().any(|one| one.digest == going.digest), "{name}");
    }
    for pair in [&held[..1], &held[1..3]] {
        let going: Vec<Digest> = pair.iter().map(|info| info.digest).collect();
        going.iter().for_each(|digest| stage.told(Fact::Moving(*digest)));
        let gone = store.evict(going.iter().copied().collect(), Default::default()).await?;
        assert_eq!(gone.len(), going.len());
        going.iter().for_each(|digest| stage.told(Fact::Gone(*digest)));
    }
    stage.blob(&noise(9100)).await?;
    store.set_limits(Some(u64::MAX), None);
    Ok(())
}

/// A blob rots, is found, put aside, and comes again.
pub(super) async fn rot(stage: &Stage) -> Result<(), Error> {
    let (store, bytes) = (&stage.store, noise(30_000));
    let info = stage.blob(&bytes).await?;
    let digest = info.digest;
    stage.told(Fact::Loose(digest));
    put(stage, &store.inner.paths.blob(&digest), (20_000, b"rotten"))?;
    let mut check = store.check_blob(info).await?.expect("its file is there");
    let rotten = loop {
        match check.go_on().await? {
            Checked::Going(next, _) => check = next,
            Checked::Rotten(rotten) => break rotten,
            Checked::Sound => panic!("it is rotten"),
        }
    };
    assert!(store.quarantine(&digest, rotten).await?);
    stage.told(Fact::Gone(digest));
    assert!(store.blob(&digest)?.is_none());
    stage.blob(&bytes).await?;
    store.collect_files(false).await?;
    assert_eq!(store.quarantined().await?.count, 0, "its blob is held again");
    Ok(())
}

pub(super) const OWNER: Owner<'static> = Owner { name: "alice", purpose: "generic" };
/// Bytes of an upload.
pub(super) const UPLOAD: usize = 30_000;

fn wanted(label: &str) -> NewSession {
    NewSession {
        owner: OWNER.name.into(),
        purpose: OWNER.purpose.into(),
        label: Some(label.into()),
        hashes: Hashes::default(),
        limit: 1 << 20,
        size: None,
    }
}

/// Goes on from where it is, piece by piece, each of them durable.
async fn append(stage: &Stage, label: &str, upto: usize) -> Result<SessionId, Error> {
    let session = stage.store.start_session(wanted(label)).await?;
    stage.told(Fact::Upload(session.id, Some(session.bytes)));
    let bytes = noise(UPLOAD);
    let mut at = 0;
    while at < upto {
        let mut writer = stage.store.open_session(session.id, OWNER, None).await?;
        at = usize::try_from(writer.written()).expect("it is small");
        let end = (at + 8000).min(upto).max(at);
        writer.write(Bytes::copy_from_slice(&bytes[at..end])).await?;
        if end.is_multiple_of(3) {
            writer.checkpoint().await?;
        }
        at = usize::try_from(writer.close().await?).expect("it is small");
        stage.told(Fact::Upload(session.id, Some(at as u64)));
    }
    Ok(session.id)
}

/// One is finished, one given up, one forgotten by its client.
pub(super) async fn uploads(stage: &Stage) -> Result<(), Error> {
    let store = &stage.store;
    let old = append(stage, "old", 9000).await?;
    let cancelled = append(stage, "cancelled", 5000).await?;
    let whole = append(stage, "whole", UPLOAD).await?;
    let digest = Digest::of(&noise(UPLOAD));
    stage.told(Fact::Ending(whole));
    stage.told(Fact::Moving(digest));
    let staged = store.open_session(whole, OWNER, None).await?.finish().await?;
    let info = store.commit(staged).await?;
    assert_eq!(info.digest, digest);
    stage.told(Fact::Held(digest));
    stage.told(Fact::Upload(whole, None));
    stage.told(Fact::Ending(cancelled));
    store.cancel_session(cancelled, OWNER).await?;
    stage.told(Fact::Upload(cancelled, None));
    stage.told(Fact::Ending(old));
    store.sweep_sessions_at(now_seconds() + EXPIRY_SECONDS + 100).await?;
    stage.told(Fact::Upload(old, None));
    Ok(())
}
