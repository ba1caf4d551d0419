//! Attacks on the set itself and on its exchange: 4, 6, 15, 16 and 19 of the red team's list.

use crdt::document::Document;
use crdt::message::Frame;
use crdt::reconcile::overall;
use crdt::session::{Index, Input, MemoryIndex, Output, Session};
use crdt::sketch::Sketch;
use crdt::statement::{Beat, MAX_COUNTER};
use crdt::{
    Body, Digest, Envelope, Error, Item, PublicKey, Signature, Statement, StatementId, Verified,
};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};

use crate::network::{Net, Realm};
use crate::receipts::receipt;
use crate::world::{H1, World, counter, grant};

/// Signs a release as often as he likes: he knows his scalar, and chooses the nonce.
struct Minter {
    scalar: Scalar,
    key: PublicKey,
}

impl Minter {
    fn new() -> Self {
        let scalar = Scalar::from(77_u64);
        let mut bytes = [1; 33];
        bytes[1..].copy_from_slice(&(ED25519_BASEPOINT_POINT * scalar).compress().0);
        Self { scalar, key: PublicKey::admit(&bytes).unwrap() }
    }

    fn mint(&self, payload: &[u8], nonce: u64) -> Signature {
        let nonce = Scalar::from(nonce + 1);
        let point = (ED25519_BASEPOINT_POINT * nonce).compress().0;
        let text = [b"griot/stmt/v1\0release\0", payload].concat();
        let hash = Sha512::new().chain_update(point).chain_update(&self.key.as_bytes()[1..]);
        let k = Scalar::from_bytes_mod_order_wide(&hash.chain_update(text).finalize().into());
        let s = (nonce + k * self.scalar).to_bytes();
        Signature([point, s].concat().try_into().unwrap())
    }
}

#[test]
fn red_06_ten_thousand_signatures_by_one_key_are_one_item() {
    let minter = Minter::new();
    let w = World::with(|root| {
        root.grants = vec![grant("publish", "*", crdt::statement::Grantee::Key(minter.key))];
    });
    let statement = w.release("1.0", H1, &[&w.m]).statement().clone();
    let signed = |nonce| {
        let signatures = [(minter.key, minter.mint(statement.payload(), nonce))].into();
        Envelope { statement: statement.clone(), signatures }.verify().unwrap()
    };
    let (mut all, mut least) = (MemoryIndex::new(1), None::<Signature>);
    all.follow(w.realm);
    for nonce in 0..10_000 {
        let copy = signed(nonce);
        let signature = copy.signatures()[&minter.key];
        least = Some(least.map_or(signature, |least| least.min(signature)));
        assert_eq!(all.admit(copy).len(), usize::from(nonce == 0), "a second item");
    }
    assert_eq!((all.count(), all.last_sequence()), (1, 1));
    let held = all.envelope(&statement.id(), &[]).unwrap();
    assert_eq!(held.signatures().values().collect::<Vec<_>>(), [&least.unwrap()]);
    // A node that holds another one has the same set, heads and view.
    let mut other = MemoryIndex::new(2);
    other.follow(w.realm);
    let copy = signed(12_345);
    other.admit(copy.clone());
    assert_eq!(all.fingerprints(), other.fingerprints());
    let heads = |one: &Verified| {
        let mut document = Document::new();
        document.extend([one]).unwrap();
        document.heads()
    };
    assert_eq!(heads(&held), heads(&copy));
    assert_eq!(w.view(&[&held]), w.view(&[&copy]));
    assert_eq!(w.view(&[&held]).versions.len(), 1);
}

/// A session past its greeting with a peer that follows the same, and the node behind it.
struct Hearing {
    index: MemoryIndex,
    session: Session,
}

impl Hearing {
    fn new(index: MemoryIndex) -> Self {
        let mut hearing = Self { index, session: Session::default() };
        hearing.input(Input::Start { key: [1; 32], initiator: false, seen: None });
        let hello = Frame::Hello {
            version: 1,
            features: 1,
            max_frame: 1 << 20,
            key: [2; 32],
            epoch: 9,
            seen: None,
            follows: hearing.index.follows(),
        };
        hearing.input(Input::Frame(hello));
        hearing
    }

