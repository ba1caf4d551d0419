//! `griot accept`: a person's word, which alone changes a pin, and whose mirrors are believed.
//!
//! Mirrors that the site granted after the join are not believed by themselves: `--mirrors` shows
//! all that it grants now and stores exactly those, as the join does. `--alarms` decides nothing:
//! it says that a person has read what `status` shows of a package.

use node::daemon::admin::Done;
use node::daemon::admin::follows::FollowRow;
use node::daemon::admin::packages::{AcceptOrder, Named};
use node::store::{AcceptedMirror, FollowKind};
use serde::Serialize;

use super::Context;
use super::join::{Shown, mirror_line};
use crate::args::Accept;
use crate::names;
use crate::output::{Failure, plain};

#[derive(Serialize)]
struct Believed {
    believed: Vec<AcceptedMirror>,
}

pub(super) async fn run(context: &Context, order: Accept) -> Result<(), Failure> {
    let Some(package) = order.package else { return mirrors(context, order.yes).await };
    let (name, version) = names::split(&package);
    let named = Named { name, version, format: order.format };
    let Accept { source, file, digest, alarms, .. } = order;
    let body = AcceptOrder { named, source, file, digest, alarms };
    let done: Done = context.node()?.post("accept", &body).await?;
    let package = plain(&package);
    context.output.data(&done, |done| {
        vec![match (alarms, done.changed) {
            (false, _) => format!("accepted {package}"),
            (true, true) => format!("read: griot why {package} still tells of them"),
            (true, false) => format!("no alarm of {package} was unread"),
        }]
    })
}

async fn mirrors(context: &Context, yes: bool) -> Result<(), Failure> {
    let node = context.node()?;
    let rows: Vec<FollowRow> = node.get("follows").await?;
    let site = rows.into_iter().find(|row| row.kind == FollowKind::Site).ok_or_else(|| {
        Failure::new("this node has joined no site; the mirrors of its own realm are believed")
            .hint("griot join INVITE")
    })?;
    let mut mirrors = site.mirrors;
    mirrors.extend(site.unaccepted);
    mirrors.sort();
    mirrors.dedup();
    let shown = Shown { realm: site.realm, title: &site.title, mirrors: &mirrors };
    if mirrors.is_empty() || !shown.ask(context, yes) {
        // A no leaves what was accepted before as it is.
        return context.output.data(&Done { changed: false }, |_| {
            let why = if mirrors.is_empty() { "the site grants no mirrors" } else { "as before" };
            vec![format!("nothing was changed: {why}")]
        });
    }
    let believed = shown.believe(&node).await?;
    context.output.data(&Believed { believed }, |it| {
        it.believed.iter().map(|mirror| format!("believed: {}", mirror_line(mirror))).collect()
    })
}
