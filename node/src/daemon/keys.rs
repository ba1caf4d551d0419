//! The key files of a home: keys/root, keys/publisher, keys/node, keys/peer. Mode 0600 in a folder 0700.
use std::path::Path;
use crdt::SecretKey;
/// Which of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role { Root, Publisher, Node }
#[allow(missing_docs, clippy::missing_errors_doc)]
pub fn load(home: &Path, role: Role) -> std::io::Result<Option<SecretKey>> { let _ = (home, role); todo!() }
#[allow(missing_docs, clippy::missing_errors_doc)]
pub fn load_or_create(home: &Path, role: Role) -> std::io::Result<SecretKey> { let _ = (home, role); todo!() }
