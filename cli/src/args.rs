//! The grammar of the command: read it as its manual.
//!
//! Words and flags here are a contract of scripts (DESIGN section 8): they change only with a line
//! in the changelog. The verbs' own words are in the files beside; what they do is in `commands`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::output::{Code, Failure};

mod budget;
mod dispute;
mod keeping;
mod keys;
mod meeting;
mod packages;
mod realms;
mod sources;
mod trust;

pub(crate) use budget::{Budget, BudgetSet, Link as LinkKind, Whose};
pub(crate) use dispute::{Dispute, Resolve, Way};
pub(crate) use keeping::{Backup, Gc, Keep, Restore, Unkeep, Up, Verify};
pub(crate) use keys::{Keep as KeepOf, Key, NewKey, Paper, Purpose, Revoke};
pub(crate) use meeting::{Follow, Invite, Join, Peer, Unfollow};
pub(crate) use packages::{
    Accept, Add, Check, Endorse, Export, Named, Prefetch, Publish, Search, Tag, Want, Yank,
};
pub(crate) use realms::{Create, Granting, Realm, Recover, Rotate, Seal, Signing};
pub(crate) use sources::{Link, Route, Run, Unlink, Upstream, UpstreamAdd};
pub(crate) use trust::Token;

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
    /// Sign a version that another publisher signed
    Endorse(Endorse),
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
    /// What links may cost, and have cost
    #[command(subcommand)]
    Budget(Budget),
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
    /// Keys: show, make, keep on paper, revoke
    #[command(subcommand)]
    Key(Key),
    /// Realms, and who may do what in them
    #[command(subcommand)]
    Realm(Realm),
    /// Versions and realms that wait for a person's decision
    #[command(subcommand)]
    Dispute(Dispute),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use node::registry::Scope;

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
            "backup", "restore", "keep", "unkeep", "gc", "verify", "dispute", "budget",
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
        assert_eq!(up.metadata_memory, node::http::ready::MEMORY_BYTES as u64);
        assert_eq!(up.metadata_disk, node::http::ready::DISK_BYTES);
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
