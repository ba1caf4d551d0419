//! Asking a client where it points now.
//!
//! It runs with the person's own environment, less the variables that already point at the node,
//! and is given up after a while: some start by downloading themselves.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use node::formats::{Answer, Link};

use super::{Asked, is_node};

/// How long a client may take to tell its settings.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of what it tells.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// What the client told; `None` if this client is not installed, or cannot be asked.
pub(crate) fn ask(link: &Link, asked: &Asked<'_>, node: &str) -> Option<Answer> {
    if link.ask.is_empty() {
        return None;
    }
    let version = run(link, &["--version"], asked, node)?;
    if !(link.speaks)(version.trim()) {
        return None;
    }
    run(link, link.ask, asked, node).map(|text| (link.answer)(&text))
}

/// The registry that is built into the client.
pub(crate) fn builtin(link: &Link, asked: &Asked<'_>, node: &str) -> Option<String> {
    let builtin = link.builtin?;
    run(link, builtin.ask, asked, node).and_then(|text| (builtin.read)(&text))
}

/// Runs the client without input, and gives what it printed if it succeeded.
fn run(link: &Link, arguments: &[&str], asked: &Asked<'_>, node: &str) -> Option<String> {
    let program = asked.program.as_deref().map_or(link.program.as_ref(), AsRef::as_ref);
    let mut command = Command::new::<&OsStr>(program);
    command.args(arguments).current_dir(asked.folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, value) in std::env::vars_os() {
        if value.to_str().is_some_and(|value| is_node(node, value)) {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        // Nobody may wait for it any more.
        let _ = sender.send(read.ok().map(|_| String::from_utf8_lossy(&bytes).into_owned()));
    });
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // It may have ended just now; either way it is waited for.
                drop(child.kill());
                drop(child.wait());
                return None;
            }
        }
    };
    // It has ended, but what it has left running may hold its output open.
    let text = told.recv_timeout(until.saturating_duration_since(Instant::now())).ok().flatten()?;
    status.success().then_some(text)
}
