//! What an upstream's registry is asked for, what it signs, and what its documents may not hide.

use serde_json::{Value, json};

use super::super::upstream_outline::outline;
use super::super::{signature, upstream_rules};

#[test]
fn a_version_is_signed_by_its_upstreams_key_or_the_reason_is_said() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    let random = ring::rand::SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).unwrap();
    let mut spki = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
    spki.extend_from_slice(pair.public_key().as_ref());
    let keys = |id: &str, expires: Value| {
        let key = json!({ "keyid": id, "keytype": "ecdsa-sha2-nistp256", "expires": expires,
            "scheme": "ecdsa-sha2-nistp256", "key": STANDARD.encode(&spki) });
        json!({ "keys": [{ "keyid": "other", "key": "AAAA" }, key] }).to_string().into_bytes()
    };
    let integrity = format!("sha512-{}", STANDARD.encode([3; 64]));
    let signed = format!("@acme/ui@1.0.0:{integrity}");
    let sign = |text: &str| STANDARD.encode(pair.sign(&random, text.as_bytes()).unwrap());
    let version = |integrity: &str, signatures: Value| {
        let dist = json!({ "tarball": "http://a.test/x", "integrity": integrity,
            "signatures": signatures });
        let document = json!({ "name": "@acme/ui", "versions": { "1.0.0": { "dist": dist } } });
        outline("", &mut document.to_string().as_bytes()).unwrap().versions.remove(0)
    };
    let verify = signature::RULES.verify;
    let good = version(&integrity, json!([{ "keyid": "k", "sig": sign(&signed) }]));
    assert_eq!(verify("@acme/ui", &good, &keys("k", Value::Null)), Ok(()));
    let past = json!("2001-01-01T00:00:00.000Z");
    assert_eq!(verify("@acme/ui", &good, &keys("k", past)), Ok(()), "no clock decides");

    let other_bytes = format!("sha512-{}", STANDARD.encode([4; 64]));
    let broken = json!([{ "keyid": "k", "sig": "!" }]);
    let swapped = json!([{ "keyid": "k", "sig": sign(&signed) }]);
    for (name, version, keys, why) in [
        ("@acme/ui", version(&integrity, json!([])), keys("k", Value::Null), "no signature"),
        ("@acme/ui", good.clone(), keys("j", Value::Null), "does not list"),
        ("@acme/xi", good.clone(), keys("k", Value::Null), "not over its checksum"),
        ("@acme/ui", version(&other_bytes, swapped), keys("k", Value::Null), "not over"),
        ("@acme/ui", version(&integrity, broken), keys("k", Value::Null), "not over"),
        (
            "@acme/ui",
            version("", json!([{ "keyid": "k", "sig": "" }])),
            keys("k", Value::Null),
            "no sha512",
        ),
        ("@acme/ui", good.clone(), b"<html>".to_vec(), "cannot be read"),
    ] {
        let refused = verify(name, &version, &keys).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_document_that_hides_what_an_archive_does_is_found_out() {
    let differs = upstream_rules::RULES.differs;
    let meta = json!({
        "name": "demo", "version": "1.0.0", "dependencies": { "a": "^1" },
        "optionalDependencies": { "o": "1" }, "scripts": { "postinstall": "x", "test": "y" },
        "hasInstallScript": true,
    });
    let differs = |declared: &Value, meta: &Value| {
        differs(declared.to_string().as_bytes(), meta.to_string().as_bytes())
    };
    let same = json!({
        "name": "demo", "version": "1.0.0", "dependencies": { "a": "^1", "o": "1" },
        "hasInstallScript": true, "dist": {},
    });
    assert_eq!(differs(&same, &meta), None);
    for (field, value, why) in [
        ("name", json!("other"), "name"),
        ("version", json!("1.0.1"), "version"),
        ("dependencies", json!({ "a": "^1" , "evil": "1" }), "evil"),
        ("dependencies", json!({ "o": "1" }), "a is not the same"),
        ("peerDependencies", json!({ "p": "1" }), "peer dependency p"),
        ("hasInstallScript", json!(false), "postinstall"),
        ("scripts", json!({ "postinstall": "harmless" }), "postinstall"),
    ] {
        let mut declared = same.clone();
        declared[field] = value;
        let said = differs(&declared, &meta).unwrap_or_default();
        assert!(said.contains(why), "{field}: {said}");
    }
    let gyp = json!({ "name": "demo", "version": "1.0.0", "gypfile": true,
        "scripts": { "install": "node-gyp rebuild" } });
    assert_eq!(differs(&json!({ "name": "demo", "version": "1.0.0" }), &gyp), None);
}

#[test]
fn an_upstream_is_asked_for_escaped_names() {
    let rules = upstream_rules::RULES;
    assert_eq!((rules.document)("@acme/ui"), "@acme%2fui");
    assert_eq!((rules.document)("a(b)!"), "a%28b%29%21");
    assert_eq!((rules.file)("@acme/ui", "ui-1.0.0.tgz"), "@acme/ui/-/ui-1.0.0.tgz");
    let version_of = |name: &str, file: &str| (rules.version_of)(name, file);
    assert_eq!(version_of("@acme/ui", "ui-1.0.0-rc.1.tgz").as_deref(), Some("1.0.0-rc.1"));
    assert_eq!(version_of("@acme/ui", "ui-latest.tgz"), None);
}
