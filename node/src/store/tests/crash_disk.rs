//! A power cut, or a kill, at every moment of everything that changes the store.
//!
//! Each scene of `crash_disk_scenes` is played on a disk that is watched. Then, for every change
//! that makes something durable or moves a name, right before it and right after it, the states
//! that a disk could show (`disk::replay`) are laid out and opened as a start does it. It has to
//! open; all that a call had promised before the cut is there; what is there is whole; nothing is
//! left over; the scene can be played again to its end. Starts are cut as well.
//!
//! An ordinary run tries two states a moment, a long one `GRIOT_CRASH_SEEDS` of them (8 or more
//! have each extreme) and cuts each start that has work to do:
//!
//! ```text
//! GRIOT_CRASH_SEEDS=32 cargo test -p griot-node --lib crash_disk -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use crdt::Digest;
use futures::FutureExt as _;
use redb::ReadableTable as _;
use tempfile::tempdir;

use super::super::disk::journal::Op;
use super::super::disk::replay::{Replay, State};
use super::super::tables::{self, Tables as _};
use super::super::{Error, Store};
use super::crash_disk_scenes::{Fact, SCENES, Scene, Stage};
use super::files;

/// Failures that are shown before a scene is left.
const SHOWN_MAX: usize = 6;

/// States a moment, if somebody has time.
pub(super) fn seeds() -> Option<u64> {
    std::env::var("GRIOT_CRASH_SEEDS").ok()?.parse().ok()
}

/// How many states were tried.
#[derive(Debug, Default)]
struct Tally {
    states: usize,
    /// Those that a kill would not have left.
    faults: usize,
    starts_cut: usize,
    played_again: usize,
    failures: Vec<String>,
}

/// One cut of a scene.
struct Cut<'s> {
    scene: &'s Scene,
    facts: Vec<Fact>,
    name: String,
}

/// Cuts that are worth trying: before and after each turning point.
fn moments(ops: &[Op], from: usize) -> BTreeSet<usize> {
    let turns = ops.iter().enumerate().filter(|(_, op)| op.is_turning_point());
    turns.flat_map(|(at, _)| [at, at + 1]).filter(|at| *at >= from).collect()
}

/// The rows and the files agree, and each has the bytes of its name.
pub(super) fn check_whole(store: &Store, home: &Path) -> Result<BTreeSet<Digest>, String> {
    let txn = store.read().map_err(|why| why.to_string())?;
    let table = txn.table(tables::BLOB).map_err(|why| why.to_string())?;
    let mut held = BTreeSet::new();
    for row in table.iter().map_err(|why| why.to_string())? {
        let (key, _) = row.map_err(|why| why.to_string())?;
        held.insert(Digest::from_bytes(*key.value()));
    }
    let names: BTreeSet<String> = files(home, "blobs").into_iter().collect();
    let listed: BTreeSet<String> = held.iter().map(Digest::to_hex).collect();
    if names != listed {
        return Err(format!("files {names:?}, records {listed:?}"));
    }
    for digest in &held {
        let bytes = fs_err::read(store.inner.paths.blob(digest)).map_err(|why| why.to_string())?;
        if Digest::of(&bytes) != *digest {
            return Err(format!("{digest} has wrong bytes"));
        }
    }
    Ok(held)
}

