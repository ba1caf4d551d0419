//! An envelope that collects signatures: as a file that is carried, mailed or scanned.
//!
//! ```text
//! griot envelope v1
//! # acme (r1…): from epoch 3 to 4
//! # grants publish npm:@acme/* to 01ab…
//! # signed by 01aa…
//! -----BEGIN GRIOT ENVELOPE-----
//! base64 of the envelope, 76 letters a line
//! -----END GRIOT ENVELOPE-----
//! -----BEGIN GRIOT CONTEXT-----
//! another statement that explains the first, such as the root that it follows
//! -----END GRIOT CONTEXT-----
//! -----BEGIN GRIOT LIST-----
//! base64 of the ids of releases, where they are too many for the statement itself
//! -----END GRIOT LIST-----
//! ```
//!
//! The first envelope is what is signed. Further ones are signed with it where the key has a say:
//! the routes of a realm whose roots change. Context is there so that a laptop without a node can
//! say in words what it signs; a statement is bound to its id, so context that lies is not found.
//! A list goes along because the node that it was made on may be away for good when the last
//! signature is there; one that is not the statement's own is refused.
//! What stands behind `#` is for people: it is never read, but made anew from the envelope.
//!
//! Everything in a file comes from a stranger: bounded, verified, and shown before it is signed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::realm::{Quorum, quorums};
use crdt::statement::{BlobRef, Root};
use crdt::{Body, Digest, Envelope, PublicKey, SecretKey, Statement, StatementId, Verified};

use super::seen::Seen;
use crate::output::{Code, Failure, plain};

const TITLE: &str = "griot envelope v1";
/// Bytes of the largest file.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Blocks of one file.
const BLOCKS_MAX: usize = 2_000;
/// Bytes of the longest list that goes along: 262,144 releases. A longer one stays on its node.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Letters of a line of base64.
const LINE: usize = 76;

/// Statements on their way, with what explains them.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// What is signed first; it may have no signature yet.
    pub(crate) main: Verified,
    /// What is signed with it.
    pub(crate) others: Vec<Verified>,
    /// What it refers to.
    pub(crate) context: Vec<Verified>,
    /// The bytes of its list, where that is a blob.
    pub(crate) list: Option<Vec<u8>>,
}

impl Parcel {
    /// A statement that nobody has signed yet.
    pub(crate) fn new(statement: Statement) -> Self {
        let main = Verified::sign(statement, &[]);
        Self { main, others: Vec::new(), context: Vec::new(), list: None }
    }

    /// Puts in the bytes of its list.
    pub(crate) fn listing(mut self, list: Option<Vec<u8>>) -> Self {
        self.list = list.filter(|bytes| bytes.len() <= LIST_BYTES_MAX);
        self
    }

    /// Puts in what a reader without a node needs: the root that the statement follows.
    pub(crate) fn explained_by(mut self, seen: &Seen) -> Self {
        let parent = match self.statement().body() {
            Body::Root(Root { prev, .. }) => *prev,
            _ => seen.authority.path.last().copied(),
        };
        self.context.extend(parent.and_then(|id| seen.statement(&id)).cloned());
        self
    }

    /// What is signed first.
    pub(crate) const fn statement(&self) -> &Statement {
        self.main.statement()
    }

    /// Its id.
    pub(crate) const fn id(&self) -> StatementId {
        self.main.statement().id()
    }

    /// A statement of the context.
    pub(crate) fn find(&self, id: &StatementId) -> Option<&Statement> {
        let all = self.context.iter().chain(&self.others);
        all.map(Verified::statement).find(|statement| statement.id() == *id)
    }

