//! What a root key has signed: beside its file, so that it goes where the key goes.
//!
//! Two successors of one root freeze a realm, and the two signatures prove who did it. So before a
//! root leaves, its key's ledger says which successor of which parent it was: `KEY PARENT ROOT`, a
//! line each, in `<key file>.signed`. Another successor of the same parent is refused. The file is
//! locked while its key signs, so two commands at once take turns.
//!
//! A line is written and synced before the signature is; it is taken back if the node has refused
//! what was posted. After a crash a line may stand for a signature that nobody has: `--instead`.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crdt::{PublicKey, StatementId};

use crate::output::Failure;

/// Bytes of a ledger: some thousand epochs.
const BYTES_MAX: u64 = 4 << 20;

/// The ledger of one key file, locked.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: std::fs::File,
    path: PathBuf,
    lines: Vec<String>,
}

impl Ledger {
    /// Opens the ledger beside a key file and waits for its lock; `None` where nothing can be
    /// written, as on a stick that is read-only.
    pub(crate) fn open(key: &Path) -> Result<Option<Self>, Failure> {
        let mut name = key.as_os_str().to_owned();
        name.push(".signed");
        let path = PathBuf::from(name);
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let Ok(file) = options.open(&path) else { return Ok(None) };
        file.lock()?;
        let mut text = String::new();
        (&file).take(BYTES_MAX).read_to_string(&mut text)?;
        let lines = text.lines().map(str::to_owned).collect();
        Ok(Some(Self { file, path, lines }))
    }

    /// Another successor of the parent that the key has signed.
    pub(crate) fn other(
        &self,
        key: &PublicKey,
        parent: &StatementId,
        root: &StatementId,
    ) -> Option<StatementId> {
        let start = format!("{key} {parent} ");
        let roots = self.lines.iter().filter_map(|line| line.strip_prefix(&start)?.parse().ok());
        roots.into_iter().find(|signed| signed != root)
    }

    /// Writes down what is about to be signed. Says whether it is new.
    pub(crate) fn add(
        &mut self,
        key: &PublicKey,
        parent: &StatementId,
        root: &StatementId,
    ) -> Result<bool, Failure> {
        let line = format!("{key} {parent} {root}");
        if self.lines.contains(&line) {
            return Ok(false);
        }
        self.lines.push(line);
        self.write()?;
        Ok(true)
    }

    /// Takes a line back: what it stands for was refused and is nowhere.
    pub(crate) fn forget(&mut self, root: &StatementId) -> Result<(), Failure> {
        let end = format!(" {root}");
        self.lines.retain(|line| !line.ends_with(&end));
        self.write()
    }

    fn write(&mut self) -> Result<(), Failure> {
        let text: String = self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let failed = |error| {
            let path = self.path.display();
            Failure::new(format!("{path} cannot be written, so nothing was signed: {error}"))
        };
        let write = || {
            (&self.file).seek(SeekFrom::Start(0))?;
            (&self.file).write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)?;
            self.file.sync_all()
        };
        write().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{Digest, SecretKey};

    fn id(text: &str) -> StatementId {
        StatementId(Digest::of(text.as_bytes()))
    }

    #[test]
    fn a_second_successor_of_one_parent_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root");
        let key = SecretKey::from_seed(&[1; 32]).public();
        let mut ledger = Ledger::open(&file).unwrap().unwrap();
        assert!(ledger.add(&key, &id("parent"), &id("one")).unwrap());
        assert!(!ledger.add(&key, &id("parent"), &id("one")).unwrap());
        drop(ledger);
        let mut ledger = Ledger::open(&file).unwrap().unwrap();
        assert_eq!(ledger.other(&key, &id("parent"), &id("two")), Some(id("one")));
        assert_eq!(ledger.other(&key, &id("parent"), &id("one")), None);
        assert_eq!(ledger.other(&key, &id("other"), &id("two")), None);
        let stranger = SecretKey::from_seed(&[2; 32]).public();
        assert_eq!(ledger.other(&stranger, &id("parent"), &id("two")), None);
        ledger.forget(&id("one")).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&file).unwrap().unwrap();
        assert_eq!(ledger.other(&key, &id("parent"), &id("two")), None);
    }
}
