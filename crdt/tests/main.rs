//! The contract of the index, as facts: laws, attacks, conversations. Attacks carry their number
//! in the red team's list.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

mod attacks;
mod authority;
#[expect(unreachable_pub, reason = "a library where the fuzz targets use it")]
#[path = "../fuzz/src/lib.rs"]
mod bodies;
mod cells;
mod codec;
mod conflicts;
mod delegates;
mod derive;
mod document;
mod forgery;
mod frames;
mod fuzzed;
mod laws;
mod limits;
mod network;
mod oracle;
mod pace;
mod pool;
mod readers;
mod receipts;
mod red_automerge;
mod red_delegation;
mod red_keys;
mod red_sets;
mod routes;
mod scenarios;
mod scene;
mod sync;
mod tally;
mod world;
