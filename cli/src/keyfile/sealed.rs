//! A key file under a passphrase.
//!
//! ```text
//! griot key v1
//! public 01…                             the public key: 66 hexadecimal digits
//! argon2id 65536 3 1 SALT                KiB of memory, passes, lanes; 16 bytes
//! xchacha20poly1305 NONCE SEALED         24 bytes; the 32-byte seed and its 16-byte tag
//! ```
//!
//! The first three lines are authenticated with the seed, so none can be exchanged. Memory and
//! passes are bounded when a file is read: a file from a stranger costs no more than a second.
//!
//! Source: trust.md section 17; docs/reference/disk.md.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use crdt::digest::{from_hex, to_hex};
use crdt::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::output::Failure;

const TITLE: &str = "griot key v1";
/// What new files cost to open: 64 MiB, three passes, one lane.
const COST: Cost = Cost { memory: 64 * 1024, passes: 3, lanes: 1 };
/// The most that a file may ask for: 256 MiB, sixteen passes, four lanes.
const COST_MAX: Cost = Cost { memory: 256 * 1024, passes: 16, lanes: 4 };

/// The work that turns a passphrase into a key.
#[derive(Clone, Copy)]
struct Cost {
    /// KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// A sealed key.
pub(super) struct Sealed {
    pub(super) public: PublicKey,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
    sealed: [u8; 48],
}

/// Whether a text claims to be a sealed key.
pub(super) fn is_one(text: &str) -> bool {
    text.lines().next() == Some(TITLE)
}

impl Sealed {
    /// Seals a key with a salt and a nonce of its own.
    pub(super) fn seal(key: &SecretKey, passphrase: &str) -> Result<Self, Failure> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        for random in [&mut salt[..], &mut nonce[..]] {
            getrandom::fill(random).map_err(|error| {
                Failure::new(format!("the system gives no random bytes: {error}"))
            })?;
        }
        let mut this = Self { public: key.public(), cost: COST, salt, nonce, sealed: [0; 48] };
        let failed = || Failure::new("the key cannot be sealed");
        let cipher = this.cipher(passphrase).ok_or_else(failed)?;
        let seed = Zeroizing::new(key.seed());
        let head = this.head();
        let payload = Payload { msg: seed.as_ref(), aad: head.as_bytes() };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| failed())?;
        this.sealed = sealed.try_into().map_err(|_| failed())?;
        Ok(this)
    }

    /// The key, if this is its passphrase and nothing was changed.
    pub(super) fn open(&self, passphrase: &str) -> Option<SecretKey> {
        let head = self.head();
        let payload = Payload { msg: &self.sealed, aad: head.as_bytes() };
        let seed = self.cipher(passphrase)?.decrypt(XNonce::from_slice(&self.nonce), payload).ok();
        let seed = Zeroizing::new(seed?);
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().ok()?);
        Some(SecretKey::from_seed(&seed)).filter(|key| key.public() == self.public)
    }

    fn cipher(&self, passphrase: &str) -> Option<XChaCha20Poly1305> {
        let Cost { memory, passes, lanes } = self.cost;
        let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
        let mut blocks = vec![Block::default(); params.block_count()];
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let passphrase = passphrase.as_bytes();
        argon
            .hash_password_into_with_memory(passphrase, &self.salt, key.as_mut(), &mut blocks)
            .ok()?;
        XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
    }

    fn head(&self) -> String {
        let Cost { memory, passes, lanes } = self.cost;
        let salt = to_hex(&self.salt);
        format!("{TITLE}\npublic {}\nargon2id {memory} {passes} {lanes} {salt}\n", self.public)
    }

    /// The file.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let (nonce, sealed) = (to_hex(&self.nonce), to_hex(&self.sealed));
        Zeroizing::new(format!("{}xchacha20poly1305 {nonce} {sealed}\n", self.head()))
    }

    /// Reads a file; `None` if it is not exactly one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let public = lines.next()?.strip_prefix("public ")?.parse().ok()?;
        let mut work = lines.next()?.strip_prefix("argon2id ")?.split(' ');
        let mut number = || work.next()?.parse::<u32>().ok();
        let cost = Cost { memory: number()?, passes: number()?, lanes: number()? };
        let salt = from_hex(work.next()?)?;
        let mut cipher = lines.next()?.strip_prefix("xchacha20poly1305 ")?.split(' ');
        let (nonce, sealed) = (from_hex(cipher.next()?)?, from_hex(cipher.next()?)?);
        let is_bounded = cost.memory <= COST_MAX.memory
            && cost.passes <= COST_MAX.passes
            && cost.lanes <= COST_MAX.lanes;
        let this = Self { public, cost, salt, nonce, sealed };
        (is_bounded && *this.text() == text).then_some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_alone() {
        let key = SecretKey::from_seed(&[7; 32]);
        let text = Sealed::seal(&key, "baobab").unwrap().text();
        assert!(is_one(&text) && !text.contains(&"07".repeat(32)));
        let sealed = Sealed::parse(&text).unwrap();
        assert_eq!(sealed.public, key.public());
        assert_eq!(sealed.open("baobab").unwrap().seed(), key.seed());
        assert!(sealed.open("Baobab").is_none());
        let again = Sealed::seal(&key, "baobab").unwrap().text();
        assert_ne!(*again, *text, "a salt and a nonce are used once");
    }

    #[test]
    fn a_file_that_was_changed_does_not_open() {
        let text = Sealed::seal(&SecretKey::from_seed(&[7; 32]), "baobab").unwrap().text();
        let other = SecretKey::from_seed(&[8; 32]).public().to_string();
        let public = text.lines().nth(1).unwrap().to_owned();
        let swapped = text.replace(&public, &format!("public {other}"));
        assert!(Sealed::parse(&swapped).unwrap().open("baobab").is_none());
        let cheaper = text.replace("argon2id 65536 3 1", "argon2id 65536 2 1");
        assert!(Sealed::parse(&cheaper).unwrap().open("baobab").is_none());
        for (from, to) in [
            ("65536", "4194304"),
            ("65536 3", "65536 1000000"),
            ("argon2id", "scrypt"),
            ("key v1", "key v2"),
            ("xcha", "cha"),
        ] {
            assert!(Sealed::parse(&text.replace(from, to)).is_none(), "{to}");
        }
        assert!(Sealed::parse(&format!("{}more\n", text.as_str())).is_none());
    }
}
