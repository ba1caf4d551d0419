//! Host and Origin, on every request (trust.md §16). (header to be written)
use axum::http::Request;
use axum::body::Body;
/// `Ok`, or the answer to give: 421 for a foreign Host, 403 for a foreign Origin, a cross-site fetch or OPTIONS.
#[allow(clippy::result_large_err, missing_docs, clippy::missing_errors_doc)]
pub fn check(hosts: &[String], request: &Request<Body>) -> Result<(), axum::http::Response<Body>> { let _ = (hosts, request); todo!() }
