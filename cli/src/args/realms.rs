//! Verbs about realms, and the flags of every verb that signs with a root key.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use crdt::statement::Grantee;
use crdt::{Digest, PublicKey, RealmId, StatementId};
use node::mesh::PeerId;

/// How a verb signs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signing")]
pub(crate) struct Signing {
    /// Sign with this key file, as on a stick; repeatable [default: keys/root of the home]
    #[arg(long = "key", id = "key_files", value_name = "FILE")]
    pub(crate) key_files: Vec<PathBuf>,
    /// Write the envelope to a file that others sign, instead of handing it to the node
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Sign although this key has signed another successor of the same epoch
    #[arg(long)]
    pub(crate) instead: bool,
    /// Carry this revoked key into the new epoch all the same; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) reinstate: Vec<PublicKey>,
    /// Take this key's roles back in the new epoch; repeatable
    #[arg(long = "drop", value_name = "KEY")]
    pub(crate) drop_key: Vec<PublicKey>,
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
    /// Found a realm with roots of its own, such as an organisation's
    Create(Create),
    /// Grant a role to a key, or to another realm's publishers
    Grant(Granting),
    /// Take a grant back
    Ungrant(Granting),
    /// Change the roots, how many of them act, or the recovery keys
    Rotate(Rotate),
    /// Vouch for releases, whatever becomes of their signers
    Seal(Seal),
    /// Declare revocations or seals void
    Clear {
        /// Ids, as `realm show` lists them
        #[arg(required = true)]
        ids: Vec<StatementId>,
        /// Which realm
        #[arg(long, default_value = "own")]
        realm: String,
        #[command(flatten)]
        signing: Signing,
    },
    /// Give a realm new roots with its recovery key
    Recover(Recover),
    /// Take a recovery, or one branch of a fork, for the realm from now on
    Accept {
        /// A realm id or its start
        realm: String,
        /// The root to take, if there are several
        root: Option<StatementId>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Statements that wait for more signatures
    Pending {
        /// A realm id or its start [default: all that are followed]
        realm: Option<String>,
    },
    /// Add a signature to what waits: a file, or an id of `realm pending`
    Sign {
        /// A file, or an id
        what: String,
        #[command(flatten)]
        signing: Signing,
    },
    /// Hand the envelope of a file to the node
    Post {
        /// The file
        file: PathBuf,
    },
    /// Nodes that ask for a role
    Requests {
        /// Grant this one; signed with the root key file
        #[arg(long, value_name = "ID")]
        grant: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is called; shown beside its id
    pub(crate) title: String,
    /// A root key; repeatable [default: those that sign]
    #[arg(long = "root", value_name = "KEY")]
    pub(crate) roots: Vec<PublicKey>,
    /// How many roots act together [default: just more than half]
    #[arg(long, value_name = "N")]
    pub(crate) k: Option<u32>,
    /// A recovery key, or the hash of one; repeatable
    #[arg(long, value_name = "KEY-OR-HASH", value_parser = recovery)]
    pub(crate) recovery: Vec<Digest>,
    /// How many recovery keys act together [default: just more than half]
    #[arg(long, value_name = "N", requires = "recovery")]
    pub(crate) rk: Option<u32>,
    /// A key that may publish every name; repeatable [default: this node's]
    #[arg(long = "publisher", value_name = "KEY")]
    pub(crate) publishers: Vec<PublicKey>,
    /// Only its readers see it: this node's key, and whom a grant of the role read names
    #[arg(long)]
    pub(crate) private: bool,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

#[derive(Debug, Args)]
pub(crate) struct Granting {
    /// FORMAT:NAME or FORMAT:PREFIX*
    pub(crate) names: String,
    /// Public key as `griot key show` prints it, a realm id, or for member a peer id
    #[arg(value_parser = grantee)]
    pub(crate) to: Grantee,
    /// publish, mirror, beat, member or read
    #[arg(long, default_value = "publish", hide_possible_values = true)]
    #[arg(value_parser = ["publish", "mirror", "beat", "member", "read"])]
    pub(crate) role: String,
    /// How many signatures a release of these names needs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) need: u32,
    /// Grants of shorter patterns do not apply to these names
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Which realm
    #[arg(long, default_value = "own")]
    pub(crate) realm: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// A root key that joins; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) add_root: Vec<PublicKey>,
    /// A root key that leaves; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) remove_root: Vec<PublicKey>,
    /// How many roots act together [default: as before, or just more than half]
    #[arg(long, value_name = "N")]
    pub(crate) k: Option<u32>,
    /// A recovery key or its hash, in place of those before; repeatable
    #[arg(long, value_name = "KEY-OR-HASH", value_parser = recovery)]
    pub(crate) recovery: Vec<Digest>,
    /// How many recovery keys act together
    #[arg(long, value_name = "N")]
    pub(crate) rk: Option<u32>,
    /// Earlier roots seal nothing more: only seals that are known here go on counting
    #[arg(long, conflicts_with = "keep_seals")]
    pub(crate) cut_seals: bool,
    /// Earlier roots may go on sealing, also if one leaves
    #[arg(long)]
    pub(crate) keep_seals: bool,
    /// Another title
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Which realm
    #[arg(long, default_value = "own")]
    pub(crate) realm: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// FORMAT:NAME or FORMAT:NAME@VERSION
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) packages: Vec<String>,
    /// All releases that stand and are not disputed
    #[arg(long)]
    pub(crate) all: bool,
    /// Of disputed versions, the releases with this content; repeatable
    #[arg(long, value_name = "DIGEST")]
    pub(crate) disputed: Vec<Digest>,
    /// Which realm
    #[arg(long, default_value = "own")]
    pub(crate) realm: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Which realm
    #[arg(long, default_value = "own")]
    pub(crate) realm: String,
    /// Type the 24 words of the recovery key; --key FILE takes one from a file
    #[arg(long)]
    pub(crate) words: bool,
    /// A new root key; repeatable
    #[arg(long = "root", value_name = "KEY", required = true)]
    pub(crate) roots: Vec<PublicKey>,
    /// How many of the new roots act together [default: just more than half]
    #[arg(long, value_name = "N")]
    pub(crate) k: Option<u32>,
    /// A recovery key or its hash for the time after [default: as before]
    #[arg(long, value_name = "KEY-OR-HASH", value_parser = recovery)]
    pub(crate) recovery: Vec<Digest>,
    /// How many recovery keys act together from then on
    #[arg(long, value_name = "N")]
    pub(crate) rk: Option<u32>,
    /// The last good epoch [default: the last that names the recovery key]
    #[arg(long, value_name = "EPOCH")]
    pub(crate) from: Option<u64>,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// A recovery key as roots name it: its hash, or the key of which it is made.
fn recovery(text: &str) -> Result<Digest, String> {
    if let Ok(key) = text.parse::<PublicKey>() {
        return Ok(crdt::statement::recovery_hash(&key));
    }
    text.parse().map_err(|_| {
        "neither a public key (66 digits) nor the hash of one (64 digits): \
         griot key new --role recovery prints both"
            .into()
    })
}

fn grantee(text: &str) -> Result<Grantee, String> {
    if let Ok(key) = text.parse::<PublicKey>() {
        return Ok(Grantee::Key(key));
    }
    if let Ok(realm) = text.parse::<RealmId>() {
        return Ok(Grantee::Realm(realm));
    }
    match text.parse::<PeerId>() {
        Ok(peer) => Ok(Grantee::Peer(peer.to_bytes())),
        Err(_) => Err("neither a public key, nor a realm id, nor a peer id".into()),
    }
}
