//! Receipts: what is one, which of several is kept, and that nodes come to keep the same ones.

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, MemoryIndex};
use crdt::statement::{
    MAX_CONTENT_TYPE_BYTES, MAX_COUNTER, MAX_DOCUMENT_BYTES, MAX_VALIDATOR_BYTES,
    MAX_VARIANT_BYTES, Receipt, Subject, Via,
};
use crdt::{
    Body, Checksums, Collection, Digest, Envelope, Error, Item, PackageId, RealmId, SecretKey,
    Signature, Statement, Verified,
};
use ed25519_dalek::Signer;
use proptest::prelude::*;

use crate::network::{ALLIDS, COLLS, Net, RESUME, Realm, STATEMENTS};
use crate::world::{World, key, x};

/// Of a document of `pypi`, with the so-manieth bytes.
pub(crate) fn receipt(document: &str, n: u64) -> Receipt {
    let subject = Subject {
        origin: Digest::of(b"origin"),
        format: "pypi".to_owned(),
        document: document.to_owned(),
        variant: "html".to_owned(),
    };
    Receipt {
        subject,
        blake3: Digest::of(&n.to_le_bytes()),
        size: n % 1000,
        content_type: "text/html; charset=utf-8".to_owned(),
        etag: Some("W/\"abc\"".to_owned()),
        last_modified: None,
        fetched_at: 1_700_000_000,
        via: Via::Tls,
        n,
        checksums: None,
    }
}

pub(crate) fn receipt_of_file(path: &str, n: u64) -> Receipt {
    let mut receipt = receipt(path, n);
    "file".clone_into(&mut receipt.subject.variant);
    receipt.etag = None;
    receipt.last_modified = Some("Sat, 21 Nov 2026 10:00:00 GMT".to_owned());
    receipt.via = Via::Signed;
    let sha512 = Some([2; 64]);
    receipt.checksums = Some(Checksums { sha256: [1; 32], sha512, sha1: Some([3; 20]), md5: None });
    receipt
}

fn made(receipt: Receipt) -> Result<Statement, Error> {
    let realm = RealmId(Digest::from_bytes([9; 32]));
    Statement::new(realm, None, Body::Receipt(receipt))
}

#[test]
fn a_receipt_comes_back_with_every_field() {
    let mut whole = receipt_of_file("x/x.whl", MAX_COUNTER + 1);
    whole.etag = Some("\"e\"".to_owned());
    whole.checksums.as_mut().unwrap().md5 = Some([4; 16]);
    let mut bare = receipt("x", 0);
    bare.etag = None;
    bare.subject.variant.clear();
    bare.content_type.clear();
    for content in [whole, bare, receipt("ключ/ß", u64::MAX)] {
        let made = made(content.clone()).unwrap();
        let read = Statement::decode("receipt", made.payload()).unwrap();
        assert_eq!(read.receipt(), Some(&content));
        assert_eq!((read.package(), read.id()), (None, made.id()));
    }
}

#[test]
fn the_format_stands_at_the_front_of_a_receipt() {
    let made = made(receipt("x", 1)).unwrap();
    // v, realm, format: what is read before the rest.
    assert_eq!(made.payload()[1..4], [0, 1, 1]);
    assert_eq!(made.payload()[38..44], *b"\x02\x64pypi");
    assert_eq!(made.payload()[44], 4, "and no name");
}

#[test]
fn texts_of_a_receipt_are_bounded() {
    type Set = fn(&mut Receipt, String);
    let texts: [(Set, usize); 5] = [
        (|it, text| it.subject.document = text, MAX_DOCUMENT_BYTES),
        (|it, text| it.subject.variant = text, MAX_VARIANT_BYTES),
        (|it, text| it.content_type = text, MAX_CONTENT_TYPE_BYTES),
        (|it, text| it.etag = Some(text), MAX_VALIDATOR_BYTES),
        (|it, text| it.last_modified = Some(text), MAX_VALIDATOR_BYTES),
    ];
    for (set, limit) in texts {
        let with = |text: String| {
            let mut one = receipt("x", 1);
            set(&mut one, text);
            made(one)
        };
        assert!(with("a".repeat(limit)).is_ok());
        assert!(matches!(with("a".repeat(limit + 1)), Err(Error::OverLimit { .. })));
        assert!(with("a\r\nb".to_owned()).is_err(), "no control characters");
        assert!(with("a\u{202e}b".to_owned()).is_err(), "none that turn the text around");
    }
    assert!(made(receipt("", 1)).is_err(), "a receipt is about a document");
    let mut strange = receipt("x", 1);
    "no format".clone_into(&mut strange.subject.format);
    assert!(made(strange).is_err());
}

