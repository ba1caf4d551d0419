//! Invites: there and back, and what strangers may paste.

use super::*;

fn peer() -> PeerId {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([7; 32]).unwrap();
    key.public().to_peer_id()
}

fn example(role: InviteRole) -> Invite {
    Invite {
        realm: RealmId(Digest::of(b"realm")),
        peer: peer(),
        addresses: vec![
            "/ip4/192.168.4.1/tcp/7879".parse().unwrap(),
            "/ip6/fd00::1/tcp/7879".parse().unwrap(),
        ],
        role,
        title: "awa-laptop".into(),
        secret: [5; 32],
    }
}

fn text_of(bytes: &[u8]) -> String {
    bech32::encode::<Bech32m>(PREFIX, bytes).unwrap()
}

#[test]
fn an_invite_reads_back_as_it_was_written() {
    for role in [InviteRole::Reader, InviteRole::Publisher, InviteRole::Mirror] {
        let invite = example(role);
        let text = invite.to_string();
        assert!(text.starts_with("griot1"), "{text}");
        assert_eq!(text.parse::<Invite>().unwrap(), invite);
        assert_eq!(text.to_uppercase().parse::<Invite>().unwrap(), invite);
    }
}

#[test]
fn line_breaks_of_a_chat_are_forgiven() {
    let text = example(InviteRole::Publisher).to_string();
    let (start, end) = text.split_at(40);
    assert!(format!("  {start}\r\n {end}\n").parse::<Invite>().is_ok());
}

#[test]
fn one_wrong_letter_is_found() {
    let text = example(InviteRole::Reader).to_string();
    for position in 6..text.len() {
        let mut letters = text.clone().into_bytes();
        letters[position] = if letters[position] == b'q' { b'p' } else { b'q' };
        let wrong = String::from_utf8(letters).unwrap();
        assert!(wrong.parse::<Invite>().is_err(), "position {position}");
    }
}

#[test]
fn truncated_and_random_content_is_refused_without_panic() {
    let bytes = example(InviteRole::Mirror).encode();
    for length in 0..bytes.len() {
        assert!(text_of(&bytes[..length]).parse::<Invite>().is_err(), "length {length}");
    }
    for position in 0..bytes.len() {
        for value in [0, 0x5f, 0x7f, 0x9b, 0xbf, 0xff] {
            let mut mutated = bytes.clone();
            mutated[position] = value;
            drop(text_of(&mutated).parse::<Invite>());
        }
    }
    for text in ["", "griot1", "griot", "hello", "r1qqqq", &"griot1".repeat(4_000)] {
        assert!(text.parse::<Invite>().is_err(), "{text:.20}");
    }
}

#[test]
fn an_invite_without_a_secret_is_refused_whatever_its_role() {
    for role in [InviteRole::Reader, InviteRole::Publisher] {
        let mut bytes = example(role).encode();
        bytes.truncate(bytes.len() - 34);
        bytes[0] = 0x86;
        let refused = text_of(&bytes).parse::<Invite>();
        assert_eq!(refused, Err(Error::Content("the wrong number of parts")));
    }
}

#[test]
fn a_title_with_control_characters_is_refused() {
    let invite = Invite { title: "a\u{1b}[2Jb".into(), ..example(InviteRole::Reader) };
    assert_eq!(invite.to_string().parse::<Invite>(), Err(Error::Content("the title")));
}

#[test]
fn addresses_are_kept_while_they_fit_and_closed_by_the_peer() {
    let many: Vec<Multiaddr> = (0..40)
        .map(|n| format!("/ip4/10.0.0.{n}/tcp/7879/p2p/{}", peer()).parse().unwrap())
        .collect();
    let kept = Invite::fitting(&many);
    assert_eq!(kept.len(), 8);
    let invite = Invite { addresses: kept, title: "t".repeat(64), ..example(InviteRole::Mirror) };
    let again: Invite = invite.to_string().parse().unwrap();
    assert_eq!(again.dial()[0], many[0]);
}

#[test]
fn the_secret_is_not_in_the_debug_text() {
    assert!(!format!("{:?}", example(InviteRole::Publisher)).contains("secret"));
}
