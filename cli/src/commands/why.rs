//! `griot why`: where a name comes from, by which rule, and what is odd about it.

use node::daemon::admin::packages::{Named as Order, Why};
use node::registry::Info;

use super::Context;
use crate::args::Named;
use crate::names;
use crate::output::{Failure, plain};

pub(super) async fn run(context: &Context, named: Named) -> Result<(), Failure> {
    let (name, version) = names::split(&named.package);
    let order = Order { name, version: None, format: named.format };
    let mut why: Why = context.node()?.post("why", &order).await?;
    if let (Some(version), Some(info)) = (version, why.info.as_mut()) {
        super::info::only(info, &version)?;
    }
    context.output.data(&why, |why| {
        let mut out: Vec<String> = why.reasons.iter().map(|reason| plain(reason)).collect();
        // The reasons say these already.
        let info = why.info.clone().map(|info| Info { fallen: vec![], notes: vec![], ..info });
        out.extend(info.iter().flat_map(super::info::lines));
        out
    })
}
