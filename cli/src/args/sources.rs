//! Verbs about where names come from, and about the clients that ask.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Say where names come from, before every other rule
    Add {
        /// FORMAT:NAME or FORMAT:PREFIX*
        names: String,
        /// A realm, own, site, upstream, the URL of an upstream, or deny
        source: String,
        /// Say it for all who joined the site, signed with its root keys
        #[arg(long)]
        site: bool,
        #[command(flatten)]
        signing: super::Signing,
    },
    /// Rules of this node, its site, and confirmed claims, in the order in which they apply
    List,
    /// Take an own rule back
    Remove {
        /// As it was added
        names: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Upstream {
    /// Ask this registry for names of the format that no realm has
    Add(UpstreamAdd),
    /// Upstreams of this node and of its site
    List,
    /// Give an upstream up, with this node's routes to it
    Remove {
        /// The format that it speaks
        format: String,
        /// As `upstream list` shows it
        #[arg(value_name = "URL|ID")]
        which: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UpstreamAdd {
    /// The format that it speaks
    pub(crate) format: String,
    /// Base URL, as its clients have it
    pub(crate) url: String,
    /// Only for these names: NAME, or PREFIX* such as '@acme/*'
    #[arg(long, value_name = "PATTERN")]
    pub(crate) names: Option<String>,
    /// Another URL or id of the same registry; repeatable
    #[arg(long, value_name = "URL|ID")]
    pub(crate) same_as: Vec<String>,
    /// A file with the token for it; - reads the standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Take the place of the format's default
    #[arg(long)]
    pub(crate) default: bool,
    /// Do not tell it to who joins this node's realm
    #[arg(long, conflicts_with = "site")]
    pub(crate) private: bool,
    /// Tell it to who joins, or fail; also when it is on this machine
    #[arg(long)]
    pub(crate) site: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Link {
    /// npm, pnpm, yarn (version 1), berry (yarn from 2 on) or bun
    #[arg(value_name = "CLIENT")]
    pub(crate) clients: Vec<String>,
    /// Only for this project [default: for the user; without DIR: this folder]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    pub(crate) project: Option<PathBuf>,
    /// Make a token and let the client publish with it
    #[arg(long, requires = "clients")]
    pub(crate) publish: bool,
    /// Do not tell the adopted upstreams to who joins this node's realm
    #[arg(long, requires = "clients")]
    pub(crate) private: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unlink {
    /// As they were linked
    #[arg(value_name = "CLIENT", required = true)]
    pub(crate) clients: Vec<String>,
    /// In this project [default: for the user; without DIR: this folder]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    pub(crate) project: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The command and its arguments; its exit code is passed on
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}
