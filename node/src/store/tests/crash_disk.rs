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

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use tempfile::tempdir;

use super::super::Error;
use super::super::disk::journal::Op;
use super::super::disk::replay::{Replay, State};
use super::crash_disk_facts::{check, panicless};
use super::crash_disk_scenes::{Fact, SCENES, Scene, Stage, home_of};

/// Failures that are shown before a scene is left.
const SHOWN_MAX: usize = 6;
/// Moments of a scene, and of a start that is cut, that an ordinary run tries: spread evenly.
const MOMENTS: (usize, usize) = (40, 8);

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

/// No more of them than that, unless somebody has time.
fn thinned(moments: BTreeSet<usize>, most: usize) -> BTreeSet<usize> {
    let (count, step) = (moments.len(), moments.len().div_ceil(most).max(1));
    if seeds().is_some() || step == 1 {
        return moments;
    }
    // With the last one: all is done there.
    let chosen = moments.into_iter().enumerate();
    chosen.filter(|(n, _)| n % step == 0 || n + 1 == count).map(|(_, at)| at).collect()
}

impl Cut<'_> {
    /// The same as [`Cut::opens_well`]; a panic is a failure like others.
    async fn opens(&self, root: &Path, again: bool) -> Result<Vec<Op>, String> {
        panicless(self.opens_well(root, again)).await
    }

    /// Opens what is left; plays on if that is wished. Gives what the start changed.
    async fn opens_well(&self, root: &Path, again: bool) -> Result<Vec<Op>, String> {
        (self.scene.look)(root)?;
        let stage =
            Stage::of(self.scene, root).map_err(|why| format!("it does not open: {why}"))?;
        let ops = stage.journal.ops();
        check(&stage.store, &self.facts, true).await?;
        (self.scene.always)(&stage.store)?;
        if again {
            let played: Result<(), Error> = (self.scene.play)(&stage).await;
            played.map_err(|why| format!("again: {why}"))?;
            let facts: Vec<Fact> = stage.facts().into_iter().map(|(_, fact)| fact).collect();
            let checked = check(&stage.store, &facts, false).await;
            checked
                .and_then(|()| (self.scene.always)(&stage.store))
                .map_err(|why| format!("again: {why}"))?;
            super::crash_disk_facts::nothing_is_left(&stage.store).await?;
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
        let moments = thinned(moments(&ops, 0), MOMENTS.1);
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
    (scene.prepare)(home.path()).await;
    let mut disk = Replay::of(home.path()).unwrap();
    let stage = Stage::of(scene, home.path()).unwrap();
    let from = if scene.from_start { 0 } else { stage.journal.len() };
    (scene.play)(&stage).await.unwrap();
    let facts = stage.facts();
    let journal = std::sync::Arc::clone(&stage.journal);
    drop(stage);
    let ops = journal.ops();
    let (moments, mut tally) = (thinned(moments(&ops, from), MOMENTS.0), Tally::default());
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
                let deep = starts.insert(leftovers(&state, home.path(), scene)) || seeds > 8;
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
fn leftovers(state: &State, root: &Path, scene: &Scene) -> Vec<String> {
    let kind = |path: &Path| {
        // A start looks at nothing else, unless it is a restore.
        let is_looked_at = scene.from_start || path.starts_with(home_of(root));
        if !is_looked_at {
            return None;
        }
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
    let forgotten: [Forgotten; 8] = [
        ("every file", &["publish"], |op| matches!(op, Op::Sync { .. })),
        ("every folder", &["publish"], |op| matches!(op, Op::SyncFolder { .. })),
        ("the home", &["publish"], |op| in_folder(op, |name| name == "home")),
        ("intents", &["publish", "removal"], |op| in_folder(op, |name| name == "tmp")),
        ("new shards", &["publish", "install"], |op| in_folder(op, |name| name == "blobs")),
        ("shards", &["publish", "removal"], |op| in_folder(op, |name| name.len() == 2)),
        ("half downloads", &["mirror"], |op| in_folder(op, |name| name == "partial")),
        ("uploads", &["uploads"], |op| in_folder(op, |name| name == "uploads")),
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
