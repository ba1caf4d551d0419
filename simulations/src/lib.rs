//! Worlds of many nodes on one thread: the real sync code under time, links and faults of our own.
//!
//! Simulated: the clock, links with latency and loss, partitions, who publishes when. Real: the
//! conversations ([`crdt::session`]), every frame's bytes (encoded and decoded on each hop), every
//! signature. Not simulated: libp2p, disks, blobs, clocks that differ.
//!
//! One seed feeds everything, and one heap orders all events by (time, order of arrival in the
//! heap): the same seed gives the same trace, whose hash a run prints. A failed run names its seed;
//! that is all it takes to repeat it. A fault that was declared and never fired fails the run,
//! because a partition that separates nobody proves nothing.
//!
//! Source: mesh.md section 9.

pub mod checkers;
mod dice;
mod network;
pub mod scenarios;
mod workload;
mod world;

pub use world::Report;
