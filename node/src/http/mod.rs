//! What is the same for every format: connections, who asks, bodies in and out, statuses.
//!
//! ```text
//!  server ──▶ origin ──▶ path ──▶ auth ──▶ (a format) ──▶ body / upload ──▶ error → status
//! ```
//!
//! A format parses a request and renders an answer; everything that a format could get wrong in
//! its own way is decided here once. Knows nothing of any client's protocol.

pub mod arriving;
pub mod auth;
pub mod body;
mod direct;
pub mod error;
pub mod idle;
mod multipart;
pub mod origin;
pub mod path;
mod pieces;
pub mod range;
pub mod ready;
pub mod server;
pub mod sessions;
pub mod token;
pub mod upload;

#[cfg(test)]
mod tests;
