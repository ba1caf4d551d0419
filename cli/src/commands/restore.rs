//! `griot restore`: a node's folder made from a backup.
//!
//! No node is needed, and none may run on the home. What it means that a node went back in time is
//! said at the end, and in docs/guide/backup.md.

use node::daemon::admin::Done;
use node::store::restore::{Restored, restore};

use super::Context;
use super::backup::{ended, failure, told, up};
use crate::args::Restore;
use crate::output::{Failure, count, size};

pub(super) async fn run(context: &Context, order: Restore) -> Result<(), Failure> {
    let Some(folder) = order.folder else { return up_to_date(context).await };
    let (folder, home) = (std::path::absolute(folder)?, std::path::absolute(&context.home)?);
    let (course, tell) = told(context.output);
    let done = tokio::task::spawn_blocking(move || restore(&folder, &home, tell)).await;
    ended(&course);
    let done = done.map_err(|_| Failure::new("the restore did not come to its end"))?;
    let restored = done.map_err(|error| failure(&error, "the restore"))?;
    context.output.data(&restored, |restored| lines(context, restored))
}

async fn up_to_date(context: &Context) -> Result<(), Failure> {
    let done: Done = context.node()?.post("up-to-date", &()).await?;
    context.output.data(&done, |done| {
        let line = if done.changed {
            "this node signs changes of its realm again"
        } else {
            "this node was not restored, or it was said before: nothing changed"
        };
        vec![line.into()]
    })
}

fn lines(context: &Context, restored: &Restored) -> Vec<String> {
    let Restored { manifest, had_blobs } = restored;
    let mut out = vec![format!("restored into {}", context.home.display())];
    let had = match had_blobs {
        0 => String::new(),
        some => format!("; {some} were there from a try before"),
    };
    let (blobs, bytes) = (count(manifest.blobs.count, "blob"), size(manifest.blobs.bytes));
    out.push(format!("{blobs} ({bytes}), each verified{had}"));
    if manifest.files.is_empty() {
        out.push(
            "the backup has no keys: the node makes its own, and the realm is its site".into(),
        );
    } else {
        out.push("with its keys: never run the old node beside this one".into());
        out.push(
            "what was signed after the backup comes back from peers; roles of the realm".into(),
        );
        out.push(
            "cannot be changed until a member of its site is in sync with it, or you say that"
                .into(),
        );
        out.push("there is none that has anything newer: griot restore --up-to-date".into());
    }
    out.push(format!("next: {}", up(&context.home)));
    out
}
