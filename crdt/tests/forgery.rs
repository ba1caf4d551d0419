//! Forged and malleable signatures, by the numbers of `red-team.md`.
//!
//! Source: trust.md section 18, "Making the vectors".

use crdt::derive::Pins;
use crdt::statement::{Envelope, Grantee};
use crdt::{Error, PublicKey, Signature, Verified, signature};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::Signer;
use sha2::{Digest as _, Sha512};

use crate::world::{H1, World, grant, key, publish};

/// Signs with scalars and torsion chosen by the attacker: A = a·B + ta, R = r·B + tr.
fn craft(a: u64, ta: EdwardsPoint, tr: EdwardsPoint, message: &[u8]) -> ([u8; 33], [u8; 64]) {
    let (a, r) = (Scalar::from(a), Scalar::from(a ^ 0x5eed));
    let key = (ED25519_BASEPOINT_POINT * a + ta).compress().0;
    let point = (ED25519_BASEPOINT_POINT * r + tr).compress().0;
    let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(message);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let s = (r + k * a).to_bytes();
    (tagged(key), [point, s].concat().try_into().unwrap())
}

fn tagged(point: [u8; 32]) -> [u8; 33] {
    let mut key = [1; 33];
    key[1..].copy_from_slice(&point);
    key
}

fn message(kind: &str, payload: &[u8]) -> Vec<u8> {
    [b"griot/stmt/v1\0", kind.as_bytes(), b"\0", payload].concat()
}

/// The one verdict: the key is admitted and the signature verifies.
fn verdict(key: &[u8], payload: &[u8], bytes: [u8; 64]) -> Result<(), Error> {
    signature::verify(&PublicKey::admit(key)?, "release", payload, &Signature(bytes))
}

#[test]
fn red_02_two_signatures_of_one_key_meet_no_threshold() {
    let w = World::with(|root| root.grants.iter_mut().for_each(|grant| grant.need = 2));
    let statement = w.release("1.0", H1, &[&w.m]).statement().clone();
    let payload = statement.payload();
    // A key whose owner knows the scalar, so that he can mint any number of signatures.
    let sign = |tr: u64| {
        let text = message("release", payload);
        let r = EIGHT_TORSION[0] + ED25519_BASEPOINT_POINT * Scalar::from(tr);
        let (a, point) = (Scalar::from(77_u64), r.compress().0);
        let key = (ED25519_BASEPOINT_POINT * a).compress().0;
        let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(&text);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let s = (Scalar::from(tr) + k * a).to_bytes();
        (tagged(key), Signature([point, s].concat().try_into().unwrap()))
    };
    let (one, two) = (sign(1001), sign(1002));
    let minter = PublicKey::admit(&one.0).unwrap();
    assert_ne!(one.1, two.1);
    let verified = |signature| {
        let signatures = [(minter, signature)].into();
        Envelope { statement: statement.clone(), signatures }.verify().unwrap()
    };
    let (mut copy, other) = (verified(one.1), verified(two.1));
    let granted = w.successor(&w.genesis, &[&w.a, &w.b], |root| {
        root.grants = vec![grant("publish", "*", Grantee::Key(minter)), publish("*", &w.m)];
        root.grants[0].need = 2;
    });
    let authority = w.authority(&[&w.genesis, &granted]);
    let versions = |set: &[&Verified]| w.view_under(&authority, set, &Pins::new()).versions.len();
    assert_eq!(versions(&[&copy, &other]), 0);
    copy.merge(&other);
    assert_eq!(copy.signatures().len(), 1);
    assert_eq!(copy.signatures()[&minter], one.1.min(two.1), "the bytewise least stays");
    assert_eq!(versions(&[&copy]), 0);
    assert_eq!(versions(&[&copy, &w.release("1.0", H1, &[&w.m])]), 1, "two keys do");
}

#[test]
fn red_02_a_key_twice_in_one_envelope_or_in_another_encoding_is_refused() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let bytes = one.envelope().encode();
    let pair_at = bytes.len() - (1 + 2 + 33 + 2 + 64);
    let pair = bytes[pair_at..].to_vec();
    let mut twice = [&bytes[..], &pair].concat();
    twice[pair_at - 1] = 0x82;
    assert_eq!(Envelope::decode(&twice), Err(Error::NotCanonical { what: "envelope" }));
    // The sign bit of x = 0 and y + p are the other encodings that a point can have.
    let mut other = [0xff; 32];
    other[31] = 0x7f;
    for low in 0xed..=0xff {
        other[0] = low;
        assert_eq!(PublicKey::admit(&tagged(other)), Err(Error::BadKey));
    }
}

