//! Half of the villages are cut off for a hundred seconds, and publish on.

use super::Scenario;

/// Both halves publish while they are apart; a minute after the heal all hold the same.
pub(super) static SPLIT: Scenario = Scenario {
    name: "split",
    loss_per_mille: 50,
    publishes: 40,
    publishing_ms: 110_000,
    partition_ms: Some((20_000, 120_000)),
    deadline_ms: 180_000,
    bytes_per_node_max: 96 * 1024,
};
