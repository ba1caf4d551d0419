//! `griot verify --index`: compares all that follows from the statements with them, and mends it.
//!
//! Exit code 0: nothing differed. 6: something did and was mended, which the disk or a fault of
//! griot did. 3: a statement or a signature was none and has gone; a peer that has it brings it.

use indicatif::ProgressBar;
use node::daemon::admin::upkeep::IndexLine;
use node::registry::{IndexStep, IndexVerified};
use node::store::rebuild::{Difference, DifferenceEnd, RebuildOrder};

use super::Context;
use crate::args::Verify;
use crate::output::{Code, Failure, Output, count, plain};

pub(super) async fn run(context: &Context, verify: Verify) -> Result<(), Failure> {
    let node = context.node()?;
    let order = RebuildOrder { signatures: verify.signatures };
    let bar = context.output.counting("verifying the index", 0);
    let (mut done, mut broke, mut tenths) = (None, None, 0);
    let ended = node
        .post_lines("verify/index", &order, |line| match line {
            IndexLine::Progress(IndexStep::At(course)) => {
                bar.set_length(course.rows_of);
                bar.set_position(course.rows);
                let now = course.rows.saturating_mul(10) / course.rows_of.max(1);
                if now > tenths && bar.is_hidden() && context.output.is_human() {
                    tenths = now;
                    context.output.say(format!("{} %", tenths * 10));
                }
            }
            IndexLine::Progress(IndexStep::Found(found)) => print(context.output, &bar, &found),
            IndexLine::Progress(IndexStep::Done(end)) => done = Some(end),
            IndexLine::Error(error) => {
                broke = Some(Failure { hint: error.hint, ..Failure::new(error.message) });
            }
        })
        .await;
    bar.finish_and_clear();
    ended.map_err(|failure| failure.hint("griot verify --index begins anew"))?;
    if let Some(failure) = broke {
        return Err(failure);
    }
    let done = done.ok_or_else(|| {
        Failure::new("the node stopped before the end").hint("griot verify --index begins anew")
    })?;
    context.output.data(&done, |done| vec![summary(done)])?;
    judge(&done)
}

fn print(output: Output, bar: &ProgressBar, found: &Difference) {
    let end = match found.end {
        DifferenceEnd::Mended => "differed, mended",
        DifferenceEnd::Lost => "LOST",
    };
    let line = format!("{}   {}   {end}", found.table, plain(&found.what));
    bar.suspend(|| output.print(&line));
}

fn summary(done: &IndexVerified) -> String {
    let course = &done.course;
    let mut seen = vec![count(course.statements, "statement")];
    if course.signatures > 0 {
        seen.push(count(course.signatures, "signature"));
    }
    seen.push(count(course.packages, "package"));
    seen.push(count(course.collections, "fingerprint"));
    let end = if done.mended.is_empty() && done.lost.is_empty() {
        "nothing differed".to_owned()
    } else {
        let all: Vec<String> = done
            .mended
            .iter()
            .map(|(table, rows)| format!("{} of {table}", count(*rows, "row")))
            .chain(done.lost.iter().map(|(table, rows)| format!("{rows} lost of {table}")))
            .collect();
        all.join(", ")
    };
    format!("verified the index: {}: {end}", seen.join(", "))
}

fn judge(done: &IndexVerified) -> Result<(), Failure> {
    let (mended, lost): (u64, u64) = (done.mended.values().sum(), done.lost.values().sum());
    if lost > 0 {
        let rows = count(lost, "row");
        return Err(Failure::new(format!("{rows} of statements or signatures rotted and went"))
            .hint("griot peer list: a peer that has them brings them as soon as it is connected")
            .code(Code::Lacks)
            .answered());
    }
    if mended > 0 {
        let rows = count(mended, "row");
        return Err(Failure::new(format!("{rows} of the index differed, and were mended"))
            .hint("griot verify reads the files, too: the disk may be failing")
            .code(Code::Differed)
            .answered());
    }
    Ok(())
}
