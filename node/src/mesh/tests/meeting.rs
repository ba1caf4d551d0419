//! Two nodes that meet: who dials, who opens the stream, what they tell each other.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_followers_agree_whoever_of_them_dials() {
    for lower_dials in [true, false] {
        let (one, other) = (Node::start(), Node::start());
        let one_is_lower = one.mesh.local_peer() < other.mesh.local_peer();
        let (dialler, dialled) =
            if one_is_lower == lower_dials { (one, other) } else { (other, one) };
        let realm = Realm::new("village");
        dialler.own(&realm).await;
        dialled.follow(&realm, FollowKind::Followed).await;
        let before = dialler.publish(&realm, "drum", b"boom").await;
        dialler.meet(&dialled).await;
        dialled.gets(&realm.genesis).await;
        dialled.gets(&before).await;

        let later = dialler.publish(&realm, "song", b"la la").await;
        dialled.gets(&later).await;
        let back = realm.release("answer", "1.0.0", b"from the other side");
        dialled.admit(&back).await;
        dialler.gets(&back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_that_is_followed_later_comes_at_once() {
    let (owner, guest) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    let release = owner.publish(&realm, "drum", b"boom").await;
    owner.meet(&guest).await;
    eventually("the owner's realm is shown", async || {
        guest.mesh.offers().await.iter().any(|offer| offer.realm == realm.id)
    })
    .await;
    guest.follow(&realm, FollowKind::Followed).await;
    guest.gets(&release).await;
    eventually("both say what they follow", async || {
        let peers = guest.mesh.peers().await;
        peers.iter().any(|peer| peer.follows.contains(&realm.id) && peer.behind == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_realm_is_shown_and_nothing_of_it_admitted() {
    let (stranger, node) = (Node::start(), Node::start());
    let (theirs, ours) = (Realm::new("theirs"), Realm::new("ours"));
    stranger.own(&theirs).await;
    let release = stranger.publish(&theirs, "drum", b"boom").await;
    node.own(&ours).await;
    node.meet(&stranger).await;
    eventually("the offer is shown", async || {
        let offers = node.mesh.offers().await;
        let of_theirs = offers.iter().filter(|offer| offer.realm == theirs.id);
        of_theirs.flat_map(|offer| &offer.envelopes).any(|shown| *shown == theirs.genesis)
    })
    .await;
    let later = stranger.publish(&theirs, "song", b"la la").await;
    eventually("what is published later is shown too", async || {
        let offers = node.mesh.offers().await;
        offers.iter().flat_map(|offer| &offer.envelopes).any(|shown| *shown == later)
    })
    .await;
    let listed = node.mesh.peers().await.remove(0);
    assert_eq!(listed.offers, [theirs.id]);
    // What both follow still travels: by then anything else would have come too.
    stranger.follow(&ours, FollowKind::Followed).await;
    stranger.gets(&ours.genesis).await;
    assert!(!node.has(theirs.genesis.statement().id()));
    assert!(!node.has(release.statement().id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_is_dialled_again_and_catches_up() {
    let (steady, fickle) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    steady.own(&realm).await;
    fickle.follow(&realm, FollowKind::Followed).await;
    steady.meet(&fickle).await;
    fickle.gets(&realm.genesis).await;
    let id = fickle.mesh.local_peer();
    let fickle = fickle.restart().await;
    assert_eq!(fickle.mesh.local_peer(), id, "the key is kept");
    let missed = steady.publish(&realm, "drum", b"boom").await;
    fickle.gets(&missed).await;
    assert!(steady.sees(id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_peer_id_is_dialled_and_a_removed_one_forgotten() {
    let (one, other) = (Node::start(), Node::start());
    let bare: Multiaddr = other.address().await.into_iter().take(2).collect();
    one.mesh.add_peer(bare.clone()).await.expect("is remembered");
    eventually("they are connected", async || {
        one.sees(other.mesh.local_peer()).await && other.sees(one.mesh.local_peer()).await
    })
    .await;
    assert_eq!(one.mesh.peers().await[0].found, "told");
    assert_eq!(other.mesh.peers().await[0].found, "inbound");
    assert!(one.mesh.remove_peer(&bare).await.expect("is forgotten"));
    assert!(!one.mesh.remove_peer(&bare).await.expect("answers"), "it was forgotten before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dials_itself_stays_alone() {
    let node = Node::start();
    let bare: Multiaddr = node.address().await.into_iter().take(2).collect();
    node.mesh.add_peer(bare).await.expect("is remembered");
    assert!(node.mesh.peers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_is_answered_by_the_peer_that_it_names() {
    let welcome: Pairing = Arc::new(|request, _| {
        let known = request.secret == [9; 32];
        let refused = PairAnswer::Refused("the secret is used up".to_owned());
        Box::pin(async move { if known { PairAnswer::Welcome } else { refused } })
    });
    let (inviter, joiner) = (Node::with_pairing(welcome), Node::start());
    let key = Realm::new("keys").key.public();
    let request = |secret| PairRequest {
        invite: "i1".to_owned(),
        secret,
        role: "reader".to_owned(),
        publisher: key,
        node_key: key,
        name: "laptop".to_owned(),
    };
    let addresses = inviter.mesh.addresses().await;
    let dead = "/ip4/127.0.0.1/tcp/1".parse::<Multiaddr>().expect("a sound address");
    let dead = dead.with(libp2p::multiaddr::Protocol::P2p(inviter.mesh.local_peer()));
    let both = vec![dead.clone(), addresses[0].clone()];
    let answer = joiner.mesh.pair(both, request([9; 32])).await.expect("an answer");
    assert_eq!(answer, PairAnswer::Welcome);
    let answer = joiner.mesh.pair(addresses, request([8; 32])).await.expect("an answer");
    assert!(matches!(answer, PairAnswer::Refused(_)));

    let lonely = Node::start();
    let nobody = lonely.mesh.pair(vec![dead], request([9; 32])).await;
    assert!(matches!(nobody, Err(Error::Unreachable(_))), "{nobody:?}");
    let unnamed = lonely.mesh.pair(vec![loopback()], request([9; 32])).await;
    assert!(matches!(unnamed, Err(Error::Refused(_))), "{unnamed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_two_thousand_statements_and_one_too_large_for_gossip() {
    let (owner, newcomer) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    let releases = (0..2000_u32)
        .map(|at| realm.release(&format!("p{}", at % 50), &format!("1.0.{at}"), &at.to_le_bytes()));
    let releases: Vec<Verified> = releases.collect();
    owner.store.admit(releases.clone(), None).await.expect("is admitted");
    newcomer.follow(&realm, FollowKind::Followed).await;
    newcomer.meet(&owner).await;
    newcomer.gets(&realm.genesis).await;
    for release in &releases {
        newcomer.gets(release).await;
    }
    let large = realm.large_release("drum");
    owner.admit(&large).await;
    newcomer.gets(&large).await;
}
