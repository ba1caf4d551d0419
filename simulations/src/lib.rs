//! Worlds of many nodes on one thread: the real sync code under time, links and faults of our own.
//!
//! Simulated: clocks, links with latency, loss and bandwidth, datagrams that overtake one another
//! and come twice, partitions, nodes that leave, crash and come back with what their disk has,
//! hostile nodes, who publishes when. Real: the conversations ([`crdt::session`]), every frame's
//! bytes, every signature, what is derived from statements. Not simulated: libp2p, blobs, the
//! store's tables.
//!
//! One seed feeds everything, and one heap orders all events by (time, order of arrival in the
//! heap): the same seed gives the same trace, whose hash a run prints. A failed run names its seed;
//! that is all it takes to repeat it. A fault that was declared and never fired fails the run,
//! because a partition that separates nobody proves nothing.
//!
//! Source: mesh.md section 9; docs/reference/simulation.md.

pub mod checkers;
mod clock;
mod codec;
mod dice;
mod disk;
mod faults;
mod gossip;
mod hostile;
mod network;
mod peer;
mod report;
pub mod scenarios;
mod standing;
mod talk;
mod topology;
mod withholding;
mod workload;
mod world;

pub use faults::{Fault, Fired};
pub use network::{Traffic, Weather};
pub use report::Report;
pub use scenarios::Scenario;
