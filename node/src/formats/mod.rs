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
mod link;
pub mod lockfile;
pub mod native;
pub mod npm;
pub mod platform;
pub mod pypi;
mod splice;
mod spliced;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod through;

pub use dispatch::{Front, serve};
pub use link::{Aim, Answer, Builtin, Link, ProjectFile, Settings, TokenUse, Variables};
pub use through::{Beside, FilesElsewhere, Passing, Proxied, Through, TrustSetting};

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
    /// What `griot run` lets this node answer in the place of an upstream.
    pub through: Through,
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
    /// Several files of the version, by their names, as the one that was made.
    Several(Vec<(String, std::fs::File)>),
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
