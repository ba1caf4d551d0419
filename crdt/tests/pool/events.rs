//! The geneses, the roots that follow, releases, and what is pinned.

use crdt::derive::AllPins;
use crdt::realm::Lists;
use crdt::statement::{Grant, Grantee, Pattern, Root, recovery_hash};
use crdt::{Body, Digest, PackageId, PublicKey, RealmId, Statement, StatementId, Verified};

use super::{Dice, PUBLISHERS, Pool, REALMS, RECOVERY, ROOTS, STRANGERS, key, number, signed};
use crate::oracle::{Given, chain};
use crate::world::{content, file, meta, release};

/// Patterns of the grants.
const PATTERNS: [&str; 10] = ["*", "*", "*", "*", "x", "x", "x*", "x-*", "x-ui", "y*"];
const FORMATS: [&str; 5] = ["*", "*", "*", "pypi", "npm"];
const ROLES: [&str; 12] = [
    "publish", "publish", "publish", "publish", "publish", "publish", "publish", "publish",
    "publish", "publish", "owner", "mirror",
];
const NEEDS: [u32; 6] = [1, 1, 1, 1, 2, 0];

/// How the geneses delegate to each other.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// At random.
    Free,
    /// Each to the next: the last is too deep.
    Line,
    /// The first to two, both of them to one.
    Diamond,
}

/// What is being made.
pub(super) struct Maker {
    pub(super) dice: Dice,
    pub(super) realms: Vec<RealmId>,
    pub(super) set: Vec<Verified>,
    pub(super) lists: Lists,
    pub(super) late: Lists,
}

impl Maker {
    pub(super) fn new(dice: Dice) -> Self {
        let (lists, late) = (Lists::new(), Lists::new());
        Self { dice, realms: vec![], set: vec![], lists, late }
    }

    pub(super) fn pool(mut self) -> Pool {
        let shape =
            *self.dice.pick(&[Shape::Free, Shape::Free, Shape::Free, Shape::Line, Shape::Diamond]);
        // The last team first, so that those before it can delegate to it.
        let mut realms = vec![];
        for at in (0..REALMS).rev() {
            self.realms.clone_from(&realms);
            let genesis = self.genesis(at, shape);
            realms.push(genesis.statement().realm());
            self.set.push(genesis);
        }
        realms.reverse();
        self.realms = realms;
        let events = 8 + self.dice.below(23);
        for _ in 0..events {
            let event = self.event();
            self.set.extend(event);
        }
        if shape == Shape::Diamond && self.dice.percent(70) {
            let cut = self.one_way_cut();
            self.set.push(cut);
        }
        if self.dice.percent(25) {
            let rival = self.rival();
            self.set.extend(rival);
        }
        let pins = self.pins();
        let realms = self.realms.clone().try_into().unwrap();
        Pool { realms, set: self.set, pins, lists: self.lists, late: self.late }
    }

    fn event(&mut self) -> Option<Verified> {
        match self.dice.below(100) {
            0..=17 => self.successor(),
            18..=52 => Some(self.release()),
            53..=59 => self.endorsement(),
            60..=68 => self.revoke(),
            69..=77 => self.seal(),
            78..=83 => self.withdraw(),
            84..=88 => self.yank(),
            89..=92 => self.unyank(),
            _ => Some(self.tag()),
        }
    }

    fn genesis(&mut self, at: usize, shape: Shape) -> Verified {
        let count = if at == 0 { 3 } else { ROOTS[at].len().min(2) };
        let roots: Vec<_> = ROOTS[at][..count].to_vec();
        let mut grants = self.grants(at);
        if at == 0 && self.dice.percent(75) {
            grants.extend([6, 7].map(|key| granted("*", Grantee::Key(super::key(key)))));
        }
        let to = |realm| granted("*", Grantee::Realm(realm));
        let everything = |number| vec![granted("*", Grantee::Key(key(number)))];
        match (shape, self.realms.as_slice()) {
            (Shape::Line, [.., next]) => {
                grants = vec![to(*next)];
                grants.push(granted("x*", Grantee::Key(key([6, 7, 8, 14, 15][at]))));
            }
            (Shape::Line, []) => grants = everything(16),
            (Shape::Diamond, [_, _, one, two]) => grants = vec![to(*one), to(*two)],
            (Shape::Diamond, [_, end, ..]) => grants = vec![to(*end)],
            (Shape::Diamond, [_]) => grants = everything(6),
            _ => {}
        }
        let root = Root {
            epoch: 0,
            prev: None,
            nonce: [u8::try_from(at).unwrap(); 16],
            title: format!("realm {at}"),
            k: majority(roots.len()),
            roots: sorted(&roots),
            recovery: vec![recovery_hash(&key(RECOVERY[0]))],
            rk: 1,
            grants,
            cleared: vec![],
            seals: None,
        };
        let signers = self.dice.some(&roots, root.k as usize);
        signed(Statement::genesis(root).unwrap(), &signers)
    }

