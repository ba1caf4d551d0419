//! `griot check`: what a project lacks to install offline. Nobody is asked.

use node::registry::Report;
use serde::Serialize;

use super::Context;
use super::lockfile::{self, Read};
use super::skipped::{self, Skipped};
use crate::args::Check;
use crate::client::Node;
use crate::output::{Failure, count};

/// What is known of one lockfile.
#[derive(Debug, Serialize)]
struct Checked {
    lockfile: String,
    /// Whether the project installs offline.
    complete: bool,
    /// Bytes that lack, as far as they are known.
    bytes: u64,
    /// Things that lack of which the size is not known.
    unknown: u64,
    /// URLs that `--fix` replaced.
    fixed: usize,
    /// What no entry of the lockfile says.
    notes: Vec<String>,
    /// What is for other platforms than those that were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skipped>,
    #[serde(flatten)]
    report: Report,
}

pub(super) async fn run(context: &Context, check: Check) -> Result<(), Failure> {
    let node = context.node()?;
    let mut all = Vec::new();
    let mut failure = None;
    for mut read in lockfile::read(&check.lockfiles, &check.platform)? {
        let checked = one(&node, &mut read, check.fix).await?;
        if !checked.complete && failure.is_none() {
            failure = Some(lockfile::lacks(&read, &checked.report));
        }
        all.push(checked);
    }
    match all.as_slice() {
        [one] => context.output.data(one, |one| lines(one, false))?,
        several => context
            .output
            .data(&several, |several| several.iter().flat_map(|one| lines(one, true)).collect())?,
    }
    for checked in &all {
        warn(context, checked);
    }
    failure.map_or(Ok(()), Err)
}

async fn one(node: &Node, read: &mut Read, fix: bool) -> Result<Checked, Failure> {
    let mut report: Report = node.post("check", &read.project).await?;
    let mut fixed = 0;
    if fix && !report.polluted.is_empty() {
        fixed = read.fix(&report.polluted)?;
        report = node.post("check", &read.project).await?;
    }
    let (bytes, unknown) = report.bytes();
    let complete = report.is_complete();
    let notes = read.notes.clone();
    let skipped = skipped::of(node, read).await?;
    let lockfile = read.title();
    Ok(Checked { lockfile, complete, bytes, unknown, fixed, notes, skipped, report })
}

fn lines(checked: &Checked, titled: bool) -> Vec<String> {
    let Checked { report, .. } = checked;
    let head = lockfile::head(report.packages, report.need, (checked.bytes, checked.unknown));
    let mut out = vec![if titled { format!("{}: {head}", checked.lockfile) } else { head }];
    if checked.fixed > 0 {
        let urls = count(checked.fixed as u64, "URL");
        out.push(format!("{urls} of a node replaced in {}", checked.lockfile));
    }
    out.extend(lockfile::lines(report));
    out.extend(lockfile::notes(&checked.notes));
    out.extend(skipped::lines(checked.skipped.as_ref()));
    if checked.complete {
        out.push("OK: this project installs offline.".into());
    }
    out
}

/// A lockfile that names a node works here and nowhere else.
pub(super) fn warn_polluted(context: &Context, title: &str, report: &Report) {
    let Some(first) = report.polluted.first() else { return };
    let entries = report.polluted.len() as u64;
    let urls = if entries == 1 { "1 URL".to_owned() } else { format!("{entries} URLs") };
    let url = crate::output::plain(&first.url);
    context.output.say(format!(
        "{title}: {urls} name a node instead of the registry, such as {url}; others cannot install \
         from that"
    ));
    context.output.say(format!("hint: griot check --fix {title}"));
}

fn warn(context: &Context, checked: &Checked) {
    warn_polluted(context, &checked.lockfile, &checked.report);
}
