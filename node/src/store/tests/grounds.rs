//! What lies in the tables equals what the rules make of all statements at once, whatever came in
//! which order; and what a change does not touch is left alone.

use std::collections::BTreeSet;

use crdt::derive::{self, AllPins};
use crdt::realm::Lists;
use crdt::session::Index as _;
use crdt::statement::{Counter, Grant, Grantee, IdList, Pattern, Root, recovery_hash};
use crdt::{Body, Digest, PublicKey, RealmId, SecretKey, Statement, StatementId, Verified};
use tempfile::tempdir;

use super::super::{FollowKind, Followed, Store, chains};
use super::world::{Realm, describe, grant, key, package};

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        of.iter().filter(|_| self.below(2) == 0).cloned().collect()
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

fn to_realm(pattern: &str, realm: RealmId) -> Grant {
    let to = Grantee::Realm(realm);
    Grant { to, ..Grant::to_key("publish", Pattern::parse(pattern).unwrap(), key(1).public()) }
}

fn to_key(pattern: &str, n: u8) -> Grant {
    Grant::to_key("publish", Pattern::parse(pattern).unwrap(), key(n).public())
}

const NAMES: [&str; 4] = ["t-1", "t-2", "c-1", "x"];

/// Three realms that delegate to each other, and all that was ever said in them.
struct Play {
    dice: Dice,
    realms: [Realm; 3],
    roots: [Vec<Statement>; 3],
    releases: Vec<Statement>,
    rulings: Vec<StatementId>,
    blobs: Vec<Vec<u8>>,
    said: Vec<Verified>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let realms = [1, 2, 3].map(|n| {
            let mut realm = Realm::new(n);
            if n == 1 {
                let mut roots = [1, 11, 12].map(|n| key(n).public());
                roots.sort_unstable();
                realm.content.roots = roots.to_vec();
                realm.content.k = 2;
                realm.content.recovery = vec![recovery_hash(&key(80).public())];
                realm.content.rk = 1;
            }
            realm
        });
        let mut play = Self {
            dice: Dice(seed),
            realms,
            roots: [vec![], vec![], vec![]],
            releases: vec![],
            rulings: vec![],
            blobs: vec![b"no list at all, and of another length".to_vec()],
            said: vec![],
        };
        play.found();
        play
    }

    /// Each genesis; those above name the realms below.
    fn found(&mut self) {
        for at in [2, 1, 0] {
            let below = self.realms.get(at + 1).map(|realm| to_realm("t*", realm.id));
            let realm = &mut self.realms[at];
            realm.content.grants.extend(below);
            let genesis = Statement::genesis(realm.content.clone()).unwrap();
            realm.id = genesis.realm();
            self.roots[at].push(genesis.clone());
            self.say(genesis, &[1, 11, 2, 3]);
        }
    }

    /// One envelope, or one for each of the signers.
    fn say(&mut self, statement: Statement, signers: &[u8]) {
        let keys: Vec<SecretKey> = signers.iter().map(|n| key(*n)).collect();
        if self.dice.is(3) {
            for key in &keys {
                self.said.push(Verified::sign(statement.clone(), &[key]));
            }
        } else if !keys.is_empty() {
            let keys: Vec<&SecretKey> = keys.iter().collect();
            self.said.push(Verified::sign(statement, &keys));
        }
    }

    fn signers(&mut self, among: &[u8]) -> Vec<u8> {
        let mut some = self.dice.some(among);
        if some.is_empty() {
            some.push(*self.dice.one(among));
        }
        some
    }

    fn list(&mut self) -> IdList {
        let ids: Vec<StatementId> = self.releases.iter().map(Statement::id).collect();
        let mut ids = self.dice.some(&ids);
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() || self.dice.is(2) {
            return IdList::Inline(ids);
        }
        if self.dice.is(6) {
            let digest = Digest::of(&self.blobs[0]);
            return IdList::Blob { digest, count: 1 };
        }
        let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.0.as_bytes()).collect();
        let list = IdList::Blob { digest: Digest::of(&bytes), count: ids.len() as u64 };
        self.blobs.push(bytes);
        list
    }

    fn root(&mut self, at: usize) {
        let parent = self.dice.one(&self.roots[at]).clone();
        let Body::Root(before) = parent.body() else { panic!("a root") };
        let (a, b) = (self.realms[1].id, self.realms[2].id);
        let mut narrow = to_key("t-1", 102);
        narrow.exclusive = true;
        let mut careful = to_key("c*", 103);
        careful.need = 2;
        let all = [
            to_key("*", 101),
            to_key("c*", 104),
            to_realm("t*", a),
            to_realm("*", b),
            narrow,
            careful,
        ];
        let own: [&[u8]; 3] = [&[1, 11, 12, 13], &[2], &[3]];
        let mut roots: Vec<PublicKey> =
            self.signers(own[at]).into_iter().map(|n| key(n).public()).collect();
        roots.sort_unstable();
        roots.truncate(3);
        let k = u32::try_from(roots.len() / 2 + 1).unwrap();
        let mut cleared = if self.dice.is(3) { self.dice.some(&self.rulings) } else { vec![] };
        cleared.sort_unstable();
        let mut seals = self.dice.is(5).then(|| self.dice.some(&self.rulings));
        seals.iter_mut().for_each(|seals| seals.sort_unstable());
        let next = Root {
            epoch: before.epoch + 1,
            prev: Some(parent.id()),
            grants: self.dice.some(&all),
            roots,
            k,
            cleared,
            seals,
            ..before.clone()
        };
        let next = Statement::new(self.realms[at].id, None, Body::Root(next)).unwrap();
        self.roots[at].push(next.clone());
        let signers = match at {
            0 if self.dice.is(4) => vec![80, 1, 11, 12, 13],
            0 => vec![1, 11, 12, 13],
            _ => own[at].to_vec(),
        };
        self.say(next, &signers);
    }

    fn release(&mut self) {
        let (n, bytes) = (self.dice.below(2), [self.dice.below(2) as u8]);
        let name = *self.dice.one(&NAMES);
        let release = self.realms[0].release(name, &format!("1.{n}.0"), &bytes);
        self.releases.push(release.clone());
        let signers = self.signers(&[101, 102, 103, 104, 90]);
        self.say(release, &signers);
    }

    fn ruling(&mut self) {
        let at = if self.dice.is(4) { 1 } else { 0 };
        let (body, among): (Body, &[u8]) = if self.dice.is(2) {
            (Body::Seal { releases: self.list() }, &[1, 11, 12, 13, 2])
        } else {
            let whose = *self.dice.one(&[101, 102, 103, 104]);
            let (keep, reason) = (self.list(), "lost".to_owned());
            (Body::Revoke { key: key(whose).public(), keep, reason }, &[1, 11, 2, 101, 102])
        };
        let ruling = Statement::new(self.realms[at].id, None, body).unwrap();
        self.rulings.push(ruling.id());
        self.rulings.sort_unstable();
        self.rulings.dedup();
        let signers = self.signers(among);
        self.say(ruling, &signers);
    }

    fn pointer(&mut self) {
        let Some(release) = self.releases.last().cloned() else { return };
        let counter = Counter { epoch: self.dice.below(4) as u64, n: self.dice.below(5) as u64 };
        let (id, reason) = (release.id(), "bad".to_owned());
        let body = match self.dice.below(3) {
            0 => Body::Yank { release: id, counter, reason },
            1 => Body::Tag { tag: "latest".into(), release: Some(id), counter },
            _ => Body::Withdraw { release: id, reason },
        };
        let statement =
            Statement::new(self.realms[0].id, release.package().cloned(), body).unwrap();
        let signers = self.signers(&[101, 102, 103]);
        self.say(statement, &signers);
    }

    fn event(&mut self) {
        match self.dice.below(10) {
            0 | 1 => self.root(0),
            2 => {
                let at = 1 + self.dice.below(2);
                self.root(at);
            }
            3..=5 => self.release(),
            6..=8 => self.ruling(),
            _ => self.pointer(),
        }
    }

    fn batch(&mut self) -> Vec<Verified> {
        let count = 1 + self.dice.below(6);
        (0..count).map(|_| self.dice.one(&self.said).clone()).collect()
    }

    /// Something that a person does.
    async fn act(&mut self, store: &Store) {
        let realm = self.realms[1].id;
        match self.dice.below(12) {
            0 => {
                let root = self.dice.one(&self.roots[0]).id();
                // Most are refused.
                drop(store.accept_chain(&self.realms[0].id, &root).await);
            }
            1 => {
                let (kind, claims, mirrors) = (FollowKind::Followed, Vec::new(), Vec::new());
                store.follow(Followed { realm, kind, claims, order: 1, mirrors }).await.unwrap();
            }
            2 => drop(store.unfollow(&realm).await.unwrap()),
            3..=6 => {
                let bytes = self.dice.one(&self.blobs).clone();
                super::stored(store, &bytes).await;
            }
            _ => {}
        }
    }

    /// Compares the tables with the rules.
    fn check(&self, store: &Store, at: &str) {
        let (mut held, mut pins, mut lists) = (Vec::new(), AllPins::default(), Lists::new());
        for realm in &self.realms {
            held.extend(all_of(store, &realm.id));
            let pin = store.reading(|txn| chains::pin(txn, &realm.id)).unwrap();
            pins.chains.insert(realm.id, pin);
        }
        for bytes in &self.blobs {
            if store.blob(&Digest::of(bytes)).unwrap().is_some() {
                lists.insert(Digest::of(bytes), IdList::read(bytes).unwrap_or_default());
            }
        }
        for followed in store.followed().unwrap() {
            let whole = derive::realm(&held, followed.realm, &pins, &lists);
            assert_eq!(store.authority(&followed.realm).unwrap(), whole.authority, "{at}");
            for (name, view) in whole.packages {
                let kept = store.derived(&followed.realm, &name).unwrap();
                let expected = (followed.kind != FollowKind::Delegate).then_some(view);
                assert_eq!(kept, expected, "{at}: {name:?}");
            }
        }
        let followed: BTreeSet<_> = self.realms.iter().map(|realm| realm.id).collect();
        let mut missing = BTreeSet::new();
        for realm in &followed {
            missing.extend(store.missing_lists(realm).unwrap().into_iter().map(|it| it.digest));
        }
        let whole = derive::realm(&held, self.realms[0].id, &pins, &lists);
        assert!(whole.missing.is_subset(&missing), "{at}");
        assert!(missing.iter().all(|digest| !lists.contains_key(digest)), "{at}");
    }
}

