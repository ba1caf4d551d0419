//! The verbs, one file each. Here: which file a verb is in, and where the node's folder is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::args::{Args, Verb};
use crate::client::Node;
use crate::output::{Code, Failure, Output};

mod accept;
mod add;
mod backup;
mod budget;
mod check;
mod dispute;
mod endorse;
mod export;
mod follow;
mod gc;
mod gc_bucket;
mod info;
mod invite;
mod join;
mod keep;
mod key;
mod link;
mod lockfile;
mod peer;
mod prefetch;
mod publish;
mod realm;
mod restore;
mod route;
mod run;
mod search;
mod skipped;
mod status;
mod tag;
mod token;
mod up;
mod upstream;
mod verify;
mod verify_index;
mod want;
mod why;
mod yank;

pub(crate) use follow::segment;

/// What every verb works with.
#[derive(Debug)]
pub(crate) struct Context {
    home: PathBuf,
    output: Output,
}

impl Context {
    /// The running node.
    fn node(&self) -> Result<Node, Failure> {
        Node::find(&self.home)
    }
}

/// The running node, if one runs.
fn running(context: &Context) -> Result<Option<Node>, Failure> {
    match context.node() {
        Ok(node) => Ok(Some(node)),
        Err(Failure { code: Code::Offline, .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Runs what was typed; the exit code of a verb that did what it should.
pub(crate) async fn run(args: Args, output: Output) -> Result<ExitCode, Failure> {
    let home = match args.home {
        Some(home) => home,
        None => default_home()?,
    };
    let context = Context { home, output };
    let done = match args.verb {
        Verb::Up(up) => up::run(context, up).await,
        Verb::Status => status::run(&context).await,
        Verb::Publish(publish) => publish::run(&context, publish).await,
        Verb::Add(add) => add::run(&context, add).await,
        Verb::Search(search) => search::run(&context, search).await,
        Verb::Info(named) => info::run(&context, named).await,
        Verb::Why(named) => why::run(&context, named).await,
        Verb::Endorse(order) => endorse::run(&context, order).await,
        Verb::Yank(yank) => yank::run(&context, yank, true).await,
        Verb::Unyank(yank) => yank::run(&context, yank, false).await,
        Verb::Tag(tag) => tag::run(&context, tag).await,
        Verb::Accept(accept) => accept::run(&context, accept).await,
        Verb::Export(export) => export::run(&context, export).await,
        Verb::Prefetch(prefetch) => prefetch::run(&context, prefetch).await,
        Verb::Check(check) => check::run(&context, check).await,
        Verb::Want(want) => want::run(&context, want).await,
        Verb::Peer(peer) => peer::run(&context, peer).await,
        Verb::Budget(budget) => budget::run(&context, budget).await,
        Verb::Invite(invite) => invite::run(&context, invite).await,
        Verb::Join(join) => join::run(&context, join).await,
        Verb::Follow(follow) => follow::follow(&context, follow).await,
        Verb::Unfollow(unfollow) => follow::unfollow(&context, unfollow).await,
        Verb::Route(route) => route::run(&context, route).await,
        Verb::Upstream(upstream) => upstream::run(&context, upstream).await,
        Verb::Link(link) => link::link(&context, link).await,
        Verb::Unlink(unlink) => link::unlink(&context, unlink).await,
        Verb::Key(key) => key::run(&context, key).await,
        Verb::Realm(realm) => realm::run(&context, realm).await,
        Verb::Dispute(dispute) => dispute::run(&context, dispute).await,
        Verb::Token(token) => token::run(&context, token).await,
        Verb::Backup(backup) => backup::run(&context, backup).await,
        Verb::Restore(restore) => restore::run(&context, restore).await,
        Verb::Keep(keep) => keep::keep(&context, keep).await,
        Verb::Unkeep(unkeep) => keep::unkeep(&context, unkeep).await,
        Verb::Gc(gc) => gc::run(&context, gc).await,
        Verb::Verify(verify) if verify.index => verify_index::run(&context, verify).await,
        Verb::Verify(verify) => verify::run(&context, verify).await,
        Verb::Run(run) => return run::run(&context, run).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What has to be typed for this home: nothing for the one that is taken anyway.
pub(crate) fn home_flag(home: &Path) -> String {
    let named = std::env::var_os("GRIOT_HOME").map(PathBuf::from);
    if named.or_else(|| default_home().ok()).is_some_and(|taken| taken == home) {
        return String::new();
    }
    format!(" --home {}", home.display())
}

/// `$XDG_DATA_HOME/griot`, else `~/.local/share/griot`.
fn default_home() -> Result<PathBuf, Failure> {
    let folder = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("griot"))
        .ok_or_else(|| {
            Failure::new("there is no HOME to keep the node's folder in")
                .hint("griot --home DIR …, or set GRIOT_HOME")
                .code(Code::Usage)
        })
}
