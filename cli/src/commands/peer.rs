//! `griot peer`: whom this node dials, and whom it is connected to.

use node::daemon::admin::Done;
use node::daemon::admin::peers::{OfferedRealm, PeerAddress};
use node::mesh::PeerInfo;
use reqwest::Method;
use serde::Serialize;

use super::Context;
use crate::args::Peer;
use crate::output::{Failure, count, plain, short};

#[derive(Serialize)]
struct Listed {
    peers: Vec<PeerInfo>,
    offers: Vec<OfferedRealm>,
}

pub(super) async fn run(context: &Context, peer: Peer) -> Result<(), Failure> {
    let node = context.node()?;
    match peer {
        Peer::List => {
            let peers = node.get("peers").await?;
            let offers = node.get("offers").await?;
            context.output.data(&Listed { peers, offers }, lines)
        }
        Peer::Add { address } => {
            let body = PeerAddress { address: address.to_string() };
            let done: Done = node.post("peers", &body).await?;
            context.output.data(&done, |_| vec![format!("dialling {address}")])
        }
        Peer::Remove { address } => {
            let body = PeerAddress { address: address.to_string() };
            let done: Done = node.call(Method::DELETE, "peers", Some(&body)).await?;
            context.output.data(&done, |done| {
                let word = if done.changed { "forgot" } else { "did not know" };
                vec![format!("{word} {address}")]
            })
        }
    }
}

fn lines(listed: &Listed) -> Vec<String> {
    let mut out = Vec::new();
    if listed.peers.is_empty() {
        out.push("no peers are connected".into());
    }
    for peer in &listed.peers {
        let behind = match peer.behind {
            0 => "in sync".into(),
            behind => format!("{} to come", count(behind, "statement")),
        };
        let member = if peer.member { "  a member of the site" } else { "" };
        out.push(format!(
            "{}  {}  {}  {behind}{member}",
            short(&peer.id),
            peer.address,
            plain(&peer.found)
        ));
    }
    for offer in listed.offers.iter().filter(|offer| !offer.followed) {
        let title = plain(&offer.title);
        out.push(format!("shows the realm {title}, not followed: griot follow {}", offer.realm));
    }
    out
}
