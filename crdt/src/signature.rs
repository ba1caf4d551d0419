//! Keys, signatures, and the one function that verifies them.
//!
//! A key is admitted once, when it is read: a canonical encoding, not of small order, without
//! torsion. With such a key the strict verification of ed25519 accepts exactly what every
//! conforming verifier accepts, cofactored or not, so two nodes can never disagree about a
//! signature, alone or in company. There is no batch verification: its verdict on a crafted
//! signature changes with the neighbours.
//!
//! Every use of a signature has its own prefix, so that none can be replayed as another. This
//! module signs and verifies statements (`griot/stmt/v1`), receipts (`griot/receipt/v1`), beats
//! (`griot/beat/v1`), and that a peer holds a key (`griot/peer-hello/v1`).
//!
//! Not here: which key may say what (`realm`), and where keys are kept.
//!
//! Source: trust.md sections 3 and 18.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
use crate::digest::{from_hex, to_hex};

/// The algorithm byte in front of every key. Others are kept free for later signatures.
const ED25519: u8 = 1;

/// What a signature over a statement begins with.
const STATEMENT_DOMAIN: &[u8] = b"griot/stmt/v1\0";
/// What a signature over a receipt begins with.
const RECEIPT_DOMAIN: &[u8] = b"griot/receipt/v1\0";
/// What a signature over a beat begins with.
const BEAT_DOMAIN: &[u8] = b"griot/beat/v1\0";
/// What a signature of a peer that shows its key begins with.
const HELLO_DOMAIN: &[u8] = b"griot/peer-hello/v1\0";

/// Keys that passed before. A check costs a tenth of a millisecond, and a node reads the same few
/// keys from its disk again and again. Forgetting them costs time and changes no verdict.
static ADMITTED: Mutex<BTreeSet<[u8; 33]>> = Mutex::new(BTreeSet::new());
/// Keys that are remembered at once; then all are forgotten.
const ADMITTED_MAX: usize = 4096;

/// `0x01 ‖ ed25519 public key`, 33 bytes, admitted: canonical, not of small order, torsion-free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 33]);

impl PublicKey {
    /// Admits a key.
    ///
    /// # Errors
    /// [`Error::BadKey`] for another algorithm, a non-canonical encoding, small order or torsion.
    pub fn admit(bytes: &[u8]) -> Result<Self, Error> {
        let whole: [u8; 33] = bytes.try_into().map_err(|_| Error::BadKey)?;
        let [ED25519, encoding @ ..] = whole else {
            return Err(Error::BadKey);
        };
        if ADMITTED.lock().unwrap_or_else(PoisonError::into_inner).contains(&whole) {
            return Ok(Self(whole));
        }
        let point = CompressedEdwardsY(encoding).decompress().ok_or(Error::BadKey)?;
        let canonical = point.compress().0 == encoding;
        if !canonical || point.is_small_order() || !point.is_torsion_free() {
            return Err(Error::BadKey);
        }
        let mut admitted = ADMITTED.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.len() >= ADMITTED_MAX {
            admitted.clear();
        }
        admitted.insert(whole);
        Ok(Self(whole))
    }

    /// The 33 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", &to_hex(&self.0)[..14])
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes: [u8; 33] = from_hex(text).ok_or(Error::BadKey)?;
        Self::admit(&bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An ed25519 signature, 64 bytes, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", &to_hex(&self.0)[..12])
    }
}

/// A signing key. Zeroised on drop; its `Debug` shows nothing of it.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 bytes that the caller drew from the operating system.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32 bytes, to be written to a key file with mode 0600.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [ED25519; 33];
        bytes[1..].copy_from_slice(self.0.verifying_key().as_bytes());
        PublicKey(bytes)
    }

    /// Signs a statement: `"griot/stmt/v1\0" ‖ type ‖ "\0" ‖ payload`; a receipt has its own prefix
    /// in place of the first part.
    #[must_use]
    pub fn sign(&self, kind: &str, payload: &[u8]) -> Signature {
        Signature(self.0.sign(&signed_bytes(kind, payload)).to_bytes())
    }
}

/// What a peer signs to show another one that it holds a key: of no use to anybody else, nor to
/// the same two when they meet again.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// The id of the peer that shows its key.
    pub prover: &'a [u8],
    /// The id of the peer that is shown it.
    pub verifier: &'a [u8],
    /// What the verifier has drawn for this conversation.
    pub challenge: &'a [u8; 32],
}

impl Hello<'_> {
    /// Signs with a key that is held.
    #[must_use]
    pub fn sign(&self, key: &SecretKey) -> Signature {
        Signature(key.0.sign(&self.signed_bytes()).to_bytes())
    }

    /// Whether the prover holds the key.
    ///
    /// # Errors
    /// [`Error::BadSignature`] unless the strict verification accepts it.
    pub fn verify(&self, key: &PublicKey, signature: &Signature) -> Result<(), Error> {
        strictly(key, &self.signed_bytes(), signature)
    }

    /// A peer id is a multihash, which says its own length.
    fn signed_bytes(&self) -> Vec<u8> {
        [HELLO_DOMAIN, self.prover, self.verifier, self.challenge].concat()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Verifies one signature over one statement.
///
/// # Errors
/// [`Error::BadSignature`] unless the strict verification accepts it.
pub fn verify(
    key: &PublicKey,
    kind: &str,
    payload: &[u8],
    signature: &Signature,
) -> Result<(), Error> {
    strictly(key, &signed_bytes(kind, payload), signature)
}

/// The only verification in the program.
fn strictly(key: &PublicKey, signed: &[u8], signature: &Signature) -> Result<(), Error> {
    let [_, point @ ..] = *key.as_bytes();
    let key = VerifyingKey::from_bytes(&point).map_err(|_| Error::BadSignature)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    #[expect(clippy::disallowed_methods, reason = "this is the one place that verifies")]
    key.verify_strict(signed, &signature).map_err(|_| Error::BadSignature)
}

fn signed_bytes(kind: &str, payload: &[u8]) -> Vec<u8> {
    let domain = match kind {
        "receipt" => RECEIPT_DOMAIN,
        "beat" => BEAT_DOMAIN,
        _ => STATEMENT_DOMAIN,
    };
    [domain, kind.as_bytes(), b"\0", payload].concat()
}
