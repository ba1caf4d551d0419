//! The upstream's own signatures over `name@version:integrity`.
//!
//! ECDSA over P-256 with SHA-256, by keys that the upstream gives in a document of its own. So a
//! version is what its upstream said, whoever the document came from.
//!
//! A key that has expired stays good: it signed versions before, and to tell those from later ones
//! would need a time that nobody vouches for. A key counts as long as the upstream lists it.
//!
//! Source: formats/npm.md section 1; RFC 5480 (the encoding of keys); FIPS 186-5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

use crate::registry::{OutlineVersion, SignatureRules};

/// How its versions are signed.
pub(super) const RULES: SignatureRules = SignatureRules { keys: "-/npm/v1/keys", verify };

/// What stands before the 65 bytes of a point on P-256 in its public key's DER.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    keyid: String,
    key: String,
}

/// Whether one of the keys signed the version's checksum.
fn verify(name: &str, version: &OutlineVersion, keys: &[u8]) -> Result<(), String> {
    let what = format!("{name}@{}", version.written);
    let keys: Keys = serde_json::from_slice(keys)
        .map_err(|error| format!("the upstream's keys cannot be read: {error}"))?;
    if version.signatures.is_empty() {
        return Err(format!("{what} carries no signature of its upstream"));
    }
    let sha512 = version.files.iter().find_map(|file| file.declared.sha512);
    let sha512 = sha512.ok_or_else(|| format!("{what} has no sha512 that could be signed"))?;
    let signed = format!("{what}:sha512-{}", STANDARD.encode(sha512));
    let mut known = false;
    for (id, signature) in &version.signatures {
        for key in keys.keys.iter().filter(|key| key.keyid == *id) {
            known = true;
            if holds(&key.key, signature, signed.as_bytes()) {
                return Ok(());
            }
        }
    }
    Err(if known {
        format!("the signature of {what} is not over its checksum")
    } else {
        format!("{what} is signed by a key that its upstream does not list")
    })
}

fn holds(key: &str, signature: &str, signed: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (STANDARD.decode(key), STANDARD.decode(signature)) else {
        return false;
    };
    let Some(point) = key.strip_prefix(&SPKI_P256) else { return false };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, &signature).is_ok()
}
