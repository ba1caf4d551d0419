//! Verbs about what a node cannot decide by itself.

use clap::{Args, Subcommand, ValueEnum};

use super::Signing;

#[derive(Debug, Subcommand)]
pub(crate) enum Dispute {
    /// All disputed versions and contested realms on this node
    List,
    /// Who signed what, what is sealed, what this node keeps, what has fallen and why
    Show {
        /// FORMAT:NAME@VERSION, or NAME@VERSION
        package: String,
    },
    /// Decide for one content: withdraw a rival, seal, or accept it here
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// FORMAT:NAME@VERSION, or NAME@VERSION
    pub(crate) package: String,
    /// The content that is right, or the start of its digest
    #[arg(long)]
    pub(crate) digest: String,
    /// How, if more than one way is open
    #[arg(long, value_enum)]
    pub(crate) by: Option<Way>,
    /// Why, for people
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// A way to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// As its publisher: take this node's signature off the other content, for everybody
    Withdraw,
    /// As the roots: vouch for this content, for everybody
    Seal,
    /// As a user: take this content, on this node alone
    Accept,
}
