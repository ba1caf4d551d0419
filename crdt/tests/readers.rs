//! Private realms in a conversation: who is no reader hears nothing, to the byte.

use std::sync::Arc;

use crdt::message::Frame;
use crdt::realm::authority;
use crdt::session::Index;
use crdt::signature::Hello;
use crdt::statement::{Grant, Grantee, Pattern, Root};
use crdt::{Body, PublicKey, RealmId, SecretKey, Signature, Statement, Verified};

use crate::network::{COLLS, HIDDEN, Net, RESUME, Realm};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn grant(role: &str, to: PublicKey) -> Grant {
    Grant::to_key(role, Pattern::parse("*").unwrap(), to)
}

/// A realm that grants these from its first epoch on.
fn realm(seed: u8, grants: Vec<Grant>) -> Realm {
    let key = key(seed);
    let root = Root::of_one(key.public(), [seed; 16], &format!("realm {seed}"), grants);
    let genesis = Verified::sign(Statement::genesis(root).unwrap(), &[&key]);
    Realm { id: genesis.statement().realm(), key, genesis }
}

/// The epoch after `before`, with other grants.
fn next(realm: &Realm, before: &Verified, grants: Vec<Grant>) -> Verified {
    let Body::Root(root) = before.statement().body() else { panic!("no root") };
    let prev = Some(before.statement().id());
    let root = Root { epoch: root.epoch + 1, prev, grants, ..root.clone() };
    let statement = Statement::new(realm.id, None, Body::Root(root)).unwrap();
    Verified::sign(statement, &[&realm.key])
}

/// A node that follows the realms and holds this key.
fn node(net: &mut Net, realms: &[&Realm], seed: u8) -> usize {
    let node = net.follower(realms);
    net.keys_of.insert(node, Arc::new(vec![key(seed)]));
    node
}

fn holds(net: &Net, node: usize, statement: &Verified) -> bool {
    net.nodes[node].index.envelope(&statement.statement().id(), &[]).is_some()
}

/// Everything by which a statement could be recognised.
fn traces(statement: &Verified) -> Vec<Vec<u8>> {
    let inner = statement.statement();
    let mut traces = vec![
        inner.id().0.as_bytes().to_vec(),
        inner.realm().0.as_bytes().to_vec(),
        inner.collection().id().0.as_bytes().to_vec(),
        inner.payload().to_vec(),
    ];
    if let Body::Release(release) = inner.body() {
        traces.extend(release.files.iter().map(|file| file.blake3.as_bytes().to_vec()));
        traces.extend(release.files.iter().map(|file| file.checksums.sha256.to_vec()));
    }
    traces
}

/// Nothing of these statements is in any byte that the side has said.
fn assert_silent(net: &Net, (link, side): (usize, usize), statements: &[&Verified]) {
    let said = &net.links[link].said[side];
    for trace in statements.iter().flat_map(|statement| traces(statement)) {
        assert!(!said.windows(trace.len()).any(|bytes| bytes == trace), "{trace:02x?}");
    }
}

