//! Patterns of names: exact, or a literal prefix followed by `*`. No regular expressions.
//!
//! Patterns are compared with names in the format's normal form. More than one may match a name;
//! [`Pattern::specificity`] says which one is the narrower.
//!
//! Source: trust.md sections 4 and 11.

use serde::{Deserialize, Serialize};

use super::limits;
use crate::Error;

/// Exact, or literal prefix followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pattern(pub String);

impl Pattern {
    /// Parses; `*` alone is everything.
    ///
    /// # Errors
    /// [`Error::BadName`] if it is empty, too long, not plain text, or has a `*` anywhere but at
    /// the end.
    pub fn parse(text: &str) -> Result<Self, Error> {
        limits::pattern(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Whether the normal name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.prefix() {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name,
        }
    }

    /// Whether it is `*` alone.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Order of precedence: exact before prefix, longer before shorter. Greater is narrower.
    #[must_use]
    pub fn specificity(&self) -> (bool, usize) {
        match self.prefix() {
            Some(prefix) => (false, prefix.len()),
            None => (true, self.0.len()),
        }
    }

    /// Whether some name matches both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.prefix(), other.prefix()) {
            (Some(one), Some(two)) => one.starts_with(two) || two.starts_with(one),
            (Some(_), None) => self.matches(&other.0),
            (None, _) => other.matches(&self.0),
        }
    }

    fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }
}
