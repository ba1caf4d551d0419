//! The index from outside: laws, attacks, conversations.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

mod document;
mod frames;
mod network;
mod sync;
