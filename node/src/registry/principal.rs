//! Who asks, and what they may ask for. Tokens ask, keys sign: a principal is never a proof to
//! another node.

use crdt::RealmId;
use crdt::statement::Pattern;
use serde::{Deserialize, Serialize};

use super::{Error, Outcome};

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Read realms that are not public.
    Read,
    /// Publish, tag and withdraw.
    Publish,
    /// Yank and unyank.
    Yank,
    /// Everything on this node.
    Admin,
}

impl Scope {
    /// The word that `griot token create --scope` takes.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Yank => "yank",
            Self::Admin => "admin",
        }
    }
}

/// Who asks, as `http/auth.rs` found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// For answers such as `npm whoami`, and for the log.
    pub name: String,
    /// Sorted; empty for a reader without a token.
    pub scopes: Vec<Scope>,
    /// The realm that this principal publishes to, if its token is bound to one.
    pub realm: Option<RealmId>,
    /// (format, pattern) pairs that limit it; empty: no limit.
    pub patterns: Vec<(String, Pattern)>,
}

impl Principal {
    /// A reader on loopback without any credential.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "anonymous".to_owned(), scopes: Vec::new(), realm: None, patterns: Vec::new() }
    }

    /// Who keeps this node.
    #[must_use]
    pub fn admin() -> Self {
        let scopes = vec![Scope::Read, Scope::Publish, Scope::Yank, Scope::Admin];
        Self { name: "admin".to_owned(), scopes, realm: None, patterns: Vec::new() }
    }

    /// Whether nothing is known of the asker.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether the scope is held; admin holds all.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Demands a scope.
    ///
    /// # Errors
    /// [`Outcome::Unauthenticated`] without any credential, else [`Outcome::Forbidden`].
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.may(scope) {
            return Ok(());
        }
        let word = scope.word();
        let hint = format!("griot token create --scope {word}");
        if self.is_anonymous() {
            let message = format!("this needs a token with the scope `{word}`, and none was sent");
            return Err(Error::new(Outcome::Unauthenticated, message).with_hint(hint));
        }
        let message = format!("the token of `{}` does not have the scope `{word}`", self.name);
        Err(Error::forbidden(message).with_hint(hint))
    }

    /// Demands that the token's patterns, if it has any, cover the name.
    ///
    /// # Errors
    /// [`Outcome::Forbidden`] when none of them does.
    pub fn require_name(&self, format: &str, name: &str) -> Result<(), Error> {
        let covers = |(of, pattern): &(String, Pattern)| {
            (of == "*" || of == format) && pattern.matches(name)
        };
        if self.patterns.is_empty() || self.patterns.iter().any(covers) {
            return Ok(());
        }
        Err(Error::forbidden(format!(
            "the token of `{}` does not cover {format}:{name}",
            self.name
        )))
    }
}
