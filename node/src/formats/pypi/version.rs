//! Versions as PEP 440 has them: their normal form and their order.
//!
//! The normal form keeps zeros at the end of the release (`1.0` stays), as file names do; the order
//! does not see them, so equal versions are told apart by their text alone, last. Numbers have any
//! length: dates with times are common.
//!
//! Source: PEP 440; formats/pypi.md section 8, case 10.

use std::cmp::Ordering;
use std::fmt::{self, Display};

pub(super) use super::specifier::resolve;

/// The longest version, in bytes.
const VERSION_MAX_BYTES: usize = 128;

/// A number of any length: decimal digits without zeros in front.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Number(String);

impl Number {
    pub(super) fn of(digits: &str) -> Self {
        let plain = digits.trim_start_matches('0');
        Self(if plain.is_empty() { "0" } else { plain }.to_owned())
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == "0"
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Before a release: `a`, `b`, `rc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Alpha,
    Beta,
    Candidate,
}

/// A part of a local version; text sorts below numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Text(String),
    Number(Number),
}

/// A version, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) epoch: Number,
    pub(super) release: Vec<Number>,
    pub(super) pre: Option<(Phase, Number)>,
    pub(super) post: Option<Number>,
    pub(super) dev: Option<Number>,
    pub(super) local: Vec<Segment>,
}

/// Where a version stands around its release.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Pre<'v> {
    DevAlone,
    Before(&'v Phase, &'v Number),
    Final,
}

/// Without `.dev` it comes after those with it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Dev<'v> {
    Some(&'v Number),
    None,
}

impl Version {
    /// Reads any spelling that PEP 440 allows; white space is not part of one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > VERSION_MAX_BYTES {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let mut rest = Rest(lower.strip_prefix('v').unwrap_or(&lower));
        let mut first = rest.number()?;
        let mut epoch = Number::of("0");
        if rest.take("!") {
            epoch = std::mem::replace(&mut first, rest.number()?);
        }
        let mut release = vec![first];
        while let Some(number) = rest.attempt(|rest| rest.take(".").then(|| rest.number())?) {
            release.push(number);
        }
        let pre = rest.labelled(&PHASES).map(|(word, number)| (phase(word), number));
        let post = rest.attempt(|rest| rest.take("-").then(|| rest.number())?);
        let post = post.or_else(|| Some(rest.labelled(&["post", "rev", "r"])?.1));
        let dev = rest.labelled(&["dev"]).map(|(_, number)| number);
        let local = if rest.take("+") { rest.local()? } else { Vec::new() };
        rest.0.is_empty().then_some(Self { epoch, release, pre, post, dev, local })
    }

    /// Without the local part.
    pub(super) fn public(&self) -> Self {
        Self { local: Vec::new(), ..self.clone() }
    }

    /// Whether it is a release and nothing else.
    pub(super) fn is_bare(&self) -> bool {
        *self == Self { pre: None, post: None, dev: None, ..self.public() }
    }

    pub(super) fn is_prerelease(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    /// Whether epoch and release are the same, zeros at the end aside.
    pub(super) fn same_base(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.trimmed() == other.trimmed()
    }

    /// The release without zeros at its end.
    fn trimmed(&self) -> &[Number] {
        let end = self.release.iter().rposition(|number| !number.is_zero());
        &self.release[..end.map_or(0, |last| last + 1)]
    }

    fn key(&self) -> (&Number, &[Number], Pre<'_>, Option<&Number>, Dev<'_>, &[Segment]) {
        let pre = match (&self.pre, &self.post, &self.dev) {
            (Some((phase, number)), ..) => Pre::Before(phase, number),
            (None, None, Some(_)) => Pre::DevAlone,
            _ => Pre::Final,
        };
        let dev = self.dev.as_ref().map_or(Dev::None, Dev::Some);
        (&self.epoch, self.trimmed(), pre, self.post.as_ref(), dev, &self.local)
    }

    /// By precedence: versions that PEP 440 takes for equal are.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

const PHASES: [&str; 8] = ["alpha", "a", "beta", "b", "preview", "pre", "c", "rc"];

fn phase(word: &str) -> Phase {
    match word {
        "alpha" | "a" => Phase::Alpha,
        "beta" | "b" => Phase::Beta,
        _ => Phase::Candidate,
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpha => "a",
            Self::Beta => "b",
            Self::Candidate => "rc",
        })
    }
}

impl Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, release, pre, post, dev, local } = self;
        if !epoch.is_zero() {
            write!(f, "{epoch}!")?;
        }
        for (index, number) in release.iter().enumerate() {
            write!(f, "{}{number}", if index == 0 { "" } else { "." })?;
        }
        if let Some((phase, number)) = pre {
            write!(f, "{phase}{number}")?;
        }
        if let Some(number) = post {
            write!(f, ".post{number}")?;
        }
        if let Some(number) = dev {
            write!(f, ".dev{number}")?;
        }
        for (index, segment) in local.iter().enumerate() {
            write!(f, "{}{segment}", if index == 0 { "+" } else { "." })?;
        }
        Ok(())
    }
}

/// What is left of a version in lower case.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// What `read` finds; nothing is taken if it finds nothing.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.0;
        let found = read(self);
        if found.is_none() {
            self.0 = before;
        }
        found
    }

    fn number(&mut self) -> Option<Number> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (!digits.is_empty()).then(|| Number::of(digits))
    }

    fn separator(&mut self) {
        self.0 = self.0.strip_prefix(['-', '_', '.']).unwrap_or(self.0);
    }

    /// One of the words with its number: `.rc-1`, `a` (which is `a0`).
    fn labelled(&mut self, words: &[&'static str]) -> Option<(&'static str, Number)> {
        self.attempt(|rest| {
            rest.separator();
            let word = words.iter().find(|word| rest.take(word))?;
            rest.separator();
            Some((*word, rest.number().unwrap_or_else(|| Number::of("0"))))
        })
    }

    fn local(&mut self) -> Option<Vec<Segment>> {
        let parts = std::mem::take(&mut self.0).split(['-', '_', '.']);
        parts
            .map(|part| {
                let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
                let number = part.bytes().all(|byte| byte.is_ascii_digit());
                plain.then(|| match number {
                    true => Segment::Number(Number::of(part)),
                    false => Segment::Text(part.to_owned()),
                })
            })
            .collect()
    }
}

/// Normal form of a version: the slot key; or why it is none.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    Version::parse(text).map(|version| version.to_string()).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        format!("{shown:?} is not a version by PEP 440, such as 1.2.3, 1.0rc1 or 1!2.0.post1")
    })
}

/// By precedence; what is no version sorts below.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let order = match (Version::parse(a), Version::parse(b)) {
        (Some(a), Some(b)) => a.order(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    order.then_with(|| a.cmp(b))
}

/// Whether two normal versions are one: `1.0` and `1.0.0`.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    match (Version::parse(a), Version::parse(b)) {
        (Some(a), Some(b)) => a.order(&b) == Ordering::Equal,
        _ => a == b,
    }
}

/// Whether installers pass over it unless it is named: `a`, `b`, `rc`, `.dev`.
pub(super) fn is_prerelease(version: &str) -> bool {
    Version::parse(version).is_some_and(|version| version.is_prerelease())
}
