//! The replicated index of griot, pure: no I/O, no clock, no entropy.
//!
//! A node publishes by signing a [`statement`]. Statements form a set that grows, and everything a
//! node believes is computed from that set:
//!
//! ```text
//!  bytes ──decode──▶ Statement ──verify──▶ Verified ──(store)──▶ set of statements
//!                                                                    │
//!                 realm::authority  ◀── roots of a realm ────────────┤
//!                        │                                           │
//!                        ▼                                           ▼
//!            realm::{firm, revoked, publishers}   seals, revocations, other realms
//!                        │
//!                        ▼
//!                 derive::package(ground, statements, pins) ──▶ PackageView
//! ```
//!
//! `session`, `reconcile` and `sketch` make two sets equal over a wire of `message`s; `document`
//! turns the statements of one package into an automerge document; `routes` gives each short name
//! exactly one source. Nothing here decides what to keep on disk or whom to talk to.
//!
//! A `receipt` and a `beat` are statements, too, but of one author and subject only the newest is
//! kept: that set does not only grow. No view is derived from them; whose word counts the node
//! decides.
//!
//! Everything from outside is parsed into a type that cannot hold anything else: a [`PublicKey`]
//! was admitted, a [`Statement`] is canonical and within its limits, a [`Verified`] was verified.
//!
//! Source: trust.md sections 1 to 6, 11 and 18.

pub mod derive;
pub mod digest;
pub mod document;
pub mod error;
pub mod id;
pub mod message;
pub mod origin;
pub mod realm;
pub mod reconcile;
pub mod routes;
pub mod session;
pub mod signature;
pub mod sketch;
pub mod statement;

pub use derive::{Content, PackageView, Pins, SlotState};
pub use digest::{Checksums, Digest};
pub use error::Error;
pub use id::{Collection, CollectionId, Item, PackageId, RealmId, StatementId};
pub use realm::{Authority, ChainStatus};
pub use signature::{PublicKey, SecretKey, Signature};
pub use statement::{Body, Envelope, Statement, Verified};
