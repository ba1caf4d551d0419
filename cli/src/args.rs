//! The grammar of the command: read it as its manual.
//!
//! Words and flags here are a contract of scripts (DESIGN section 8): they change only with a line
//! in the changelog. What a verb does is in `commands`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, Parser, Subcommand};
use node::daemon::invite::InviteRole;
use node::mesh::Multiaddr;
use node::registry::Scope;

use crate::output::{Code, Failure};

/// A peer-to-peer package registry node: install with the cable out.
#[derive(Debug, Parser)]
#[command(name = "griot", version, propagate_version = false, arg_required_else_help = true)]
#[command(max_term_width = 100)]
pub(crate) struct Args {
    /// Folder of the node [default: griot in the user's data folder]
    #[arg(long, global = true, env = "GRIOT_HOME", value_name = "DIR")]
    #[arg(hide_env_values = true, display_order = 100)]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON value on the standard output
    #[arg(long, global = true, display_order = 101)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the node in the foreground
    Up(Up),
    /// Show what the running node is and holds
    Status,
    /// Sign and publish packages, or any file as a generic package
    Publish(Publish),
    /// Resolve a package and fetch its files into this folder
    Add(Add),
    /// Find packages that can be installed here
    Search(Search),
    /// Show the versions, files, signers and tags of a package
    Info(Named),
    /// Explain where a name comes from and why it is what it is
    Why(Named),
    /// Hide a version from new resolution; what is installed goes on
    Yank(Yank),
    /// Offer a yanked version again
    Unyank(Yank),
    /// Point a tag at a version, or remove it
    Tag(Tag),
    /// Take another source or content for a name that is pinned
    Accept(Accept),
    /// Write a package's automerge document and its signatures to files
    Export(Export),
    /// Fetch all that a lockfile names, so that its project installs offline
    Prefetch(Prefetch),
    /// Say what a project lacks to install offline; asks nobody
    Check(Check),
    /// What was asked for in vain
    #[command(subcommand)]
    Want(Want),
    /// Other nodes: whom this one dials, and whom it is connected to
    #[command(subcommand)]
    Peer(Peer),
    /// Make one line of text that lets another node join this node's realm
    Invite(Invite),
    /// Make the realm of an invite this node's site
    Join(Join),
    /// Take packages, and the names that it claims, from a realm
    Follow(Follow),
    /// Stop following a realm
    Unfollow(Unfollow),
    /// This node's own word on where a name comes from
    #[command(subcommand)]
    Route(Route),
    /// The outside registries that names come from
    #[command(subcommand)]
    Upstream(Upstream),
    /// Point package managers at this node; alone: show which can be, and which are
    Link(Link),
    /// Give package managers their own settings back
    Unlink(Unlink),
    /// Public keys of this node
    #[command(subcommand)]
    Key(Key),
    /// Realms, and who may do what in them
    #[command(subcommand)]
    Realm(Realm),
    /// Credentials for clients that publish
    #[command(subcommand)]
    Token(Token),
    /// Run a command whose downloads go through this node; nothing is configured
    Run(Run),
    /// Copy all that the node holds to a folder, also while it runs
    Backup(Backup),
    /// Make a node's folder from a backup
    Restore(Restore),
    /// Pin a package: nothing of it is ever let go for room
    Keep(Keep),
    /// Take a pin back
    Unkeep(Unkeep),
    /// Remove what nothing refers to
    Gc(Gc),
    /// Read all files again; what rotted on the disk is put aside and fetched anew
    Verify(Verify),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// Where clients connect, on this machine only; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7878", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where peers connect; repeatable [default: all addresses, TCP 7879]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) mesh_listen: Vec<Multiaddr>,
    /// A peer to dial; repeatable. Meeting a peer changes nothing about what is installed
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) peer: Vec<Multiaddr>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Ask no upstream; the mesh still works
    #[arg(long)]
    pub(crate) offline: bool,
    /// Keep blobs in a bucket that several nodes may share; the environment names endpoint and
    /// credentials (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID …) [default: in the home]
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    pub(crate) blobs: Option<String>,
    /// With --blobs: copies that the home holds, such as 500MB or 20GB
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = bytes)]
    #[arg(requires = "blobs")]
    pub(crate) blobs_cache: u64,
    /// Memory for documents that are ready to be sent, such as 64M or 1G; 0 keeps none
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = crate::size::parse)]
    pub(crate) metadata_memory: usize,
    /// What all files may take, such as 20GB; what can be had again goes first [default: no limit]
    #[arg(long, env = "GRIOT_QUOTA", hide_env = true, value_name = "SIZE", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    /// What is left free on the disk [default: 67MB]
    #[arg(long, env = "GRIOT_RESERVE", hide_env = true, value_name = "SIZE", value_parser = bytes)]
    pub(crate) reserve: Option<u64>,
    /// How often what nothing refers to is removed, such as 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = crate::period::parse)]
    pub(crate) gc_every: Duration,
    /// Read all files again in the background at this rate, such as 1MB/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) scrub: Option<u64>,
    /// From the end of one background reading to the next
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = crate::period::parse)]
    pub(crate) scrub_every: Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Keep {
    /// NAME for all of its versions, NAME@VERSION or NAME@RANGE; nothing lists what is pinned
    #[arg(value_name = "NAME[@RANGE]", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: Option<String>,
    /// Format, if the name is there in several
    #[arg(long)]
    pub(crate) format: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unkeep {
    /// As it was pinned; NAME alone takes all pins of it back
    #[arg(value_name = "NAME[@RANGE]", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) package: String,
    /// Format, if the name is pinned in several
    #[arg(long)]
    pub(crate) format: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Gc {
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// Bytes a second that are read at most, such as 20MB/s; 0 for no bound
    #[arg(long, default_value = "20MB/s", value_name = "RATE", value_parser = rate)]
    pub(crate) rate: u64,
    /// Begin at the beginning, also if the last run was cut
    #[arg(long)]
    pub(crate) restart: bool,
}

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
    /// NAME, NAME@VERSION or NAME@RANGE, by the format's own rules
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
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Prefetch {
    /// Lockfiles, or folders with one [default: those of this folder]
    #[arg(value_name = "LOCKFILE")]
    pub(crate) lockfiles: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// Lockfiles, or folders with one [default: those of this folder]
    #[arg(value_name = "LOCKFILE")]
    pub(crate) lockfiles: Vec<PathBuf>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// Remember an address and dial it
    Add {
        /// Such as /ip4/192.168.4.1/tcp/7879
        address: Multiaddr,
    },
    /// Peers that are connected now, and the realms that they show
    List,
    /// Forget an address, or take back that a node is a member of the site
    Remove {
        /// As it was added
        #[arg(required_unless_present = "member")]
        address: Option<Multiaddr>,
        /// A node that redeemed an invite of this one: its id, or the start of it
        #[arg(long, value_name = "PEER", conflicts_with = "address")]
        member: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invite {
    /// reader, publisher or mirror; the last two wait here and grant the role when it is asked for
    #[arg(long, default_value = "reader")]
    pub(crate) role: InviteRole,
    /// Names for which the role is granted, FORMAT:PATTERN
    #[arg(long, default_value = "*:*", value_name = "FORMAT:PATTERN")]
    pub(crate) names: String,
    /// Print the line and end; the request waits for `griot realm requests --grant`
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Join {
    /// The line that `griot invite` printed
    pub(crate) invite: String,
    /// Do not believe the site's mirrors
    #[arg(long, conflicts_with = "yes")]
    pub(crate) no_mirror: bool,
    /// Believe the site's mirrors without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Follow {
    /// A realm id, or the start of one that a peer shows
    pub(crate) realm: String,
    /// Confirm the names that it claims without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unfollow {
    /// A realm id, or the start of one that is followed
    pub(crate) realm: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Say where names come from, before every other rule
    Add {
        /// FORMAT:NAME or FORMAT:PREFIX*
        names: String,
        /// A realm, own, site, upstream, the URL of an upstream, or deny
        source: String,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show publisher, node, peer and root keys
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Realm {
    /// Show a realm: its roots, grants and claims
    Show {
        /// A realm id or its start, own or site
        #[arg(default_value = "own")]
        realm: String,
    },
    /// Realms that are followed or shown by a peer
    List,
    /// Grant a role to a key; signed with the root key file
    Grant {
        /// FORMAT:NAME or FORMAT:PREFIX*
        names: String,
        /// Public key, as `griot key show` prints it
        key: crdt::PublicKey,
        /// publish or mirror
        #[arg(long, default_value = "publish", value_parser = ["publish", "mirror"])]
        #[arg(hide_possible_values = true)]
        role: String,
        /// Realm of which the root key is here
        #[arg(long, default_value = "own")]
        realm: String,
    },
    /// Nodes that ask for a role
    Requests {
        /// Grant this one; signed with the root key file
        #[arg(long, value_name = "ID")]
        grant: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; it is shown once
    Create {
        /// A list of read, publish, yank, admin
        #[arg(long, value_delimiter = ',', required = true, value_parser = scope)]
        scope: Vec<Scope>,
        /// The only realm that it publishes to
        #[arg(long)]
        realm: Option<String>,
        /// The only names that it is for, FORMAT:PATTERN; repeatable
        #[arg(long, value_name = "FORMAT:PATTERN")]
        names: Vec<String>,
        /// Hours of the node's running time that it lasts [default: no end]
        #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..))]
        expires: Option<u64>,
        /// What it is for
        #[arg(long, default_value = "token")]
        name: String,
    },
    /// Tokens, without their secrets
    List,
    /// End a token at once
    Revoke {
        /// As `token list` shows it
        id: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The command and its arguments; its exit code is passed on
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The node's secret keys go along, so that the node comes back as itself: whoever has the folder can \
be the node. Keep it like the node's own folder. With --without-keys the backup can be given away: \
it has packages and statements, but no keys, tokens, invites or credentials, and a node that is \
restored from it makes keys of its own and takes this node's realm for its site.

A second backup to the same folder copies only what is new.")]
pub(crate) struct Backup {
    /// Where to; made if it is not there, brought up to date if it has this node's backup
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Leave out the keys and all secrets of this node
    #[arg(long)]
    pub(crate) without_keys: bool,
    /// Only verify the backup that is there, byte for byte; needs no node
    #[arg(long, conflicts_with = "without_keys")]
    pub(crate) check: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The new folder is --home (or GRIOT_HOME); it must be empty. Every byte is verified. A restore that \
was cut is typed again. Until --up-to-date, a restored node signs no change of its realm's roles: \
another node may have a newer one, and two would split the realm. Never run both the old node and \
the restored one: they have the same keys.")]
pub(crate) struct Restore {
    /// The folder of the backup
    #[arg(value_name = "DIR", required_unless_present = "up_to_date")]
    pub(crate) folder: Option<PathBuf>,
    /// Say that no other node has newer statements of this realm, or that they have come
    #[arg(long, conflicts_with = "folder")]
    pub(crate) up_to_date: bool,
}

/// What the parser says, as a failure: its sentence, and its usage line as the next command.
pub(crate) fn misuse(text: &str) -> Failure {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let told = text.lines().take_while(|line| !line.starts_with("Usage: "));
    let told = told.filter(|line| !line.starts_with("For more information"));
    let message: Vec<&str> = told.map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let message = message.join("\n");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let hint = match usage.map(|usage| (usage, usage.split_once(" [OPTIONS] <COMMAND>"))) {
        Some((_, Some((command, _)))) => format!("{command} --help lists the verbs"),
        Some((usage, None)) => format!("{usage}; --help behind the verb tells more"),
        None => "--help behind the verb tells more".into(),
    };
    Failure::new(message).hint(hint).code(Code::Usage)
}

/// A size as people write it: 500MB, 20GB, 64MiB, or plain bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err("write a size such as 500MB, 20GB or 64MiB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a size such as 500MB or 20GB")?;
    number.checked_mul(factor).ok_or_else(|| "that is more than any disk has".into())
}

/// A size a second.
fn rate(text: &str) -> Result<u64, String> {
    bytes(text.strip_suffix("/s").unwrap_or(text))
}

fn scope(text: &str) -> Result<Scope, String> {
    let all = [Scope::Read, Scope::Publish, Scope::Yank, Scope::Admin];
    let found = all.into_iter().find(|scope| scope.word() == text);
    found.ok_or_else(|| "there are read, publish, yank and admin".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_verbs_of_the_contract_are_there() {
        let command = Args::command();
        let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        for verb in [
            "up", "status", "publish", "add", "search", "info", "why", "yank", "unyank", "tag",
            "export", "peer", "invite", "join", "follow", "unfollow", "route", "key", "realm",
            "token", "accept", "prefetch", "check", "want", "upstream", "link", "unlink", "run",
            "backup", "restore", "keep", "unkeep", "gc", "verify",
        ] {
            assert!(verbs.contains(&verb), "{verb}");
        }
    }

    #[test]
    fn up_listens_on_loopback_unless_told_otherwise() {
        let args = Args::try_parse_from(["griot", "up"]).unwrap();
        let Verb::Up(up) = args.verb else { panic!("not up") };
        assert_eq!(up.listen.to_string(), "127.0.0.1:7878");
        assert!(up.mesh_listen.is_empty() && !up.no_mdns && !up.offline);
        assert_eq!(up.metadata_memory, node::http::ready::MEMORY_BYTES);
    }

    #[test]
    fn json_and_home_stand_before_or_behind_the_verb() {
        for line in [
            &["griot", "--json", "--home", "/h", "status"],
            &["griot", "status", "--json", "--home", "/h"],
        ] {
            let args = Args::try_parse_from(*line).unwrap();
            assert!(args.json);
            assert_eq!(args.home, Some(PathBuf::from("/h")));
        }
    }

    #[test]
    fn wrong_use_is_told_in_three_parts() {
        let error = Args::try_parse_from(["griot", "info"]).unwrap_err();
        let failure = misuse(&error.to_string());
        assert!(failure.message.contains("<NAME>"), "{failure:?}");
        assert!(failure.hint.unwrap().starts_with("griot info <NAME>"));
        assert_eq!(failure.code, Code::Usage);
        let error = Args::try_parse_from(["griot", "peer", "nosuch"]).unwrap_err();
        let hint = misuse(&error.to_string()).hint.unwrap();
        assert_eq!(hint, "griot peer --help lists the verbs");
        let error = Args::try_parse_from(["griot", "search", "--limit", "x"]).unwrap_err();
        let failure = misuse(&error.to_string());
        assert!(failure.message.starts_with("invalid value 'x'"), "{failure:?}");
        assert!(!failure.message.contains("For more information"));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(bytes("20GB"), Ok(20_000_000_000));
        assert_eq!(bytes("64 MiB"), Ok(64 << 20));
        assert_eq!(bytes("17"), Ok(17));
        assert_eq!(rate("1MB/s"), Ok(1_000_000));
        for wrong in ["", "GB", "1.5GB", "-1", "20 apples", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_a_list_and_unknown_ones_are_wrong_use() {
        let line = ["griot", "token", "create", "--scope", "read,publish"];
        let Verb::Token(Token::Create { scope, .. }) = Args::try_parse_from(line).unwrap().verb
        else {
            panic!("not token create")
        };
        assert_eq!(scope, [Scope::Read, Scope::Publish]);
        let error = Args::try_parse_from(["griot", "token", "create", "--scope", "root"]);
        assert_eq!(error.unwrap_err().exit_code(), 2);
    }

    #[test]
    fn publish_takes_a_version_of_its_own() {
        let line =
            ["griot", "publish", "--format", "generic", "--name", "n", "--version", "1", "f"];
        let Verb::Publish(publish) = Args::try_parse_from(line).unwrap().verb else {
            panic!("not publish")
        };
        assert_eq!(publish.version.as_deref(), Some("1"));
        assert_eq!(publish.paths, [PathBuf::from("f")]);
    }
}
