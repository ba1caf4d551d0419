//! `griot accept`: a person's word, which alone changes a pin.

use node::daemon::admin::Done;
use node::daemon::admin::packages::{AcceptOrder, Named};

use super::Context;
use crate::args::Accept;
use crate::names;
use crate::output::{Failure, plain};

pub(super) async fn run(context: &Context, order: Accept) -> Result<(), Failure> {
    let (name, version) = names::split(&order.package);
    let named = Named { name, version, format: order.format };
    let body = AcceptOrder { named, source: order.source, file: order.file, digest: order.digest };
    let done: Done = context.node()?.post("accept", &body).await?;
    context.output.data(&done, |_| vec![format!("accepted {}", plain(&order.package))])
}
