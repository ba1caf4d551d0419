//! Figures: measured by CPU time, printed one a line, beside what was promised.
//!
//! Shared by the benchmarks of the index and of the store. CPU time is that of the whole process,
//! user and system, in nanoseconds: on a machine that others use it says more than a clock. A
//! figure is the median of some rounds. Nothing here fails because a machine is slow: a promise
//! that is not kept is printed as `MISSES`, and the exit code stays 0.
//!
//! `cargo bench` passes `--bench`. Without it the program runs as a test would, on the smallest
//! sizes, so that whoever builds all targets sees that they still run.

use std::io::Write as _;

use rustix::time::{ClockId, clock_gettime};

/// What was asked for on the command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The sizes of the promises, which take long.
    pub(crate) full: bool,
    /// The smallest sizes alone.
    pub(crate) slice: bool,
    /// A JSON object a line.
    json: bool,
    /// Only sections with these names.
    sections: Vec<String>,
    /// `--binary PATH`: a node to start.
    pub(crate) binary: Option<String>,
}

impl Options {
    /// From the arguments; `Err` is what to print.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { slice: true, ..Self::default() };
        let mut arguments = arguments.skip(1);
        while let Some(word) = arguments.next() {
            match word.as_str() {
                "--bench" => options.slice = false,
                "--full" => options.full = true,
                "--json" => options.json = true,
                "--binary" => options.binary = arguments.next(),
                section if !section.starts_with('-') => options.sections.push(section.to_owned()),
                _ => return Err(format!("unknown option {word}: {USAGE}")),
            }
        }
        Ok(options)
    }

    /// Whether a section is to run.
    pub(crate) fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == section)
    }

    /// One of three sizes: of the slice, the usual one, the full one.
    pub(crate) const fn size<T: Copy>(&self, slice: T, usual: T, full: T) -> T {
        match (self.slice, self.full) {
            (true, _) => slice,
            (false, false) => usual,
            (false, true) => full,
        }
    }
}

const USAGE: &str = "cargo bench … -- [SECTION…] [--full] [--json] [--binary PATH]";

/// What stands beside a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// A promise: no more than this.
    AtMost(f64),
    /// What can be reached at best: nothing is promised.
    Bound(f64),
    /// Somebody else's figure, from the same run.
    Other(&'a str, f64),
}

/// Prints figures as they come.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    missed: u32,
}

impl Report {
    /// Begins, with what was measured where.
    pub(crate) fn begin(name: &str, options: &Options) -> Self {
        let report = Self { json: options.json, missed: 0 };
        let size = options.size("slice", "usual", "full");
        report.remark(&format!("{name}: {size} sizes, load {}", load()));
        report
    }

    /// A line that is no figure: what is measured next, or why something is not.
    pub(crate) fn remark(&self, text: &str) {
        match self.json {
            true => println!("{}", serde_json::json!({ "remark": text })),
            false => println!("# {text}"),
        }
    }

    /// One figure.
    pub(crate) fn line(&mut self, name: &str, (value, unit): (f64, &str), beside: &[Beside<'_>]) {
        let kept = beside.iter().find_map(|one| match one {
            Beside::AtMost(most) => Some(value <= *most),
            _ => None,
        });
        self.missed += u32::from(kept == Some(false));
        if self.json {
            println!("{}", as_json(name, (value, unit), beside, kept));
        } else {
            let beside: Vec<String> = beside.iter().map(|one| in_words(value, one)).collect();
            let verdict = kept.map_or("", |kept| if kept { "kept" } else { "MISSES" });
            let beside = beside.join(", ");
            println!("{name:<72} {:>9} {unit:<8} {beside}  {verdict}", number(value));
        }
        // Somebody may be reading along.
        let _ = std::io::stdout().flush();
    }

    /// Ends: how many promises were missed.
    pub(crate) fn end(&self) {
        self.remark(&format!("{} promises missed, load {}", self.missed, load()));
    }
}

fn in_words(value: f64, beside: &Beside<'_>) -> String {
    match beside {
        Beside::AtMost(most) => format!("promised ≤ {}", number(*most)),
        Beside::Bound(bound) if *bound > 0.0 => {
            format!("bound {} ({:.2} ×)", number(*bound), value / bound)
        }
        Beside::Bound(bound) => format!("bound {}", number(*bound)),
        Beside::Other(name, other) => format!("{name} {}", number(*other)),
    }
}

fn as_json(
    name: &str,
    (value, unit): (f64, &str),
    beside: &[Beside<'_>],
    kept: Option<bool>,
) -> serde_json::Value {
    let mut row = serde_json::json!({ "name": name, "value": value, "unit": unit });
    for one in beside {
        let (key, other) = match one {
            Beside::AtMost(most) => ("promised_at_most", most),
            Beside::Bound(bound) => ("bound", bound),
            Beside::Other(name, other) => (*name, other),
        };
        row[key] = (*other).into();
    }
    if let Some(kept) = kept {
        row["kept"] = kept.into();
    }
    row
}

/// Three digits are enough, more of whole numbers do no harm.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The first three numbers of the system's load.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU-seconds of this process so far.
pub(crate) fn cpu() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// CPU-seconds that something takes, and what comes of it.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let began = cpu();
    let done = work();
    (cpu() - began, done)
}

/// The median of some values; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which a share of the values lies.
pub(crate) fn percentile(values: &mut [usize], share: f64) -> f64 {
    values.sort_unstable();
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).map_or(0.0, |value| *value as f64)
}
