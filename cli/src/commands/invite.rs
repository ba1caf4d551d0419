//! `griot invite`: a line of text that lets another node join this node's realm.
//!
//! For a reader the line is all: the node itself welcomes who shows its secret. For a publisher or
//! a mirror, and for a reader of a private realm, the command waits until somebody has shown it,
//! and then grants the role: it signs the next root epoch with the root key file. Ended early, the
//! request waits for `griot realm requests --grant`.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use node::daemon::admin::pairs::{InviteLine, InviteOrder};
use node::daemon::admin::realms::RealmInfo;
use node::daemon::invite::InviteRole;
use node::daemon::pairing::Request;

use super::Context;
use crate::args::Invite;
use crate::client::Node;
use crate::code;
use crate::names;
use crate::output::{Failure, plain, short};
use crate::sign;

/// How often the node is asked whether somebody has answered.
const POLL: Duration = Duration::from_millis(300);

pub(super) async fn run(context: &Context, order: Invite) -> Result<(), Failure> {
    let node = context.node()?;
    names::pattern(&order.names)?;
    let own: RealmInfo = node.get("realms/own").await?;
    let is_private = super::realm::is_private(&own);
    let mut file = order.out.as_deref().map(create).transpose()?;
    let grants = (order.role != InviteRole::Reader || is_private) && !order.no_wait;
    if grants {
        // Better now than after somebody has come.
        sign::root_key(&context.home, &own)?;
    }
    let body = InviteOrder { role: order.role, names: order.names };
    let line: InviteLine = node.post("invites", &body).await?;
    if let Some(file) = &mut file {
        writeln!(file, "{}", line.invite)?;
        file.sync_all()?;
    }
    context.output.data(&line, |line| vec![line.invite.clone()])?;
    if context.output.is_human() {
        code::show(context.output, &line.invite.to_uppercase());
        context.output.say("on the other node: griot join LINE");
    }
    if grants { wait(context, &node, &line.id).await } else { Ok(()) }
}

/// A new file for the line: its secret is nobody else's to read. Before the invite is made, so that
/// none is out that could not be written down.
fn create(path: &Path) -> Result<fs_err::File, Failure> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    Ok(options.open(path)?)
}

async fn wait(context: &Context, node: &Node, invite: &str) -> Result<(), Failure> {
    context.output.say("waiting for a node to answer; Ctrl-C ends the waiting, not the invite");
    let request = loop {
        let requests: Vec<Request> = node.get("requests").await?;
        if let Some(request) = requests.into_iter().find(|request| request.invite == invite) {
            break request;
        }
        tokio::time::sleep(POLL).await;
    };
    super::realm::grant_request(node, &request).await?;
    let name = plain(&request.name);
    let key = short(&super::realm::key_of(&request));
    context.output.say(format!("{name} is a {} now: {} {key}", request.role, request.names));
    Ok(())
}
