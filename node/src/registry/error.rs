//! The eight outcomes of a use-case.
//!
//! A caller can do eight different things about a failure, so there are eight of them; everything
//! finer is in the sentence. `http/error.rs` maps an outcome to a status, once. The sentence is
//! written for the person whose client prints it: what failed, why, and in `hint` the next command.

use crate::{mesh, store, upstream};

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Positively absent: nobody who owns the name has it.
    NotFound,
    /// Known, or possibly there, but the bytes are out of reach now. It became a want.
    NotHere,
    /// The request itself is wrong.
    Invalid,
    /// No credential, or one that is not known here.
    Unauthenticated,
    /// A known asker who may not do this.
    Forbidden,
    /// It exists with other content, or two contents contradict each other.
    Conflict,
    /// Bytes that are not what was signed for.
    Corrupt,
    /// Full or overloaded: the same request may work later.
    Unavailable,
}

/// A failed use-case, ready to be shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which of the eight.
    pub outcome: Outcome,
    /// One sentence: what failed and why.
    pub message: String,
    /// The next command to type, where there is one.
    pub hint: Option<String>,
}

impl Error {
    /// An outcome with its sentence.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), hint: None }
    }

    /// The same with the next command to type.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// [`Outcome::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Outcome::NotFound, message)
    }

    /// [`Outcome::NotHere`].
    pub fn not_here(message: impl Into<String>) -> Self {
        Self::new(Outcome::NotHere, message)
    }

    /// [`Outcome::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Outcome::Invalid, message)
    }

    /// [`Outcome::Forbidden`].
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Outcome::Forbidden, message)
    }

    /// [`Outcome::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Outcome::Conflict, message)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let message = error.to_string();
        match error {
            store::Error::Full { .. } => Self::new(Outcome::Unavailable, message).with_hint(
                "griot gc frees what nothing needs, griot status shows what holds the rest; \
                 or free some space on that disk, then try again",
            ),
            store::Error::OverQuota { .. } => Self::new(Outcome::Unavailable, message).with_hint(
                "griot gc frees what nothing needs, griot status shows what holds the rest; \
                 or start the node with a larger --quota",
            ),
            store::Error::NotFetched { .. } => Self::not_here(message).with_hint("griot status"),
            store::Error::NotSent { .. } => Self::new(Outcome::Unavailable, message)
                .with_hint("once griot status shows no trouble with it, try again"),
            store::Error::NotSwept { .. } => Self::conflict(message).with_hint("griot status"),
            store::Error::TooLarge { .. } => Self::new(Outcome::Invalid, message),
            store::Error::NoSession => Self::not_found(message),
            store::Error::Offset { .. } | store::Error::SessionBusy => Self::conflict(message),
            store::Error::TooManySessions { .. } => Self::conflict(message)
                .with_hint("finish or cancel some, or wait until they expire"),
            store::Error::WrongDigest { .. } => Self::new(Outcome::Corrupt, message),
            _ => {
                tracing::error!(%error, "the store failed");
                Self::new(Outcome::Unavailable, message)
            }
        }
    }
}

impl From<mesh::Error> for Error {
    fn from(error: mesh::Error) -> Self {
        match error {
            mesh::Error::Store(error) => error.into(),
            other => Self::not_here(other.to_string()),
        }
    }
}

impl From<crdt::Error> for Error {
    fn from(error: crdt::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<upstream::Error> for Error {
    fn from(error: upstream::Error) -> Self {
        let message = error.to_string();
        match error {
            upstream::Error::Wrong(_) => Self::new(Outcome::Corrupt, message),
            upstream::Error::Store(_) => Self::new(Outcome::Unavailable, message),
            _ => Self::not_here(message),
        }
    }
}