    /// The root by which signatures are judged: the parent of a root, else the head; none for a
    /// genesis.
    pub(crate) fn ground(&self) -> Result<Option<&Root>, Failure> {
        let root_of = |statement: &'_ Statement| match statement.body() {
            Body::Root(_) => statement.realm() == self.statement().realm(),
            _ => false,
        };
        let found = match self.statement().body() {
            Body::Root(Root { prev: None, .. }) => return Ok(None),
            Body::Root(Root { prev: Some(prev), .. }) => self.find(prev),
            _ => {
                let roots = self.context.iter().map(Verified::statement).filter(|it| root_of(it));
                roots.max_by_key(|it| root(it).map(|root| root.epoch))
            }
        };
        found.and_then(root).map(Some).ok_or_else(|| {
            Failure::new("the root that this statement follows is not in the file")
                .hint("griot realm sign ID, on a laptop whose node follows the realm")
                .code(Code::Lacks)
        })
    }

    /// Who must sign what is signed first.
    pub(crate) fn quorums(&self) -> Result<Vec<Quorum>, Failure> {
        Ok(quorums(self.ground()?, self.statement(), &signers(&self.main)))
    }

    /// Whether the signature of a key would count. A recovery key is asked for by nobody before one
    /// has signed.
    pub(crate) fn has_a_say(&self, key: &PublicKey) -> Result<bool, Failure> {
        let mut signers = signers(&self.main);
        signers.insert(*key);
        let then = quorums(self.ground()?, self.statement(), &signers);
        Ok(then.iter().any(|quorum| quorum.signed.contains(key)))
    }

    /// Adds a key's signature wherever it has a say. Says whether anything changed.
    pub(crate) fn sign(&mut self, key: &SecretKey) -> Result<bool, Failure> {
        let public = key.public();
        let mut changed = false;
        if self.has_a_say(&public)? {
            changed |= add(&mut self.main, key);
        }
        // Routes are signed again by the roots that come.
        let next = root(self.main.statement()).map(|root| root.roots.clone()).unwrap_or_default();
        for other in self.others.iter_mut().filter(|_| next.contains(&public)) {
            changed |= add(other, key);
        }
        Ok(changed)
    }

    /// Joins the signatures that the node holds already.
    pub(crate) fn merge(&mut self, seen: &Seen) {
        for mine in std::iter::once(&mut self.main).chain(&mut self.others) {
            if let Some(held) = seen.statement(&mine.statement().id()) {
                mine.merge(held);
            }
        }
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let mut text = String::new();
        let file = fs_err::File::open(path)?;
        let wrong = |why: String| {
            Failure::new(format!("{} is no envelope: {why}", path.display()))
                .hint("take the file anew from where it was written")
                .code(Code::Refused)
        };
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong("it is longer than 16 MiB".into()));
        }
        Self::parse(&text).map_err(wrong)
    }

    /// Reads the text of a file.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut envelopes, mut context, mut list) = (Vec::new(), Vec::new(), None);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let kind = match line.trim() {
                "-----BEGIN GRIOT ENVELOPE-----" => "ENVELOPE",
                "-----BEGIN GRIOT CONTEXT-----" => "CONTEXT",
                "-----BEGIN GRIOT LIST-----" => "LIST",
                _ => continue,
            };
            let end = format!("-----END GRIOT {kind}-----");
            let mut body = String::new();
            loop {
                let line = lines.next().ok_or("a block of it has no end")?.trim();
                if line == end {
                    break;
                }
                body.push_str(line);
            }
            if envelopes.len() + context.len() >= BLOCKS_MAX {
                return Err(format!("it has more than {BLOCKS_MAX} blocks"));
            }
            if kind == "LIST" {
                list = Some(BASE64_STANDARD.decode(body).map_err(|error| error.to_string())?);
                continue;
            }
            let verified = block(&body)?;
            if kind == "ENVELOPE" { &mut envelopes } else { &mut context }.push(verified);
        }
        let mut envelopes = envelopes.into_iter();
        let main = envelopes.next().ok_or("there is no block GRIOT ENVELOPE in it")?;
        let named = blob(main.statement()).map(|blob| blob.digest);
        if list.as_ref().is_some_and(|bytes| named != Some(Digest::of(bytes))) {
            return Err("its list is not the one that the statement names".into());
        }
        Ok(Self { main, others: envelopes.collect(), context, list })
    }

    /// The text of a file; `says` is its head for people.
    pub(crate) fn text(&self, says: &[String]) -> String {
        let mut text = format!("{TITLE}\n");
        for line in says {
            text += &format!("# {}\n", plain(line));
        }
        let signed = self.others.iter().filter(|it| !it.signatures().is_empty());
        let envelopes = std::iter::once(&self.main).chain(signed);
        let blocks = envelopes.map(|it| ("ENVELOPE", it));
        let blocks = blocks.chain(self.context.iter().map(|it| ("CONTEXT", it)));
        let blocks = blocks.map(|(kind, one)| (kind, one.envelope().encode()));
        for (kind, bytes) in blocks.chain(self.list.iter().map(|it| ("LIST", it.clone()))) {
            text += &format!("-----BEGIN GRIOT {kind}-----\n");
            let letters = BASE64_STANDARD.encode(bytes);
            for line in letters.as_bytes().chunks(LINE) {
                text += &String::from_utf8_lossy(line);
                text.push('\n');
            }
            text += &format!("-----END GRIOT {kind}-----\n");
        }
        text
    }

    /// The letters of what is signed first, as a camera reads them.
    pub(crate) fn letters(&self) -> String {
        BASE64_STANDARD.encode(self.main.envelope().encode())
    }

    /// Writes the file: whole or not at all, over its former self.
    pub(crate) fn write(&self, path: &Path, says: &[String]) -> Result<(), Failure> {
        use std::io::Write as _;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(self.text(says).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| {
            Failure::new(format!("{} cannot be written: {}", path.display(), error.error))
        })?;
        Ok(())
    }
}

