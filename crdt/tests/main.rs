//! The contract of the index, as facts. Attacks carry their number of `red-team.md`.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

mod attacks;
mod authority;
mod codec;
mod derive;
mod document;
mod frames;
mod laws;
mod network;
mod oracle;
mod routes;
mod sync;
mod world;
