//! Keys, signatures, and the one function that verifies them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, StatementId};

/// `0x01 ‖ ed25519 public key`, 33 bytes, admitted: canonical, not of small order, torsion-free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 33]);

impl PublicKey {
    /// Admits a key.
    ///
    /// # Errors
    /// [`Error::BadKey`] for another algorithm, a non-canonical encoding, small order or torsion.
    pub fn admit(bytes: &[u8]) -> Result<Self, Error> { let _ = bytes; todo!() }
    /// The 33 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] { &self.0 }
}
// Text form: 66 hex digits. Display, Debug (short), FromStr, Serialize, Deserialize like StatementId.
impl fmt::Display for PublicKey { fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
impl fmt::Debug for PublicKey { fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
impl FromStr for PublicKey { type Err = Error; fn from_str(_text: &str) -> Result<Self, Error> { todo!() } }
impl Serialize for PublicKey { fn serialize<S: serde::Serializer>(&self, _s: S) -> Result<S::Ok, S::Error> { todo!() } }
impl<'de> Deserialize<'de> for PublicKey { fn deserialize<D: serde::Deserializer<'de>>(_d: D) -> Result<Self, D::Error> { todo!() } }

/// An ed25519 signature, 64 bytes, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Signature(pub [u8; 64]);

/// A signing key. Zeroised on drop; no `Debug` of its content; text form 64 hex digits only on request.
pub struct SecretKey(ed25519_dalek::SigningKey);
impl SecretKey {
    /// From 32 bytes that the caller drew from the operating system.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self { Self(ed25519_dalek::SigningKey::from_bytes(seed)) }
    /// The 32 bytes, to be written to a key file with mode 0600.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] { self.0.to_bytes() }
    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey { todo!() }
    /// Signs a statement: `"griot/stmt/v1\0" ‖ type ‖ "\0" ‖ payload`.
    #[must_use]
    pub fn sign(&self, kind: &str, payload: &[u8]) -> Signature { let _ = (kind, payload); todo!() }
}
impl fmt::Debug for SecretKey { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("SecretKey(..)") } }

/// Verifies one signature over one statement: the only verification in the program.
///
/// # Errors
/// [`Error::BadSignature`] unless `verify_strict` accepts it.
pub fn verify(key: &PublicKey, kind: &str, payload: &[u8], signature: &Signature) -> Result<(), Error> {
    let _ = (key, kind, payload, signature); todo!()
}
#[allow(dead_code)] fn _s(_: StatementId) {}
