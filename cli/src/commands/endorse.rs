//! `griot endorse`: this node's signature beside another publisher's.

use node::daemon::admin::packages::Named;
use node::registry::Endorsed;

use super::Context;
use crate::args::Endorse;
use crate::names;
use crate::output::{Failure, count, plain};

pub(super) async fn run(context: &Context, order: Endorse) -> Result<(), Failure> {
    let (name, version) = names::split(&order.package);
    let named = Named { name, version, format: order.format };
    let endorsed: Endorsed = context.node()?.post("endorse", &named).await?;
    context.output.data(&endorsed, |endorsed| {
        let releases = count(endorsed.releases.len() as u64, "release");
        let (name, version) = (plain(&endorsed.name), plain(&endorsed.version));
        let mut out = vec![format!("endorsed {releases} of {name}@{version}")];
        out.extend(endorsed.lacking.iter().map(|note| format!("  {}", plain(note))));
        out
    })
}