fn all_of(store: &Store, realm: &RealmId) -> Vec<Verified> {
    let mut ids = BTreeSet::new();
    for (collection, _) in store.collections(realm) {
        ids.extend(store.items(&collection).into_iter().map(|item| item.id));
    }
    ids.iter().map(|id| store.statement(id).unwrap().unwrap()).collect()
}

async fn play(seed: u64, steps: usize) {
    let (mut play, home) = (Play::new(seed), tempdir().unwrap());
    let mut store = Store::open_with(home.path(), describe).unwrap();
    store.follow(play.realms[0].followed(FollowKind::Own)).await.unwrap();
    for step in 0..steps {
        play.event();
        let batch = play.batch();
        store.admit(batch, None).await.unwrap();
        play.act(&store).await;
        play.check(&store, &format!("seed {seed}, step {step}"));
        if play.dice.is(40) {
            drop(store);
            store = Store::open_with(home.path(), describe).unwrap();
        }
    }
    for round in 0..4 {
        store.admit(play.said.clone(), None).await.unwrap();
        play.check(&store, &format!("seed {seed}, all, {round}"));
    }
    let mut sealed = 0;
    for name in NAMES {
        let view = store.derived(&play.realms[0].id, &package(name)).unwrap();
        sealed += view.map_or(0, |view| view.versions.len() + view.fallen.len());
    }
    assert!(sealed > 0, "nothing happened in seed {seed}");
}

