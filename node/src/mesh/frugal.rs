//! What the node leaves while one of its links is metered: gossip, above all.
//!
//! A gossiped statement crosses each link several times, so a node with a metered link takes no
//! part in it; its sync streams carry what is new, to the peers that follow it. When a person or
//! the system changes which links are metered, those links are closed and dialled again, because
//! their pings were set when they came up.
//!
//! Source: mesh.md sections 3.1 and 5.1.

use std::collections::HashSet;

use libp2p::{PeerId, gossipsub};

use super::behaviour::TOPIC;
use super::carrier;
use super::command::Done;
use super::swarm::Driver;

/// The metered links that are up.
#[derive(Debug, Default)]
pub(super) struct Frugal {
    peers: HashSet<PeerId>,
    silent: bool,
    /// The system is being asked; and whether it is to be asked once more.
    asking: Option<bool>,
}

impl Frugal {
    /// Whether the node takes no part in gossip.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }
}

impl Driver {
    /// A link has come up or gone: gossip goes with whether any is metered. A node for members only
    /// never gossips.
    pub(super) fn weigh_links(&mut self) {
        let budget = &self.context.budget;
        let metered = self.peers.iter().filter(|(id, _)| budget.is_metered_peer(id));
        self.frugal.peers = metered.map(|(id, _)| *id).collect();
        let silent = !self.frugal.peers.is_empty() || self.context.doors.are_closed();
        if silent == self.frugal.silent {
            return;
        }
        self.frugal.silent = silent;
        let (gossip, topic) =
            (&mut self.swarm.behaviour_mut().gossip, gossipsub::IdentTopic::new(TOPIC));
        if silent {
            gossip.unsubscribe(&topic);
        } else if let Err(error) = gossip.subscribe(&topic) {
            tracing::warn!(%error, "this node takes no part in gossip");
        }
    }

    /// An address of this machine has come or gone: the system may know another way out now.
    pub(super) fn ask_system(&mut self) {
        if let Some(again) = &mut self.frugal.asking {
            *again = true;
            return;
        }
        self.frugal.asking = Some(false);
        self.tasks.spawn(async {
            let asked = tokio::task::spawn_blocking(carrier::is_metered).await;
            Done::Carrier(asked.ok().flatten())
        });
    }

    /// The system has answered.
    pub(super) fn carrier_said(&mut self, metered: Option<bool>) {
        self.context.budget.system_says(metered.unwrap_or(false));
        if self.frugal.asking.take() == Some(true) {
            self.ask_system();
        }
    }

    /// A person or the system has changed what links may cost: those that are metered now and
    /// were not, or the other way round, are made anew.
    pub(super) fn budget_changed(&mut self) {
        let before = std::mem::take(&mut self.frugal.peers);
        self.weigh_links();
        for peer in before.symmetric_difference(&self.frugal.peers) {
            tracing::info!(%peer, "its link is made anew, as what it may cost has changed");
            // It may have gone meanwhile.
            let _ = self.swarm.disconnect_peer_id(*peer);
        }
    }
}