    /// Feeds it; what is to be admitted is verified and admitted, as the node does it.
    fn input(&mut self, input: Input) {
        self.session.handle(0, input, &self.index);
        let mut admitted = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Admit { envelopes, cursor } => {
                    for one in envelopes.into_iter().filter_map(|one| one.verify().ok()) {
                        self.index.admit(one);
                    }
                    admitted.push(Input::Admitted { cursor });
                }
                Output::Close(why) => panic!("closed: {why}"),
                _ => {}
            }
        }
        for input in admitted {
            self.input(input);
        }
    }

    fn says(&mut self, batch: Vec<Envelope>) {
        self.input(Input::Frame(Frame::Statements { batch }));
    }
}

#[test]
fn red_06_a_broken_copy_that_comes_first_does_not_keep_the_honest_one_out() {
    let w = World::new();
    let honest = w.release("1.0", H1, &[&w.m, &w.n]);
    let mut index = MemoryIndex::new(1);
    index.follow(w.realm);
    let mut hearing = Hearing::new(index);
    for spoilt in [w.m.public(), w.n.public()] {
        let mut broken = honest.envelope().clone();
        broken.signatures.insert(spoilt, Signature([7; 64]));
        hearing.says(vec![broken]);
        assert_eq!(hearing.index.count(), 0, "a copy with a broken signature is nothing");
    }
    // Who sent that is asked for it no more in this conversation; anybody else brings it.
    let mut hearing = Hearing::new(hearing.index);
    hearing.says(vec![honest.envelope().clone()]);
    assert_eq!(hearing.index.count(), 2);
    assert!(honest.items().all(|item| hearing.index.holds(&item)));
}

#[test]
fn red_15_a_peer_a_month_behind_takes_nobody_back() {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let (now, month_old) = (net.follower(&[&realm]), net.follower(&[&realm]));
    let old = [realm.genesis.clone(), realm.release("a", "1.0.0")];
    let (one, counter) = (old[1].statement().id(), counter((0, 1)));
    let yank = Body::Yank { release: one, counter, reason: "broken".to_owned() };
    let news = [realm.release("a", "1.1.0"), realm.statement("npm", "a", yank)];
    for said in old.iter().chain(&news) {
        net.admit(now, said.clone());
    }
    old.iter().for_each(|said| net.admit(month_old, said.clone()));
    let before = net.nodes[now].index.fingerprints();
    // He shows what he has in every way, over and over: as a peer who compares, and unasked.
    let link = net.connect(month_old, now);
    let replay = old.iter().map(|said| said.envelope().clone()).collect();
    net.send(link, 1, &net_hello(&net, month_old));
    for batch in vec![replay; 5] as Vec<Vec<Envelope>> {
        net.send(link, 1, &Frame::Statements { batch });
    }
    assert_eq!(net.nodes[now].index.fingerprints(), before, "nothing went back");
    net.disconnect(link);
    net.connect(month_old, now);
    net.settle();
    assert_eq!(net.nodes[now].index.fingerprints(), before);
    net.assert_same(&[now, month_old]);
}

/// What the peer greets with.
fn net_hello(net: &Net, peer: usize) -> Frame {
    Frame::Hello {
        version: 1,
        features: 1,
        max_frame: 1 << 20,
        key: [99; 32],
        epoch: net.nodes[peer].index.epoch(),
        seen: None,
        follows: net.nodes[peer].index.follows(),
    }
}

fn beat(w: &World, at: (u64, u64), count: u64) -> Verified {
    let head = StatementId(w.realm.0);
    let beat = Beat {
        head,
        counter: counter(at),
        digest: Digest::of(&count.to_le_bytes()),
        count,
        claimed_time: 0,
    };
    w.sign(None, Body::Beat(beat), &[&w.n])
}