#[tokio::test]
async fn the_tables_equal_the_rules_over_all_statements_whatever_came_when() {
    let more = std::env::var("GRIOT_PLAYS").ok().and_then(|plays| plays.parse().ok());
    for seed in 0..more.unwrap_or(10).max(10) {
        play(seed, 40).await;
    }
}

/// How often each package was derived.
fn derived(store: &Store) -> [u64; 3] {
    ["a", "b", "c"].map(|name| store.revision(&package(name)).unwrap())
}

/// A store with the packages a and b by the publisher, and c by another key.
async fn three(home: &std::path::Path) -> (Realm, Store, StatementId) {
    let mut realm = Realm::new(1);
    realm.content.grants.push(grant(key(50).public()));
    realm.genesis =
        Verified::sign(Statement::genesis(realm.content.clone()).unwrap(), &[&realm.root]);
    realm.id = realm.genesis.statement().realm();
    let store = realm.store(home).await;
    let a = realm.sign(realm.release("a", "1.0.0", b"a"));
    let b = realm.sign(realm.release("b", "1.0.0", b"b"));
    let c = Verified::sign(realm.release("c", "1.0.0", b"c"), &[&key(50)]);
    let id = a.statement().id();
    store.admit(vec![a, b, c], None).await.unwrap();
    assert_eq!(derived(&store), [1; 3]);
    (realm, store, id)
}