/// Groups that the map vouches for have their bytes: the download can be finished.
async fn fetched(store: &Store, digest: &Digest) -> Result<u64, String> {
    let size = super::crash_disk_scenes::size_of(digest);
    let partial = store.partial(digest, size as u64).await.map_err(|why| why.to_string())?;
    let data = fs_err::read(store.inner.paths.partial_data(digest)).map_err(|e| e.to_string())?;
    let (right, mut lacks, mut from) = (super::noise(size), 0, 0);
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

async fn check(store: &Store, home: &Path, facts: &[Fact], is_new: bool) -> Result<(), String> {
    let held = check_whole(store, home)?;
    if is_new && !files(home, "tmp").is_empty() {
        return Err(format!("tmp has {:?}", files(home, "tmp")));
    }
    let (mut blobs, mut halves) = (BTreeMap::new(), BTreeMap::new());
    for fact in facts {
        match fact {
            Fact::Moving(digest) => _ = blobs.insert(*digest, None),
            Fact::Held(digest) => _ = blobs.insert(*digest, Some(true)),
            Fact::Gone(digest) => _ = blobs.insert(*digest, Some(false)),
            Fact::Fetched(digest, bytes) => _ = halves.insert(*digest, *bytes),
            Fact::True(what, check) => {
                if !check(store) {
                    return Err(format!("lost: {what}"));
                }
            }
        }
    }
    for (digest, promised) in blobs {
        if promised.is_some_and(|promised| promised != held.contains(&digest)) {
            return Err(format!("{digest} should be held: {promised:?}"));
        }
    }
    for (digest, bytes) in halves {
        if !held.contains(&digest) {
            let found = fetched(store, &digest).await?;
            if found < bytes {
                return Err(format!("{digest}: {bytes} bytes were kept, {found} are there"));
            }
        }
    }
    Ok(())
}

impl Cut<'_> {
    /// The same as [`Cut::opens_well`]; a panic is a failure like others.
    async fn opens(&self, home: &Path, again: bool) -> Result<Vec<Op>, String> {
        let opened = std::panic::AssertUnwindSafe(self.opens_well(home, again));
        opened.catch_unwind().await.unwrap_or_else(|_| Err("it panicked".to_owned()))
    }

    /// Opens what is left; plays on if that is wished. Gives what the start changed.
    async fn opens_well(&self, home: &Path, again: bool) -> Result<Vec<Op>, String> {
        let stage = Stage::open(home).map_err(|why| format!("it does not open: {why}"))?;
        let ops = stage.journal.ops();
        check(&stage.store, home, &self.facts, true).await?;
        if again {
            let played: Result<(), Error> = (self.scene.play)(&stage).await;
            played.map_err(|why| format!("again: {why}"))?;
            let facts: Vec<Fact> = stage.facts().into_iter().map(|(_, fact)| fact).collect();
            check(&stage.store, home, &facts, false)
                .await
                .map_err(|why| format!("again: {why}"))?;
        }
        Ok(ops)
    }

    /// Tries one state; cuts the start that mends it if `deep`.
    async fn tries(&self, disk: &Replay, state: &State, deep: bool, tally: &mut Tally) {
        let home = tempdir().unwrap();
        disk.lay_out(state, home.path()).unwrap();
        let mut before = Replay::of(home.path()).unwrap();
        let again = deep || tally.states.is_multiple_of(5);
        tally.states += 1;
        tally.played_again += usize::from(again);
        let ops = match self.opens(home.path(), again).await {
            Ok(ops) => ops,
            Err(why) => return tally.failures.push(format!("{}: {why}", self.name)),
        };
        if !deep {
            return;
        }
        let moments = moments(&ops, 0);
        for (at, op) in ops.iter().enumerate() {
            for seed in 0..if moments.contains(&at) { seeds().map_or(1, |_| 3) } else { 0 } {
                let home = tempdir().unwrap();
                before.lay_out(&before.cut(at as u64 * 3 + seed), home.path()).unwrap();
                tally.starts_cut += 1;
                if let Err(why) = self.opens(home.path(), false).await {
                    let name = &self.name;
                    tally.failures.push(format!("{name}: start cut at {at} {op:?}: {why}"));
                }
            }
            before.play(op);
        }
    }
}

