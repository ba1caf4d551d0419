//! An invite: one line of text that lets another node join this node's realm.
//!
//! It names the realm, the inviting peer and where it can be dialled. It carries a secret of 32
//! bytes, of which the inviter keeps only a hash, and which works once. Reading what a realm
//! publishes needs no secret; being a member of its site does, for a reader, too.
//!
//! ```text
//!  griot1…  =  bech32m("griot", CBOR [1, realm(32), peer, [address…], role, title, secret(32)])
//! ```
//!
//! The checksum of bech32m finds the letter that was misread from a screen. An invite is input from
//! a stranger: it is bounded before it is decoded, and decoding never panics.
//!
//! Source: trust.md section 11, DESIGN section 8.

use std::fmt;
use std::str::FromStr;

use bech32::{Bech32m, Hrp};
use crdt::digest::to_hex;
use crdt::{Digest, RealmId};
use libp2p::multiaddr::Protocol;
use minicbor::{Decoder, Encoder};
use serde::{Deserialize, Serialize};

use crate::mesh::{Multiaddr, PeerId};

const PREFIX: Hrp = Hrp::parse_unchecked("griot");
/// Elements of the array.
const PARTS: u64 = 7;
/// The first element of the array.
const VERSION: u8 = 1;
/// Addresses that an invite carries and a reader accepts.
const ADDRESSES_MAX: usize = 8;
/// Bytes of all addresses together: keeps the text below the 1,023 letters of the checksum.
const ADDRESS_BYTES_MAX: usize = 320;
/// Bytes of the title.
const TITLE_BYTES_MAX: usize = 64;
/// Letters of the text that are looked at.
const TEXT_BYTES_MAX: usize = 1_023;

/// What the invited node may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InviteRole {
    /// Follows and installs.
    Reader,
    /// May also publish, once granted.
    Publisher,
    /// May also vouch for what an upstream said, once granted.
    Mirror,
}

impl fmt::Display for InviteRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Publisher => "publisher",
            Self::Mirror => "mirror",
        })
    }
}

impl FromStr for InviteRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reader" => Ok(Self::Reader),
            "publisher" => Ok(Self::Publisher),
            "mirror" => Ok(Self::Mirror),
            other => Err(format!("no such role: {other:.40}; there are reader, publisher, mirror")),
        }
    }
}

/// What an invite says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// The realm to join.
    pub realm: RealmId,
    /// The inviting peer.
    pub peer: PeerId,
    /// Where it can be dialled, without the closing `/p2p/ID`.
    pub addresses: Vec<Multiaddr>,
    /// What is offered.
    pub role: InviteRole,
    /// The realm's title: shown, never believed.
    pub title: String,
    /// One-time secret.
    pub secret: [u8; 32],
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realm, peer, role, .. } = self;
        f.debug_struct("Invite")
            .field("realm", realm)
            .field("peer", peer)
            .field("role", role)
            .finish()
    }
}

/// Why a text is not an invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the letters of an invite, or one was misread.
    #[error("not an invite, or a letter of it was lost: {0}")]
    Text(String),
    /// Made by a newer griot.
    #[error("the invite was made by a newer griot (version {0})")]
    Version(u8),
    /// The letters are sound, the content is not.
    #[error("the invite is malformed: {0}")]
    Content(&'static str),
}

impl Invite {
    /// The name under which the inviter keeps the hash of a secret.
    #[must_use]
    pub fn id_of(secret: &[u8; 32]) -> String {
        to_hex(&Digest::of(secret).as_bytes()[..8])
    }

    /// Full addresses to dial, each closed by the inviting peer's id.
    #[must_use]
    pub fn dial(&self) -> Vec<Multiaddr> {
        let close = |address: &Multiaddr| address.clone().with(Protocol::P2p(self.peer));
        self.addresses.iter().map(close).collect()
    }

