//! What may be dialled because a peer said so, and records that are refused.

use super::*;

fn address(text: &str) -> Multiaddr {
    text.parse().expect("a test writes sound addresses")
}

fn record(key: &Keypair, addresses: &[&str]) -> Vec<u8> {
    let addresses = addresses.iter().map(|text| address(text)).collect();
    let record = PeerRecord::new(key, addresses).expect("signs");
    record.into_signed_envelope().into_protobuf_encoding()
}

#[test]
fn a_peer_on_the_internet_cannot_make_us_dial_into_our_own_network() {
    let (wan, lan, same): (IpAddr, IpAddr, IpAddr) =
        ([203, 0, 113, 5].into(), [192, 168, 4, 9].into(), [127, 0, 0, 1].into());
    for (text, by_wan, by_lan, by_same) in [
        ("/ip4/198.51.100.7/tcp/7879", true, true, true),
        ("/ip4/198.51.100.7/udp/7879/quic-v1", true, true, true),
        ("/ip6/2001:db8::1/tcp/7879", true, true, true),
        ("/ip4/192.168.4.1/tcp/22", false, true, true),
        ("/ip4/10.0.0.1/tcp/22", false, true, true),
        ("/ip6/fd00::1/tcp/22", false, true, true),
        ("/ip4/127.0.0.1/tcp/22", false, false, true),
        ("/ip6/::1/tcp/22", false, false, true),
        ("/ip6/::ffff:127.0.0.1/tcp/22", false, false, true),
        ("/ip6/::ffff:192.168.4.1/tcp/22", false, true, true),
        ("/ip4/169.254.1.1/tcp/22", false, false, false),
        ("/ip6/fe80::1/tcp/22", false, false, false),
        ("/ip4/100.64.0.1/tcp/22", false, false, false),
        ("/ip4/0.0.0.0/tcp/22", false, false, false),
        ("/ip4/224.0.0.1/tcp/22", false, false, false),
        ("/ip4/255.255.255.255/tcp/22", false, false, false),
        ("/ip6/2002:c0a8:0401::1/tcp/22", false, false, false),
        ("/ip4/198.51.100.7/tcp/0", false, false, false),
        ("/dns/router.test/tcp/22", false, false, false),
        ("/ip4/198.51.100.7/udp/53", false, false, false),
    ] {
        let parsed = address(text);
        let believed = [wan, lan, same].map(|teller| is_believable(&parsed, teller));
        assert_eq!(believed, [by_wan, by_lan, by_same], "{text}");
    }
}

#[test]
fn a_telling_comes_back_and_one_that_is_too_large_or_broken_does_not() {
    let keys: Vec<Keypair> = (0..17).map(|_| Keypair::generate_ed25519()).collect();
    let records: Vec<Vec<u8>> =
        keys.iter().map(|key| record(key, &["/ip4/198.51.100.7/tcp/1"])).collect();
    let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let read = decode(&encode(&all[..RECORDS_MAX])).expect("is sound");
    assert_eq!(read.len(), RECORDS_MAX);
    assert_eq!(read[3].peer_id(), keys[3].public().to_peer_id());
    assert!(decode(&encode(&all)).is_err(), "seventeen");
    let long = vec![0; RECORD_BYTES_MAX + 1];
    assert!(decode(&encode(&[&long])).is_err());
    let sound = encode(&all[..1]);
    for cut in 0..sound.len() {
        assert!(decode(&sound[..cut]).is_err(), "cut at {cut}");
    }
    assert!(decode(&[&sound[..], &[0]].concat()).is_err());
}

#[test]
fn nobody_signs_for_another() {
    let (honest, liar) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let good = PeerRecord::new(&honest, vec![address("/ip4/198.51.100.7/tcp/1")]).expect("signs");
    let payload = good.to_signed_envelope().into_protobuf_encoding();
    let forged = SignedEnvelope::new(
        &liar,
        "libp2p-routing-state".to_owned(),
        b"/libp2p/routing-state-record".to_vec(),
        payload,
    );
    let forged = forged.expect("signs").into_protobuf_encoding();
    assert!(decode(&encode(&[&forged])).is_err());
    let mut flipped = good.into_signed_envelope().into_protobuf_encoding();
    *flipped.last_mut().expect("has bytes") ^= 1;
    assert!(decode(&encode(&[&flipped])).is_err());
}

#[tokio::test]
async fn the_same_is_told_once_and_news_again() {
    let mut introductions = Introductions::new(Keypair::generate_ed25519(), true);
    let (to, other) = (PeerId::random(), PeerId::random());
    let own = introductions.own(vec![address("/ip4/198.51.100.7/tcp/1")]).expect("signs");
    let same = introductions.own(vec![address("/ip4/198.51.100.7/tcp/1")]).expect("signs");
    assert_eq!(own, same, "signed once");
    assert!(introductions.telling(to, &own, &[to, other]).is_some());
    assert!(introductions.telling(to, &own, &[to, other]).is_none());
    let key = Keypair::generate_ed25519();
    let news = record(&key, &["/ip4/198.51.100.8/tcp/1"]);
    introductions.records.insert(other, (Vec::new(), news));
    let told = introductions.telling(to, &own, &[to, other]).expect("news");
    assert_eq!(decode(&told).expect("is sound").len(), 2);
    introductions.leave(&to);
    assert!(introductions.telling(to, &own, &[to]).is_some(), "it came back");
}
