//! Verbs about keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use crdt::PublicKey;

use super::Signing;

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show publisher, node, peer and root keys, or the public half of a key file
    Show {
        /// A key file
        file: Option<PathBuf>,
    },
    /// Make a key file and print its public key
    New(NewKey),
    /// Write a key down: as 24 words for paper, or to another file
    Export {
        /// root, publisher, node, or a key file
        key: String,
        #[command(flatten)]
        paper: Paper,
    },
    /// Make a key file of a file or of words; a secret is never an argument
    Import {
        /// A key file; without it --words
        #[arg(required_unless_present = "words", conflicts_with = "words")]
        file: Option<PathBuf>,
        /// Type the 24 words, or give them on the standard input
        #[arg(long)]
        words: bool,
        /// Whose place it takes
        #[arg(long, value_enum, default_value_t = Purpose::Root)]
        role: Purpose,
        /// Where to write it [default: the home's file of that role]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Seal the file with a passphrase
        #[arg(long)]
        passphrase: bool,
    },
    /// End a key: nothing that it signs counts any more, but what is kept
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// What it is for
    #[arg(long, value_enum, default_value_t = Purpose::Root)]
    pub(crate) role: Purpose,
    /// Where to write it, as on a stick [default: the home's file of that role]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Seal the file with a passphrase
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Print the 24 words, too; for a recovery key without --to they are all there is
    #[arg(long)]
    pub(crate) words: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Paper {
    /// Print 24 words
    #[arg(long)]
    pub(crate) words: bool,
    /// Write a key file
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Write a key file that is sealed with a passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) sealed: Option<PathBuf>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Signs the authority of a realm
    Root,
    /// Signs releases
    Publisher,
    /// Gives a realm new roots, once
    Recovery,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The public key
    pub(crate) revoked: PublicKey,
    /// What of it goes on counting: all, none, or FORMAT:NAME@VERSION; repeatable
    #[arg(long, default_value = "all", value_parser = Keep::parse)]
    pub(crate) keep: Vec<Keep>,
    /// Why, for people
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Which realm
    #[arg(long, default_value = "own")]
    pub(crate) realm: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// Which releases of a revoked key go on counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All that stand here.
    All,
    /// None.
    None,
    /// Those of a package, or of one version of it.
    Package(String),
}

impl Keep {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            name if name.contains(':') => Ok(Self::Package(name.to_owned())),
            _ => Err("all, none, or FORMAT:NAME@VERSION".into()),
        }
    }
}
