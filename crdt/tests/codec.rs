//! Encodings: what goes out comes back, nothing else comes in, and no bytes cause a panic.

use crdt::statement::{
    Beat, BlobRef, Body, Counter, Envelope, File, Grantee, IdList, Meta, MetaBody, Pattern,
    Release, Root, RouteSource,
};
use crdt::{
    Checksums, Collection, Digest, Error, PackageId, PublicKey, RealmId, Statement, StatementId,
    Verified,
};
use proptest::prelude::*;

use crate::receipts::{receipt, receipt_of_file};
use crate::world::{H1, World, counter, file, grant, key, release, unknown, x};

const KINDS: [&str; 12] = [
    "root", "release", "withdraw", "yank", "unyank", "tag", "route", "revoke", "seal", "later",
    "receipt", "beat",
];

/// One statement of each type and form.
fn all(w: &World) -> Vec<Verified> {
    let one = w.release("1.0", H1, &[&w.m]);
    let mut whole = file("x.whl", H1);
    whole.checksums = Checksums {
        sha256: [1; 32],
        sha512: Some([2; 64]),
        sha1: Some([3; 20]),
        md5: Some([4; 16]),
    };
    let blob = BlobRef { digest: Digest::of(b"meta"), size: 4 };
    let body = MetaBody::Blob(blob.clone());
    whole.meta = Some(Meta { extractor: "pypi".to_owned(), version: 7, body });
    let mut full = release("1.1", vec![whole, file("y.whl", 9)]);
    full.extras = Some(blob);
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |root| {
        root.grants.push(grant("publish", "@acme/*", Grantee::Realm(w.realm)));
        root.grants.push(grant("member", "*", Grantee::Peer(vec![1, 2, 3])));
        root.cleared = vec![one.statement().id()];
        root.seals = Some(vec![one.statement().id()]);
    });
    let (origin, format) = (Digest::of(b"o"), "pypi".to_owned());
    let many = (0..501_u32).map(|n| StatementId(Digest::of(&n.to_le_bytes()))).collect();
    let (listed, blob) = IdList::of(many).unwrap();
    assert_eq!(listed.blob().unwrap().size, blob.unwrap().len() as u64);
    let reason = "lost".to_owned();
    let beat = Beat {
        head: one.statement().id(),
        counter: Counter { epoch: 0, n: 3 },
        digest: Beat::digest_of([&one.statement().id()]),
        count: 1,
        claimed_time: 7,
    };
    let upstream = RouteSource::Upstream { origin, format, url: "https://up.test/".to_owned() };
    vec![
        w.genesis.clone(),
        next,
        w.say(Body::Release(full), &[&w.m, &w.n]),
        w.withdraw(&one, &[&w.m]),
        w.yank(&one, (0, 1), &[&w.m]),
        w.unyank(&one, (0, u64::MAX), &[&w.m]),
        w.tag("latest", Some(&one), (1, 2), &[&w.m]),
        w.tag("latest", None, (1, 3), &[&w.m]),
        w.route("x*", upstream, (0, 1), &[&w.a, &w.b]),
        w.route("*", RouteSource::Realm(w.realm), (0, 1), &[&w.a, &w.b]),
        w.route("x", RouteSource::Deny, (0, 1), &[&w.a, &w.b]),
        w.revoke(&w.m, &[&one], &[&w.a]),
        w.revoke(&w.n, &[], &[&w.n]),
        w.sign(None, Body::Revoke { key: w.z.public(), keep: listed.clone(), reason }, &[&w.b]),
        w.seal(&[&one], &[&w.a, &w.b]),
        w.sign(None, Body::Seal { releases: listed }, &[&w.a, &w.b]),
        w.sign(None, Body::Beat(beat), &[&w.m]),
        w.sign(None, Body::Receipt(receipt("x", 1)), &[&w.m]),
        w.sign(None, Body::Receipt(receipt_of_file("x/x.whl", 2)), &[&w.m, &w.n]),
        one,
    ]
}

#[test]
fn every_type_round_trips() {
    let w = World::new();
    for one in all(&w) {
        let statement = one.statement();
        assert_eq!(
            Statement::decode(statement.kind(), statement.payload()).as_ref(),
            Ok(statement)
        );
        let envelope = Envelope::decode(&one.envelope().encode()).unwrap();
        assert_eq!(envelope.verify().as_ref(), Ok(&one));
    }
}

#[test]
fn each_type_lies_in_its_collection() {
    let w = World::new();
    for one in all(&w) {
        let statement = one.statement();
        let expected = match statement.kind() {
            "root" | "route" | "revoke" | "seal" => Collection::Authority(w.realm),
            "beat" => Collection::Beats(w.realm),
            "receipt" => Collection::Receipts(w.realm, "pypi".to_owned()),
            _ => Collection::Format(w.realm, "pypi".to_owned()),
        };
        assert_eq!(statement.collection(), expected, "{}", statement.kind());
        assert_eq!(statement.realm(), w.realm);
    }
}

