//! Verbs about who may do what: keys, realms, tokens.

use clap::Subcommand;
use node::registry::Scope;

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
        /// publish, mirror or read
        #[arg(long, default_value = "publish", value_parser = ["publish", "mirror", "read"])]
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

fn scope(text: &str) -> Result<Scope, String> {
    let all = [Scope::Read, Scope::Publish, Scope::Yank, Scope::Admin];
    let found = all.into_iter().find(|scope| scope.word() == text);
    found.ok_or_else(|| "there are read, publish, yank and admin".into())
}
