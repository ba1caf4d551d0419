//! `griot yank` and `griot unyank`.

use node::daemon::admin::Done;
use node::daemon::admin::packages::{Named, YankOrder};

use super::Context;
use crate::args::Yank;
use crate::names;
use crate::output::{Failure, plain};

pub(super) async fn run(context: &Context, order: Yank, yank: bool) -> Result<(), Failure> {
    let (name, version) = names::split(&order.package);
    let named = Named { name, version, format: order.format };
    let body = YankOrder { named, reason: order.reason, yank };
    let done: Done = context.node()?.post("yank", &body).await?;
    let word = if yank { "yanked" } else { "offered again:" };
    context.output.data(&done, |_| vec![format!("{word} {}", plain(&order.package))])
}
