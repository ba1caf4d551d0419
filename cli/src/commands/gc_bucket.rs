//! `griot gc --bucket`: removes the objects that no node of a shared bucket needs, and says who
//! shares it and whose silence keeps things there.

use node::daemon::admin::upkeep::SweepLine;
use node::store::{BucketNode, SweepOrder, SweepStep, Swept};
use serde::Serialize;

use super::Context;
use crate::args::Gc;
use crate::output::{Failure, count, plain, size};

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// A node that did not say for so long what it holds may be gone for good.
const SILENT: u64 = 3 * DAY_SECONDS;

#[derive(Serialize)]
struct Cleared {
    dry_run: bool,
    #[serde(flatten)]
    swept: Swept,
}

pub(super) async fn run(context: &Context, gc: Gc) -> Result<(), Failure> {
    let node = context.node()?;
    let (bar, dry_run) = (context.output.steps(), gc.dry_run);
    let order = SweepOrder { dry_run, forget: gc.forget, grace: 0 };
    let (mut done, mut broke) = (None, None);
    let take = |line| match line {
        SweepLine::Progress(SweepStep::Removed { objects, of }) => {
            bar.set_length(of);
            bar.set_position(objects);
        }
        SweepLine::Progress(SweepStep::Done(swept)) => done = Some(swept),
        SweepLine::Error(error) => broke = Some(error),
    };
    let ended = node.post_lines("gc/bucket", &order, take).await;
    bar.finish_and_clear();
    ended?;
    if let Some(error) = broke {
        return Err(Failure { hint: error.hint, ..Failure::new(error.message) });
    }
    let swept = done.ok_or_else(|| {
        Failure::new("the node stopped before the end").hint("type it again: what is gone is gone")
    })?;
    context.output.data(&Cleared { dry_run, swept }, lines)
}

fn lines(done: &Cleared) -> Vec<String> {
    let Swept { removed, young, nodes, forgotten } = &done.swept;
    let mut said: Vec<String> = nodes.iter().map(about).collect();
    said.extend(forgotten.iter().map(|node| format!("{} is forgotten", plain(node))));
    if young.count > 0 {
        said.push(format!(
            "{} changed less than a day before the oldest of these lists: not judged   {}",
            count(young.count, "object"),
            size(young.bytes)
        ));
    }
    if let Some(silent) = nodes.iter().find(|node| node.silent >= SILENT) {
        said.push(format!(
            "if {0} is gone for good: griot gc --bucket --forget {0}",
            plain(&silent.node)
        ));
    }
    let verb = if done.dry_run { "would remove" } else { "removed" };
    let (objects, bytes) = (count(removed.count, "object"), size(removed.bytes));
    said.push(format!("{verb} {objects} that no node names   {bytes}"));
    said
}

/// One node of the bucket.
fn about(node: &BucketNode) -> String {
    let who = if node.own { "this node" } else { "another node" };
    let since = match node.silent {
        u64::MAX => "never said what it holds".to_owned(),
        silent if silent >= 2 * DAY_SECONDS => {
            format!("said what it holds {} ago", count(silent / DAY_SECONDS, "day"))
        }
        silent => format!("said what it holds {} ago", count(silent / 3600, "hour")),
    };
    format!("{}   {who}, names {}, {since}", plain(&node.node), count(node.names, "blob"))
}
