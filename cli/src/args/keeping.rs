//! Verbs that run a node and keep it: its life, its room, its backups.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use clap::builder::NonEmptyStringValueParser;
use node::mesh::Multiaddr;

use crate::{period, size};

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// Where clients connect, on this machine only; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7878", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where peers connect; repeatable [default: all addresses, TCP and QUIC 7879]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) mesh_listen: Vec<Multiaddr>,
    /// A peer to dial; repeatable. Meeting a peer changes nothing about what is installed
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) peer: Vec<Multiaddr>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Do not dial peers that other peers tell of
    #[arg(long)]
    pub(crate) no_introductions: bool,
    /// Strangers on the mesh get the names of realms and nothing else; remembered
    #[arg(long)]
    pub(crate) members_only: bool,
    /// Take back --members-only
    #[arg(long, conflicts_with = "members_only")]
    pub(crate) open: bool,
    /// Ask no upstream; the mesh still works
    #[arg(long)]
    pub(crate) offline: bool,
    /// Keep blobs in a bucket that several nodes may share; the environment names endpoint and
    /// credentials (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID …) [default: in the home]
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    pub(crate) blobs: Option<String>,
    /// With --blobs: copies that the home holds, such as 500MB or 20GB
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = size::parse)]
    #[arg(requires = "blobs")]
    pub(crate) blobs_cache: u64,
    /// Memory for documents that are ready to be sent, such as 64MiB or 1GB; 0 keeps none
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size::parse)]
    pub(crate) metadata_memory: u64,
    /// Disk for such documents, so that a restart makes none again; 0 keeps none there
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse)]
    pub(crate) metadata_disk: u64,
    /// What all files may take, such as 20GB; what can be had again goes first [default: no limit]
    #[arg(long, env = "GRIOT_QUOTA", hide_env = true)]
    #[arg(value_name = "SIZE", value_parser = size::parse)]
    pub(crate) quota: Option<u64>,
    /// What is left free on the disk [default: 67MB]
    #[arg(long, env = "GRIOT_RESERVE", hide_env = true)]
    #[arg(value_name = "SIZE", value_parser = size::parse)]
    pub(crate) reserve: Option<u64>,
    /// How often what nothing refers to is removed, such as 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = period::parse)]
    pub(crate) gc_every: Duration,
    /// How often this node may say how much of a realm it has heard of, where it has the role beat
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = period::parse)]
    pub(crate) beat_every: Duration,
    /// Read all files again in the background at this rate, such as 1MB/s
    #[arg(long, value_name = "RATE", value_parser = size::rate)]
    pub(crate) scrub: Option<u64>,
    /// From the end of one background reading to the next, such as 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = period::parse)]
    #[arg(requires = "scrub")]
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
    /// Clear up the bucket that the blobs are in, rather than this home: what no node of it names
    #[arg(long)]
    pub(crate) bucket: bool,
    /// With --bucket: a node that is gone for good, so that what only it names may go
    #[arg(long, value_name = "NODE", requires = "bucket")]
    pub(crate) forget: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// Bytes a second that are read at most, such as 20MB/s; 0 for no bound
    #[arg(long, default_value = "20MB/s", value_name = "RATE", value_parser = size::rate)]
    pub(crate) rate: u64,
    /// Begin at the beginning, also if the last run was cut
    #[arg(long)]
    pub(crate) restart: bool,
    /// Rather than files, compare all that follows from the signed statements with them: views,
    /// search, fingerprints, saved documents, sums; and mend what differs
    #[arg(long, conflicts_with_all = ["rate", "restart"])]
    pub(crate) index: bool,
    /// With --index: verify every signature again, too
    #[arg(long, requires = "index")]
    pub(crate) signatures: bool,
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
was cut is typed again. Until it is in sync with a member of its site that knew it before the \
backup, or until --up-to-date, a restored node signs no change of its realm's roles: another node \
may have a newer one, and two would split the realm. Never run both the old node and the restored \
one: they have the same keys.")]
pub(crate) struct Restore {
    /// The folder of the backup
    #[arg(value_name = "DIR", required_unless_present = "up_to_date")]
    pub(crate) folder: Option<PathBuf>,
    /// Say that no other node has newer statements of this realm, or that they have come
    #[arg(long, conflicts_with = "folder")]
    pub(crate) up_to_date: bool,
}