#[test]
fn red_03_torsion_is_one_verdict_alone_and_in_company() {
    let w = World::new();
    let none = EIGHT_TORSION[0];
    for turn in 1..8_u8 {
        let statement = w.release("1.0", turn, &[&w.m]).statement().clone();
        let payload = statement.payload();
        let text = message("release", payload);
        let t = EIGHT_TORSION[usize::from(turn)];
        let rows = [(none, none), (t, none), (none, t), (t, t)];
        for (row, (ta, tr)) in rows.into_iter().enumerate() {
            let (key_bytes, sig) = craft(1000 + u64::from(turn), ta, tr, &text);
            assert_eq!(verdict(&key_bytes, payload, sig).is_ok(), row == 0, "row {row} of {turn}");
            let Ok(crafted) = PublicKey::admit(&key_bytes) else { continue };
            for neighbour in 10..18 {
                let mut beside =
                    Verified::sign(statement.clone(), &[&key(neighbour)]).envelope().clone();
                beside.signatures.insert(crafted, Signature(sig));
                assert_eq!(beside.verify().is_ok(), row == 0);
            }
        }
    }
}

#[test]
fn red_03_weak_keys_and_malleable_signatures_are_invalid() {
    let w = World::new();
    let statement = w.release("1.0", H1, &[&w.m]).statement().clone();
    let payload = statement.payload();
    let trivial: [u8; 64] = [EIGHT_TORSION[0].compress().0, [0; 32]].concat().try_into().unwrap();
    for weak in EIGHT_TORSION {
        assert_eq!(verdict(&tagged(weak.compress().0), payload, trivial), Err(Error::BadKey));
    }
    // Encodings of y + p for the few y below 19, among them points of full order.
    let mut admitted = 0;
    for y in 0..19_u8 {
        let mut encoding = [0xff; 32];
        (encoding[0], encoding[31]) = (0xed_u8.wrapping_add(y), 0x7f);
        admitted += usize::from(CompressedEdwardsY(encoding).decompress().is_some());
        assert_eq!(PublicKey::admit(&tagged(encoding)), Err(Error::BadKey));
    }
    assert!(admitted > 2, "decompression alone would take some of them");

    let (honest, sig) = craft(5, EIGHT_TORSION[0], EIGHT_TORSION[0], &message("release", payload));
    assert_eq!(verdict(&honest, payload, sig), Ok(()));
    assert_eq!(verdict(&honest, payload, plus_order(sig)), Err(Error::BadSignature));
}

/// The same signature with s + L in place of s.
fn plus_order(mut sig: [u8; 64]) -> [u8; 64] {
    let minus_one = (Scalar::ZERO - Scalar::ONE).to_bytes();
    let mut carry = 1_u16;
    for (byte, order) in sig[32..].iter_mut().zip(minus_one) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    sig
}

#[test]
fn red_04_a_signature_of_another_domain_is_refused() {
    let w = World::new();
    let statement = w.release("1.0", H1, &[&w.m]).statement().clone();
    let secret = ed25519_dalek::SigningKey::from_bytes(&w.m.seed());
    let verified = |signature| {
        let signatures = [(w.m.public(), signature)].into();
        Envelope { statement: statement.clone(), signatures }.verify().map(|_| ())
    };
    for domain in ["griot/receipt/v1", "griot/beat/v1", "griot/peer-hello/v1", "griot/stmt/v2", ""]
    {
        let text = [domain.as_bytes(), b"\0release\0", statement.payload()].concat();
        let foreign = Signature(secret.sign(&text).to_bytes());
        assert_eq!(verified(foreign), Err(Error::BadSignature), "{domain}");
    }
    let another_type = w.m.sign("withdraw", statement.payload());
    assert_eq!(verified(another_type), Err(Error::BadSignature));
    assert_eq!(verified(w.m.sign("release", statement.payload())), Ok(()));
}
