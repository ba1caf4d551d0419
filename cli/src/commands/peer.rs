//! `griot peer`: whom this node dials, whom it is connected to, and who is a member by its invite.

use node::daemon::admin::Done;
use node::daemon::admin::pairs::MemberName;
use node::daemon::admin::peers::{OfferedRealm, PeerAddress};
use node::daemon::pairing::Member;
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
    /// Who redeemed an invite of this node, connected or not.
    members: Vec<Member>,
}

pub(super) async fn run(context: &Context, peer: Peer) -> Result<(), Failure> {
    let node = context.node()?;
    match peer {
        Peer::List => {
            let peers = node.get("peers").await?;
            let offers = node.get("offers").await?;
            let members = node.get("members").await?;
            context.output.data(&Listed { peers, offers, members }, lines)
        }
        Peer::Add { address } => {
            let body = PeerAddress { address: address.to_string() };
            let done: Done = node.post("peers", &body).await?;
            context.output.data(&done, |_| vec![format!("dialling {address}")])
        }
        Peer::Remove { member: Some(peer), .. } => {
            let body = MemberName { peer };
            let gone: Member = node.call(Method::DELETE, "members", Some(&body)).await?;
            context.output.data(&gone, |gone| {
                vec![
                    format!("{} {} is no member any more", gone.peer, plain(&gone.name)),
                    "roles that the realm granted it stay: griot realm show".into(),
                ]
            })
        }
        Peer::Remove { address, .. } => {
            let address = address.map(|address| address.to_string()).unwrap_or_default();
            let body = PeerAddress { address: address.clone() };
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
            "{}  {}  {}  {}  {behind}{member}",
            short(&peer.id),
            peer.address,
            plain(&peer.transport),
            plain(&peer.found)
        ));
    }
    for member in &listed.members {
        let is_here = listed.peers.iter().any(|peer| peer.id == member.peer);
        let here = if is_here { "connected" } else { "not connected" };
        out.push(format!("member by invite  {}  {}  {here}", member.peer, plain(&member.name)));
    }
    for offer in listed.offers.iter().filter(|offer| !offer.followed) {
        let title = plain(&offer.title);
        out.push(format!("shows the realm {title}, not followed: griot follow {}", offer.realm));
    }
    out
}
