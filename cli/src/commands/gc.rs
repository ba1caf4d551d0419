//! `griot gc`: removes what nothing refers to, and says how much that was.

use node::daemon::admin::upkeep::{GarbageLine, GarbageOrder};
use node::registry::GarbageStep;
use node::store::gc::Garbage;
use serde::Serialize;

use super::Context;
use crate::args::Gc;
use crate::output::{Failure, count, size};

#[derive(Serialize)]
struct Collected {
    dry_run: bool,
    count: u64,
    bytes: u64,
    #[serde(flatten)]
    garbage: Garbage,
}

pub(super) async fn run(context: &Context, gc: Gc) -> Result<(), Failure> {
    let node = context.node()?;
    let (bar, dry_run) = (context.output.steps(), gc.dry_run);
    let (mut done, mut broke) = (None, None);
    let take = |line| match line {
        GarbageLine::Progress(GarbageStep::Looked { blobs, of }) => {
            bar.set_length(of);
            bar.set_position(blobs);
        }
        GarbageLine::Progress(GarbageStep::Done(garbage)) => done = Some(garbage),
        GarbageLine::Error(error) => broke = Some(error),
    };
    let ended = node.post_lines("gc", &GarbageOrder { dry_run }, take).await;
    bar.finish_and_clear();
    ended?;
    if let Some(error) = broke {
        return Err(Failure { hint: error.hint, ..Failure::new(error.message) });
    }
    let garbage = done.ok_or_else(|| {
        Failure::new("the node stopped before the end").hint("type it again: what is gone is gone")
    })?;
    let total = garbage.total();
    let done = Collected { dry_run, count: total.count, bytes: total.bytes, garbage };
    context.output.data(&done, lines)
}

fn lines(done: &Collected) -> Vec<String> {
    let Garbage { unnamed, partial, orphans, trees, quarantined } = done.garbage;
    let parts = [
        ("file", unnamed, "that nothing refers to"),
        ("half download", partial, "unused for a week"),
        ("file", orphans, "without a record"),
        ("hash tree", trees, "of files that are gone"),
        ("damaged file", quarantined, "put aside before"),
    ];
    let there = parts.into_iter().filter(|(_, amount, _)| amount.count > 0);
    let mut said: Vec<String> = there
        .map(|(thing, amount, which)| {
            format!("{} {which}   {}", count(amount.count, thing), size(amount.bytes))
        })
        .collect();
    said.push(match (done.dry_run, done.count) {
        (true, 0) => "there is nothing to remove".to_owned(),
        (false, 0) => "there was nothing to remove".to_owned(),
        (true, _) => format!("would free {}: griot gc does it", size(done.bytes)),
        (false, _) => format!("freed {}", size(done.bytes)),
    });
    said
}
