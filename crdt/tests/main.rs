//! The index from outside: laws, attacks, conversations.

mod document;
mod frames;
mod network;
mod sync;
