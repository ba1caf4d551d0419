//! `griot prefetch`: brings all that a lockfile names, and says `OK` only from the proof.
//!
//! The node does the work and tells each step. On a terminal that is a bar; elsewhere a line for
//! each tenth. A cut costs what was under way: the next run goes on from there.

use std::time::Instant;

use indicatif::ProgressBar;
use node::daemon::admin::prefetch::Line;
use node::registry::{Failed, Progress, Report};
use serde::Serialize;

use super::Context;
use super::check::warn_polluted;
use super::lockfile::{self, Read};
use super::skipped::{self, Skipped};
use crate::args::Prefetch;
use crate::client::Node;
use crate::output::{Code, Failure, Output, count, plain, size};

/// Failures that are printed; the list of what lacks says the rest.
const FAILURES_MAX: usize = 20;

/// What was done for one lockfile.
#[derive(Debug, Serialize)]
struct Prefetched {
    lockfile: String,
    /// Whether the project installs offline now.
    complete: bool,
    /// Things that were fetched.
    fetched: u64,
    /// Their bytes.
    bytes: u64,
    /// What could not be had.
    failed: Vec<Failed>,
    /// What no entry of the lockfile says.
    notes: Vec<String>,
    /// What is for other platforms than those that were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skipped>,
    #[serde(flatten)]
    report: Report,
}

pub(super) async fn run(context: &Context, prefetch: Prefetch) -> Result<(), Failure> {
    let node = context.node()?;
    let lockfiles = lockfile::read(&prefetch.lockfiles, &prefetch.platform)?;
    let titled = lockfiles.len() > 1;
    let mut all = Vec::new();
    let mut failure = None;
    for read in &lockfiles {
        let done = one(context.output, &node, read, titled).await?;
        warn_polluted(context, &done.lockfile, &done.report);
        if !done.complete && failure.is_none() {
            failure = Some(lockfile::lacks(read, &done.report));
        }
        all.push(done);
    }
    match all.as_slice() {
        [one] => context.output.data(one, lines)?,
        several => {
            context.output.data(&several, |several| several.iter().flat_map(lines).collect())?
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn one(
    output: Output,
    node: &Node,
    read: &Read,
    titled: bool,
) -> Result<Prefetched, Failure> {
    let title = titled.then(|| read.title());
    let mut course = Course::new(output, title);
    let ended = node.post_lines("prefetch", &read.project, |line| course.take(line)).await;
    course.bar.finish_and_clear();
    ended?;
    if let Some(failure) = course.broke {
        return Err(failure);
    }
    let report = course.report.ok_or_else(|| {
        Failure::new("the node stopped before the end").hint("type it again: what has come is kept")
    })?;
    Ok(Prefetched {
        lockfile: read.title(),
        complete: report.is_complete(),
        fetched: course.fetched,
        bytes: course.bytes,
        failed: course.failed,
        notes: read.notes.clone(),
        skipped: skipped::of(node, read).await?,
        report,
    })
}

fn lines(done: &Prefetched) -> Vec<String> {
    let mut out = Vec::new();
    if done.fetched > 0 {
        out.push(format!("fetched {} ({})", count(done.fetched, "thing"), size(done.bytes)));
    }
    for Failed { name, version, why } in done.failed.iter().take(FAILURES_MAX) {
        let version = version.as_ref().map_or(String::new(), |version| format!("@{version}"));
        out.push(format!("failed: {}: {}", plain(&format!("{name}{version}")), plain(why)));
    }
    out.extend(lockfile::lines(&done.report));
    out.extend(lockfile::notes(&done.notes));
    out.extend(skipped::lines(done.skipped.as_ref()));
    if done.complete {
        out.push(format!(
            "OK: this project installs offline. proof: griot check {}",
            done.lockfile
        ));
    }
    out
}

/// How far it is, as a person sees it.
struct Course {
    output: Output,
    title: Option<String>,
    bar: ProgressBar,
    started: Instant,
    planned: bool,
    things: u64,
    tried: u64,
    tenths: u64,
    fetched: u64,
    bytes: u64,
    failed: Vec<Failed>,
    report: Option<Report>,
    broke: Option<Failure>,
}

impl Course {
    fn new(output: Output, title: Option<String>) -> Self {
        Self {
            output,
            title,
            bar: output.steps(),
            started: Instant::now(),
            planned: false,
            things: 0,
            tried: 0,
            tenths: 0,
            fetched: 0,
            bytes: 0,
            failed: Vec::new(),
            report: None,
            broke: None,
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Progress(Progress::Plan { packages, need, things, bytes, unknown }) => {
                if !self.planned && self.output.is_human() {
                    let title = self.title.as_ref().map(|title| format!("{title}: "));
                    let head = lockfile::head(packages, need, (bytes, unknown));
                    self.output.print(&format!("{}{head}", title.unwrap_or_default()));
                }
                self.planned = true;
                self.things = self.tried + things;
                self.bar.set_length(self.things);
            }
            Line::Progress(Progress::Fetched { bytes, .. }) => {
                self.fetched += 1;
                self.bytes += bytes;
                self.step();
            }
            Line::Progress(Progress::Failed(failed)) => {
                self.failed.push(failed);
                self.step();
            }
            Line::Progress(Progress::Done { report }) => self.report = Some(report),
            Line::Error(error) => {
                let failure = Failure::new(error.message).code(Code::Failed);
                self.broke = Some(Failure { hint: error.hint, ..failure });
            }
        }
    }

    fn step(&mut self) {
        self.tried += 1;
        let seconds = self.started.elapsed().as_secs_f64().max(0.1);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        #[expect(clippy::cast_sign_loss, reason = "a rate for people, of positive numbers")]
        let rate = (self.bytes as f64 / seconds) as u64;
        let bytes = size(self.bytes);
        self.bar.set_message(format!("{bytes}  {}/s", size(rate)));
        self.bar.set_position(self.tried);
        let tenths = self.tried * 10 / self.things.max(1);
        if tenths > self.tenths && self.bar.is_hidden() && self.output.is_human() {
            self.tenths = tenths;
            let Self { tried, things, .. } = self;
            self.output.say(format!("{} %   {tried} of {things}   {bytes}", tenths * 10));
        }
    }
}