/// What a keeper of a private realm says to a stranger that knows the realm's id and asks for all
/// that it can name; with the realm, or as if the keeper had never heard of it.
fn said_to(stranger_key: u8, with_it: bool, grants: Vec<Grant>) -> (Vec<Frame>, Net) {
    let (open, hidden) = (realm(1, Vec::new()), realm(2, grants));
    let mut net = Net::default();
    let keeper = node(&mut net, &[&open], 2);
    let stranger = node(&mut net, &[&open, &hidden], stranger_key);
    for n in 0..3 {
        net.admit(keeper, open.release("open", &format!("1.0.{n}")));
    }
    net.admit(keeper, open.genesis.clone());
    net.admit(stranger, open.genesis.clone());
    let secret = hidden.release("secret", "1.0.0");
    if with_it {
        net.nodes[keeper].index.own(hidden.id);
        net.admit(keeper, hidden.genesis.clone());
        net.admit(keeper, secret.clone());
    }
    let link = net.connect(keeper, stranger);
    net.settle();
    let ids = vec![hidden.genesis.statement().id(), secret.statement().id()];
    net.send(link, 0, &Frame::Want { ids });
    let mut follows = vec![open.id, hidden.id];
    follows.sort();
    net.send(link, 0, &Frame::Follows { follows });
    net.settle();
    let late = hidden.release("secret", "2.0.0");
    if with_it {
        net.publish(keeper, late.clone());
    }
    net.pass(80_000);
    assert!(holds(&net, stranger, &open.release("open", "1.0.2")), "the open one is exchanged");
    for statement in [&hidden.genesis, &secret, &late] {
        assert!(!holds(&net, stranger, statement));
    }
    assert_silent(&net, (link, 0), &[&hidden.genesis, &secret, &late]);
    assert!(net.nodes[stranger].lobby.is_empty());
    assert_eq!(net.links[link].closed, [None; 2]);
    (net.links[link].sent[0].clone(), net)
}

/// How far a log is says that something came, not what: that alone may differ.
fn without_sequence(frames: Vec<Frame>) -> Vec<Frame> {
    let strip = |frame| match frame {
        Frame::Check { count, fingerprint, .. } => Frame::Check { count, fingerprint, sequence: 0 },
        other => other,
    };
    frames.into_iter().map(strip).collect()
}

#[test]
fn red_31_to_a_stranger_a_private_realm_reads_like_none() {
    let grants = || vec![grant("read", key(9).public())];
    let (with, _) = said_to(7, true, grants());
    let (without, _) = said_to(7, false, grants());
    assert_eq!(without_sequence(with), without_sequence(without));
}

#[test]
fn red_31_a_member_without_read_is_a_stranger() {
    let grants = || vec![grant("read", key(9).public()), grant("member", key(7).public())];
    let (with, _) = said_to(7, true, grants());
    let (without, _) = said_to(7, false, grants());
    assert_eq!(without_sequence(with), without_sequence(without));
}

#[test]
fn red_31_a_reader_that_lost_its_grant_is_cut_off_and_finds_nothing() {
    let both = vec![grant("read", key(7).public()), grant("read", key(9).public())];
    let hidden = realm(2, both);
    for initiator in [0, 1] {
        let mut net = Net::default();
        let keeper = node(&mut net, &[&hidden], 2);
        let reader = node(&mut net, &[&hidden], 7);
        net.admit(keeper, hidden.genesis.clone());
        let ends = [[keeper, reader], [reader, keeper]][initiator];
        let link = net.connect(ends[0], ends[1]);
        net.settle();
        let before = hidden.release("secret", "1.0.0");
        net.publish(keeper, before.clone());
        net.settle();
        assert!(holds(&net, reader, &before), "a reader gets what is new");
        let epoch = next(&hidden, &hidden.genesis, vec![grant("read", key(9).public())]);
        net.publish(keeper, epoch.clone());
        assert!(net.links[link].closed[initiator].is_some(), "it is cut off");
        let after = hidden.release("secret", "2.0.0");
        net.publish(keeper, after.clone());
        net.settle();
        let again = net.connect(ends[0], ends[1]);
        net.settle();
        for (link, side) in [(link, initiator), (again, initiator)] {
            assert_silent_but(&net, (link, side), &[&epoch, &after]);
        }
        assert_silent(&net, (again, initiator), &[&hidden.genesis, &before]);
        assert!(!holds(&net, reader, &epoch) && !holds(&net, reader, &after));
    }
}

/// As [`assert_silent`], but for the realm, which was known before.
fn assert_silent_but(net: &Net, (link, side): (usize, usize), statements: &[&Verified]) {
    let said = &net.links[link].said[side];
    for statement in statements {
        let id = statement.statement().id();
        assert!(!said.windows(32).any(|bytes| bytes == id.0.as_bytes()), "{id}");
        let payload = statement.statement().payload();
        assert!(!said.windows(payload.len()).any(|bytes| bytes == payload), "{id}");
    }
}

