//! `griot key`: this node's keys, keys on sticks and on paper, and ending one.
//!
//! Secrets are read from files, from the terminal or from the standard input; never from an
//! argument. Making and writing down a key needs no node. `paper` and `revoke` are beside.

use std::path::{Path, PathBuf};

use crdt::statement::recovery_hash;
use crdt::{Digest, PublicKey, SecretKey};
use node::daemon::admin::status::Keys;
use node::daemon::keys::{self, Role};
use serde::Serialize;

use super::Context;
use crate::args::{Key, NewKey, Purpose};
use crate::keyfile::{self, KeyFile, words};
use crate::output::{Code, Failure};
use crate::prompt;

mod paper;
mod revoke;

/// A key that was made or read.
#[derive(Serialize)]
struct Made {
    /// The public key.
    public: PublicKey,
    /// How a root names it, if it is for a recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_hash: Option<Digest>,
    /// Where it was written; nowhere if the words are all there is.
    file: Option<PathBuf>,
    /// The 24 words, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

pub(super) async fn run(context: &Context, key: Key) -> Result<(), Failure> {
    match key {
        Key::Show { file: None } => show(context).await,
        Key::Show { file: Some(file) } => {
            let read = read(&file)?;
            let made = made(&read.public(), Purpose::Root, Some(file), None);
            context.output.data(&made, |made| vec![format!("public  {}", made.public)])
        }
        Key::New(order) => new(context, &order),
        Key::Export { key, paper } => paper::export(context, &key, &paper),
        Key::Import { file, role, to, passphrase, .. } => {
            paper::import(context, file.as_deref(), role, (to, passphrase))
        }
        Key::Revoke(order) => revoke::run(context, order).await,
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
    let keys = match super::running(context)? {
        None => from_files(context)?,
        Some(node) => match node.get("keys").await {
            Err(Failure { code: Code::Offline, .. }) => from_files(context)?,
            other => other?,
        },
    };
    context.output.data(&keys, |keys| {
        let mut out =
            vec![format!("publisher  {}", keys.publisher), format!("node       {}", keys.node)];
        out.extend(keys.peer.iter().map(|peer| format!("peer       {peer}")));
        out.extend(keys.roots.iter().map(|root| format!("root       {root}")));
        out
    })
}

/// Without a running node: what the key files say. The peer id belongs to the mesh's own file.
fn from_files(context: &Context) -> Result<Keys, Failure> {
    let public = |role| -> Result<_, Failure> {
        Ok(KeyFile::read(&keys::file(&context.home, role))?.map(|file| file.public()))
    };
    let lacking = || {
        Failure::new(format!("there are no keys in {} yet", keys::folder(&context.home).display()))
            .hint(format!(
                "the first start makes them: griot up{}",
                super::home_flag(&context.home)
            ))
            .code(Code::Lacks)
    };
    Ok(Keys {
        publisher: public(Role::Publisher)?.ok_or_else(lacking)?,
        node: public(Role::Node)?.ok_or_else(lacking)?,
        peer: None,
        roots: public(Role::Root)?.into_iter().collect(),
    })
}

fn new(context: &Context, order: &NewKey) -> Result<(), Failure> {
    let on_paper = order.role == Purpose::Recovery && order.to.is_none();
    let key = keyfile::draw()?;
    let file = match (on_paper, &order.to) {
        (true, _) => None,
        (_, Some(file)) => Some(file.clone()),
        (_, None) => Some(place(context, order.role)?),
    };
    if let Some(file) = &file {
        write(file, &key, order.passphrase)?;
    }
    let words = (order.words || on_paper).then(|| words::of_key(&key)).transpose()?;
    let words = words.map(|words| words.to_string());
    let made = made(&key.public(), order.role, file, words);
    context.output.data(&made, lines)
}

fn made(key: &PublicKey, role: Purpose, file: Option<PathBuf>, words: Option<String>) -> Made {
    let recovery_hash = (role == Purpose::Recovery).then(|| recovery_hash(key));
    Made { public: *key, recovery_hash, file, words }
}

fn lines(made: &Made) -> Vec<String> {
    let mut out = vec![format!("public  {}", made.public)];
    out.extend(made.recovery_hash.iter().map(|hash| format!("hash    {hash}")));
    out.extend(made.file.iter().map(|file| format!("file    {}", file.display())));
    if let Some(words) = &made.words {
        out.push("words   write them on paper; whoever reads them has the key:".into());
        let words: Vec<&str> = words.split(' ').collect();
        let rows = words.chunks(6).map(|row| format!("        {}", row.join(" ")));
        out.extend(rows);
    }
    out
}

/// The home's file for a role.
fn place(context: &Context, role: Purpose) -> Result<PathBuf, Failure> {
    let role = match role {
        Purpose::Root => Role::Root,
        Purpose::Publisher => Role::Publisher,
        Purpose::Recovery => {
            return Err(Failure::new("a recovery key has no place in a home: it stays offline")
                .hint("--to FILE on a stick, or words on paper")
                .code(Code::Usage));
        }
    };
    keys::create_folder(&context.home)?;
    Ok(keys::file(&context.home, role))
}

/// Writes a key file, under a passphrase that is asked for.
fn write(file: &Path, key: &SecretKey, sealed: bool) -> Result<(), Failure> {
    let name = file.display().to_string();
    let passphrase = sealed.then(|| prompt::new_passphrase(&name)).transpose()?;
    keyfile::write(file, key, passphrase.as_deref().map(String::as_str))
}

/// A key file that must be there.
fn read(file: &Path) -> Result<KeyFile, Failure> {
    KeyFile::read(file)?.ok_or_else(|| {
        Failure::new(format!("there is no key file {}", file.display()))
            .hint("griot key new --to FILE makes one")
            .code(Code::Lacks)
    })
}
