//! `griot verify`: reads all that is held again, and says what rotted and what became of it.
//!
//! Exit code 0: all is whole, also what had to be fetched anew. 3: something lacks now.

use std::time::Instant;

use indicatif::ProgressBar;
use node::daemon::admin::upkeep::VerifyLine;
use node::registry::{Course, Finding, Mended, Scrubbed, VerifyOrder, VerifyStep};

use super::Context;
use crate::args::Verify;
use crate::output::{Code, Failure, Output, count, plain, short, size};

pub(super) async fn run(context: &Context, verify: Verify) -> Result<(), Failure> {
    let node = context.node()?;
    let rate = Some(verify.rate).filter(|rate| *rate > 0);
    let order = VerifyOrder { rate, anew: verify.restart };
    let mut watch = Watch::new(context.output);
    let ended = node.post_lines("verify", &order, |line| watch.take(line)).await;
    watch.bar.finish_and_clear();
    ended.map_err(|failure| failure.hint("griot verify goes on where it was"))?;
    if let Some(failure) = watch.broke {
        return Err(failure);
    }
    let done = watch.done.ok_or_else(|| {
        Failure::new("the node stopped before the end").hint("griot verify goes on where it was")
    })?;
    context.output.data(&done, lines)?;
    let lacks = done.findings.iter().filter(|found| found.end == Mended::Missing).count() as u64;
    if lacks == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("{} rotted, and nobody near has it", count(lacks, "file")))
        .hint("it is wanted now: griot want list; a peer that has it brings it")
        .code(Code::Lacks)
        .answered())
}

/// What a person sees meanwhile.
struct Watch {
    output: Output,
    bar: ProgressBar,
    began: Instant,
    tenths: u64,
    done: Option<Scrubbed>,
    broke: Option<Failure>,
}

impl Watch {
    fn new(output: Output) -> Self {
        let bar = output.progress("verifying", 0);
        Self { output, bar, began: Instant::now(), tenths: 0, done: None, broke: None }
    }

    fn take(&mut self, line: VerifyLine) {
        match line {
            VerifyLine::Progress(VerifyStep::At(course)) => self.at(course),
            VerifyLine::Progress(VerifyStep::Found(found)) => {
                let line = told(&found);
                let output = self.output;
                self.bar.suspend(|| output.print(&line));
            }
            VerifyLine::Progress(VerifyStep::Done(done)) => self.done = Some(done),
            VerifyLine::Error(error) => {
                self.broke = Some(Failure { hint: error.hint, ..Failure::new(error.message) });
            }
        }
    }

    fn at(&mut self, course: Course) {
        let Course { bytes, bytes_of, .. } = course;
        if self.bar.length() == Some(0) {
            self.bar.reset_eta();
        }
        self.bar.set_length(bytes_of);
        self.bar.set_position(bytes);
        let tenths = bytes.saturating_mul(10) / bytes_of.max(1);
        if tenths > self.tenths && self.bar.is_hidden() && self.output.is_human() {
            self.tenths = tenths;
            let left =
                self.began.elapsed().as_secs().saturating_mul(bytes_of.saturating_sub(bytes))
                    / bytes.max(1);
            let (bytes, of) = (size(bytes), size(bytes_of));
            self.output.say(format!("{} %   {bytes} of {of}   {left} s to go", tenths * 10));
        }
    }
}

fn lines(done: &Scrubbed) -> Vec<String> {
    let Course { blobs, bytes, .. } = done.course;
    let whole = if done.findings.is_empty() { "all whole" } else { "see above" };
    let on = if done.resumed { ", with the run that was cut" } else { "" };
    let mut out = vec![format!("verified {}, {}{on}: {whole}", count(blobs, "file"), size(bytes))];
    if let Some(last) = done.last.as_ref().filter(|last| !last.findings.is_empty()) {
        out.push("found before, within 30 days:".into());
        out.extend(last.findings.iter().map(|found| format!("  {}", told(found))));
    }
    out
}

/// One that rotted, in words.
fn told(found: &Finding) -> String {
    let what = match found.names.as_slice() {
        [] => format!("a file that nothing names, {}", short(&found.digest)),
        names => plain(&names.join(", ")),
    };
    let end = match found.end {
        Mended::FetchedAgain => "rotted on the disk, fetched again".to_owned(),
        Mended::NotNeeded => "rotted on the disk, not needed any more".to_owned(),
        Mended::Missing => {
            let why = found.why.as_deref().unwrap_or("nobody near has it");
            format!("rotted on the disk, MISSING: {}", plain(why))
        }
    };
    format!("{what}   {}   {end}", size(found.size))
}