#[test]
fn a_receipt_has_no_package_and_a_known_revision() {
    let realm = RealmId(Digest::from_bytes([9; 32]));
    let body = Body::Receipt(receipt("x", 1));
    assert!(Statement::new(realm, Some(x()), body).is_err());
    let other = PackageId::new("npm", "x");
    assert!(Statement::new(realm, Some(other), Body::Receipt(receipt("x", 1))).is_err());
    let mut later = made(receipt("x", 1)).unwrap().payload().to_vec();
    later[2] = 2;
    assert!(Statement::decode("receipt", &later).is_err(), "who could tell which is the newest?");
    let payload = made(receipt("x", 1)).unwrap().payload().to_vec();
    for kind in ["release", "route", "root"] {
        assert!(Statement::decode(kind, &payload).is_err(), "{kind}");
    }
    for bad in [2_u8, 24] {
        // `via` is the entry before the last: n = 1 takes two bytes.
        let mut other = payload.clone();
        let at = other.len() - 3;
        assert_eq!(other[at - 1..], [13, 0, 14, 1]);
        other[at] = bad;
        assert!(Statement::decode("receipt", &other).is_err());
    }
}

#[test]
fn subjects_differ_in_each_part() {
    let subject = receipt("x", 1).subject;
    let mut others = vec![subject.clone(); 4];
    others[0].origin = Digest::of(b"another");
    "npm".clone_into(&mut others[1].format);
    "y".clone_into(&mut others[2].document);
    others[3].variant.clear();
    // Shifted text is another subject, too.
    others.push(Subject { document: "xh".into(), variant: "tml".into(), ..subject.clone() });
    for other in others {
        assert_ne!(other.digest(), subject.digest());
    }
    assert_eq!(receipt("x", 2).subject.digest(), subject.digest());
}

#[test]
fn red_04_a_receipts_signature_is_none_of_a_statement_and_the_other_way_round() {
    let w = World::new();
    let secret = ed25519_dalek::SigningKey::from_bytes(&w.m.seed());
    let verified = |statement: &Statement, prefix: &str, kind: &str| {
        let text = [prefix.as_bytes(), kind.as_bytes(), b"\0", statement.payload()].concat();
        let signatures =
            [(w.m.public(), Signature(secret.sign(&text).to_bytes()))].into_iter().collect();
        Envelope { statement: statement.clone(), signatures }.verify().map(|_| ())
    };
    let (statements, receipts) = ("griot/stmt/v1\0", "griot/receipt/v1\0");
    let one = w.sign(None, Body::Receipt(receipt("x", 1)), &[&w.m]);
    let release = w.release("1.0", 1, &[&w.m]);
    assert_eq!(verified(one.statement(), receipts, "receipt"), Ok(()));
    assert_eq!(verified(one.statement(), statements, "receipt"), Err(Error::BadSignature));
    assert_eq!(verified(one.statement(), receipts, "release"), Err(Error::BadSignature));
    assert_eq!(verified(release.statement(), statements, "release"), Ok(()));
    assert_eq!(verified(release.statement(), receipts, "release"), Err(Error::BadSignature));
    let moved =
        Envelope { statement: release.statement().clone(), signatures: one.signatures().clone() };
    assert_eq!(moved.verify().map(|_| ()), Err(Error::BadSignature));
}

/// A receipt of the realm by these authors.
fn signed(realm: &Realm, content: Receipt, authors: &[&SecretKey]) -> Verified {
    let statement = Statement::new(realm.id, None, Body::Receipt(content)).unwrap();
    Verified::sign(statement, authors)
}

fn follower(realm: &Realm) -> MemoryIndex {
    let mut index = MemoryIndex::new(1);
    index.follow(realm.id);
    index
}

fn collection(realm: &Realm) -> Collection {
    Collection::Receipts(realm.id, "pypi".to_owned())
}

