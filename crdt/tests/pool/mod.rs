//! Random pools of statements of five realms, with pins and blobs of lists, known by a number.
//!
//! ```text
//!  number ─▶ geneses ─▶ 8 to 30 events on what is known so far ─▶ Pool ─▶ deliveries, parts …
//! ```
//!
//! The first realm is the one that is looked at; the others are teams that it may delegate to, and
//! they to each other. Signatures are not made: what was verified is judged here, and that forged
//! ones are refused is shown in `forgery`.
//!
//! Source: trust.md section 6, "Random generator worth keeping".

mod dice;
mod events;
mod pointers;
mod rulings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crdt::derive::AllPins;
use crdt::realm::Lists;
use crdt::statement::{Envelope, IdList};
use crdt::{Body, PublicKey, RealmId, SecretKey, Signature, Statement, StatementId, Verified};

pub(crate) use dice::Dice;

/// How many realms there are.
const REALMS: usize = 5;
/// The root keys that each realm ever has.
const ROOTS: [&[u8]; REALMS] = [&[0, 1, 2, 3], &[9, 10, 3], &[11], &[12], &[13]];
/// Its recovery keys.
const RECOVERY: [u8; 2] = [4, 5];
/// Those who are granted something somewhere.
const PUBLISHERS: [u8; 6] = [6, 7, 8, 14, 15, 16];
/// Those who never are.
const STRANGERS: [u8; 2] = [20, 21];
const KEYS: u8 = 22;

/// A key by its number.
pub(crate) fn key(number: u8) -> PublicKey {
    static ALL: OnceLock<Vec<PublicKey>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        (0..KEYS).map(|seed| SecretKey::from_seed(&[100 + seed; 32]).public()).collect()
    });
    all[usize::from(number)]
}

/// Its number, for who reads a failure.
fn number(key: &PublicKey) -> u8 {
    (0..KEYS).find(|number| self::key(*number) == *key).unwrap()
}

/// The statement as if these keys had signed it, one after the other.
fn signed(statement: Statement, keys: &[u8]) -> Verified {
    let sign = |number: &u8| (key(*number), Signature([*number; 64]));
    Verified::from_admitted(Envelope { statement, signatures: keys.iter().map(sign).collect() })
}

/// All that a node may hold.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) realms: [RealmId; REALMS],
    pub(crate) set: Vec<Verified>,
    pub(crate) pins: AllPins,
    /// Blobs of lists that are held from the start.
    pub(crate) lists: Lists,
    /// Blobs that come later; a third kind never comes.
    pub(crate) late: Lists,
}

impl Pool {
    pub(crate) fn of(number: u64) -> Self {
        events::Maker::new(Dice(number)).pool()
    }

    /// The blobs once the late ones are there.
    pub(crate) fn all_lists(&self) -> Lists {
        self.lists.iter().chain(&self.late).map(|(at, list)| (*at, list.clone())).collect()
    }

    /// Everything, in one of many orders: signatures apart or together, some of it repeated.
    pub(crate) fn delivery(&self, dice: &mut Dice) -> Vec<Verified> {
        let mut all = Vec::new();
        for whole in &self.set {
            let parts = split(std::slice::from_ref(whole));
            match dice.below(3) {
                0 => all.push(whole.clone()),
                1 => all.extend(parts),
                _ => all.extend(parts.into_iter().chain([whole.clone()])),
            }
        }
        all.extend(dice.subset(&all.clone(), 20));
        dice.shuffle(&mut all);
        all
    }

    /// What is left without what only strangers signed, and without their signatures; what some
    /// seal names stays.
    pub(crate) fn without_strangers(&self) -> Vec<Verified> {
        let strangers = STRANGERS.map(key);
        let sealed = self.named_by_seals();
        let keep = |one: &Verified| {
            let stranger = one.signatures().keys().all(|key| strangers.contains(key));
            !stranger || sealed.contains(&one.statement().id())
        };
        split(&self.set).into_iter().filter(keep).collect()
    }

    fn named_by_seals(&self) -> BTreeSet<StatementId> {
        let lists = self.all_lists();
        let mut found = BTreeSet::new();
        for one in &self.set {
            match one.statement().body() {
                Body::Seal { releases: IdList::Inline(ids) } => found.extend(ids),
                Body::Seal { releases: IdList::Blob { digest, .. } } => {
                    found.extend(lists.get(digest).into_iter().flatten());
                }
                _ => {}
            }
        }
        found
    }

    /// What three nodes hold that heard two thirds each: every signature reached two of them.
    pub(crate) fn parts(&self, dice: &mut Dice) -> [Vec<Verified>; 3] {
        let mut parts = [const { Vec::new() }; 3];
        for one in split(&self.set) {
            let away = dice.below(3);
            for at in (0..3).filter(|at| *at != away) {
                parts[at].push(one.clone());
            }
        }
        parts
    }

    /// The pool without the statements of one type.
    pub(crate) fn without(&self, kind: &str) -> Vec<Verified> {
        let other = |one: &&Verified| one.statement().kind() != kind;
        self.set.iter().filter(other).cloned().collect()
    }

    /// One line a statement, with short ids and numbers of keys.
    pub(crate) fn text(&self) -> String {
        let names: BTreeMap<_, _> =
            self.realms.iter().enumerate().map(|(at, realm)| (*realm, at)).collect();
        let line = |one: &Verified| {
            let statement = one.statement();
            let signers: Vec<_> = one.signatures().keys().map(number).collect();
            let realm = names.get(&statement.realm()).copied().unwrap_or(99);
            let package = statement.package().map(ToString::to_string).unwrap_or_default();
            let (id, body) = (statement.id(), statement.body());
            format!("{id:?} realm {realm} {package} by {signers:?}: {body:?}\n")
        };
        let keys: Vec<_> = (0..KEYS).map(|number| format!("{number}={:?}", key(number))).collect();
        let lines: String = self.set.iter().map(line).collect();
        format!(
            "{}\n{lines}pins {:?}\nlists {:?}\nlate {:?}",
            keys.join(" "),
            self.pins,
            self.lists,
            self.late
        )
    }
}

/// Each statement once for each of its signers, as pairs replicate.
pub(crate) fn split(set: &[Verified]) -> Vec<Verified> {
    let mut parts = Vec::new();
    for one in set {
        for (key, signature) in one.signatures() {
            let (statement, signatures) = (one.statement().clone(), [(*key, *signature)].into());
            parts.push(Verified::from_admitted(Envelope { statement, signatures }));
        }
    }
    parts
}
