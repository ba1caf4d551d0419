//! Two hosts on one machine with a bad link between them: delay, rate, queue, loss and cuts.
//!
//! Runs `simulations/compare/shaper.py`, which the comparison uses too: it moves IP packets between
//! two network namespaces, so that what is lost is lost for the sender's congestion control. It
//! needs root, `ip`, /dev/net/tun and python3; without them the test skips loudly. The namespaces
//! go when the value is dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::client::{find, skip};
use super::wait::{run, wait_exit};

/// More than one link can exist at a time, of more than one run of the tests.
static NEXT: AtomicU32 = AtomicU32::new(0);
const ENDING: Duration = Duration::from_secs(20);

/// What a link is like, the same in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// One way, in milliseconds.
    pub(crate) delay_ms: u32,
    /// In kilobits a second; 0 is as fast as this machine can.
    pub(crate) rate_kbit: u32,
    /// In percent.
    pub(crate) loss: f64,
}

/// The link and its ends.
#[derive(Debug)]
pub(crate) struct Shaper {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    hosts: [String; 2],
    net: u32,
}

impl Shaper {
    /// Makes the link, or skips the test.
    pub(crate) fn new(shape: Shape) -> Option<Self> {
        if find("python3").is_none() {
            skip("needs python3");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let tag = format!("{}-{number}", std::process::id());
        let hosts = [format!("griot-s{tag}-a"), format!("griot-s{tag}-b")];
        let net = number % 250;
        let mut command = Command::new("python3");
        command.arg(script("shaper.py")).args(&hosts).args(["--net", &net.to_string()]);
        command.args(["--delay", &shape.delay_ms.to_string()]);
        command.args(["--rate", &shape.rate_kbit.to_string()]);
        command.args(["--loss", &shape.loss.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("python3 starts");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("is piped"));
        let mut shaper = Self { child, orders, answers, hosts, net };
        if shaper.answer() == "ready" {
            return Some(shaper);
        }
        let status = wait_exit(&mut shaper.child, ENDING).expect("it has closed its output");
        assert_eq!(status.code(), Some(77), "the link cannot be made: {status}");
        skip("needs root, `ip` and /dev/net/tun, to shape a link");
        None
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the shaper speaks UTF-8");
        line.trim().to_owned()
    }

    /// Gives one order, such as `cut` or `loss 5`; answers the counters of both directions.
    pub(crate) fn order(&mut self, order: &str) -> Value {
        let orders = self.orders.as_mut().expect("is there until the drop");
        writeln!(orders, "{order}").expect("the shaper listens");
        let answer: Value = serde_json::from_str(&self.answer()).expect("the shaper answers");
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    /// Bytes of packets that came over the link from one side to the other.
    pub(crate) fn delivered_bytes(&mut self, from: usize) -> u64 {
        let counts = self.order("count");
        counts[["forth", "back"][from]]["delivered"][1].as_u64().expect("a counter")
    }

    /// A host's address on the link.
    pub(crate) fn address(&self, side: usize) -> String {
        format!("10.232.{}.{}", self.net, side + 1)
    }

    /// Starts to answer the probes at the first host; `None` if the kernel lacks `congestion`.
    pub(crate) fn serve(&self, port: u16, congestion: &str) -> Option<Probe> {
        let mut child = self
            .probe(0, &["serve", &self.address(0), &port.to_string(), "--congestion", congestion])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("is piped"));
        out.read_line(&mut line).expect("the probe speaks UTF-8");
        let probe = Probe { child };
        (line.trim() == "ready").then_some(probe)
    }

    /// Asks the first host from the second: `pull` for so many seconds, or `ring` so many times.
    pub(crate) fn ask(&self, what: &str, port: u16, amount: u32) -> Value {
        let words = [what, &self.address(0), &port.to_string(), &amount.to_string()];
        let output = run(&mut self.probe(1, &words), Duration::from_secs(120));
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn probe(&self, side: usize, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.hosts[side], "python3"]);
        command.arg(script("probe.py")).args(words);
        command
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        // The end of its input ends it, and it removes what it made.
        drop(self.orders.take());
        if wait_exit(&mut self.child, ENDING).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What answers the probes; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Probe {
    child: Child,
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if wait_exit(&mut self.child, ENDING).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn script(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("simulations").join("compare").join(name)
}
