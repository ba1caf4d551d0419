//! Verbs about packages: publishing, finding, fetching, and what lacks.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, Subcommand};
use node::formats::platform::Platform;

#[derive(Debug, ClapArgs)]
pub(crate) struct Publish {
    /// Folders or archives, recognised by their manifest; with --format generic, any files
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// Format, where the manifest does not tell
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Name, for --format generic
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Version, for --format generic
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Realm to publish in [default: where the name is routed, else site, else own]
    #[arg(long)]
    pub(crate) realm: Option<String>,
    /// Tag to point at the version; repeatable
    #[arg(long)]
    pub(crate) tag: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Add {
    /// NAME, NAME@VERSION or NAME@RANGE by the format's own rules; FORMAT: may stand before it
    #[arg(value_name = "NAME[@RANGE]", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Folder for the files [default: this one]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Search {
    /// Part of a name or description; empty for all
    #[arg(default_value = "")]
    pub(crate) query: String,
    /// Only this format
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Packages at most
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Packages to pass over
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Named {
    /// NAME, or NAME@VERSION
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Yank {
    /// NAME@VERSION
    #[arg(value_name = "NAME@VERSION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// For those who read it later
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Endorse {
    /// NAME@VERSION
    #[arg(value_name = "NAME@VERSION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Tag {
    /// NAME@VERSION; with --remove, NAME
    #[arg(value_name = "NAME@VERSION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// The tag, such as beta
    pub(crate) tag: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Remove the tag
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Accept {
    /// NAME, to take the source that waits; NAME@VERSION, to take a content
    #[arg(value_name = "NAME[@VERSION]", value_parser = NonEmptyStringValueParser::new())]
    #[arg(required_unless_present = "mirrors")]
    pub(crate) package: Option<String>,
    /// Show the mirrors that the site grants, and believe them instead of those accepted before
    #[arg(long, conflicts_with_all = ["package", "format", "source", "file", "digest"])]
    pub(crate) mirrors: bool,
    /// With --mirrors: believe them without asking
    #[arg(long, short, requires = "mirrors")]
    pub(crate) yes: bool,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// A realm, own, site, upstream or deny
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Which file of the version
    #[arg(long)]
    pub(crate) file: Option<String>,
    /// Which content of the file
    #[arg(long)]
    pub(crate) digest: Option<crdt::Digest>,
    /// Say that the alarms of NAME were read: status shows them no more
    #[arg(long, conflicts_with_all = ["mirrors", "source", "file", "digest"])]
    pub(crate) alarms: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// The package
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Folder for the files [default: this one]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// File for the document; its signatures go to FILE.signatures.json beside it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) automerge: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Prefetch {
    /// Lockfiles, or folders with one [default: those of this folder]
    #[arg(value_name = "LOCKFILE")]
    pub(crate) lockfiles: Vec<PathBuf>,
    /// Leave out what cannot be installed on this platform, such as linux-x86_64; repeatable
    /// [default: everything that is locked]
    #[arg(long, value_name = "PLATFORM", value_parser = Platform::parse)]
    pub(crate) platform: Vec<Platform>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// Lockfiles, or folders with one [default: those of this folder]
    #[arg(value_name = "LOCKFILE")]
    pub(crate) lockfiles: Vec<PathBuf>,
    /// Leave out what cannot be installed on this platform, such as linux-x86_64; repeatable
    /// [default: everything that is locked]
    #[arg(long, value_name = "PLATFORM", value_parser = Platform::parse)]
    pub(crate) platform: Vec<Platform>,
    /// Replace URLs of a node in the lockfile by those of the upstream
    #[arg(long)]
    pub(crate) fix: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Want {
    /// What lacks here, why, and since when
    List,
    /// Stop wanting a package
    Forget {
        /// NAME
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Format, if the name is wanted in several
        #[arg(long)]
        format: Option<String>,
    },
}
