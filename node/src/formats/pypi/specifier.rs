//! Specifiers of PEP 440 (`>=1.2,<2`): which versions they allow, and which of those is taken.
//!
//! Prereleases are taken if the specifier names one, or if nothing else fits: as pip does. Zeros at
//! the end of a release mean nothing; a local version fits a public one, and never the other way.
//!
//! Source: PEP 440 "Version specifiers" and "Handling of pre-releases".

use super::version::{self, Number, Version};

/// The longest list of specifiers, in bytes.
const RANGE_MAX_BYTES: usize = 1024;

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Clause {
    /// `~=`
    Compatible(Version),
    /// `==`, and the same for `!=`.
    Equal { not: bool, to: Version },
    /// `==1.2.*`, `!=1.2.*`: a release alone.
    Prefix { not: bool, of: Version },
    /// `<=`
    AtMost(Version),
    /// `>=`
    AtLeast(Version),
    /// `<`
    Below(Version),
    /// `>`
    Above(Version),
    /// `===`: the text alone.
    Arbitrary(String),
}

/// Clauses that all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Specifiers(Vec<Clause>);

impl Specifiers {
    /// Reads a list; an empty one allows everything, a version alone stands for `==`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        let bad = || format!("{shown:?} is not a version specifier, such as >=1.2,<2 or ~=1.4");
        if text.len() > RANGE_MAX_BYTES {
            return Err(bad());
        }
        let clauses = text.split(',').map(str::trim).filter(|one| !matches!(*one, "" | "*"));
        let clauses: Option<Vec<_>> = clauses.map(Clause::parse).collect();
        clauses.map(Self).ok_or_else(bad)
    }

    fn allows(&self, version: &Version) -> bool {
        self.0.iter().all(|clause| clause.allows(version))
    }

    /// Whether one of them names a prerelease.
    fn names_prerelease(&self) -> bool {
        self.0.iter().any(|clause| match clause {
            Clause::Equal { not: true, .. } | Clause::Prefix { .. } => false,
            Clause::Arbitrary(text) => version::is_prerelease(text),
            Clause::Compatible(version)
            | Clause::Equal { to: version, .. }
            | Clause::AtMost(version)
            | Clause::AtLeast(version)
            | Clause::Below(version)
            | Clause::Above(version) => version.is_prerelease(),
        })
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
        let found = OPERATORS.iter().find_map(|op| Some((*op, text.strip_prefix(op)?.trim())));
        let (operator, written) = found.unwrap_or(("==", text));
        let not = operator == "!=";
        let prefix = written.strip_suffix(".*").filter(|_| matches!(operator, "==" | "!="));
        if let Some(prefix) = prefix {
            let of = Version::parse(prefix)?;
            return of.is_bare().then_some(Self::Prefix { not, of });
        }
        if operator == "===" {
            let whole = !written.is_empty() && !written.contains(char::is_whitespace);
            return whole.then(|| Self::Arbitrary(written.to_ascii_lowercase()));
        }
        let version = Version::parse(written)?;
        if !version.local.is_empty() && !matches!(operator, "==" | "!=") {
            return None;
        }
        Some(match operator {
            "~=" if version.release.len() < 2 => return None,
            "~=" => Self::Compatible(version),
            "<=" => Self::AtMost(version),
            ">=" => Self::AtLeast(version),
            "<" => Self::Below(version),
            ">" => Self::Above(version),
            _ => Self::Equal { not, to: version },
        })
    }

    fn allows(&self, found: &Version) -> bool {
        match self {
            Self::Compatible(of) => {
                let prefix = &of.release[..of.release.len() - 1];
                found.public().order(of).is_ge() && has_prefix(found, (&of.epoch, prefix))
            }
            Self::Prefix { not, of } => has_prefix(found, (&of.epoch, &of.release)) != *not,
            Self::Equal { not, to } if to.local.is_empty() => {
                found.public().order(to).is_eq() != *not
            }
            Self::Equal { not, to } => found.order(to).is_eq() != *not,
            Self::AtMost(bound) => found.public().order(bound).is_le(),
            Self::AtLeast(bound) => found.public().order(bound).is_ge(),
            // Nor are the prereleases of the bound below it.
            Self::Below(bound) if bound.is_prerelease() => found.order(bound).is_lt(),
            Self::Below(bound) => {
                let first = Version { dev: Some(Number::of("0")), ..bound.clone() };
                found.order(&first).is_lt()
            }
            // Nor are the posts of the bound above it, unless it is one.
            Self::Above(bound) => {
                let same = found.same_base(bound) && found.pre == bound.pre;
                let of_bound = same && found.post.is_some() && bound.post.is_none();
                found.public().order(bound).is_gt() && (bound.dev.is_some() || !of_bound)
            }
            Self::Arbitrary(text) => found.to_string() == *text,
        }
    }
}

/// Whether a version is of a release that begins so, zeros added to it.
fn has_prefix(found: &Version, (epoch, release): (&Number, &[Number])) -> bool {
    let same = |(at, wanted): (usize, &Number)| {
        found.release.get(at).map_or_else(|| wanted.is_zero(), |number| number == wanted)
    };
    found.epoch == *epoch && release.iter().enumerate().all(same)
}

/// Highest of the versions that the specifiers allow.
pub(super) fn resolve(range: &str, versions: &[String]) -> Result<Option<String>, String> {
    let specifiers = Specifiers::parse(range)?;
    let parsed = versions.iter().filter_map(|text| Some((Version::parse(text)?, text)));
    let fitting: Vec<_> = parsed.filter(|(version, _)| specifiers.allows(version)).collect();
    let any = specifiers.names_prerelease();
    let best = |early: bool| {
        let taken = fitting.iter().filter(|(version, _)| early || !version.is_prerelease());
        taken.max_by(|(a, _), (b, _)| a.order(b)).map(|(_, text)| (*text).clone())
    };
    Ok(best(any).or_else(|| best(true)))
}
