//! Construction and supervision. (header to be written)
pub mod keys;