#[test]
fn the_id_of_a_statement_never_changes() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let payload = one.statement().payload();
    let id = one.statement().id();
    let mut hasher = blake3_of("griot 2026 statement id v1");
    hasher.update(b"release\0");
    hasher.update(payload);
    assert_eq!(id.0.as_bytes(), hasher.finalize().as_bytes());
    // v, realm, format, name: the front that is read before the rest.
    assert_eq!(payload[..4], [0xa8, 0, 1, 1]);
    assert_eq!(payload[38..47], *b"\x02\x64pypi\x03\x61x");
}

fn blake3_of(context: &str) -> blake3::Hasher {
    blake3::Hasher::new_derive_key(context)
}

#[test]
fn a_key_is_66_digits_and_comes_back() {
    let key = key(1).public();
    let text = key.to_string();
    assert_eq!(text.len(), 66);
    assert_eq!(text.parse::<PublicKey>().as_ref(), Ok(&key));
    assert_eq!(format!("02{}", &text[2..]).parse::<PublicKey>(), Err(Error::BadKey));
    assert_eq!(text[..64].parse::<PublicKey>(), Err(Error::BadKey));
}

#[test]
fn an_unknown_type_is_kept_where_its_format_says() {
    let realm = RealmId(Digest::from_bytes([9; 32]));
    let bare = Statement::decode("later", &unknown(0, &[])).unwrap();
    assert_eq!((bare.body(), bare.collection()), (&Body::Unknown, Collection::Other(realm)));
    let named = unknown(3, b"\x02\x64pypi\x03\x61x\x09\x01");
    let named = Statement::decode("later", &named).unwrap();
    assert_eq!(named.collection(), Collection::Format(realm, "pypi".to_owned()));
    assert_eq!(named.package(), Some(&x()));
    for kind in ["root", "route", "revoke", "seal"] {
        let mut later = unknown(0, &[]);
        later[2] = 2;
        let authority = Statement::decode(kind, &later).unwrap();
        assert_eq!(authority.body(), &Body::Unknown);
        assert_eq!(authority.collection(), Collection::Authority(realm));
    }
}

#[test]
fn a_later_revision_of_a_known_type_is_kept_without_effect() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let mut payload = one.statement().payload().to_vec();
    payload[2] = 2;
    let later = Statement::decode("release", &payload).unwrap();
    assert_eq!(later.body(), &Body::Unknown);
    assert_eq!(later.collection(), one.statement().collection());
}

#[test]
fn an_unknown_type_needs_a_realm_and_canonical_bytes() {
    assert!(Statement::decode("later", &[0xa1, 0, 1]).is_err(), "no realm");
    assert!(Statement::decode("later", &[0xa0]).is_err(), "no v");
    assert!(Statement::decode("Later!", &unknown(0, &[])).is_err(), "no name for a type");
    for kind in ["receipt", "beat"] {
        assert!(Statement::decode(kind, &unknown(0, &[])).is_err());
    }
    let bad: [(&str, &[u8]); 12] = [
        ("long integer", b"\x09\x18\x01"),
        ("long length", b"\x09\x58\x01a"),
        ("float", b"\x09\xf9\x00\x00"),
        ("null", b"\x09\xf6"),
        ("undefined", b"\x09\xf7"),
        ("simple value", b"\x09\xf8\x20"),
        ("tag", b"\x09\xc0\x01"),
        ("indefinite array", b"\x09\x9f\xff"),
        ("indefinite text", b"\x09\x7f\xff"),
        ("text as a key", b"\x61a\x01"),
        ("text out of NFC", b"\x09\x63e\xcc\x81"),
        ("broken UTF-8", b"\x09\x61\xff"),
    ];
    for (what, entry) in bad {
        assert!(Statement::decode("later", &unknown(1, entry)).is_err(), "{what}");
    }
    assert!(Statement::decode("later", &unknown(2, b"\x0a\x01\x09\x01")).is_err(), "unsorted");
    assert!(Statement::decode("later", &unknown(2, b"\x09\x01\x09\x01")).is_err(), "twice");
    assert!(Statement::decode("later", &unknown(1, b"\x09\x01\x00")).is_err(), "trailing");
    assert!(Statement::decode("later", &unknown(1, b"\x09")).is_err(), "truncated");
    assert!(Statement::decode("later", &unknown(1, b"\x09\xf5")).is_ok(), "a boolean is fine");
}

#[test]
fn only_a_genesis_has_no_realm_and_no_parent() {
    let w = World::new();
    let Body::Root(root) = w.genesis.statement().body().clone() else { panic!("not a root") };
    let later = Root { epoch: 1, ..root.clone() };
    assert!(Statement::genesis(later.clone()).is_err());
    assert!(Statement::new(w.realm, None, Body::Root(root.clone())).is_err());
    assert!(Statement::new(w.realm, None, Body::Root(later)).is_err(), "no parent");
    let child = Root { prev: Some(w.genesis.statement().id()), ..root };
    assert!(Statement::genesis(child).is_err());
}