    fn grants(&mut self, at: usize) -> Vec<Grant> {
        let count = 1 + self.dice.below(3);
        (0..count).map(|_| self.grant(at)).collect()
    }

    fn grant(&mut self, at: usize) -> Grant {
        let to = if !self.realms.is_empty() && self.dice.percent(if at == 0 { 40 } else { 25 }) {
            Grantee::Realm(*self.dice.pick(&self.realms))
        } else {
            Grantee::Key(key(*self.dice.pick(&PUBLISHERS)))
        };
        Grant {
            format: (*self.dice.pick(&FORMATS)).to_owned(),
            pattern: Pattern::parse(self.dice.pick::<&str>(&PATTERNS)).unwrap(),
            role: (*self.dice.pick(&ROLES)).to_owned(),
            to,
            need: *self.dice.pick(&NEEDS),
            exclusive: self.dice.percent(15),
        }
    }

    /// Which realm something happens in: mostly the one that is looked at.
    pub(super) fn realm(&mut self) -> usize {
        *self.dice.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4])
    }

    pub(super) fn known(&self, at: usize, kind: &str) -> Vec<Verified> {
        let ours = |one: &&Verified| {
            one.statement().realm() == self.realms[at] && one.statement().kind() == kind
        };
        self.set.iter().filter(ours).cloned().collect()
    }

    pub(super) fn known_ids(&self, at: usize, kind: &str) -> Vec<StatementId> {
        let mut ids: Vec<_> = self.known(at, kind).iter().map(|one| one.statement().id()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// A root on some root that is known, by honest keys, by recovery keys, or by anybody.
    fn successor(&mut self) -> Option<Verified> {
        let at = self.realm();
        let known = self.known(at, "root");
        let newest = known.iter().max_by_key(|one| root(one).epoch)?;
        let parent = if self.dice.percent(65) { newest } else { self.dice.pick(&known) }.clone();
        let mut next = root(&parent).clone();
        next.epoch += if self.dice.percent(4) { 2 } else { 1 };
        next.prev = Some(parent.statement().id());
        next.nonce = [u8::try_from(self.dice.below(3)).unwrap(); 16];
        self.change(at, &mut next);
        let signers = self.root_signers(root(&parent), &next);
        let statement = Statement::new(self.realms[at], None, Body::Root(next)).unwrap();
        Some(signed(statement, &signers))
    }

    /// A second root beside one that has a parent, by a majority of the same roots.
    fn rival(&mut self) -> Option<Verified> {
        let known = self.known(0, "root");
        let later: Vec<_> = known.iter().filter(|one| root(one).prev.is_some()).cloned().collect();
        let beside = later.get(self.dice.below(later.len().max(1)))?;
        let prev = root(beside).prev;
        let parent = known.iter().find(|one| Some(one.statement().id()) == prev)?;
        let mut next = root(beside).clone();
        next.title = "rival".to_owned();
        let [old, new] = [root(parent), &next].map(|root| {
            let numbers: Vec<_> = root.roots.iter().map(number).collect();
            self.dice.some(&numbers, root.k as usize)
        });
        let signers = self.with_stranger([old, new].concat());
        let statement = Statement::new(self.realms[0], None, Body::Root(next)).unwrap();
        Some(signed(statement, &signers))
    }

    fn change(&mut self, at: usize, next: &mut Root) {
        if self.dice.percent(50) {
            let count = 1 + self.dice.below(3);
            next.roots = sorted(&self.dice.some(ROOTS[at], count));
            next.k = majority(next.roots.len());
        }
        if self.dice.percent(4) {
            next.k = [0, 1, 4][self.dice.below(3)];
        }
        match self.dice.below(5) {
            0 => next.grants = self.grants(at),
            1 => next.grants.push(self.grant(at)),
            2 if next.grants.len() > 1 => drop(next.grants.pop()),
            _ => {}
        }
        if self.dice.percent(20) {
            next.recovery = RECOVERY.map(|one| recovery_hash(&key(one))).to_vec();
            next.rk = u32::try_from(self.dice.below(3)).unwrap();
        }
        let (revokes, seals) = (self.known_ids(at, "revoke"), self.known_ids(at, "seal"));
        next.cleared = vec![];
        if self.dice.percent(40) {
            next.cleared = self.dice.subset(&[revokes, seals.clone()].concat(), 50);
        }
        next.seals = self.dice.percent(25).then(|| self.dice.subset(&seals, 50));
    }

    fn root_signers(&mut self, parent: &Root, next: &Root) -> Vec<u8> {
        let numbers = |keys: &[PublicKey]| keys.iter().map(number).collect::<Vec<_>>();
        let (old, new) = (numbers(&parent.roots), numbers(&next.roots));
        let mut signers = match self.dice.below(20) {
            0..=11 => self.dice.some(&old, parent.k as usize),
            12..=15 => self.dice.some(&RECOVERY, parent.rk as usize),
            _ => self.dice.subset(&[0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 6], 35),
        };
        if self.dice.percent(92) {
            signers.extend(self.dice.some(&new, next.k as usize));
        }
        self.with_stranger(signers)
    }

    /// The signers, sometimes with a stranger beside them, never nobody.
    pub(super) fn with_stranger(&mut self, mut signers: Vec<u8>) -> Vec<u8> {
        if signers.is_empty() || self.dice.percent(12) {
            signers.push(*self.dice.pick(&STRANGERS));
        }
        signers
    }

    pub(super) fn some_publishers(&mut self) -> Vec<u8> {
        let count = 1 + self.dice.below(2);
        let signers = match self.dice.below(10) {
            0 => vec![],
            1..=5 => self.dice.some(&[6, 7], count),
            _ => self.dice.some(&PUBLISHERS, count),
        };
        self.with_stranger(signers)
    }

    pub(super) fn package(&mut self) -> PackageId {
        let (format, name) =
            [("pypi", "x"), ("pypi", "x-ui"), ("npm", "x"), ("pypi", "y"), ("npm", "z")]
                [[0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4][self.dice.below(12)]];
        PackageId::new(format, name)
    }

    fn release(&mut self) -> Verified {
        let at = if self.dice.percent(88) { 0 } else { self.realm() };
        let version = *self.dice.pick(&["1.0", "1.0", "2.0"]);
        let mut files = vec![];
        for name in ["x.deb", "x.tar.gz", "x.whl"] {
            if self.dice.percent([15, 25, 60][files.len().min(2)]) {
                let mut one = file(name, u8::try_from(1 + self.dice.below(2)).unwrap());
                if self.dice.percent(30) {
                    let version = u32::try_from(2 + self.dice.below(2)).unwrap();
                    one.meta = Some(meta(version, &[self.dice.below(2) as u8]));
                }
                files.push(one);
            }
        }
        if files.is_empty() {
            files.push(file("x.whl", u8::try_from(1 + self.dice.below(3)).unwrap()));
        }
        let mut content = release(version, files);
        content.claimed_time = self.dice.next() % 3;
        if self.dice.percent(10) {
            content.written = format!("v{version}");
        }
        let (package, signers) = (self.package(), self.some_publishers());
        let body = Body::Release(content);
        signed(Statement::new(self.realms[at], Some(package), body).unwrap(), &signers)
    }

    /// A further signature on a statement of any type.
    fn endorsement(&mut self) -> Option<Verified> {
        let releases = self.known(0, "release");
        let of = if self.dice.percent(70) && !releases.is_empty() { &releases } else { &self.set };
        let statement = of[self.dice.below(of.len())].statement().clone();
        Some(signed(statement, &self.some_publishers()))
    }

    /// What this node accepted when it knew less, and what it served.
    fn pins(&mut self) -> AllPins {
        let mut pins = AllPins::default();
        for at in 0..REALMS {
            if self.dice.percent(if at == 0 { 50 } else { 20 }) {
                let known = self.dice.below(self.set.len() + 1);
                let none = AllPins::default();
                let given = Given::gather(&self.set[..known], &none, &self.lists);
                let path = chain(&given, self.realms[at]).path;
                pins.chains.insert(self.realms[at], path);
            }
        }
        for name in ["x", "x-ui"] {
            for version in ["1.0", "2.0"] {
                for file in ["x.tar.gz", "x.whl"] {
                    if self.dice.percent(12) {
                        let slot = (version.to_owned(), file.to_owned());
                        let pin = content(u8::try_from(1 + self.dice.below(3)).unwrap());
                        let package = PackageId::new("pypi", name);
                        pins.contents.entry(package).or_default().insert(slot, pin);
                    }
                }
            }
        }
        pins
    }
}

/// The root that a statement is.
pub(super) fn root(of: &Verified) -> &Root {
    let Body::Root(root) = of.statement().body() else { panic!("not a root") };
    root
}

fn granted(pattern: &str, to: Grantee) -> Grant {
    crate::world::grant("publish", pattern, to)
}

fn majority(count: usize) -> u32 {
    u32::try_from(count / 2 + 1).unwrap()
}

fn sorted(numbers: &[u8]) -> Vec<PublicKey> {
    let mut keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    keys.sort_unstable();
    keys
}

/// The digest of the blob that holds the ids.
pub(super) fn blob_of(ids: &[StatementId]) -> Digest {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.0.as_bytes()).collect();
    Digest::of(&bytes)
}
