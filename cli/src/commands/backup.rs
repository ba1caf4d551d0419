//! `griot backup`: a copy of the whole node in one folder, of a running node or a stopped one.
//!
//! A running node copies itself and tells how far it is; on a home without a node the command does
//! the same. `--check` reads a backup through and needs neither.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use node::daemon::admin::backup::Line;
use node::daemon::backup::{Wish, of_stopped};
use node::store::backup::{self, Checked, Phase, Progress, Refusal, Report, Tell};
use node::store::{Error, backup::check};

use super::{Context, home_flag};
use crate::args::Backup;
use crate::client::Node;
use crate::output::{Code, Failure, Output, count, size};

pub(super) async fn run(context: &Context, order: Backup) -> Result<(), Failure> {
    let folder = std::path::absolute(&order.folder)?;
    if order.check {
        let checked = verified(context.output, folder.clone()).await?;
        return context.output.data(&checked, |checked| check_lines(&folder, checked));
    }
    let wish = Wish { folder, keys: !order.without_keys };
    let report = match running(context, &wish).await? {
        Some(report) => report,
        None => stopped(context, wish).await?,
    };
    context.output.data(&report, lines)
}

/// By the running node; `None` if there is none.
async fn running(context: &Context, wish: &Wish) -> Result<Option<Report>, Failure> {
    let node = match context.node() {
        Ok(node) => node,
        Err(failure) if failure.code == Code::Offline => return Ok(None),
        Err(failure) => return Err(failure),
    };
    match by_node(&node, context.output, wish).await {
        // Its file was left by one that was killed.
        Err(failure) if failure.code == Code::Offline => Ok(None),
        done => done.map(Some),
    }
}

async fn by_node(node: &Node, output: Output, wish: &Wish) -> Result<Report, Failure> {
    let mut course = Course::new(output);
    let (mut report, mut broke) = (None, None);
    let ended = node
        .post_lines("backup", wish, |line| match line {
            Line::Progress(progress) => course.take(progress),
            Line::Done(done) => report = Some(done),
            Line::Error(error) => {
                let failure = Failure::new(error.message);
                broke = Some(Failure { hint: error.hint, ..failure });
            }
        })
        .await;
    course.end();
    ended?;
    if let Some(failure) = broke {
        return Err(failure);
    }
    report.ok_or_else(|| {
        Failure::new("the node stopped before the end of the backup")
            .hint("type it again: what was copied is not copied again")
    })
}

async fn stopped(context: &Context, wish: Wish) -> Result<Report, Failure> {
    let home = &context.home;
    if !home.join("store.redb").is_file() {
        let why = format!("there is no node in {}", home.display());
        return Err(Failure::new(why).hint("griot --home DIR backup …").code(Code::Lacks));
    }
    let (course, tell) = told(context.output);
    let done = of_stopped(home, wish, tell).await;
    ended(&course);
    done.map_err(|error| failure(&error, "the backup"))
}

async fn verified(output: Output, folder: PathBuf) -> Result<Checked, Failure> {
    let (course, tell) = told(output);
    let done = tokio::task::spawn_blocking(move || check(&folder, tell)).await;
    ended(&course);
    let done = done.map_err(|_| Failure::new("the check did not come to its end"))?;
    done.map_err(|error| failure(&error, "the check of the backup"))
}

/// Why it failed, and what to do.
pub(super) fn failure(error: &Error, what: &str) -> Failure {
    let failure = Failure::new(format!("{what}: {error}"));
    match error {
        Error::Backup(refusal) => {
            let failure = failure.hint(refusal.hint());
            match refusal {
                Refusal::Damaged { .. } => failure.code(Code::Refused),
                Refusal::NotWhole { .. } => failure.code(Code::Lacks),
                _ => failure,
            }
        }
        Error::Locked => failure.hint("griot status shows the node that runs there"),
        Error::Full { .. } => failure.hint("make room and type it again: what was copied is kept"),
        _ => failure.hint("type it again: what was copied is kept"),
    }
}

fn lines(report: &Report) -> Vec<String> {
    let Report { blobs, bytes, new_blobs, new_bytes, linked_blobs, .. } = report;
    let folder = report.folder.display();
    let mut out = vec![format!("backed up to {folder}")];
    let linked = match linked_blobs {
        0 => String::new(),
        some => format!(", {some} of them linked: they take no room, and live on this device only"),
    };
    let new = size(*new_bytes);
    out.push(format!(
        "{} ({}); new {new_blobs} ({new}){linked}",
        count(*blobs, "blob"),
        size(*bytes)
    ));
    if report.files.is_empty() {
        out.push("without keys: a node restored from it makes keys of its own".into());
    } else {
        out.push(format!("with secret keys ({}): keep the folder safe", report.files.join(", ")));
        if !report.files.iter().any(|name| name == "keys/root") {
            out.push("the root key is not in this home, and so not in the backup".into());
        }
    }
    if report.lacking_blobs > 0 {
        let lacking = count(report.lacking_blobs, "blob");
        out.push(format!(
            "{lacking} are lost or damaged in the node itself, and not in the backup:"
        ));
        out.extend(report.lacking.iter().map(|digest| format!("  {digest}")));
    }
    out.push(format!("proof: griot backup --check {folder}"));
    out
}

fn check_lines(folder: &Path, checked: &Checked) -> Vec<String> {
    let backup::Manifest { blobs, program, files, .. } = &checked.manifest;
    let keys = if files.is_empty() { "without keys" } else { "with secret keys" };
    vec![
        format!("OK: {} is whole: every byte was read", folder.display()),
        format!(
            "{} ({}), {keys}, made by {program}",
            count(blobs.count, "blob"),
            size(blobs.bytes)
        ),
    ]
}

/// How far it is, as a person sees it.
pub(super) struct Course {
    output: Output,
    bar: Option<(Phase, ProgressBar)>,
    tenths: u64,
}

impl Course {
    fn new(output: Output) -> Self {
        Self { output, bar: None, tenths: 0 }
    }

    fn take(&mut self, progress: Progress) {
        let Progress { phase, done, total } = progress;
        let is_new = self.bar.as_ref().is_none_or(|(before, _)| *before != phase);
        if is_new {
            self.end();
            self.tenths = 0;
            let bar = match phase {
                Phase::Records => self.output.steps(),
                Phase::Blobs => self.output.progress("blobs", total),
            };
            bar.set_length(total);
            if phase == Phase::Records {
                bar.set_message("records");
            }
            self.bar = Some((phase, bar));
        }
        let Some((_, bar)) = &self.bar else { return };
        bar.set_position(done);
        let tenths = done.saturating_mul(10) / total.max(1);
        if phase == Phase::Blobs
            && tenths > self.tenths
            && bar.is_hidden()
            && self.output.is_human()
        {
            self.tenths = tenths;
            let (done, total) = (size(done), size(total));
            self.output.say(format!("{} %   {done} of {total}", tenths.min(10) * 10));
        }
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Where work in this process tells how far it is.
pub(super) fn told(output: Output) -> (Arc<Mutex<Course>>, Tell) {
    let course = Arc::new(Mutex::new(Course::new(output)));
    let told = Arc::clone(&course);
    let tell = move |progress| {
        told.lock().unwrap_or_else(PoisonError::into_inner).take(progress);
        true
    };
    (course, Box::new(tell))
}

/// The bar goes.
pub(super) fn ended(course: &Mutex<Course>) {
    course.lock().unwrap_or_else(PoisonError::into_inner).end();
}

/// What is typed after a restore.
pub(super) fn up(home: &Path) -> String {
    format!("griot{} up", home_flag(home))
}