/// What an op is, without its bytes.
fn short(op: Option<&Op>) -> String {
    match op {
        Some(Op::Write { file, offset, bytes }) => format!("write {file} {offset} {}", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// With so many states a moment, until so many failures; `forgets`: syncs that the disk skips.
async fn try_scene(
    scene: &Scene,
    (seeds, failures): (u64, usize),
    forgets: fn(&Op) -> bool,
) -> Tally {
    let home = tempdir().unwrap();
    let mut disk = Replay::of(home.path()).unwrap();
    let stage = Stage::open(home.path()).unwrap();
    // The first start is a scene of its own.
    let from = if scene.name == "first start" { 0 } else { stage.journal.len() };
    (scene.play)(&stage).await.unwrap();
    let facts = stage.facts();
    let journal = std::sync::Arc::clone(&stage.journal);
    drop(stage);
    let ops = journal.ops();
    let (moments, mut tally) = (moments(&ops, from), Tally::default());
    let (mut seen, mut starts) = (HashSet::new(), HashSet::new());
    for at in 0..=ops.len() {
        if moments.contains(&at) {
            let known = facts.iter().filter(|(since, _)| *since <= at);
            let facts: Vec<Fact> = known.map(|(_, fact)| fact.clone()).collect();
            let killed = disk.killed();
            for seed in (0..seeds).map(|seed| at as u64 * seeds + seed) {
                let state = disk.cut(seed);
                if !seen.insert((state.print(), facts.len())) {
                    continue;
                }
                tally.faults += usize::from(state != killed);
                let op = short(ops.get(at));
                let name = format!("{}: cut {at} seed {seed} before {op}", scene.name);
                let cut = Cut { scene, facts: facts.clone(), name };
                // Starts alike are cut once.
                let deep = starts.insert(leftovers(&state)) || seeds > 8;
                cut.tries(&disk, &state, deep, &mut tally).await;
            }
            let name = format!("{}: kill at {at}", scene.name);
            let cut = Cut { scene, facts, name };
            if seen.insert((killed.print(), cut.facts.len())) {
                cut.tries(&disk, &killed, false, &mut tally).await;
            }
        }
        if tally.failures.len() >= failures {
            break;
        }
        ops.get(at).filter(|op| !forgets(op)).into_iter().for_each(|op| disk.play(op));
    }
    tally
}

/// What a start will have to do.
fn leftovers(state: &State) -> Vec<String> {
    let kind = |path: &Path| {
        let folder = path.parent()?.file_name()?.to_string_lossy().into_owned();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        // Blobs themselves are no work.
        (folder.len() > 2).then(|| format!("{folder}/{ending}"))
    };
    let mut kinds: Vec<String> = state.paths().filter_map(kind).collect();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn a_cut_at_any_moment_loses_nothing_that_was_promised() {
    let mut failures = Vec::new();
    let mut all = Tally::default();
    for scene in SCENES {
        let begun = std::time::Instant::now();
        let tally = try_scene(scene, (seeds().unwrap_or(2), SHOWN_MAX), |_| false).await;
        println!(
            "{}: {} states, {} with faults, {} played again, {} starts cut, {:?}",
            scene.name,
            tally.states,
            tally.faults,
            tally.played_again,
            tally.starts_cut,
            begun.elapsed(),
        );
        assert!(tally.faults > 0, "{}: the faults did not fire", scene.name);
        all.states += tally.states;
        all.faults += tally.faults;
        all.starts_cut += tally.starts_cut;
        failures.extend(tally.failures);
    }
    println!(
        "all: {} states, {} with faults, {} starts cut",
        all.states, all.faults, all.starts_cut
    );
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(all.states > 100 && all.faults > 50 && all.starts_cut > 10);
}

/// What would be found if one of the syncs were not there. Each has to be for some scene.
#[tokio::test]
async fn no_sync_is_for_nothing() {
    fn in_folder(op: &Op, is_it: fn(&str) -> bool) -> bool {
        let Op::SyncFolder { path } = op else { return false };
        path.file_name().is_some_and(|name| is_it(&name.to_string_lossy()))
    }
    type Forgotten = (&'static str, &'static [&'static str], fn(&Op) -> bool);
    let forgotten: [Forgotten; 7] = [
        ("every file", &["publish"], |op| matches!(op, Op::Sync { .. })),
        ("every folder", &["publish"], |op| matches!(op, Op::SyncFolder { .. })),
        ("the home", &["publish"], |op| in_folder(op, |name| name.starts_with(".tmp"))),
        ("intents", &["publish", "removal"], |op| in_folder(op, |name| name == "tmp")),
        ("new shards", &["publish", "install"], |op| in_folder(op, |name| name == "blobs")),
        ("shards", &["publish", "removal"], |op| in_folder(op, |name| name.len() == 2)),
        ("half downloads", &["mirror"], |op| in_folder(op, |name| name == "partial")),
    ];
    for (what, scenes, forgets) in forgotten {
        for name in scenes {
            let scene = SCENES.iter().find(|scene| scene.name == *name).unwrap();
            let tally = try_scene(scene, (4, 1), forgets).await;
            println!("without the sync of {what}, {name}: {:?}", tally.failures.first());
            assert!(!tally.failures.is_empty(), "{name} does not miss the sync of {what}");
        }
    }
}
