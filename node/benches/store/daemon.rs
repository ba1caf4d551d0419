//! A real node on a filled home: how soon it is ready, and what it needs when nobody asks.
//!
//! The first start makes the node's own key and realm and counts what is held; those after it find
//! all that. A start counts from the making of the process to the line that says that it is ready.
//! The node is ended by its id: once as one asks it to end, once by a kill.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::cost::number_after;
use crate::figures::{Beside, Report, median};

/// How often it is started each way.
const STARTS: usize = 5;
/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);
/// How long it is left alone once, as nobody knows what a node does later.
const IDLE_LONG: Duration = Duration::from_secs(60);
/// What was promised.
const START_MAX_MS: f64 = 1_000.0;
/// What was promised.
const MEMORY_MAX_MIB: f64 = 48.0;

/// A node that runs; ended when it is dropped.
struct Running {
    child: Child,
    ready_ms: f64,
}

/// Starts, and memory.
pub(crate) fn measure(binary: &Path, home: &Path, packages: u64, report: &mut Report) -> Outcome {
    let name = format!("node: {packages} packages");
    let first = Running::start(binary, home)?;
    report.line(&format!("{name}, first start ever"), (first.ready_ms, "ms"), &[]);
    first.end(Signal::TERM)?;
    let (mut soft, mut hard, mut resident, mut shared) = (vec![], vec![], vec![], vec![]);
    for _ in 0..STARTS {
        let node = Running::start(binary, home)?;
        soft.push(node.ready_ms);
        std::thread::sleep(IDLE);
        resident.push(node.memory("Rss:")?);
        shared.push(node.memory("Pss:")?);
        node.end(Signal::KILL)?;
        let node = Running::start(binary, home)?;
        hard.push(node.ready_ms);
        node.end(Signal::TERM)?;
    }
    let start = [Beside::AtMost(START_MAX_MS)];
    report.line(&format!("{name}, start"), (median(soft), "ms"), &start);
    report.line(&format!("{name}, start after a kill"), (median(hard), "ms"), &start);
    let memory = [Beside::AtMost(MEMORY_MAX_MIB)];
    report.line(&format!("{name}, idle, resident"), (median(resident), "MiB"), &memory);
    report.line(&format!("{name}, idle, its share"), (median(shared), "MiB"), &[]);
    let node = Running::start(binary, home)?;
    std::thread::sleep(IDLE_LONG);
    let (resident, shared) = (node.memory("Rss:")?, node.memory("Pss:")?);
    report.line(&format!("{name}, idle for a minute, resident"), (resident, "MiB"), &memory);
    report.line(&format!("{name}, idle for a minute, its share"), (shared, "MiB"), &[]);
    node.end(Signal::TERM)
}

impl Running {
    fn start(binary: &Path, home: &Path) -> Outcome<Self> {
        let began = Instant::now();
        let listen = ["--listen", "127.0.0.1:0", "--mesh-listen", "/ip4/127.0.0.1/tcp/0"];
        let mut child = Command::new(binary)
            .arg("--home")
            .arg(home)
            .arg("up")
            .args(listen)
            .arg("--no-mdns")
            .env_clear()
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| format!("{} cannot be run: {why}", binary.display()))?;
        let out = child.stdout.take().ok_or("a pipe was asked for")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let running = Self { child, ready_ms: began.elapsed().as_secs_f64() * 1e3 };
        match line.starts_with("ready ") {
            true => Ok(running),
            false => Err(format!("{} does not start: {line}", binary.display()).into()),
        }
    }

    /// MiB of a line in the sum of its mappings.
    fn memory(&self, word: &str) -> Outcome<f64> {
        let file = PathBuf::from(format!("/proc/{}/smaps_rollup", self.child.id()));
        Ok(number_after(&file, word)? / 1024.0)
    }

    fn end(mut self, signal: Signal) -> Outcome {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.ok_or("a process has an id")?, signal)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless something failed on the way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