/// What a node holds after both came, in either order.
fn after(w: &World, one: &Verified, two: &Verified) -> Vec<StatementId> {
    let kept = |first: &Verified, second: &Verified| {
        let mut index = MemoryIndex::new(1);
        index.follow(w.realm);
        index.admit(first.clone());
        index.admit(second.clone());
        index.envelopes().map(|held| held.statement.id()).collect::<Vec<_>>()
    };
    let held = kept(one, two);
    assert_eq!(held, kept(two, one), "the order of arrival decides");
    held
}

#[test]
fn red_16_a_beat_or_a_receipt_beyond_the_counters_replaces_nothing() {
    let w = World::new();
    let id = |one: &Verified| vec![one.statement().id()];
    let good = beat(&w, (0, 5), 1);
    for n in [MAX_COUNTER + 1, u64::MAX] {
        assert_eq!(after(&w, &good, &beat(&w, (0, n), 2)), id(&good), "n {n}");
        assert_eq!(after(&w, &good, &beat(&w, (9, n), 2)), id(&good), "n {n} of another epoch");
    }
    let said = |n| w.sign(None, Body::Receipt(receipt("x", n)), &[&w.n]);
    for n in [MAX_COUNTER + 1, u64::MAX] {
        assert_eq!(after(&w, &said(5), &said(n)), id(&said(5)), "n {n}");
    }
    // At the last counter that counts, and then in the next epoch.
    let last = beat(&w, (0, MAX_COUNTER), 2);
    assert_eq!(after(&w, &good, &last), id(&last));
    let next = beat(&w, (1, 1), 3);
    assert_eq!(after(&w, &last, &next), id(&next), "the next epoch outranks it");
}

#[test]
fn red_16_a_yank_at_the_last_counter_is_cured_by_the_next_epoch() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let wasted = w.yank(&one, (0, MAX_COUNTER), &[&w.m]);
    assert!(w.view(&[&one, &wasted]).versions["1.0"].yanked.is_some());
    let stuck = w.unyank(&one, (0, MAX_COUNTER), &[&w.m]);
    assert!(w.view(&[&one, &wasted, &stuck]).versions["1.0"].yanked.is_some(), "a tie is yanked");
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    let cure = w.unyank(&one, (1, 1), &[&w.m]);
    let early = w.view(&[&one, &wasted, &cure]);
    assert!(early.versions["1.0"].yanked.is_some(), "not before the epoch is there");
    let authority = w.authority(&[&w.genesis, &next]);
    let view = w.view_under(&authority, &[&one, &wasted, &cure], &crdt::Pins::new());
    assert_eq!(view.versions["1.0"].yanked, None);
}

#[test]
fn red_04_a_beats_signature_is_none_of_a_statement_and_the_other_way_round() {
    let w = World::new();
    for honest in [beat(&w, (0, 1), 1), w.release("1.0", H1, &[&w.n])] {
        let statement = honest.statement();
        for kind in
            ["beat", "release", "receipt", "seal"].iter().filter(|k| **k != statement.kind())
        {
            let signatures = [(w.n.public(), w.n.sign(kind, statement.payload()))].into();
            let replayed = Envelope { statement: statement.clone(), signatures };
            assert_eq!(replayed.verify(), Err(Error::BadSignature), "{kind}");
        }
        assert!(honest.envelope().clone().verify().is_ok());
    }
}

#[test]
fn red_19_realms_that_nobody_follows_take_no_room() {
    let w = World::new();
    let mut index = MemoryIndex::new(1);
    index.follow(w.realm);
    let mut hearing = Hearing::new(index);
    for seed in 0..40 {
        let nameless = Realm::new(100 + seed);
        let said = (0..20).map(|n| nameless.release("a", &format!("1.0.{n}")));
        let batch = said.map(|one| one.envelope().clone()).collect();
        hearing.says(batch);
        hearing.says(vec![nameless.genesis.envelope().clone()]);
    }
    assert_eq!((hearing.index.count(), hearing.index.last_sequence()), (0, 0));
    let honest = w.release("1.0", H1, &[&w.m]);
    hearing.says(vec![honest.envelope().clone()]);
    assert_eq!(hearing.index.count(), 1, "and an honest one still gets in");
}