#[test]
fn package_level_types_have_a_package_and_the_others_none() {
    let w = World::new();
    let release = Body::Release(release("1.0", vec![file("x.whl", H1)]));
    assert!(Statement::new(w.realm, None, release).is_err());
    let (format, pattern) = ("npm".to_owned(), Pattern::parse("x").unwrap());
    let route =
        Body::Route { format, pattern, source: RouteSource::Deny, counter: counter((0, 0)) };
    assert!(Statement::new(w.realm, Some(x()), route).is_err());
    assert!(Statement::new(w.realm, Some(x()), Body::Unknown).is_err());
}

#[test]
fn a_release_has_distinct_files_in_one_order() {
    let w = World::new();
    let of = |names: &[&str]| {
        let files = names.iter().map(|name| file(name, H1)).collect();
        Statement::new(w.realm, Some(x()), Body::Release(release("1.0", files)))
    };
    assert_eq!(of(&["a", "b"]).unwrap().id(), of(&["b", "a"]).unwrap().id());
    assert!(of(&["a", "a"]).is_err());
    assert!(of(&[]).is_err());
}

#[test]
fn patterns_have_a_star_at_their_end_alone() {
    for bad in ["", "*a", "a*b", "**", "a**"] {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
    let parse = |text| Pattern::parse(text).unwrap();
    assert!(parse("@a/*").matches("@a/b") && !parse("@a/*").matches("@ab"));
    assert!(parse("a").matches("a") && !parse("a").matches("ab"));
    assert!(parse("a").specificity() > parse("abc*").specificity());
    assert!(parse("abc*").specificity() > parse("ab*").specificity());
    assert!(parse("*").overlaps(&parse("a")) && parse("a").overlaps(&parse("a*")));
    assert!(parse("a*").overlaps(&parse("ab*")) && !parse("a*").overlaps(&parse("b*")));
    assert!(!parse("a").overlaps(&parse("b")));
}

prop_compose! {
    fn any_file()(
        name in "[a-z0-9._-]{1,20}/[a-z]{1,9}",
        size: u64,
        digest: [u8; 32],
        sums: (Option<[u8; 16]>, bool, bool),
        meta in prop::option::of((
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..40),
            any::<bool>(),
        )),
    ) -> File {
        let meta = meta.map(|(version, bytes, inline)| {
            let blob = BlobRef { digest: Digest::of(&bytes), size };
            let body = if inline { MetaBody::Inline(bytes) } else { MetaBody::Blob(blob) };
            Meta { extractor: "x".to_owned(), version, body }
        });
        let checksums = Checksums {
            sha256: digest,
            sha512: sums.1.then_some([5; 64]),
            sha1: sums.2.then_some([6; 20]),
            md5: sums.0,
        };
        File { name: format!("f{name}"), size, blake3: Digest::from_bytes(digest), checksums, meta }
    }
}

proptest! {
    #[test]
    fn decode_of_encode_is_the_same(
        version in "[0-9]\\.[0-9a-z+.-]{0,30}",
        name in "[@a-zà-ÿ0-9/._-]{1,40}",
        files in prop::collection::vec(any_file(), 1..5),
        extras in prop::option::of(any::<u64>()),
        claimed_time: u64,
    ) {
        let mut files = files;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        let extras = extras.map(|size| BlobRef { digest: Digest::of(b"e"), size });
        let written = version.clone();
        let content = Release { version, written, files, extras, claimed_time };
        let package = PackageId::new("pypi", name);
        let realm = RealmId(Digest::of(b"r"));
        let body = Body::Release(content.clone());
        let made = Statement::new(realm, Some(package.clone()), body).unwrap();
        let read = Statement::decode("release", made.payload()).unwrap();
        prop_assert_eq!(read.body(), &Body::Release(content));
        prop_assert_eq!((read.package(), read.id()), (Some(&package), made.id()));
    }

    #[test]
    fn decode_never_panics_on_arbitrary_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        kind in prop::sample::select(&KINDS[..]),
    ) {
        let _ = Envelope::decode(&bytes);
        if let Ok(read) = Statement::decode(kind, &bytes) {
            prop_assert_eq!(read.payload(), bytes);
        }
    }

    #[test]
    fn mutated_bytes_are_refused_or_are_another_statement(
        which in 0..14_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let w = World::new();
        let one = &all(&w)[which];
        let mut bytes = one.envelope().encode();
        for (at, byte, how) in edits {
            // The one before may have taken the last byte.
            let at = at.index(bytes.len().max(1));
            if bytes.is_empty() {
                bytes.push(byte);
            }
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Ok(read) = Envelope::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
            let same = read.statement.id() == one.statement().id();
            prop_assert_eq!(same, read.statement.payload() == one.statement().payload()
                && read.statement.kind() == one.statement().kind());
            if bytes != one.envelope().encode() {
                // What is left of the signatures belongs to the honest bytes alone.
                let same = |read: Verified| read.statement() == one.statement();
                prop_assert!(read.verify().map_or(true, same));
            }
        }
    }
}

#[test]
fn ids_in_text_come_back() {
    let w = World::new();
    assert_eq!(w.realm.to_string().parse::<RealmId>().as_ref(), Ok(&w.realm));
    let id = w.genesis.statement().id();
    assert_eq!(id.to_string().parse::<StatementId>().as_ref(), Ok(&id));
}
