//! One folder for each format, one value for each folder. (header to be written: how to add one)
use std::path::Path;
use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;
use crate::http::path::PathQuery;
use crate::registry::{Door, Principal, Registry, Rules};

/// A format: data and a few plain functions.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Format {
    /// Path prefix, metrics label, `PackageId.format`.
    pub id: &'static str,
    pub title: &'static str,
    pub readme: &'static str,
    /// First path segments under which its door is mounted, such as `npm`.
    pub mount: &'static str,
    /// Whether a path outside every mount is this format's after all (npm's root tarballs).
    pub claims_root: fn(&PathQuery) -> bool,
    /// Answers every request below the mount; the path has been parsed once.
    pub serve: fn(Context, Request<Body>) -> BoxFuture<'static, Response<Body>>,
    /// What the registry must know.
    pub rules: Rules,
    /// Recognises a path given to `griot publish` by its manifest; `None`: not this format's.
    pub pack: fn(&Path) -> Option<Result<Packed, String>>,
}
/// What `griot publish` uploads.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Packed { pub name: String, pub version: String, pub filename: String, pub archive: PackedBytes }
/// A file as it is, or an archive made just now in a temporary file.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum PackedBytes { File(std::path::PathBuf), Made(std::fs::File) }
/// What a format's handler gets beside the request.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Context { pub registry: Registry, pub who: Principal, pub door: Door, pub path: PathQuery, /// `http://host:port` as the client named us
    pub base: String }
/// Every format, sorted by id.
pub static ALL: &[&Format] = &[];
/// What the dispatcher needs: made by the daemon.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Front { pub registry: Registry, pub tokens: crate::http::auth::Tokens, /// the host:port names we answer to (localhost, 127.0.0.1, [::1] with the port), filled once the listener is bound
    pub hosts: std::sync::Arc<Vec<String>> }
/// Answers every request that is not the daemon's own (`/api/admin/*`, `/`, `/healthz`): parses the path
/// once, checks the token, finds the format by its mount and the door, or the native routes under `/api/`,
/// else a clean short 404. Host and Origin were checked before by `http::origin`.
pub async fn serve(front: Front, request: Request<Body>) -> Response<Body> { let _ = (front, request); todo!() }
