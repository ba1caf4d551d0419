//! Waiting for a condition, with a limit; and running a command, with a limit.
//!
//! A condition that does not hold says what it saw instead, so that a failed wait tells why.

use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` gives a value; after `limit` the test fails with what was seen last.
#[track_caller]
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if started.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// The same for a plain yes or no.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, limit, || if holds() { Ok(()) } else { Err("not yet".to_owned()) });
}

/// Waits for the end of a process; `None` when it still runs after `limit`.
pub(crate) fn wait_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() <= limit {
        if let Some(status) = child.try_wait().expect("a child of this process can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Runs a command to its end, without input; one that exceeds `limit` is killed and fails the test.
#[track_caller]
pub(crate) fn run(command: &mut Command, limit: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait_exit(&mut child, limit).unwrap_or_else(|| {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} was still running after {limit:?}")
    });
    let stdout = stdout.join().expect("reading a pipe does not panic");
    let stderr = stderr.join().expect("reading a pipe does not panic");
    Output { status, stdout, stderr }
}

/// Reads a pipe beside the wait, or a full pipe would stop the process.
fn drain<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Runs a command that must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn run_ok(command: &mut Command, limit: Duration) -> String {
    let output = run(command, limit);
    assert!(output.status.success(), "{command:?} failed: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a finished command said, for a failure's message.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
