//! What must hold whatever bytes come: one function for each entrance of the index.
//!
//! Each takes bytes and panics if anything is wrong; it answers whether the bytes got past the
//! decoder, so that a test can tell a slice that reached something from one that did not. The fuzz
//! targets call them for hours, the property tests of the crate include this file by its path and
//! call them with the same seeds, changed at random, on machines without a nightly compiler.
//!
//! Not here: what the statements mean (`crdt/tests`), and that memory stays bounded, which the
//! fuzzer's own limits watch.

pub mod cells;
pub mod documents;
pub mod draw;
pub mod hostile;
pub mod seeds;
pub mod sessions;
pub mod statements;
pub mod wire;
pub mod world;

pub use cells::cells;
pub use documents::document;
pub use sessions::session;
pub use statements::{envelope, statement};
pub use wire::{batch, frames};

/// What must hold of an input; whether it got past the decoder.
pub type Body = fn(&[u8]) -> bool;

/// The functions by the names of their targets.
pub const TARGETS: [(&str, Body); 7] = [
    ("statement", statement),
    ("envelope", envelope),
    ("batch", batch),
    ("frames", frames),
    ("cells", cells),
    ("session", session),
    ("document", document),
];
