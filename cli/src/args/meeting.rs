//! Verbs about other nodes: dialling, inviting, joining, following.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use node::daemon::invite::InviteRole;
use node::mesh::Multiaddr;

#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// Remember an address and dial it
    Add {
        /// Such as /ip4/192.168.4.1/tcp/7879
        address: Multiaddr,
    },
    /// Peers that are connected now, and the realms that they show
    List,
    /// Forget an address, or take back that a node is a member of the site
    Remove {
        /// As it was added
        #[arg(required_unless_present = "member")]
        address: Option<Multiaddr>,
        /// A node that redeemed an invite of this one: its id, or the start of it
        #[arg(long, value_name = "PEER", conflicts_with = "address")]
        member: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invite {
    /// reader, publisher or mirror; the last two wait here and grant the role when it is asked for
    #[arg(long, default_value = "reader")]
    pub(crate) role: InviteRole,
    /// Names for which the role is granted, FORMAT:PATTERN
    #[arg(long, default_value = "*:*", value_name = "FORMAT:PATTERN")]
    pub(crate) names: String,
    /// Print the line and end; the request waits for `griot realm requests --grant`
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Write the line to a new file, too, which only you may read: `griot join FILE` takes it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Join {
    /// The line that `griot invite` printed, or a file that holds it
    pub(crate) invite: String,
    /// Do not believe the site's mirrors
    #[arg(long, conflicts_with = "yes")]
    pub(crate) no_mirror: bool,
    /// Believe the site's mirrors without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Follow {
    /// A realm id, or the start of one that a peer shows
    pub(crate) realm: String,
    /// Confirm the names that it claims without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unfollow {
    /// A realm id, or the start of one that is followed
    pub(crate) realm: String,
}