/// What is held is what the fingerprint says, and nothing is half gone.
#[track_caller]
fn assert_sound(index: &MemoryIndex, realm: &Realm) {
    let items = index.items(&collection(realm));
    let mut state = Fingerprint::empty();
    items.iter().for_each(|item| state.add(item));
    let held = index.fingerprints().remove(&collection(realm)).unwrap_or_default();
    assert_eq!(held, state);
    let signed: Vec<Item> = index
        .envelopes()
        .flat_map(|envelope| {
            let id = envelope.statement.id();
            envelope.signatures.keys().map(move |key| Item { id, key: *key })
        })
        .collect();
    assert_eq!(signed.len(), items.len());
    assert!(signed.iter().all(|item| items.contains(item)));
    let log = index.log(0, 1000).unwrap();
    assert!(log.iter().all(|(_, _, item)| index.holds(item)));
    assert_eq!(log.len(), items.len());
}

#[test]
fn the_newest_of_an_author_replaces_the_older_in_either_order() {
    let (realm, author) = (Realm::new(1), key(20));
    let (old, new) =
        (signed(&realm, receipt("x", 1), &[&author]), signed(&realm, receipt("x", 2), &[&author]));
    let mut first = follower(&realm);
    assert_eq!(first.admit(old.clone()).len(), 1);
    assert_eq!(first.admit(new.clone()).len(), 1);
    let mut second = follower(&realm);
    assert_eq!(second.admit(new.clone()).len(), 1);
    assert_eq!(second.admit(old.clone()).len(), 0, "it is outdated");
    for index in [&first, &second] {
        assert_sound(index, &realm);
        assert_eq!(index.items(&collection(&realm)), new.items().collect::<Vec<_>>());
        assert!(index.envelope(&old.statement().id(), &[]).is_none());
    }
    assert_eq!(first.fingerprints(), second.fingerprints());
    // The log of the first has a hole: what is left of it can be sent.
    assert_eq!(first.last_sequence(), 2);
    let (sequence, _, item) = first.log(0, 1).unwrap()[0].clone();
    assert_eq!((sequence, item.id), (2, new.statement().id()));
}

#[test]
fn authors_and_subjects_do_not_replace_one_another() {
    let (realm, one, two) = (Realm::new(1), key(20), key(21));
    let mut index = follower(&realm);
    let mut elsewhere = receipt("x", 5);
    elsewhere.subject.origin = Digest::of(b"another");
    for content in [receipt("x", 3), receipt("y", 1), receipt_of_file("x", 1), elsewhere] {
        index.admit(signed(&realm, content.clone(), &[&one]));
        index.admit(signed(&realm, content, &[&two]));
    }
    assert_eq!(index.items(&collection(&realm)).len(), 8);
    assert_sound(&index, &realm);
}

#[test]
fn of_equal_counters_the_greater_id_stays() {
    let (realm, author) = (Realm::new(1), key(20));
    let mut other = receipt("x", 7);
    other.size = 1;
    let mut pair = [signed(&realm, receipt("x", 7), &[&author]), signed(&realm, other, &[&author])];
    pair.sort_by_key(|one| one.statement().id());
    for order in [[0, 1], [1, 0]] {
        let mut index = follower(&realm);
        for at in order {
            index.admit(pair[at].clone());
        }
        assert_eq!(index.items(&collection(&realm))[0].id, pair[1].statement().id());
        assert_sound(&index, &realm);
    }
}

#[test]
fn a_counter_above_2_to_the_53_is_not_kept_and_replaces_nothing() {
    let (realm, author) = (Realm::new(1), key(20));
    let mut index = follower(&realm);
    let last = signed(&realm, receipt("x", MAX_COUNTER), &[&author]);
    index.admit(last.clone());
    for n in [MAX_COUNTER + 1, u64::MAX] {
        assert!(index.admit(signed(&realm, receipt("x", n), &[&author])).is_empty());
        assert!(index.admit(signed(&realm, receipt("y", n), &[&author])).is_empty());
    }
    assert_eq!(index.items(&collection(&realm)), last.items().collect::<Vec<_>>());
    assert_sound(&index, &realm);
}

