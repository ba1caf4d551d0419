//! The key files that a verb signs with: those that were named, or the root key of the home.
//!
//! Nothing is asked of a person before it is known that a key can help. A successor of a root that
//! a key has signed another successor of is refused: see `ledger`.

use std::path::{Path, PathBuf};

use crdt::{PublicKey, SecretKey, StatementId, Verified};
use node::daemon::keys::{self, Role};

use super::ledger::Ledger;
use super::parcel::{Parcel, root};
use crate::args::Signing;
use crate::client::Node;
use crate::keyfile::KeyFile;
use crate::output::{Code, Failure, Output, short};

/// Keys at hand.
pub(crate) struct Hand {
    keys: Vec<Held>,
    instead: bool,
}

struct Held {
    /// The file, or how it is called in a sentence.
    name: PathBuf,
    public: PublicKey,
    source: Source,
    ledger: Option<Ledger>,
    /// Whether the ledger has a line that this run wrote.
    noted: bool,
}

enum Source {
    File(KeyFile),
    /// Typed in: there is no file that a ledger could lie beside.
    Words(SecretKey),
}

impl Hand {
    /// No key at all.
    pub(crate) const fn empty() -> Self {
        Self { keys: Vec::new(), instead: false }
    }

    /// Opens the key files with their ledgers, for what may be a root; other commands that sign
    /// one wait meanwhile. A passphrase is asked for when one signs.
    pub(crate) fn open(home: &Path, signing: &Signing) -> Result<Self, Failure> {
        let mut hand = Self::open_for_rules(home, signing)?;
        for key in &mut hand.keys {
            key.ledger = Ledger::open(&key.name)?;
        }
        Ok(hand)
    }

    /// Opens the key files for seals, revocations and routes, of which a key may sign any number.
    pub(crate) fn open_for_rules(home: &Path, signing: &Signing) -> Result<Self, Failure> {
        let mut paths = signing.key_files.clone();
        if paths.is_empty() {
            paths.push(keys::file(home, Role::Root));
        }
        let mut held = Vec::new();
        for path in paths {
            let file = KeyFile::read(&path)?.ok_or_else(|| lacks_key(&path))?;
            let public = file.public();
            let source = Source::File(file);
            held.push(Held { name: path, public, source, ledger: None, noted: false });
        }
        Ok(Self { keys: held, instead: signing.instead })
    }

    /// Takes a key that was typed in, besides.
    pub(crate) fn take(&mut self, key: SecretKey) {
        let (name, public) = (PathBuf::from("the words that were typed"), key.public());
        let source = Source::Words(key);
        self.keys.push(Held { name, public, source, ledger: None, noted: false });
    }

    /// The public halves.
    pub(crate) fn publics(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|key| key.public).collect()
    }

    /// Adds the signatures of all keys that have a say; one at least must have.
    pub(crate) fn sign(
        &mut self,
        output: Output,
        parcel: &mut Parcel,
        held: &[Verified],
    ) -> Result<(), Failure> {
        let mut useful = false;
        for key in &mut self.keys {
            if parcel.has_a_say(&key.public)? {
                useful = true;
                key.remember(output, parcel, held, self.instead)?;
                match &key.source {
                    Source::File(file) => parcel.sign(&file.unlock()?)?,
                    Source::Words(key) => parcel.sign(key)?,
                };
            }
        }
        if useful {
            return Ok(());
        }
        let names = self.keys.iter().map(|key| key.name.display().to_string());
        let names: Vec<String> = names.collect();
        let realm = parcel.statement().realm();
        Err(Failure::new(format!(
            "{} is no key that has a say in this; nothing was signed",
            names.join(", ")
        ))
        .hint(format!("griot realm show {realm} names the roots; --key FILE takes another"))
        .code(Code::Refused))
    }

    /// Forgets what was signed for nothing: the node has refused it and does not hold it.
    pub(super) async fn take_back(&mut self, node: &Node, id: &StatementId) {
        let held: Result<String, Failure> = node.get(&format!("statements/{id}")).await;
        if held.is_err_and(|failure| failure.code == Code::Lacks) {
            self.forget(id);
        }
    }

    /// Forgets what this run has signed and kept to itself.
    pub(crate) fn forget(&mut self, id: &StatementId) {
        for key in self.keys.iter_mut().filter(|key| key.noted) {
            if let Some(ledger) = &mut key.ledger {
                // A line too many is told of, and `--instead` passes it.
                drop(ledger.forget(id));
            }
        }
    }
}

impl Held {
    /// Writes down which successor is signed; refuses a second one of the same parent.
    fn remember(
        &mut self,
        output: Output,
        parcel: &Parcel,
        held: &[Verified],
        instead: bool,
    ) -> Result<(), Failure> {
        let Some(parent) = root(parcel.statement()).and_then(|root| root.prev) else {
            return Ok(());
        };
        let (public, id) = (self.public, parcel.id());
        let in_ledger = self.ledger.as_ref().and_then(|it| it.other(&public, &parent, &id));
        let rival = in_ledger.or_else(|| {
            let other = held.iter().find(|other| {
                let statement = other.statement();
                let is_rival = root(statement).is_some_and(|root| root.prev == Some(parent));
                is_rival && statement.id() != id && other.signatures().contains_key(&public)
            });
            other.map(|other| other.statement().id())
        });
        match rival {
            Some(rival) if !instead => return Err(double(&public, &rival, parcel)),
            Some(rival) => output.say(format!(
                "warning: this key has signed {} too: if both get enough signatures the realm \
                 forks, and everybody sees who did it",
                short(&rival)
            )),
            None => {}
        }
        match (&mut self.ledger, &self.source) {
            (Some(ledger), _) => self.noted |= ledger.add(&public, &parent, &id)?,
            (None, Source::Words(_)) => {}
            (None, Source::File(_)) => output.say(format!(
                "warning: {} cannot be written beside: remember yourself that this key has signed \
                 this successor, and sign no other",
                self.name.display()
            )),
        }
        Ok(())
    }
}

fn double(key: &PublicKey, rival: &StatementId, parcel: &Parcel) -> Failure {
    let epoch = root(parcel.statement()).map_or(0, |root| root.epoch);
    let realm = parcel.statement().realm();
    Failure::new(format!(
        "the key {} has signed another epoch {epoch} of this realm, {}: who signs two forks the \
         realm; nothing was signed",
        short(key),
        short(rival)
    ))
    .hint(format!(
        "griot realm pending {realm} shows what waits; if the other one is lost or withdrawn by \
         all: --instead"
    ))
    .code(Code::Refused)
}

/// The key file is not there.
pub(super) fn lacks_key(path: &Path) -> Failure {
    Failure::new(format!("the root key is not at {}", path.display()))
        .hint("bring it back from where you keep it, or name the file: --key FILE")
        .code(Code::Refused)
}
