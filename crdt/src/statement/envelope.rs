//! A statement with the signatures beside it, before and after they were verified.
//!
//! An [`Envelope`] is structure alone. [`Envelope::verify`] turns it into a [`Verified`], which is
//! what stores admit and rules judge. Signatures are a set by key, so a threshold always counts
//! distinct keys; of several valid ones by one key the bytewise least is kept. Which signers
//! matter is not known here.
//!
//! Source: trust.md section 3.

use std::collections::BTreeMap;

use minicbor::Decoder;

use super::Statement;
use super::cbor::{array, bytes, end, list};
use super::encode::to_bytes;
use super::limits::{MAX_ENVELOPE_BYTES, MAX_SIGNATURES, at_most};
use crate::{Error, Item, PublicKey, SecretKey, Signature, signature};

/// A statement and the signatures that came with it: structure checked, signatures not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The statement.
    pub statement: Statement,
    /// One to sixteen signatures, by key.
    pub signatures: BTreeMap<PublicKey, Signature>,
}

impl Envelope {
    /// CBOR `[type, payload, [[key, sig], …]]`, keys sorted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(|e| {
            e.array(3)?.str(self.statement.kind())?.bytes(self.statement.payload())?;
            e.array(self.signatures.len() as u64)?;
            for (key, signature) in &self.signatures {
                e.array(2)?.bytes(key.as_bytes())?.bytes(&signature.0)?;
            }
            Ok(())
        })
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// If it is malformed, over a limit, or not the canonical encoding of what it says.
    pub fn decode(bytes_in: &[u8]) -> Result<Self, Error> {
        at_most("length of an envelope", bytes_in.len(), MAX_ENVELOPE_BYTES)?;
        let mut decoder = Decoder::new(bytes_in);
        array(&mut decoder, 3)?;
        let kind = decoder.str()?;
        let payload = decoder.bytes()?;
        let pairs = list(&mut decoder, |d| {
            array(d, 2)?;
            Ok((d.bytes()?, Signature(bytes(d)?)))
        })?;
        end(&decoder)?;
        at_most("number of signatures", pairs.len(), MAX_SIGNATURES)?;
        let statement = Statement::decode(kind, payload)?;
        let mut signatures = BTreeMap::new();
        for (key, signature) in pairs {
            signatures.insert(PublicKey::admit(key)?, signature);
        }
        let envelope = Self { statement, signatures };
        envelope.signed()?;
        // Also refuses keys that are repeated or out of order.
        if envelope.encode() == bytes_in {
            Ok(envelope)
        } else {
            Err(Error::NotCanonical { what: "envelope" })
        }
    }

    /// Checks every signature: one that fails refuses the envelope.
    ///
    /// # Errors
    /// [`Error::BadSignature`], or a limit if there are none or too many.
    pub fn verify(self) -> Result<Verified, Error> {
        self.signed()?;
        let (kind, payload) = (self.statement.kind(), self.statement.payload());
        for (key, signature) in &self.signatures {
            signature::verify(key, kind, payload, signature)?;
        }
        Ok(Verified(self))
    }

    fn signed(&self) -> Result<(), Error> {
        if self.signatures.is_empty() {
            return Err(Error::Malformed { what: "envelope", why: "no signature".to_owned() });
        }
        at_most("number of signatures", self.signatures.len(), MAX_SIGNATURES)
    }
}

/// An envelope whose every signature was verified: the only thing a store admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Envelope);

impl Verified {
    /// Signs here and now, with at most sixteen keys.
    #[must_use]
    pub fn sign(statement: Statement, keys: &[&SecretKey]) -> Self {
        let signed = keys
            .iter()
            .map(|key| (key.public(), key.sign(statement.kind(), statement.payload())))
            .take(MAX_SIGNATURES)
            .collect();
        Self(Envelope { statement, signatures: signed })
    }

    /// For a store that reads back what it had admitted.
    #[must_use]
    pub const fn from_admitted(envelope: Envelope) -> Self {
        Self(envelope)
    }

    /// The statement.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.0.statement
    }

    /// Its signatures, by key.
    #[must_use]
    pub const fn signatures(&self) -> &BTreeMap<PublicKey, Signature> {
        &self.0.signatures
    }

    /// Both.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.0
    }

    /// The pairs that replicate: this statement with each of its signers.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        let id = self.statement().id();
        self.signatures().keys().map(move |key| Item { id, key: *key })
    }

    /// Joins the signatures of another copy of the same statement; says whether anything changed.
    ///
    /// Of two valid signatures by one key the bytewise least stays. A signature that is held is
    /// never displaced by another key's: beyond sixteen, later keys are left out.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.statement().id() != other.statement().id() {
            return false;
        }
        let mut changed = false;
        for (key, theirs) in other.signatures() {
            let count = self.0.signatures.len();
            match self.0.signatures.get_mut(key) {
                Some(ours) if *theirs < *ours => *ours = *theirs,
                None if count < MAX_SIGNATURES => drop(self.0.signatures.insert(*key, *theirs)),
                _ => continue,
            }
            changed = true;
        }
        changed
    }
}