#[test]
fn red_31_hashes_of_two_connections_have_nothing_in_common() {
    let hidden = realm(2, vec![grant("read", key(7).public())]);
    let mut net = Net::default();
    let nodes = [node(&mut net, &[&hidden], 2), node(&mut net, &[&hidden], 7)];
    net.admit(nodes[0], hidden.genesis.clone());
    net.admit(nodes[1], hidden.genesis.clone());
    net.admit(nodes[0], hidden.release("secret", "1.0.0"));
    let mut heard = Vec::new();
    for n in 0..2 {
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.publish(nodes[1], hidden.release("secret", &format!("2.0.{n}")));
        net.settle();
        let mut hashes = Vec::new();
        for frame in net.links[link].sent.iter().flatten() {
            match frame {
                Frame::Hidden { tags } => hashes.extend(tags.iter().copied()),
                Frame::Colls { entries, .. } => hashes.extend(entries.iter().map(|one| one.0)),
                Frame::Hello { follows, .. } | Frame::Follows { follows } => {
                    assert!(follows.is_empty(), "a private realm is named by its id");
                }
                _ => {}
            }
        }
        let sent: std::collections::BTreeSet<_> = hashes.iter().copied().collect();
        assert!(hashes.len() >= 2 && sent.len() == hashes.len(), "both sides differ, too");
        assert!(!sent.contains(hidden.id.0.as_bytes()));
        heard.push(sent);
        net.disconnect(link);
        net.assert_same(&nodes);
        net.admit(nodes[0], hidden.release("secret", &format!("3.0.{n}")));
    }
    assert!(heard[0].is_disjoint(&heard[1]));
}

#[test]
fn red_31_a_proof_is_of_no_use_to_anybody_else() {
    let reader = key(9);
    let hidden = realm(2, vec![grant("read", reader.public())]);
    let mut net = Net::default();
    let keeper = node(&mut net, &[&hidden], 2);
    let honest = node(&mut net, &[&hidden], 9);
    let thief = node(&mut net, &[&hidden], 7);
    net.admit(keeper, hidden.genesis.clone());
    let link = net.connect(keeper, honest);
    net.settle();
    assert!(holds(&net, honest, &hidden.genesis));
    let shown = net.links[link].sent[1].iter().find(|sent| matches!(sent, Frame::Proof { .. }));
    let shown = shown.expect("a reader proves its key").clone();
    // Said by another peer, and by the same one in another conversation.
    for other in [thief, honest] {
        let link = net.connect(keeper, other);
        net.step(2);
        net.send(link, 0, &shown);
        assert_eq!(net.links[link].closed[0], Some("a key that it does not hold"));
        assert_silent(&net, (link, 0), &[&hidden.genesis]);
    }
    let challenge = [3; 32];
    let hello = Hello { prover: b"one", verifier: b"two", challenge: &challenge };
    let signature = hello.sign(&reader);
    assert_eq!(hello.verify(&reader.public(), &signature), Ok(()));
    let others = [
        Hello { prover: b"two", verifier: b"one", ..hello },
        Hello { prover: b"three", ..hello },
        Hello { verifier: b"three", ..hello },
        Hello { challenge: &[4; 32], ..hello },
    ];
    for other in others {
        assert!(other.verify(&reader.public(), &signature).is_err());
    }
    assert!(hello.verify(&key(8).public(), &signature).is_err());
    assert!(hello.verify(&reader.public(), &Signature([0; 64])).is_err());
    // A signature over a statement is none over a meeting, and the other way round.
    let signed = reader.sign("peer-hello", &challenge);
    assert!(hello.verify(&reader.public(), &signed).is_err());
}