/// The keys that signed an envelope.
fn signers(verified: &Verified) -> BTreeSet<PublicKey> {
    verified.signatures().keys().copied().collect()
}

/// What a statement says, if it is a root.
pub(crate) const fn root(statement: &Statement) -> Option<&Root> {
    match statement.body() {
        Body::Root(root) => Some(root),
        _ => None,
    }
}

/// The blob of a statement's list, if it has one.
const fn blob(statement: &Statement) -> Option<BlobRef> {
    match statement.body() {
        Body::Seal { releases: list } | Body::Revoke { keep: list, .. } => list.blob(),
        _ => None,
    }
}

fn add(to: &mut Verified, key: &SecretKey) -> bool {
    let signed = Verified::sign(to.statement().clone(), &[key]);
    to.merge(&signed)
}

fn block(letters: &str) -> Result<Verified, String> {
    let bytes = BASE64_STANDARD.decode(letters).map_err(|error| error.to_string())?;
    let verified = Envelope::decode(&bytes).and_then(Envelope::verify);
    verified.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::statement::{IdList, recovery_hash};

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn founding() -> Parcel {
        let mut root = Root::of_one(key(1).public(), [1; 16], "acme", Vec::new());
        root.roots = (1..=3).map(|seed| key(seed).public()).collect();
        root.roots.sort_unstable();
        root.k = 2;
        root.recovery = vec![recovery_hash(&key(9).public())];
        Parcel::new(Statement::genesis(root).unwrap())
    }

    #[test]
    fn a_file_collects_signatures_of_those_who_have_a_say() {
        let mut parcel = founding();
        assert!(parcel.sign(&key(1)).unwrap());
        let text = parcel.text(&["founds \u{202e}acme".into()]);
        assert!(text.starts_with("griot envelope v1\n# founds acme\n"), "{text}");
        let mut there = Parcel::parse(&text).unwrap();
        assert_eq!(there.quorums().unwrap()[0].lacks(), 1);
        assert!(!there.sign(&key(7)).unwrap(), "a stranger has no say");
        assert!(there.sign(&key(2)).unwrap());
        let back = Parcel::parse(&there.text(&[])).unwrap();
        assert_eq!(back.quorums().unwrap()[0].lacks(), 0);
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_the_reason() {
        let mut parcel = founding();
        parcel.sign(&key(1)).unwrap();
        let text = parcel.text(&[]);
        let (cut, _) = text.split_once("-----END").unwrap();
        let flipped = text.replacen("ENVELOPE-----\n", "ENVELOPE-----\nA", 1);
        for wrong in ["", "hello", cut, &flipped] {
            assert!(Parcel::parse(wrong).is_err(), "{wrong:.60}");
        }
    }

    #[test]
    fn a_long_list_goes_along_and_another_one_is_refused() {
        let ids = |seed: u32| (seed..seed + 501).map(|n| StatementId(Digest::of(&n.to_le_bytes())));
        let (list, bytes) = IdList::of(ids(0).collect()).unwrap();
        let bytes = bytes.unwrap();
        let realm = founding().statement().realm();
        let seal = Statement::new(realm, None, Body::Seal { releases: list }).unwrap();
        let mut parcel = Parcel::new(seal).listing(Some(bytes.clone()));
        assert!(add(&mut parcel.main, &key(1)));
        let text = parcel.text(&[]);
        assert_eq!(Parcel::parse(&text).unwrap().list, Some(bytes));
        let (_, other) = IdList::of(ids(1).collect()).unwrap();
        let letters = BASE64_STANDARD.encode(other.unwrap());
        let (head, _) = text.split_once("-----BEGIN GRIOT LIST-----").unwrap();
        let wrong =
            format!("{head}-----BEGIN GRIOT LIST-----\n{letters}\n-----END GRIOT LIST-----\n");
        assert!(Parcel::parse(&wrong).unwrap_err().contains("is not the one"));
        let mut genesis = founding();
        assert!(genesis.sign(&key(1)).unwrap());
        genesis.list = Some(vec![0; 32]);
        let refused = Parcel::parse(&genesis.text(&[])).unwrap_err();
        assert!(refused.contains("is not the one"), "a root has no list: {refused}");
    }

    #[test]
    fn a_root_without_its_parent_cannot_be_judged() {
        let genesis = founding();
        let Body::Root(root) = genesis.statement().body() else { panic!("a genesis is a root") };
        let prev = Some(genesis.id());
        let next = Root { epoch: 1, prev, ..root.clone() };
        let realm = genesis.statement().realm();
        let mut parcel = Parcel::new(Statement::new(realm, None, Body::Root(next)).unwrap());
        assert_eq!(parcel.quorums().unwrap_err().code, Code::Lacks);
        parcel.context.push(genesis.main);
        assert_eq!(parcel.quorums().unwrap().len(), 2);
    }
}
