//! The contract of the index, as facts: laws, attacks, conversations. Attacks carry their number
//! in the red team's list.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

mod attacks;
mod authority;
mod cells;
mod codec;
mod derive;
mod document;
mod forgery;
mod frames;
mod laws;
mod limits;
mod network;
mod oracle;
mod readers;
mod receipts;
mod routes;
mod sync;
mod world;
