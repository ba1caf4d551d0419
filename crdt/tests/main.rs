//! The contract of the index, as facts. Attacks carry their number of `red-team.md`.

mod attacks;
mod authority;
mod codec;
mod derive;
mod laws;
mod oracle;
mod routes;
mod world;
