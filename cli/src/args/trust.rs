//! Verbs about who may ask the node: tokens. Keys and realms are in the files beside.

use clap::Subcommand;
use node::registry::Scope;

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
