//! One folder for each format, one value for each folder.
//!
//! A format parses a request and renders an answer, and is pure but for its `routes.rs`. It sees
//! `registry` and `http` alone, so it cannot forget replication, verification or the data budget;
//! and no format sees another one.
//!
//! To add one: create the folder with its README, write its `static FORMAT`, and add it to [`ALL`].
//! Everything else (the dispatcher, the registry's rules, `griot publish`, metrics, tests over all
//! formats) iterates. `native` is no format: it is the plain HTTP API over all of them.
//!
//! Source: style.md section 7.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;

use crdt::PackageId;

use crate::http::auth::Tokens;
use crate::http::error::Error;
use crate::http::path::PathQuery;
use crate::http::ready::Ready;
use crate::registry::{Door, Principal, Registry, Rules};

pub mod archive;
mod block;
pub mod cargo;
mod dispatch;
pub mod generic;
mod json;
pub mod lockfile;
pub mod native;
pub mod npm;
pub mod pypi;
mod splice;
mod spliced;
#[cfg(test)]
mod tests;
mod text;

pub use dispatch::{Front, serve};

/// Every format, sorted by id.
pub static ALL: &[&Format] = &[&cargo::FORMAT, &generic::FORMAT, &npm::FORMAT, &pypi::FORMAT];

/// A format: data and a few plain functions.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Metrics label, `PackageId.format`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// How a client is pointed here: also the end-to-end session.
    pub readme: &'static str,
    /// The first path segment under which its doors are mounted.
    pub mount: &'static str,
    /// Whether a path outside every mount is this format's after all (npm's root tarballs).
    pub claims_root: fn(&PathQuery) -> bool,
    /// Answers every request below the mount; the path has been parsed once.
    pub serve: fn(Context, Request<Body>) -> BoxFuture<'static, Response<Body>>,
    /// What the registry must know.
    pub rules: Rules,
    /// The line by which a client takes a version from the node at `base`. Name and version are in
    /// their normal form.
    pub install: fn(base: &str, name: &str, version: &str) -> String,
    /// Recognises a path given to `griot publish` by its manifest; `None`: not this format's.
    pub pack: fn(&Path) -> Option<Result<Packed, String>>,
    /// The lockfiles that its clients write; empty where they write none.
    pub lockfiles: &'static [lockfile::Lockfile],
    /// Clients that `griot link` can point here.
    pub links: &'static [Link],
}

/// How a client is pointed at this node, and back: data and pure functions.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// As `griot link` takes it.
    pub client: &'static str,
    /// The program that is asked.
    pub program: &'static str,
    /// Whether the program of this version is this client: two may share a name.
    pub speaks: fn(version: &str) -> bool,
    /// Arguments by which it tells its settings; none if it cannot be asked.
    pub ask: &'static [&'static str],
    /// Reads what it told.
    pub answer: fn(&str) -> Answer,
    /// The user's settings that are written, by the variables of the environment.
    pub user_file: fn(Variables<'_>) -> Option<PathBuf>,
    /// The same of a project, in its folder.
    pub project_file: &'static str,
    /// The name of former days of either file: where one is, the client reads and this writes it.
    pub older_name: Option<&'static str>,
    /// What is written, and what `griot run` answers an upstream's base URL with: the path below
    /// the format's mount, empty or with a slash at its end.
    pub below: &'static str,
    /// Whether it reads the project file of every folder above a project, too.
    pub parents: bool,
    /// Other files of user and project that it reads, weaker than the written one.
    pub also_reads: &'static [&'static str],
    /// More files that it reads, in the folder of the user's file.
    pub beside: &'static [&'static str],
    /// Variables that name its registry before every file, the strongest first.
    pub variables: &'static [&'static str],
    /// Reads a file of settings, by its name.
    pub read: fn(file: &str, text: &str, Variables<'_>) -> Result<Settings, String>,
    /// Settles what follows only from what all files say together, once they are read.
    pub settle: fn(&mut Settings),
    /// Adds a marked block that points at the node; an error says why the file must be edited by
    /// hand.
    pub insert: fn(text: &str, &Aim) -> Result<String, String>,
    /// Takes the block out again, and nothing else; `None` if nothing of it is there. The former
    /// text helps where the client has rewritten the file without its comments.
    pub remove: fn(text: &str, &Aim, former: &str) -> Option<String>,
    /// What goes past the node all the same, in a sentence.
    pub note: Option<&'static str>,
}

/// Looks a variable of the environment up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a client told of its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The registry that it uses.
    pub registry: Option<String>,
    /// Registries of scopes, such as `@acme`.
    pub scopes: BTreeMap<String, String>,
    /// The file with the user's settings, where it says so.
    pub user_file: Option<PathBuf>,
    /// More files that it reads, weaker than the user's.
    pub files: Vec<PathBuf>,
}

/// What a file of settings says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The registry.
    pub registry: Option<String>,
    /// Registries of scopes, such as `@acme`.
    pub scopes: BTreeMap<String, String>,
    /// Start of a URL without its scheme (`//host/path/`) and the value of `Authorization` for it.
    pub credentials: BTreeMap<String, String>,
    /// Whatever else [`Link::settle`] needs: of equal keys that of the strongest file.
    pub keys: BTreeMap<String, String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("registry", &self.registry)
            .field("scopes", &self.scopes)
            .field("credentials", &self.credentials.len())
            .finish()
    }
}

/// Where a client is pointed.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Aim {
    /// URL of the node's door, with the slash at its end.
    pub registry: String,
    /// Lets the client publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Scopes with a registry of their own, which the node asks now.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aim").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// What `griot publish` uploads.
#[derive(Debug)]
pub struct Packed {
    /// As the manifest says.
    pub name: String,
    /// As the manifest says.
    pub version: String,
    /// The artifact's name.
    pub filename: String,
    /// The tag that follows the highest version, where clients of the format expect one.
    pub tag: Option<&'static str>,
    /// Its bytes.
    pub archive: PackedBytes,
}

/// A file as it is, or an archive made just now in a temporary file.
#[derive(Debug)]
pub enum PackedBytes {
    /// As it lies on the disk.
    File(PathBuf),
    /// Positioned at its start; vanishes when closed.
    Made(std::fs::File),
}

/// What a format's handler gets beside the request.
#[derive(Debug, Clone)]
pub struct Context {
    /// The use-cases.
    pub registry: Registry,
    /// Who asks.
    pub who: Principal,
    /// For the one format whose client gives a token up.
    pub tokens: Tokens,
    /// Which door was used.
    pub door: Door,
    /// The path below mount and door.
    pub path: PathQuery,
    /// `http://host:port` as the client named us.
    pub base: String,
    /// Documents that were rendered before.
    pub ready: Ready,
}

impl Context {
    /// Refuses to tell who asks of what only readers of its realm may know.
    ///
    /// # Errors
    /// As for a package that does not exist.
    pub fn check_read(&self, package: &PackageId) -> Result<(), Error> {
        Ok(self.registry.check_read(&self.who, self.door, package)?)
    }

    /// The URL of the door that was used, without a slash at its end.
    #[must_use]
    pub fn door_url(&self, mount: &str) -> String {
        let door = match self.door {
            Door::Virtual => "",
            Door::Hosted => "/~hosted",
            Door::Upstream => "/~upstream",
        };
        format!("{}/{mount}{door}", self.base)
    }
}

/// One segment of a URL, escaped so that it is parsed back as the same.
#[must_use]
pub fn url_segment(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'@');
    percent_encoding::utf8_percent_encode(text, PLAIN).to_string()
}