#[tokio::test]
async fn a_root_that_moves_no_publisher_derives_nothing() {
    let home = tempdir().unwrap();
    let (realm, store, _) = three(home.path()).await;
    let next = realm.next(|root| {
        let mut invited = to_key("*", 60);
        invited.role = "mirror".into();
        root.grants.push(invited);
        root.grants.push(to_key("*", 61));
    });
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    assert_eq!(store.authority(&realm.id).unwrap().epoch(), 1);
    assert_eq!(derived(&store), [1; 3], "nobody's release hangs on them");
}

#[tokio::test]
async fn a_root_derives_what_its_grants_move_and_what_waited_for_its_epoch() {
    let home = tempdir().unwrap();
    let (realm, store, a) = three(home.path()).await;
    let body =
        Body::Yank { release: a, counter: Counter { epoch: 1, n: 1 }, reason: "early".into() };
    let early = Statement::new(realm.id, Some(package("a")), body).unwrap();
    store.admit(vec![realm.sign(early)], None).await.unwrap();
    assert_eq!(derived(&store), [2, 1, 1]);
    let yanked = |store: &Store| {
        let view = store.package(&realm.id, &package("a")).unwrap().unwrap();
        view.versions["1.0.0"].yanked.clone()
    };
    assert_eq!(yanked(&store), None);
    let publisher = realm.publisher.public();
    let next = realm.next(|root| {
        root.grants.retain(|grant| grant.to == Grantee::Key(publisher));
    });
    store.admit(vec![Verified::sign(next, &[&realm.root])], None).await.unwrap();
    assert_eq!(derived(&store), [3, 1, 2]);
    assert_eq!(yanked(&store).as_deref(), Some("early"));
    assert!(store.package(&realm.id, &package("c")).unwrap().is_none());
}

#[tokio::test]
async fn a_revocation_derives_what_its_key_has_signed_and_a_seal_what_it_names() {
    let home = tempdir().unwrap();
    let (realm, store, a) = three(home.path()).await;
    let body = Body::Revoke {
        key: realm.publisher.public(),
        keep: IdList::Inline(vec![]),
        reason: "stolen".into(),
    };
    let revoke = Statement::new(realm.id, None, body).unwrap();
    store.admit(vec![Verified::sign(revoke, &[&realm.root])], None).await.unwrap();
    assert_eq!(derived(&store), [2, 2, 1]);
    assert!(store.package(&realm.id, &package("a")).unwrap().is_none());
    let seal = Body::Seal { releases: IdList::Inline(vec![a]) };
    let seal = Statement::new(realm.id, None, seal).unwrap();
    store.admit(vec![Verified::sign(seal.clone(), &[&key(50)])], None).await.unwrap();
    assert_eq!(derived(&store), [2, 2, 1], "a publisher seals nothing");
    store.admit(vec![Verified::sign(seal, &[&realm.root])], None).await.unwrap();
    assert_eq!(derived(&store), [3, 2, 1], "its quorum came later");
    assert!(store.package(&realm.id, &package("a")).unwrap().is_some());
    assert!(store.package(&realm.id, &package("b")).unwrap().is_none());
    let again = Statement::new(
        realm.id,
        None,
        Body::Seal { releases: IdList::of(vec![a, StatementId(Digest::of(b"?"))]).unwrap().0 },
    );
    store.admit(vec![Verified::sign(again.unwrap(), &[&realm.root])], None).await.unwrap();
    assert_eq!(derived(&store), [3, 2, 1], "it was sealed already");
}