#[test]
fn each_signer_of_a_receipt_is_an_author_of_it() {
    let (realm, one, two) = (Realm::new(1), key(20), key(21));
    let both = signed(&realm, receipt("x", 1), &[&one, &two]);
    let newer = signed(&realm, receipt("x", 2), &[&one]);
    for backwards in [false, true] {
        let mut index = follower(&realm);
        let mut all = [both.clone(), newer.clone()];
        if backwards {
            all.reverse();
        }
        for verified in all {
            index.admit(verified);
        }
        let held = index.envelope(&both.statement().id(), &[]).unwrap();
        assert_eq!(held.signatures().keys().copied().collect::<Vec<_>>(), [two.public()]);
        assert!(index.envelope(&both.statement().id(), &[one.public()]).is_none());
        assert!(index.holds(&newer.items().next().unwrap()));
        assert_sound(&index, &realm);
    }
}

fn village(count: usize) -> (Net, Realm, Vec<usize>) {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let nodes = (0..count).map(|_| net.follower(&[&realm])).collect();
    (net, realm, nodes)
}

#[test]
fn the_newer_receipt_wins_whoever_asks() {
    for who_is_newer in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        let author = key(20);
        let old = signed(&realm, receipt("x", 1), &[&author]);
        let new = signed(&realm, receipt("x", 2), &[&author]);
        net.admit(nodes[who_is_newer], new.clone());
        net.admit(nodes[1 - who_is_newer], old.clone());
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.assert_same(&nodes);
        for node in &nodes {
            assert!(net.holds(*node, &new) && !net.holds(*node, &old));
            assert_sound(&net.nodes[*node].index, &realm);
        }
        assert_eq!(net.frames(link, COLLS), 1, "one round is enough");
        assert!(net.links[link].in_sync.iter().all(|side| *side));
        assert_eq!(net.links[link].closed, [None; 2]);
        net.reset_counts(link);
        net.pass(3_600_000);
        assert_eq!((net.frames(link, COLLS), net.frames(link, STATEMENTS)), (0, 0));
    }
}

#[test]
fn a_new_receipt_is_pushed_and_the_old_one_leaves_everywhere() {
    let (mut net, realm, nodes) = village(3);
    net.connect(nodes[0], nodes[1]);
    net.connect(nodes[1], nodes[2]);
    net.settle();
    let author = key(20);
    for n in 1..20 {
        net.publish(nodes[0], signed(&realm, receipt("x", n), &[&author]));
        net.settle();
    }
    net.pass(1_000);
    net.assert_same(&nodes);
    for node in &nodes {
        assert_eq!(net.nodes[*node].index.items(&collection(&realm)).len(), 1);
    }
}

#[test]
fn a_resume_skips_what_left() {
    let (mut net, realm, nodes) = village(2);
    let [alice, bob] = nodes[..] else { unreachable!() };
    let author = key(20);
    let first = signed(&realm, receipt("x", 0), &[&author]);
    net.admit(alice, first.clone());
    let link = net.connect(bob, alice);
    net.settle();
    assert!(net.holds(bob, &first));
    net.disconnect(link);
    for n in 1..300 {
        net.admit(alice, signed(&realm, receipt("x", n), &[&author]));
    }
    net.admit(alice, realm.release("a", "1.0.0"));
    let link = net.connect(bob, alice);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.frames(link, RESUME), 1);
    assert_eq!((net.frames(link, COLLS), net.frames(link, ALLIDS)), (0, 0));
    assert!(net.links[link].bytes < 2_000, "{} bytes for two statements", net.links[link].bytes);
    assert_eq!(net.nodes[bob].index.last_sequence(), 3, "299 receipts were never sent");
    assert_eq!(net.nodes[bob].cursors[&alice], (1000, 301));
    assert_sound_but_for_releases(&net.nodes[bob].index, &realm);
}

fn assert_sound_but_for_releases(index: &MemoryIndex, realm: &Realm) {
    let held = index.items(&collection(realm));
    assert_eq!(held.len(), 1);
    assert_eq!(index.fingerprints()[&collection(realm)].count, 1);
}

