//! Members that lie or break off in the middle of a document: the next one is asked.

use super::super::mirror_frame::Frame;
use super::super::neighbours::place;
use super::super::pack::{self, PACKED_BYTES_MAX};
use super::mirror::{document, site};
use super::puppet::Puppet;
use super::*;

fn packed(body: &[u8]) -> Vec<u8> {
    pack::pack(&mut &body[..], body.len() as u64, None).expect("packs").expect("is small")
}

/// What a member says that sends these bytes, announcing so many.
fn sent(bytes: &[u8], length: usize) -> Vec<u8> {
    let head = Frame::Packed { id: 1, length: length as u64, base: None }.encode();
    let pieces =
        bytes.chunks(60_000).map(|some| Frame::Bytes { id: 1, bytes: some.to_vec().into() });
    pieces.fold(head, |all, piece| [all, piece.encode()].concat())
}

async fn invited(guest: &Node, realm: &Realm) -> Puppet {
    let puppet = Puppet::start();
    guest.joined(realm, puppet.id).await;
    puppet.meet(guest).await;
    puppet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_20_wrong_endless_and_impossible_documents_are_not_kept_and_cost_the_sender() {
    let body = document(2_000);
    let (digest, size) = (Digest::of(&body), body.len() as u64);
    let mut other = body.clone();
    other[1_000] ^= 1;
    let (wrong, right) = (packed(&other), packed(&body));
    let bomb = packed(&vec![b' '; 60 << 20]);
    let longer = packed(&[&body[..], b"!"].concat());
    let twice = [&right[..], &right[..]].concat();
    for lie in [
        sent(&wrong, wrong.len()),
        sent(&bomb, bomb.len()),
        sent(&longer, longer.len()),
        sent(&twice, twice.len()),
        sent(b"this is not zstd", 16),
        sent(&[], 0),
    ] {
        let (guest, realm) = (Node::start(), Realm::new("village"));
        let mut liar = invited(&guest, &realm).await;
        let fetching = guest.mesh.fetch_document(digest, size, &[]);
        let (failed, ()) = tokio::join!(fetching, liar.mirror_with(&lie));
        assert!(matches!(failed, Err(Error::Failed(..))), "{failed:?}");
        assert!(guest.store.blob(&digest).expect("reads").is_none());
        eventually("the liar is cut off", async || !guest.sees(liar.id).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_protocol_is_not_kept_either() {
    let body = document(2_000);
    let (digest, size) = (Digest::of(&body), body.len() as u64);
    let right = packed(&body);
    let unheld = Some(Digest::of(b"a base that was not named"));
    let (guest, realm) = (Node::start(), Realm::new("village"));
    let mut liar = invited(&guest, &realm).await;
    for answer in [
        sent(&right, PACKED_BYTES_MAX + 1),
        sent(&right, right.len() - 1),
        Frame::Packed { id: 1, length: 9, base: unheld }.encode(),
        Frame::Packed { id: 2, length: 9, base: None }.encode(),
        vec![0xff; 99],
    ] {
        let fetching = guest.mesh.fetch_document(digest, size, &[]);
        let (failed, ()) = tokio::join!(fetching, liar.mirror_with(&answer));
        assert!(matches!(failed, Err(Error::Failed(..))), "{failed:?}");
    }
    assert!(guest.store.blob(&digest).expect("reads").is_none());
    assert!(guest.sees(liar.id).await, "five pieces of garbage are not yet a ban");
}

/// A document of which the puppet is asked before the keeper.
fn asked_first(puppet: PeerId, keeper: PeerId) -> (Vec<u8>, Digest) {
    let bodies = (100..).map(document).map(|body| (Digest::of(&body), body));
    let before =
        |digest: &Digest| place(digest.as_bytes(), &puppet) < place(digest.as_bytes(), &keeper);
    let found = bodies.into_iter().find(|(digest, _)| before(digest));
    let (digest, body) = found.expect("every second one is");
    (body, digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_liar_or_a_cut_in_the_middle_the_document_comes_from_the_next_member() {
    for is_cut in [true, false] {
        let (keeper, guest, realm) = site().await;
        let mut puppet = invited(&guest, &realm).await;
        let (body, digest) = asked_first(puppet.id, keeper.mesh.local_peer());
        let size = body.len() as u64;
        keeper.cache("drum", &body).await;
        let right = packed(&body);
        let answer = if is_cut {
            sent(&right[..right.len() / 2], right.len())
        } else {
            let wrong = packed(&vec![b'x'; body.len()]);
            sent(&wrong, wrong.len())
        };
        let fetching = guest.mesh.fetch_document(digest, size, &[]);
        let (fetched, ()) = tokio::join!(fetching, puppet.mirror_with(&answer));
        fetched.expect("the keeper has it");
        assert!(guest.content(&digest).await == body);
        if is_cut {
            assert!(guest.sees(puppet.id).await, "a cut is nobody's fault");
        } else {
            eventually("the liar is cut off", async || !guest.sees(puppet.id).await).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_stream_was_cut_is_asked_again_if_it_is_the_only_one() {
    let body = document(2_000);
    let (digest, size, right) = (Digest::of(&body), body.len() as u64, packed(&body));
    let (guest, realm) = (Node::start(), Realm::new("village"));
    let mut member = invited(&guest, &realm).await;
    let fetching = guest.mesh.fetch_document(digest, size, &[]);
    let answering = async {
        // As one does that has too many streams, then as a line that breaks.
        member.drop_a_question().await;
        member.mirror_with(&sent(&right[..right.len() / 2], right.len())).await;
        member.mirror_with(&sent(&right, right.len())).await;
    };
    // The last stream is kept for the next question: answering never ends.
    let fetched = tokio::select! {
        fetched = tokio::time::timeout(DEADLINE, fetching) => fetched,
        () = answering => panic!("the stream that served is ended"),
    };
    fetched.expect("it is asked again").expect("it has it");
    assert!(guest.content(&digest).await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_says_nothing_is_not_waited_for() {
    let (keeper, guest, realm) = site().await;
    let puppet = invited(&guest, &realm).await;
    let (body, digest) = asked_first(puppet.id, keeper.mesh.local_peer());
    keeper.cache("drum", &body).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(puppet.keep_silent());
    let fetching = guest.mesh.fetch_document(digest, body.len() as u64, &[]);
    let fetched = tokio::time::timeout(Duration::from_secs(20), fetching).await;
    fetched.expect("soon").expect("the keeper has it");
}
