//! What the system says of the way out: whether it is paid for by the byte.
//!
//! NetworkManager knows it of telephones and modems, or guesses it; it is asked by its own command,
//! if that is there, when an address of this machine comes or goes. Where it is not there, or says
//! nothing, a person does: `griot budget set --metered`. Decides nothing.
//!
//! Source: mesh.md section 3.1.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at whether it is there.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of an answer; a machine with hundreds of interfaces says less.
const ANSWER_MAX: u64 = 64 * 1024;

/// Whether a connection of this machine is metered; `None` if nobody says. Blocks for up to five
/// seconds.
pub(super) fn is_metered() -> Option<bool> {
    let mut child = Command::new(find("nmcli")?)
        .args(["-t", "-f", "GENERAL.METERED", "dev", "show"])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > until {
            // It is ours, and hangs: it is ended, and waited for so that nothing of it stays.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        sleep(LOOK);
    }
    let mut said = String::new();
    child.stdout.take()?.take(ANSWER_MAX).read_to_string(&mut said).ok()?;
    judge(&said)
}

/// Where a program is. Looked up first, since most machines have none: a process that is begun in
/// vain has copies of our open files, and of the locks on them, for a moment.
fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// One device that is metered is enough: which of them a packet takes is not known here.
fn judge(said: &str) -> Option<bool> {
    let values = said.lines().filter_map(|line| line.strip_prefix("GENERAL.METERED:"));
    let mut known = values.map(str::trim).filter(|value| !value.starts_with("unknown")).peekable();
    known.peek()?;
    Some(known.any(|value| value.starts_with("yes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_that_is_metered_is_enough() {
        let of = |values: &[&str]| {
            let lines = values.iter().map(|value| format!("GENERAL.METERED:{value}\n\n"));
            judge(&lines.collect::<String>())
        };
        assert_eq!(of(&["no (guessed)", "yes (guessed)", "unknown"]), Some(true));
        assert_eq!(of(&["no (guessed)", "unknown"]), Some(false));
        assert_eq!(of(&["yes"]), Some(true));
        assert_eq!(of(&["unknown"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(judge("Error: NetworkManager is not running."), None);
    }
}
