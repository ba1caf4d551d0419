//! `griot add`: resolves a package by its format's rules and fetches its files into a folder.

use std::path::PathBuf;

use node::daemon::admin::packages::Named;
use node::registry::Added;
use serde::Serialize;

use super::Context;
use crate::args::Add;
use crate::file::{Wanted, fetch};
use crate::names;
use crate::output::{Failure, plain, size};

#[derive(Serialize)]
struct Fetched {
    #[serde(flatten)]
    added: Added,
    files: Vec<PathBuf>,
}

pub(super) async fn run(context: &Context, add: Add) -> Result<(), Failure> {
    let node = context.node()?;
    let (before, package) = match &add.format {
        Some(_) => (None, add.package.as_str()),
        None => names::format(&add.package),
    };
    let (name, version) = names::split(package);
    let named = Named { name, version, format: add.format.or(before) };
    let added: Added = node.post("add", &named).await?;
    let folder = add.to.unwrap_or_else(|| PathBuf::from("."));
    let mut files = Vec::new();
    for artifact in &added.artifacts {
        let (Some(digest), Some(size)) = (artifact.digest, artifact.size) else {
            return Err(Failure::new(format!("{} did not arrive", plain(&artifact.filename))));
        };
        let wanted = Wanted { name: &artifact.filename, size, digest };
        let file = fetch(&node, context.output, wanted, &folder).await?;
        files.push(file.strip_prefix(".").map(PathBuf::from).unwrap_or(file));
    }
    let total = added.artifacts.iter().filter_map(|artifact| artifact.size).sum();
    if context.output.is_human() {
        let (name, version) = (plain(&added.name), plain(&added.version));
        context.output.say(format!("added {name}@{version} · {}", size(total)));
    }
    context.output.data(&Fetched { added, files }, |fetched| {
        fetched.files.iter().map(|file| file.display().to_string()).collect()
    })
}