    /// Keeps as many of `addresses` as fit, in their order, without `/p2p/ID`.
    #[must_use]
    pub fn fitting(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let mut bytes = 0;
        let bare = addresses.iter().map(|address| {
            address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect::<Multiaddr>()
        });
        bare.take_while(|address| {
            bytes += address.len() + 3;
            bytes <= ADDRESS_BYTES_MAX
        })
        .take(ADDRESSES_MAX)
        .collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        self.write(&mut out).expect("a vector takes all that is written to it");
        out.into_writer()
    }

    fn write(
        &self,
        out: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        out.array(PARTS)?.u8(VERSION)?;
        out.bytes(self.realm.0.as_bytes())?.bytes(&self.peer.to_bytes())?;
        out.array(self.addresses.len() as u64)?;
        for address in &self.addresses {
            out.bytes(&address.to_vec())?;
        }
        out.u8(match self.role {
            InviteRole::Reader => 0,
            InviteRole::Publisher => 1,
            InviteRole::Mirror => 2,
        })?;
        out.str(&self.title)?;
        out.bytes(&self.secret)?;
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |_: minicbor::decode::Error| Error::Content("not the expected array");
        let mut input = Decoder::new(bytes);
        let length = input.array().map_err(malformed)?;
        let version = input.u8().map_err(malformed)?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let realm = input.bytes().map_err(malformed)?;
        let realm = realm.try_into().map_err(|_| Error::Content("the realm is not 32 bytes"))?;
        let realm = RealmId(Digest::from_bytes(realm));
        let peer = PeerId::from_bytes(input.bytes().map_err(malformed)?)
            .map_err(|_| Error::Content("the peer id"))?;
        let addresses = decode_addresses(&mut input)?;
        let role = match input.u8().map_err(malformed)? {
            0 => InviteRole::Reader,
            1 => InviteRole::Publisher,
            2 => InviteRole::Mirror,
            _ => return Err(Error::Content("an unknown role")),
        };
        let title = input.str().map_err(malformed)?.to_owned();
        if title.len() > TITLE_BYTES_MAX || title.chars().any(|c| !c.is_ascii() || c.is_control()) {
            return Err(Error::Content("the title"));
        }
        if length != Some(PARTS) {
            return Err(Error::Content("the wrong number of parts"));
        }
        let secret = input.bytes().map_err(malformed)?.try_into();
        let secret = secret.map_err(|_| Error::Content("the secret is not 32 bytes"))?;
        if input.position() != bytes.len() {
            return Err(Error::Content("bytes after the end"));
        }
        Ok(Self { realm, peer, addresses, role, title, secret })
    }
}

fn decode_addresses(input: &mut Decoder<'_>) -> Result<Vec<Multiaddr>, Error> {
    let malformed = |_: minicbor::decode::Error| Error::Content("the addresses");
    let count = input.array().map_err(malformed)?.ok_or(Error::Content("the addresses"))?;
    if count > ADDRESSES_MAX as u64 {
        return Err(Error::Content("too many addresses"));
    }
    let mut addresses = Vec::new();
    for _ in 0..count {
        let bytes = input.bytes().map_err(malformed)?.to_vec();
        let address = Multiaddr::try_from(bytes).map_err(|_| Error::Content("an address"))?;
        if address.iter().any(|part| matches!(part, Protocol::P2p(_))) {
            return Err(Error::Content("an address with a peer of its own"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(PREFIX, &self.encode()).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Invite {
    type Err = Error;

    /// White space and line breaks around and inside are forgiven: people paste from chats.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > 2 * TEXT_BYTES_MAX {
            return Err(Error::Text("too long".into()));
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (prefix, bytes) =
            bech32::decode(&text).map_err(|error| Error::Text(error.to_string()))?;
        if prefix != PREFIX {
            return Err(Error::Text(format!("it should begin with {PREFIX}1")));
        }
        let invite = Self::decode(&bytes)?;
        // The crate also takes plain bech32: only the one text that we print is accepted.
        if invite.to_string() == text.to_ascii_lowercase() {
            Ok(invite)
        } else {
            Err(Error::Content("not written in its one form"))
        }
    }
}

#[cfg(test)]
#[path = "invite_tests.rs"]
mod tests;
