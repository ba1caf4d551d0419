//! Ten villages on a lossy day: everything published anywhere reaches everybody.

use super::Scenario;

/// Villages of 20 nodes, LAN inside, slow roads between, 5 % loss, nothing else.
pub(super) static VILLAGES: Scenario = Scenario {
    name: "village",
    loss_per_mille: 50,
    publishes: 20,
    publishing_ms: 20_000,
    partition_ms: None,
    deadline_ms: 180_000,
    bytes_per_node_max: 64 * 1024,
};
