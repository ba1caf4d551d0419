//! What a statement may hold: each limit, and one above it.

use crdt::statement::{
    Body, Envelope, Grantee, MAX_ID_BYTES, MAX_INLINE_META_BYTES, MAX_NAME_BYTES,
    MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES, MAX_TITLE_BYTES, Root,
};
use crdt::{Error, PackageId, Statement, Verified};

use crate::world::{H1, World, file, grant, key, release, unknown, x};

fn head(major: u8, value: usize) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(small @ 0..=23) => vec![major << 5 | small],
        Ok(byte) => vec![major << 5 | 24, byte],
        Err(_) => {
            let [high, low] = u16::try_from(value).unwrap().to_be_bytes();
            vec![major << 5 | 25, high, low]
        }
    }
}

#[test]
fn nesting_is_bounded_at_eight() {
    let nested = |levels: usize| [&[9][..], &vec![0x81; levels - 1], &[0]].concat();
    assert!(Statement::decode("later", &unknown(1, &nested(8))).is_ok());
    let deeper = Statement::decode("later", &unknown(1, &nested(9)));
    assert!(matches!(deeper, Err(Error::OverLimit { limit: 8, .. })));
    assert!(Statement::decode("later", &unknown(1, &nested(60_000))).is_err());
}

#[test]
fn a_payload_is_bounded_at_64_kib() {
    let entry = |length: usize| [&[9][..], &head(2, length), &vec![0; length]].concat();
    let room = MAX_PAYLOAD_BYTES - unknown(1, &entry(60_000)).len() + 60_000;
    assert!(Statement::decode("later", &unknown(1, &entry(room))).is_ok());
    let over = Statement::decode("later", &unknown(1, &entry(room + 1)));
    assert!(matches!(over, Err(Error::OverLimit { .. })));
}

#[test]
fn a_claimed_length_reserves_nothing() {
    let endless = b"\x09\x9b\xff\xff\xff\xff\xff\xff\xff\xff";
    assert!(Statement::decode("later", &unknown(1, endless)).is_err());
    let endless = b"\x83\x65later\x40\x9b\xff\xff\xff\xff\xff\xff\xff\xff";
    assert!(Envelope::decode(endless).is_err());
}

#[test]
fn inline_meta_is_bounded_over_all_files_of_a_release() {
    let w = World::new();
    let with = |one: usize, two: usize| {
        let mut files = vec![file("a", 1), file("b", 2)];
        files[0].meta = Some(crate::world::meta(1, &vec![0; one]));
        files[1].meta = Some(crate::world::meta(1, &vec![0; two]));
        Statement::new(w.realm, Some(x()), Body::Release(release("1.0", files)))
    };
    assert!(with(MAX_INLINE_META_BYTES - 10, 10).is_ok());
    assert!(matches!(with(MAX_INLINE_META_BYTES - 10, 11), Err(Error::OverLimit { .. })));
}

#[test]
fn roots_are_bounded_at_fifteen() {
    let w = World::new();
    let with = |count: u8| {
        let Body::Root(root) = w.genesis.statement().body() else { panic!("not a root") };
        let roots = (1..=count).map(|seed| key(seed).public()).collect();
        Statement::genesis(Root { roots, ..root.clone() })
    };
    assert!(with(15).is_ok());
    assert!(matches!(with(16), Err(Error::OverLimit { limit: 15, .. })));
}

#[test]
fn signatures_are_bounded_at_sixteen_and_never_displaced() {
    let w = World::new();
    let statement = w.release("1.0", H1, &[&w.m]).statement().clone();
    let keys: Vec<_> = (1..=17).map(key).collect();
    let first: Vec<_> = keys[..16].iter().collect();
    let mut full = Verified::sign(statement.clone(), &first);
    let before = full.clone();
    assert!(Envelope::decode(&full.envelope().encode()).is_ok());
    let mut over = full.envelope().clone();
    over.signatures.insert(keys[16].public(), keys[16].sign("release", statement.payload()));
    assert!(Envelope::decode(&over.encode()).is_err());
    assert!(over.verify().is_err());
    assert!(!full.merge(&Verified::sign(statement, &[&keys[16]])));
    assert_eq!(full, before);
}

#[test]
fn an_envelope_has_a_signature() {
    let w = World::new();
    let mut bare = w.release("1.0", H1, &[&w.m]).envelope().clone();
    bare.signatures.clear();
    assert!(Envelope::decode(&bare.encode()).is_err());
    assert!(bare.verify().is_err());
}

#[test]
fn titles_that_mislead_are_refused() {
    for title in ["a\u{7}", "a\u{202e}b", "a\u{200b}b", "e\u{301}", "\u{feff}a", "a\nb"] {
        let Body::Root(root) = World::new().genesis.statement().body().clone() else {
            panic!("not a root")
        };
        let root = Root { title: title.to_owned(), ..root };
        assert!(Statement::genesis(root).is_err(), "{title:?}");
    }
}

#[test]
fn names_that_lead_out_of_a_folder_are_refused() {
    let w = World::new();
    let named = |name: &str| {
        let body = Body::Release(release("1.0", vec![file(name, H1)]));
        Statement::new(w.realm, Some(x()), body)
    };
    let long = "a".repeat(MAX_NAME_BYTES + 1);
    for bad in ["", ".", "..", "../a", "a/../b", "/a", "a/", "a//b", "a\\b", " a", "a\0", &long] {
        assert!(named(bad).is_err(), "{bad:?}");
    }
    for good in ["x-1.0.tgz", "package/1/x.tgz", "ünïcode.zip", &long[1..]] {
        assert!(named(good).is_ok(), "{good:?}");
    }
    let body = Body::Release(release("1.0", vec![file("a", H1)]));
    for format in ["", "NPM", "a b", "*", &"a".repeat(33)] {
        assert!(Statement::new(w.realm, Some(PackageId::new(format, "x")), body.clone()).is_err());
    }
}

#[test]
fn texts_are_bounded_each_by_its_own_limit() {
    let w = World::new();
    let root = |change: &dyn Fn(&mut Root)| {
        let Body::Root(mut root) = w.genesis.statement().body().clone() else {
            panic!("not a root")
        };
        change(&mut root);
        Statement::genesis(root).is_ok()
    };
    let title = |length: usize| root(&|root| root.title = "a".repeat(length));
    assert!(title(MAX_TITLE_BYTES) && !title(MAX_TITLE_BYTES + 1));
    let role = |length: usize| root(&|root| root.grants[0].role = "a".repeat(length));
    assert!(role(MAX_ID_BYTES) && !role(MAX_ID_BYTES + 1));
    let pattern = |length: usize| root(&|root| root.grants[0].pattern.0 = "a".repeat(length));
    assert!(pattern(MAX_NAME_BYTES) && !pattern(MAX_NAME_BYTES + 1));
    let peer = |length: usize| {
        root(&|root| root.grants.push(grant("member", "*", Grantee::Peer(vec![0; length]))))
    };
    assert!(peer(64) && !peer(65));
    let reason = |length: usize| {
        let release = w.genesis.statement().id();
        let body = Body::Withdraw { release, reason: "a".repeat(length) };
        Statement::new(w.realm, Some(x()), body).is_ok()
    };
    assert!(reason(MAX_TEXT_BYTES) && !reason(MAX_TEXT_BYTES + 1));
}
