//! What something costs this process: CPU, time, bytes written, memory.

use std::path::Path;
use std::time::Instant;

use crate::Outcome;
use crate::figures::{cpu, median};

/// What something took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// CPU-seconds.
    pub(crate) cpu: f64,
    /// Seconds on the clock.
    pub(crate) time: f64,
    /// Bytes given to the system to write.
    pub(crate) written: f64,
}

impl Cost {
    /// A share of it.
    pub(crate) fn each(self, count: usize) -> Self {
        let count = count as f64;
        Self { cpu: self.cpu / count, time: self.time / count, written: self.written / count }
    }

    /// Each part's median.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| median(rounds.iter().map(part).collect());
        Self { cpu: of(|it| it.cpu), time: of(|it| it.time), written: of(|it| it.written) }
    }
}

/// Waits for something, and says what it took.
pub(crate) async fn costed<T>(work: impl Future<Output = T>) -> Outcome<(Cost, T)> {
    let (began, wrote, before) = (Instant::now(), written()?, cpu());
    let done = work.await;
    let cpu = cpu() - before;
    Ok((Cost { cpu, time: began.elapsed().as_secs_f64(), written: written()? - wrote }, done))
}

fn written() -> Outcome<f64> {
    number_after(Path::new("/proc/self/io"), "wchar:")
}

/// The number behind a word in a file of `/proc`.
pub(crate) fn number_after(file: &Path, word: &str) -> Outcome<f64> {
    let text = fs_err::read_to_string(file)?;
    let rest = text.lines().find_map(|line| line.trim_start().strip_prefix(word));
    let first = rest.and_then(|rest| rest.split_whitespace().next());
    let first = first.ok_or_else(|| format!("{} has no {word}", file.display()))?;
    Ok(first.parse()?)
}

/// MiB that this process has resident at the most since [`forget_most`].
pub(crate) fn most_resident() -> Outcome<f64> {
    Ok(number_after(Path::new("/proc/self/status"), "VmHWM:")? / 1024.0)
}

/// Lets [`most_resident`] begin anew.
pub(crate) fn forget_most() -> Outcome {
    Ok(fs_err::write("/proc/self/clear_refs", "5")?)
}
