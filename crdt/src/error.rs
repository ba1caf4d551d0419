//! What can be wrong with bytes that claim to be part of the index.
//!
//! One enum for the whole crate, by what a caller can do: refuse the bytes, or close the stream.
//! Refusing is always local and says nothing about who signed; a statement that merely has no
//! effect is no error.

/// Why a statement, an envelope or a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not parse as what they claim to be.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which thing was being read, such as `statement` or `frame`.
        what: &'static str,
        /// What was wrong with it.
        why: String,
    },
    /// The bytes parse, but are not the one canonical encoding of their content.
    #[error("{what} is not in its canonical encoding")]
    NotCanonical {
        /// Which thing was being read.
        what: &'static str,
    },
    /// A limit of the protocol was exceeded.
    #[error("{what} is over its limit of {limit}")]
    OverLimit {
        /// Which quantity.
        what: &'static str,
        /// The largest value that is accepted.
        limit: u64,
    },
    /// A key is not canonical, of small order, or has torsion.
    #[error("not an acceptable public key")]
    BadKey,
    /// A signature does not verify under the strict rule.
    #[error("the signature does not verify")]
    BadSignature,
    /// A name, version or pattern is not written in an accepted form.
    #[error("{0}")]
    BadName(String),
    /// The peer broke the order of calls or contradicted itself.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
}
