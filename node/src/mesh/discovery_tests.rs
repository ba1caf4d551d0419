//! What is dialled, when, and what is not.

use super::*;

fn address(text: &str) -> Multiaddr {
    text.parse().expect("a test writes sound addresses")
}

#[test]
fn a_failed_dial_waits_and_an_added_address_starts_over() {
    let now = Instant::now();
    let mut contacts = Contacts::default();
    contacts.add(address("/ip4/127.0.0.1/tcp/1"), Found::Told, now);
    let dial = contacts.due(now, |_| false).remove(0);
    assert!(contacts.due(now, |_| false).is_empty(), "it is being dialled");
    contacts.failed(dial.number, false, now, u32::MAX);
    assert_eq!(contacts.next_due(|_| false), Some(now + Duration::from_secs(1)));
    contacts.add(address("/ip4/127.0.0.1/tcp/1"), Found::Told, now);
    assert_eq!(contacts.due(now, |_| false).len(), 1);
}

#[test]
fn pauses_double_to_five_minutes_or_to_thirty_for_a_hint_and_are_drawn() {
    assert_eq!(Found::Told.pause(0, u32::MAX), PAUSE_FIRST);
    assert_eq!(Found::Told.pause(3, u32::MAX), PAUSE_FIRST * 8);
    assert_eq!(Found::Configured.pause(40, u32::MAX), PAUSE_MAX);
    assert_eq!(Found::Mdns.pause(40, u32::MAX), PAUSE_HINTED_MAX);
    assert_eq!(Found::Peer.pause(40, 0), PAUSE_MIN);
    assert!(Found::Told.pause(40, u32::MAX / 2) < PAUSE_MAX / 2 + PAUSE_FIRST);
}

#[test]
fn nobody_is_dialled_while_connected_and_a_lost_one_within_a_second() {
    let (now, peer) = (Instant::now(), PeerId::random());
    let mut contacts = Contacts::default();
    contacts.add(address(&format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}")), Found::Configured, now);
    assert!(contacts.due(now, |other| *other == peer).is_empty());
    contacts.lost(peer, now, u32::MAX);
    assert!(contacts.next_due(|_| false).expect("due") <= now + Duration::from_secs(1));
}

#[test]
fn the_addresses_of_one_peer_share_a_dial_with_tcp_in_front() {
    let (now, peer) = (Instant::now(), PeerId::random());
    let mut contacts = Contacts::default();
    let quic = address(&format!("/ip4/10.0.0.1/udp/1/quic-v1/p2p/{peer}"));
    let tcp = address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}"));
    contacts.add(quic.clone(), Found::Told, now);
    contacts.add(tcp.clone(), Found::Told, now);
    contacts.add(address("/ip4/10.0.0.2/tcp/1"), Found::Told, now);
    let dials = contacts.due(now, |_| false);
    assert_eq!(dials.len(), 2);
    assert_eq!(dials[0].addresses, [tcp, quic]);
    contacts.failed(dials[0].number, false, now, 0);
    assert_eq!(contacts.due(now + PAUSE_FIRST, |_| false).len(), 1, "both wait, and go together");
}

#[test]
fn hints_of_the_local_network_are_bounded() {
    let now = Instant::now();
    let mut contacts = Contacts::default();
    let chatty = PeerId::random();
    for port in 1..100 {
        contacts.hint(chatty, address(&format!("/ip4/10.0.0.1/tcp/{port}")), now);
        contacts.hint(PeerId::random(), address("/ip4/10.0.0.2/tcp/1"), now);
    }
    assert_eq!(contacts.list.len(), HINTED_PEERS_MAX);
    assert_eq!(contacts.list[0].addresses.len(), HINTED_ADDRESSES_MAX);
}

#[test]
fn a_hint_that_led_nowhere_makes_room_for_an_honest_one() {
    let now = Instant::now();
    let mut contacts = Contacts::default();
    for _ in 0..HINTED_PEERS_MAX {
        contacts.hint(PeerId::random(), address("/ip4/10.0.0.2/tcp/1"), now);
    }
    for dial in contacts.due(now, |_| false) {
        contacts.failed(dial.number, false, now, 0);
    }
    let honest = PeerId::random();
    contacts.hint(honest, address("/ip4/10.0.0.3/tcp/1"), now);
    assert_eq!(contacts.list.len(), HINTED_PEERS_MAX);
    assert!(contacts.due(now, |_| false).iter().any(|dial| dial.expected == Some(honest)));
}

#[test]
fn a_mere_hint_is_dialled_once_in_thirty_seconds_whatever_it_says() {
    let (now, peer) = (Instant::now(), PeerId::random());
    let mut contacts = Contacts::default();
    contacts.hint(peer, address("/ip4/10.0.0.1/tcp/1"), now);
    let dial = contacts.due(now, |_| false).remove(0);
    contacts.failed(dial.number, false, now, 0);
    contacts.hint(peer, address("/ip4/10.0.0.1/tcp/2"), now);
    assert!(contacts.due(now + HINT_RETRY / 2, |_| false).is_empty());
    assert_eq!(contacts.due(now + HINT_RETRY, |_| false).len(), 1);
}

#[test]
fn another_network_makes_everybody_due_even_who_is_being_dialled() {
    let (now, peer) = (Instant::now(), PeerId::random());
    let mut contacts = Contacts::default();
    contacts.hint(peer, address("/ip4/10.0.0.1/tcp/1"), now);
    let stuck = contacts.due(now, |_| false).remove(0);
    contacts.network_changed(now);
    let again = contacts.due(now, |_| false).remove(0);
    contacts.failed(stuck.number, false, now, 0);
    assert!(contacts.due(now + HINT_RETRY, |_| false).is_empty(), "the new dial goes on");
    contacts.failed(again.number, false, now, 0);
    assert_eq!(contacts.due(now + HINT_RETRY, |_| false).len(), 1);
}

#[test]
fn what_other_peers_tell_is_bounded_expires_and_waits_in_a_crowd() {
    let now = Instant::now();
    let mut contacts = Contacts::default();
    for _ in 0..100 {
        let many = (1..10).map(|port| address(&format!("/ip4/10.0.0.1/tcp/{port}")));
        contacts.tell(PeerId::random(), many.collect(), now);
    }
    assert_eq!(contacts.list.len(), HINTED_PEERS_MAX);
    assert_eq!(contacts.list[0].addresses.len(), HINTED_ADDRESSES_MAX);
    contacts.set_crowded(true);
    assert!(contacts.due(now, |_| false).is_empty() && contacts.next_due(|_| false).is_none());
    contacts.set_crowded(false);
    let here = contacts.list[0].expected.expect("a told peer has an id");
    contacts.due(now + TOLD_BY_PEERS, |peer| *peer == here);
    assert_eq!(contacts.list.len(), 1, "who is connected stays");
}
