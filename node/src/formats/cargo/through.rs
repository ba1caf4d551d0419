//! What of cargo's upstreams `griot run` lets this node answer: all that is read of the index. Its
//! `config.json` names this node as the place of the crates, so downloads come here by themselves.
//!
//! Source: formats/cargo.md section 5.

use crate::formats::{Proxied, Through};

/// cargo.
pub(super) const THROUGH: Through = Through {
    // Its config.json says where all crates are, and is one for all names.
    name: |_| None,
    variables: Proxied {
        https: &["CARGO_HTTP_PROXY"],
        trust: &["CARGO_HTTP_CAINFO"],
        ..Proxied::NONE
    },
    ..Through::PLAIN
};
