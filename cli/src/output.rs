//! What people and scripts read: data on the standard output, talk on the standard error.
//!
//! An error has three parts: what failed, why, and on the last line `hint:` with the next command.
//! Under `--json` a verb prints one JSON value; a failure prints `{"error": {message, hint}}` there
//! and the same text for people beside it. Exit codes are stable: see docs/reference/errors.md.
//!
//! Text that came from a package or a peer passes through [`plain`], so that it cannot steer the
//! terminal.
//!
//! Source: product.md section 11.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// The last line of an error that knows no better one.
const HINT: &str = "griot status shows what the node is and does";
/// The same, where what was typed is wrong.
const HINT_USAGE: &str = "--help behind the verb shows what it takes";
/// Letters of a file's name beside its bar: the whole line fits a terminal of 80 columns.
const BAR_TITLE_CHARS: usize = 20;

/// How a failed verb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It failed.
    Failed = 1,
    /// It was used wrongly.
    Usage = 2,
    /// Something that it needs is not here.
    Lacks = 3,
    /// Nobody who has it can be reached, or no node runs.
    Offline = 4,
    /// It was refused for reasons of trust.
    Refused = 5,
    /// What was compared was not the same.
    Differed = 6,
}

/// Why a verb failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What failed, and why.
    pub(crate) message: String,
    /// The next command.
    pub(crate) hint: Option<String>,
    /// Exit code.
    pub(crate) code: Code,
    /// Whether the verb has printed its one JSON value already, with all that a script needs.
    pub(crate) answered: bool,
}

impl Failure {
    /// A plain failure.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: Code::Failed, answered: false }
    }

    /// Adds the next command.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Ends with this exit code.
    pub(crate) fn code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// After the result was printed: under `--json` nothing more is.
    pub(crate) fn answered(self) -> Self {
        Self { answered: true, ..self }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Where a verb prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    error: ErrorParts<'a>,
}

#[derive(Serialize)]
struct ErrorParts<'a> {
    message: &'a str,
    hint: &'a str,
    exit: u8,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a person reads.
    pub(crate) const fn is_human(self) -> bool {
        !self.json
    }

    /// The result of a verb: as JSON, or as the lines that `human` makes.
    pub(crate) fn data<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(value)
                .map_err(|error| Failure::new(format!("the result is no JSON: {error}")))?;
            write_out(&text);
        } else {
            human(value).iter().for_each(|line| write_out(line));
        }
        Ok(())
    }

    /// A line of the result before the rest of it is known; for people alone.
    pub(crate) fn print(self, line: &str) {
        if self.is_human() {
            write_out(line);
        }
    }

    /// One line of talk.
    #[expect(clippy::unused_self, reason = "only a verb that has an output talks")]
    pub(crate) fn say(self, line: impl Display) {
        // Nobody may read it: that is no failure.
        drop(writeln!(std::io::stderr(), "{line}"));
    }

    /// Prints a failure and gives its exit code.
    pub(crate) fn failure(self, failure: &Failure) -> ExitCode {
        let general = if failure.code == Code::Usage { HINT_USAGE } else { HINT };
        let hint = failure.hint.as_deref().unwrap_or(general);
        let exit = failure.code as u8;
        if self.json && !failure.answered {
            let error = ErrorParts { message: &failure.message, hint, exit };
            let text = serde_json::to_string(&ErrorJson { error });
            write_out(&text.unwrap_or_default());
        }
        self.say(format!("error: {}", lines(&failure.message)));
        self.say(format!("hint: {}", lines(hint)));
        ExitCode::from(exit)
    }

    /// Asks a yes-or-no question; `None` where nobody can answer.
    pub(crate) fn ask(self, question: &str) -> Option<bool> {
        if self.json || !std::io::stdin().is_terminal() {
            return None;
        }
        drop(write!(std::io::stderr(), "{question} [y/N] "));
        drop(std::io::stderr().flush());
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// A bar of things on a terminal, with the time left; hidden elsewhere. What the message says
    /// stands behind it.
    pub(crate) fn steps(self) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(0);
        let style = "{bar:24}  {pos}/{len}  {msg}  {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well formed"));
        bar
    }

    /// A bar of bytes, rate and time left on a terminal; hidden elsewhere.
    pub(crate) fn progress(self, title: &str, bytes: u64) -> ProgressBar {
        // Units as `size` writes them.
        let style = "{msg}  {bar:16}  {decimal_bytes}/{decimal_total_bytes}  \
                     {decimal_bytes_per_sec}  {eta}";
        self.bar(title, bytes, style)
    }

    /// The same for something that is counted.
    pub(crate) fn counting(self, title: &str, of: u64) -> ProgressBar {
        self.bar(title, of, "{msg}  {bar:16}  {human_pos}/{human_len}  {eta}")
    }

    fn bar(self, title: &str, length: u64, style: &str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let mut title = plain(title);
        if title.chars().count() > BAR_TITLE_CHARS {
            title = title.chars().take(BAR_TITLE_CHARS - 1).chain(['…']).collect();
        }
        let bar = ProgressBar::new(length).with_message(title);
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well formed"));
        bar
    }
}

fn write_out(line: &str) {
    // A reader that has gone away, as `head` does, is no failure.
    drop(writeln!(std::io::stdout(), "{line}"));
    drop(std::io::stdout().flush());
}

/// Text of a stranger without control, bidirectional and invisible characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|letter| !steers(*letter)).collect()
}

/// As [`plain`], but line breaks stay.
fn lines(text: &str) -> String {
    text.chars().filter(|letter| *letter == '\n' || !steers(*letter)).collect()
}

fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The start of an id that is enough to recognise it.
pub(crate) fn short(id: &impl Display) -> String {
    let text = id.to_string();
    let start: String = text.chars().take(12).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

/// A number of things: "1 package", "2 packages".
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A size for people, by thousands.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_cannot_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\u{7}\n"), "a[31mbc");
        assert_eq!(plain("prix été 2026 ✓"), "prix été 2026 ✓");
        assert_eq!(lines("a\nb\r"), "a\nb");
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(52_428_800), "52.4 MB");
        assert_eq!(size(1_100_000_000), "1.1 GB");
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!(count(1, "package"), "1 package");
        assert_eq!(count(0, "file"), "0 files");
        assert_eq!(count(2, "peer"), "2 peers");
    }

    #[test]
    fn ids_are_shortened_only_when_they_are_long() {
        assert_eq!(short(&"r1abc"), "r1abc");
        assert_eq!(short(&"r1abcdefghijklmnop"), "r1abcdefghij…");
    }
}
