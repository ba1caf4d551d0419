//! The griot daemon as a library.
//!
//! Layer rule, left may use right, never back:
//! `daemon → formats → http → registry → {mesh, upstream} → store → crdt`.

pub mod daemon;
pub mod formats;
pub mod http;
pub mod mesh;
pub mod registry;
pub mod store;
pub mod upstream;

#[cfg(test)]
#[path = "../../tests/harness/upstream.rs"]
mod stub;
