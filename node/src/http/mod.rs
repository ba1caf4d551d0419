//! What is the same for every format. (header to be written)
pub mod auth;
pub mod origin;
pub mod path;