#[test]
fn a_peer_that_keeps_the_old_one_is_not_asked_for_it_again_and_again() {
    for stubborn in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        let author = key(20);
        let old = signed(&realm, receipt("x", 1), &[&author]);
        let new = signed(&realm, receipt("x", 2), &[&author]);
        net.admit(nodes[stubborn], old.clone());
        net.admit(nodes[1 - stubborn], new.clone());
        net.nodes[nodes[stubborn]].refuses.push(new.statement().id());
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.reset_counts(link);
        net.pass(3_600_000);
        // Compared now and then, and neither is sent again.
        assert_eq!(net.frames(link, STATEMENTS), 0);
        let rounds = net.frames(link, COLLS);
        assert!((1..12).contains(&rounds), "{rounds} rounds in an hour");
        assert_eq!(net.links[link].closed, [None; 2]);
        // Once it takes the newer one, both hold the same.
        net.nodes[nodes[stubborn]].refuses.clear();
        net.publish(nodes[1 - stubborn], signed(&realm, receipt("x", 3), &[&author]));
        net.settle();
        net.assert_same(&nodes);
    }
}

/// (node, author, subject, n, content): who comes to hold which receipt, in this order.
type History = Vec<(usize, u8, u8, u64, u64)>;

fn histories(nodes: usize) -> impl Strategy<Value = History> {
    prop::collection::vec((0..nodes, 0..3_u8, 0..4_u8, 0..6_u64, 0..2_u64), 0..60)
}

fn one_of(realm: &Realm, (author, subject, n, size): (u8, u8, u64, u64)) -> Verified {
    let mut content = receipt(&format!("doc-{subject}"), n);
    content.size = size;
    // The last author signs together with the first.
    let (first, own) = (key(20), key(20 + author));
    let authors: &[&SecretKey] = if author == 2 { &[&first, &own] } else { &[&own] };
    signed(realm, content, authors)
}

/// All that is under way ends, and what is still unequal is compared.
fn settle(net: &mut Net, seed: u64) {
    for _ in 0..3 {
        net.settle_shuffled(seed, 0, |_| {});
    }
    net.slow = false;
    net.pass(200_000);
}

proptest! {
    #![proptest_config(crate::network::cases(64))]

    #[test]
    fn any_order_of_receipts_leaves_the_same(history in histories(1), seed in any::<u64>()) {
        let realm = Realm::new(1);
        let (mut one, mut two) = (follower(&realm), follower(&realm));
        let mut shuffled = history.clone();
        shuffled.sort_by_key(|it| {
            *Digest::of(format!("{seed} {it:?}").as_bytes()).as_bytes()
        });
        for (_, author, subject, n, size) in history {
            one.admit(one_of(&realm, (author, subject, n, size)));
            assert_sound(&one, &realm);
        }
        for (_, author, subject, n, size) in shuffled {
            two.admit(one_of(&realm, (author, subject, n, size)));
        }
        assert_sound(&two, &realm);
        prop_assert_eq!(one.fingerprints(), two.fingerprints());
    }

    #[test]
    fn nodes_with_different_histories_of_replacements_end_equal(
        nodes in 2..4_usize,
        before in histories(3),
        after in histories(3),
        told in histories(3),
        seed in any::<u64>(),
        slow in any::<bool>(),
    ) {
        let (mut net, realm, nodes) = village(nodes);
        net.slow = slow;
        let last = nodes.len() - 1;
        for (node, author, subject, n, size) in before {
            net.admit(nodes[node.min(last)], one_of(&realm, (author, subject, n, size)));
        }
        let meet = |net: &mut Net| {
            for pair in nodes.windows(2) {
                net.connect(pair[0], pair[1]);
            }
        };
        meet(&mut net);
        net.settle_shuffled(seed, 0, |_| {});
        settle(&mut net, seed);
        net.slow = slow;
        net.assert_same(&nodes);
        while !net.links.is_empty() {
            net.disconnect(0);
        }
        // They meet again, with the logs of each other half read, and go on publishing.
        for (node, author, subject, n, size) in after {
            net.admit(nodes[node.min(last)], one_of(&realm, (author, subject, n + 3, size)));
        }
        meet(&mut net);
        net.settle_shuffled(seed, 3, |net| {
            for (node, author, subject, n, size) in told {
                net.publish(nodes[node.min(last)], one_of(&realm, (author, subject, n + 5, size)));
            }
        });
        settle(&mut net, seed);
        net.assert_same(&nodes);
        for node in &nodes {
            assert_sound(&net.nodes[*node].index, &realm);
        }
        for link in &net.links {
            prop_assert_eq!(link.closed, [None; 2]);
        }
    }
}
