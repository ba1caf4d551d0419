//! What a real disk could show after a power cut: the model of the crash tests.
//!
//! A journal is played up to a cut. Durable is what was asked for and nothing else: the bytes and
//! the length of a file at its last `Sync`, the names in a folder at its last `SyncFolder`. The
//! rest is chosen by a seed. Nothing is assumed of the order that some file systems keep between
//! data and names:
//!
//! - *Bytes.* Each write since the last sync is there, lost, or torn into sectors of 512 bytes or
//!   4 KiB of which any may lack, whatever came later. The length is that of the bytes that landed,
//!   or the newest one (zeros where nothing landed), or any that the file had since the sync. No
//!   garbage appears: what was never written is zeros.
//! - *Names.* Each name of a folder is what it was at the last sync or after any of the changes
//!   since, independently of other names. So creations, removals and renames are reordered or lost.
//!   A rename is one thing alone: the old name is not gone before the new one is there. Both names
//!   can be there at once.
//! - *Folders.* A new folder whose own name was not synced may lack with all that is in it, however
//!   well that was synced. The root is there always.
//!
//! A sector is old or new, never a mixture. An unwritten sync counts as done: it is the device that
//! keeps that promise.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Opening;
use super::journal::{FileId, Op};

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
}

/// What a name was at its folder's last sync, and since: (number of the change, what then).
#[derive(Debug, Clone, Default)]
struct Name {
    durable: Option<Entry>,
    since: Vec<(usize, Option<Entry>)>,
}

/// A change of a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    SetLen(usize),
}

/// A file, whatever its name.
#[derive(Debug, Clone, Default)]
struct Node {
    durable: Vec<u8>,
    since: Vec<Change>,
}

/// The disk at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    root: PathBuf,
    names: BTreeMap<PathBuf, Name>,
    nodes: Vec<Node>,
    files: BTreeMap<FileId, usize>,
    changes: usize,
}

/// One outcome: what the next start finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, usize>,
    bytes: BTreeMap<usize, Vec<u8>>,
}

impl State {
    /// Names of files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Equal for equal outcomes.
    pub(crate) fn print(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?} {:?}", self.folders, self.files).as_bytes());
        for (node, bytes) in &self.bytes {
            hasher.update(format!("{node} {}", bytes.len()).as_bytes()).update(bytes);
        }
        hasher.finalize()
    }
}

impl Name {
    fn live(&self) -> Option<Entry> {
        self.since.last().map_or(self.durable, |(_, entry)| *entry)
    }

    /// As after the first `count` changes since the sync.
    fn after(&self, count: usize) -> Option<Entry> {
        count.checked_sub(1).map_or(self.durable, |last| self.since[last].1)
    }

    /// How many of the changes have to be there for the one of this number to be.
    fn upto(&self, change: usize) -> usize {
        self.since.partition_point(|(number, _)| *number <= change)
    }
}

impl Node {
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.since) {
            change.apply(&mut self.durable, |_| true);
        }
    }

    /// All that was written.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.since.iter().for_each(|change| change.apply(&mut bytes, |_| true));
        bytes
    }

    /// What is there of it.
    fn cut(&self, dice: &mut Dice, fate: Fate) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut lens = vec![bytes.len()];
        for change in &self.since {
            let len = *lens.last().unwrap_or(&0);
            lens.push(change.len_after(len));
            match fate.bytes.unwrap_or_else(|| dice.below(3)) {
                0 => {}
                1 => change.apply(&mut bytes, |_| true),
                _ => {
                    let sector = if dice.below(2) == 0 { 512 } else { 4096 };
                    let draw = dice.next();
                    change.apply(&mut bytes, |at| mix(draw ^ (at / sector) as u64) & 1 == 0);
                }
            }
        }
        match dice.below(3) {
            0 => {}
            1 => bytes.resize(lens.last().copied().unwrap_or(0), 0),
            _ => bytes.resize(lens[dice.below(lens.len())], 0),
        }
        bytes
    }
}