#[test]
fn red_19_a_mirror_that_reissues_receipts_without_end_holds_one() {
    let w = World::new();
    let mut index = MemoryIndex::new(1);
    index.follow(w.realm);
    for n in 0..2_000 {
        index.admit(w.sign(None, Body::Receipt(receipt("x", n)), &[&w.n]));
    }
    assert_eq!((index.count(), index.envelopes().count()), (1, 1));
}

#[test]
fn red_19_statements_that_name_what_nobody_has_change_nothing() {
    let w = World::new();
    let honest = w.release("1.0", H1, &[&w.m]);
    let before = w.view(&[&honest]);
    let orphans: Vec<Verified> = (0..10_000_u64)
        .map(|n| {
            let release = StatementId(Digest::of(&n.to_le_bytes()));
            let reason = String::new();
            let (tag, counter) = (format!("t{}", n % 7), counter((0, n)));
            let body = match n % 3 {
                0 => Body::Withdraw { release, reason },
                1 => Body::Yank { release, counter, reason },
                _ => Body::Tag { tag, release: Some(release), counter },
            };
            let statement =
                Statement::new(w.realm, Some(crate::world::x()), body).expect("within the limits");
            let signatures = [(w.m.public(), Signature([0; 64]))].into();
            Verified::from_admitted(Envelope { statement, signatures })
        })
        .collect();
    let all: Vec<&Verified> = orphans.iter().chain([&honest]).collect();
    let after = w.view(&all);
    assert_eq!((after.versions, after.tags), (before.versions, before.tags));
}

#[test]
fn red_07_what_comes_in_parts_and_twice_over_a_wire_ends_equal_everywhere() {
    let realm = Realm::new(1);
    let said: Vec<Verified> = (0..30).map(|n| realm.release("a", &format!("1.{n}.0"))).collect();
    let mut net = Net::default();
    let nodes: Vec<usize> = (0..3).map(|_| net.follower(&[&realm])).collect();
    for (place, one) in said.iter().enumerate() {
        net.admit(nodes[place % 3], one.clone());
        net.admit(nodes[(place / 2) % 3], one.clone());
    }
    // Two of three meet, then part; the third meets one of them; then the first two again.
    for (one, two) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
        let link = net.connect(nodes[one], nodes[two]);
        net.settle();
        net.disconnect(link);
    }
    net.assert_same(&nodes);
    assert!(said.iter().all(|one| net.holds(nodes[2], one)));
}

/// Two ids that are the same under a key that was known: ground by search, on a key of the test.
fn colliding(key: &[u8; 32], items: &[Item]) -> bool {
    let ids: Vec<u64> = items.iter().map(|item| crdt::reconcile::short_id(key, item)).collect();
    Sketch::of(ids).is_none()
}

proptest! {
    #![proptest_config(crate::network::cases(16))]

    #[test]
    fn red_06_statements_ground_under_an_old_key_are_distinct_under_the_next(
        old in any::<[u8; 32]>(), new in any::<[u8; 32]>(),
    ) {
        let realm = Realm::new(1);
        let said: Vec<Verified> =
            (0..40).map(|n| realm.release("a", &format!("1.{n}.0"))).collect();
        let items: Vec<Item> = said.iter().flat_map(Verified::items).collect();
        prop_assume!(old != new);
        let under = |key| crdt::reconcile::short_id(key, &items[0]);
        prop_assert_ne!(under(&old), under(&new), "ids do not depend on the key");
        prop_assert!(!colliding(&new, &items));
        let twice = [items.clone(), vec![items[0]]].concat();
        prop_assert!(colliding(&new, &twice), "equal ids are noticed before they cancel");
        let held = MemoryIndex::new(1);
        let none = held.collections(&realm.id);
        prop_assert_ne!(overall(&old, &none), overall(&new, &none), "nor do fingerprints");
    }
}
