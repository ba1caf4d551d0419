//! The contract of the index, as facts. Attacks carry their number of `red-team.md`.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod attacks;
mod authority;
mod codec;
mod derive;
mod document;
mod forgery;
mod frames;
mod laws;
mod limits;
mod network;
mod oracle;
mod routes;
mod sync;
mod world;