#[test]
fn a_realm_that_becomes_private_goes_out_of_sight_for_all_others() {
    let open = realm(2, Vec::new());
    let mut net = Net::default();
    let keeper = node(&mut net, &[&open], 2);
    let (reader, other) = (node(&mut net, &[&open], 9), node(&mut net, &[&open], 7));
    net.admit(keeper, open.genesis.clone());
    let links = [net.connect(keeper, reader), net.connect(other, keeper)];
    net.settle();
    net.assert_same(&[keeper, reader, other]);
    let epoch = next(&open, &open.genesis, vec![grant("read", key(9).public())]);
    let secret = open.release("secret", "1.0.0");
    net.publish(keeper, epoch.clone());
    net.publish(keeper, secret.clone());
    net.settle();
    assert!(holds(&net, reader, &epoch) && holds(&net, reader, &secret));
    assert!(!holds(&net, other, &epoch) && !holds(&net, other, &secret));
    assert_eq!(net.links[links[0]].closed, [None; 2], "its readers notice nothing");
    assert!(net.links[links[1]].closed[1].is_some());
    assert_silent_but(&net, (links[1], 1), &[&epoch, &secret]);
}

#[test]
fn who_slept_while_the_realm_became_private_finds_its_readers() {
    let open = realm(2, vec![grant("publish", key(9).public())]);
    for initiator in [0, 1] {
        let mut net = Net::default();
        let nodes = [node(&mut net, &[&open], 2), node(&mut net, &[&open], 9)];
        nodes.iter().for_each(|node| net.admit(*node, open.genesis.clone()));
        let grants = vec![grant("publish", key(9).public()), grant("read", key(8).public())];
        net.admit(nodes[0], next(&open, &open.genesis, grants));
        net.admit(nodes[0], open.release("secret", "1.0.0"));
        net.connect(nodes[initiator], nodes[1 - initiator]);
        net.settle();
        net.assert_same(&nodes);
        assert!(holds(&net, nodes[1], &open.release("secret", "1.0.0")));
    }
}

#[test]
fn who_follows_and_is_granted_later_gets_all_without_meeting_again() {
    for initiator in [0, 1] {
        let hidden = realm(2, vec![grant("read", key(9).public())]);
        let mut net = Net::default();
        let nodes = [node(&mut net, &[&hidden], 2), node(&mut net, &[&hidden], 7)];
        net.admit(nodes[0], hidden.genesis.clone());
        net.admit(nodes[0], hidden.release("secret", "1.0.0"));
        let link = net.connect(nodes[initiator], nodes[1 - initiator]);
        net.settle();
        assert_eq!(net.nodes[nodes[1]].index.count(), 0);
        let both = vec![grant("read", key(9).public()), grant("read", key(7).public())];
        net.publish(nodes[0], next(&hidden, &hidden.genesis, both));
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(net.nodes[nodes[1]].index.count(), 3);
        assert_eq!(net.links[link].closed, [None; 2]);
        // At no moment did it take the realm for one that may be named.
        let named = |frame: &Frame| match frame {
            Frame::Hello { follows, .. } | Frame::Follows { follows } => !follows.is_empty(),
            _ => false,
        };
        assert!(!net.links[link].sent.iter().flatten().any(named));
    }
}

#[test]
fn the_newest_root_comes_before_the_first() {
    let open = realm(2, Vec::new());
    let private = next(&open, &open.genesis, vec![grant("read", key(7).public())]);
    let newest = next(&open, &private, vec![grant("read", key(7).public())]);
    for initiator in [0, 1] {
        let mut net = Net::default();
        let nodes = [node(&mut net, &[&open], 2), node(&mut net, &[&open], 7)];
        for root in [&open.genesis, &private, &newest] {
            net.admit(nodes[0], root.clone());
        }
        net.connect(nodes[initiator], nodes[1 - initiator]);
        net.settle();
        let log = net.nodes[nodes[1]].index.log(0, 10).unwrap();
        let came: Vec<_> = log.iter().map(|(_, _, item)| item.id).collect();
        let order = [&newest, &private, &open.genesis].map(|root| root.statement().id());
        assert_eq!(came, order, "initiator {initiator}");
    }
}