impl Change {
    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write { offset, bytes } => len.max(offset + bytes.len()),
            Self::SetLen(len) => *len,
        }
    }

    /// Those sectors (of 512 bytes) for which `lands` says so.
    fn apply(&self, to: &mut Vec<u8>, lands: impl Fn(usize) -> bool) {
        match self {
            Self::SetLen(len) if lands(0) => to.resize(*len, 0),
            Self::SetLen(_) => {}
            Self::Write { offset, bytes } => {
                let (mut at, end) = (*offset, offset + bytes.len());
                while at < end {
                    let next = ((at / 512 + 1) * 512).min(end);
                    if lands(at) {
                        if to.len() < next {
                            to.resize(next, 0);
                        }
                        to[at..next].copy_from_slice(&bytes[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

/// What a whole outcome leans to; `None`: each thing by its own draw. For bytes 0 is lost, 1 there,
/// 2 torn; for names 0 is old, 1 new.
#[derive(Debug, Clone, Copy)]
struct Fate {
    bytes: Option<usize>,
    names: Option<usize>,
}

impl Fate {
    /// The extremes first: they find the most.
    fn of(seed: u64) -> Self {
        let (bytes, names) = match seed % 8 {
            0 => (Some(0), Some(0)),
            1 => (Some(0), Some(1)),
            2 => (Some(1), Some(0)),
            3 => (Some(2), Some(1)),
            4 => (Some(1), None),
            5 => (Some(0), None),
            _ => (None, None),
        };
        Self { bytes, names }
    }
}

impl Replay {
    /// A disk that has, durably, what lies under `root` now.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        let (names, nodes, files) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let mut new = Self { root: root.to_owned(), names, nodes, files, changes: 0 };
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for found in fs_err::read_dir(folder)? {
                let path = found?.path();
                let entry = if path.is_dir() {
                    folders.push(path.clone());
                    Entry::Folder
                } else {
                    new.nodes.push(Node { durable: fs_err::read(&path)?, since: Vec::new() });
                    Entry::File(new.nodes.len() - 1)
                };
                new.names.insert(path, Name { durable: Some(entry), since: Vec::new() });
            }
        }
        Ok(new)
    }

    /// The next change of the journal is made.
    pub(crate) fn play(&mut self, op: &Op) {
        self.changes += 1;
        match op {
            Op::Open { file, path, opening } => self.open(*file, path, *opening),
            Op::Write { file, offset, bytes } => {
                let offset = usize::try_from(*offset).expect("files of tests fit");
                self.change(*file, Change::Write { offset, bytes: Arc::clone(bytes) });
            }
            Op::SetLen { file, len } => {
                let len = usize::try_from(*len).expect("files of tests fit");
                self.change(*file, Change::SetLen(len));
            }
            // Neither bytes nor length: nothing that a cut could show.
            Op::Allocate { .. } => {}
            Op::Sync { file } => self.nodes[self.files[file]].settle(),
            Op::Rename { from, to } => {
                if let Some(entry) = self.live(from) {
                    self.put(to, Some(entry));
                    self.put(from, None);
                }
            }
            Op::Link { from, to } => {
                if let Some(entry) = self.live(from) {
                    self.put(to, Some(entry));
                }
            }
            Op::Remove { path } => {
                if self.live(path).is_some() {
                    self.put(path, None);
                }
            }
            Op::CreateFolder { path } => self.create_folder(path),
            Op::SyncFolder { path } => self.sync_folder(path),
        }
    }

    fn open(&mut self, file: FileId, path: &Path, opening: Opening) {
        let node = if let Some(Entry::File(node)) = self.live(path) {
            if opening == Opening::Empty {
                self.nodes[node].since.push(Change::SetLen(0));
            }
            node
        } else {
            self.nodes.push(Node::default());
            let node = self.nodes.len() - 1;
            self.put(path, Some(Entry::File(node)));
            node
        };
        self.files.insert(file, node);
    }

    fn change(&mut self, file: FileId, change: Change) {
        self.nodes[self.files[&file]].since.push(change);
    }

    fn live(&self, path: &Path) -> Option<Entry> {
        self.names.get(path).and_then(Name::live)
    }

    fn put(&mut self, path: &Path, entry: Option<Entry>) {
        let since = &mut self.names.entry(path.to_owned()).or_default().since;
        since.push((self.changes, entry));
    }

    fn create_folder(&mut self, path: &Path) {
        let root = self.root.clone();
        let mut lacking: Vec<&Path> = path.ancestors().take_while(|it| *it != root).collect();
        lacking.reverse();
        for folder in lacking {
            if folder.starts_with(&root) && self.live(folder).is_none() {
                self.put(folder, Some(Entry::Folder));
            }
        }
    }

    fn sync_folder(&mut self, folder: &Path) {
        let inside = |path: &Path| path.parent() == Some(folder);
        let mut gone = Vec::new();
        for (path, name) in &mut self.names {
            if inside(path) {
                name.durable = name.live();
                let since = name.since.drain(..);
                gone.extend(since.filter(|it| it.1.is_none()).map(|it| it.0));
            }
        }
        // A rename out of here is durable; so is its new name, with what was there before it.
        for name in self.names.values_mut() {
            let mut since = name.since.iter().rev();
            let renamed = since.find(|it| it.1.is_some() && gone.contains(&it.0)).copied();
            if let Some((number, _)) = renamed {
                let upto = name.upto(number);
                name.durable = name.after(upto);
                name.since.drain(..upto);
            }
        }
    }

    /// All that was changed is there: what a kill leaves.
    pub(crate) fn killed(&self) -> State {
        let upto = self.names.iter().map(|(path, name)| (path, name.since.len())).collect();
        self.state(&upto, Node::whole)
    }

    /// One outcome of a power cut now.
    pub(crate) fn cut(&self, seed: u64) -> State {
        let (mut dice, fate) = (Dice(mix(seed ^ 0x6772_696f)), Fate::of(seed));
        let mut upto: BTreeMap<&PathBuf, usize> = BTreeMap::new();
        for (path, name) in &self.names {
            let all = name.since.len();
            let count = match fate.names {
                Some(0) => 0,
                Some(_) => all,
                None => dice.below(all + 1),
            };
            upto.insert(path, count);
        }
        while let Some((path, count)) = self.lost_by_rename(&upto) {
            upto.insert(path, count);
        }
        self.state(&upto, |node| node.cut(&mut dice, fate))
    }

    /// A new name that has to be there because the old one is gone; and how far.
    fn lost_by_rename(&self, upto: &BTreeMap<&PathBuf, usize>) -> Option<(&PathBuf, usize)> {
        let mut gone = BTreeSet::new();
        for (path, name) in &self.names {
            let there = &name.since[..upto[path]];
            gone.extend(there.iter().filter(|(_, entry)| entry.is_none()).map(|it| it.0));
        }
        self.names.iter().find_map(|(path, name)| {
            let rest = &name.since[upto[path]..];
            let renamed = rest.iter().rev().find(|it| it.1.is_some() && gone.contains(&it.0))?;
            Some((path, name.upto(renamed.0)))
        })
    }

    fn state(
        &self,
        upto: &BTreeMap<&PathBuf, usize>,
        mut bytes: impl FnMut(&Node) -> Vec<u8>,
    ) -> State {
        let mut state = State::default();
        // In the order of paths: a folder comes before what is in it.
        for (path, name) in &self.names {
            let parent = path.parent().unwrap_or(&self.root);
            if parent != self.root && !state.folders.contains(parent) {
                continue;
            }
            match name.after(upto[path]) {
                None => {}
                Some(Entry::Folder) => {
                    state.folders.insert(path.clone());
                }
                Some(Entry::File(node)) => {
                    state.files.insert(path.clone(), node);
                    state.bytes.entry(node).or_insert_with(|| bytes(&self.nodes[node]));
                }
            }
        }
        state
    }

    /// Lays an outcome out under an empty folder.
    pub(crate) fn lay_out(&self, state: &State, home: &Path) -> io::Result<()> {
        let place = |path: &Path| home.join(path.strip_prefix(&self.root).unwrap_or(path));
        for folder in &state.folders {
            fs_err::create_dir_all(place(folder))?;
        }
        let mut laid: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (path, node) in &state.files {
            let path = place(path);
            match laid.get(node) {
                Some(first) => fs_err::hard_link(first, &path)?,
                None => {
                    fs_err::write(&path, &state.bytes[node])?;
                    laid.insert(*node, path);
                }
            }
        }
        Ok(())
    }
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
