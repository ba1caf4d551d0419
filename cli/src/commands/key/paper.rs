//! `griot key export` and `import`: a key as 24 words, or as another file.

use std::path::{Path, PathBuf};

use node::daemon::keys::{self, Role};

use super::super::Context;
use super::{lines, made, place, read, write};
use crate::args::{Paper, Purpose};
use crate::keyfile::{KeyFile, words};
use crate::output::{Code, Failure};
use crate::prompt;

pub(super) fn export(context: &Context, key: &str, paper: &Paper) -> Result<(), Failure> {
    let key = find(context, key)?.unlock()?;
    let (file, sealed) = match (&paper.to, &paper.sealed) {
        (Some(file), _) => (Some(file.clone()), false),
        (_, Some(file)) => (Some(file.clone()), true),
        _ => (None, false),
    };
    if let Some(file) = &file {
        write(file, &key, sealed)?;
    }
    let words = paper.words.then(|| words::of_key(&key)).transpose()?;
    let words = words.map(|words| words.to_string());
    let made = made(&key.public(), Purpose::Root, file, words);
    context.output.data(&made, lines)
}

/// Reads a key from a file or from words, and writes it to its place.
pub(super) fn import(
    context: &Context,
    file: Option<&Path>,
    role: Purpose,
    (to, sealed): (Option<PathBuf>, bool),
) -> Result<(), Failure> {
    let key = match file {
        Some(file) => read(file)?.unlock()?,
        None => words::to_key(&prompt::secret("the 24 words: ")?)?,
    };
    let to = match to {
        Some(to) => to,
        None => place(context, role)?,
    };
    if let Some(there) = KeyFile::read(&to)? {
        if there.public() == key.public() {
            let made = made(&key.public(), role, Some(to), None);
            return context.output.data(&made, lines);
        }
        return Err(Failure::new(format!(
            "{} holds another key; it was not touched",
            to.display()
        ))
        .hint("move it away first, or write this one elsewhere: --to FILE")
        .code(Code::Refused));
    }
    write(&to, &key, sealed)?;
    let made = made(&key.public(), role, Some(to), None);
    context.output.data(&made, lines)
}

/// A key of the home by its role, or a key file.
fn find(context: &Context, key: &str) -> Result<KeyFile, Failure> {
    let role = match key {
        "root" => Role::Root,
        "publisher" => Role::Publisher,
        "node" => Role::Node,
        file => return read(Path::new(file)),
    };
    read(&keys::file(&context.home, role))
}