#[test]
fn readers_that_know_each_other_resume_and_compare_nothing() {
    let hidden = realm(2, vec![grant("read", key(7).public())]);
    let mut net = Net::default();
    let nodes = [node(&mut net, &[&hidden], 2), node(&mut net, &[&hidden], 7)];
    net.admit(nodes[0], hidden.genesis.clone());
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.disconnect(link);
    net.admit(nodes[0], hidden.release("secret", "1.0.0"));
    net.admit(nodes[1], hidden.release("secret", "2.0.0"));
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.nodes[nodes[0]].index.count(), 3);
    assert_eq!((net.frames(link, COLLS), net.frames(link, RESUME)), (0, 2));
    assert_eq!(net.frames(link, HIDDEN), 2);
}

#[test]
fn an_older_peer_gets_what_is_open_and_none_of_the_new_frames() {
    let (open, hidden) = (realm(1, Vec::new()), realm(2, vec![grant("read", key(7).public())]));
    let mut net = Net::default();
    net.no_features = true;
    let nodes = [node(&mut net, &[&open, &hidden], 2), node(&mut net, &[&open, &hidden], 7)];
    net.admit(nodes[0], open.genesis.clone());
    net.admit(nodes[0], hidden.genesis.clone());
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    assert!(holds(&net, nodes[1], &open.genesis), "it was named to who named it");
    assert!(!holds(&net, nodes[1], &hidden.genesis));
    let unknown = |frame: &Frame| frame.kind() > 0x0d;
    assert!(!net.links[link].sent.iter().flatten().any(unknown));
    assert_eq!(net.links[link].closed, [None; 2]);
}

#[test]
fn nobody_is_told_of_being_in_sync_while_something_hidden_may_come() {
    let hidden = realm(2, vec![grant("read", key(7).public())]);
    let mut net = Net::default();
    let nodes = [node(&mut net, &[&hidden], 2), node(&mut net, &[&hidden], 7)];
    net.admit(nodes[0], hidden.genesis.clone());
    let link = net.connect(nodes[0], nodes[1]);
    let mut told = false;
    for _ in 0..40 {
        net.step(1);
        net.step(2);
        let has_it = holds(&net, nodes[1], &hidden.genesis);
        told |= net.links[link].in_sync[1];
        assert!(has_it || !told, "it lacks all and says that it is in sync");
    }
    net.settle();
    assert!(net.links[link].in_sync[1]);
    // With a stranger that has nothing of it there is nothing to wait for.
    let other = node(&mut net, &[], 8);
    let link = net.connect(nodes[1], other);
    net.settle();
    assert!(net.links[link].in_sync[0]);
}

#[test]
fn readers_are_the_roots_and_all_granted_keys_but_members() {
    let grants = vec![
        grant("publish", key(3).public()),
        grant("mirror", key(4).public()),
        grant("member", key(5).public()),
        grant("unheard", key(6).public()),
        Grant {
            to: Grantee::Realm(RealmId(crdt::Digest::of(b"r"))),
            ..grant("publish", key(5).public())
        },
    ];
    let of = |realm: &Realm| authority(realm.id, [&realm.genesis], &[]);
    let open = of(&realm(2, grants.clone()));
    assert!(!open.is_private());
    let private = of(&realm(2, [grants, vec![grant("read", key(9).public())]].concat()));
    assert!(private.is_private());
    let mut readers = [2, 3, 4, 6, 9].map(|seed| key(seed).public());
    readers.sort();
    assert_eq!(private.readers().into_iter().collect::<Vec<_>>(), readers);
    let unknown = authority(RealmId(crdt::Digest::of(b"r")), std::iter::empty::<&Verified>(), &[]);
    assert!(!unknown.is_private() && unknown.readers().is_empty());
}
