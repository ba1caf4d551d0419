//! One package = one automerge document, a pure function of its verified statements (trust.md §9).
//! The only file that names automerge's types. Automerge bytes from outside are never loaded.

use crate::{Error, StatementId, Verified};

/// The document of a package. Equal sets of statements give equal heads.
pub struct Document { #[allow(dead_code)] doc: automerge::Automerge }
impl std::fmt::Debug for Document { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Document") } }
impl Document {
    /// Empty.
    #[must_use] pub fn new() -> Self { todo!() }
    /// Loads our own saved cache. Any failure (also a panic inside) is an error: rebuild.
    pub fn load(saved: &[u8]) -> Result<Self, Error> { let _ = saved; todo!() }
    /// Applies what it lacks in one batch, in the order of ids; ignores what it has. Returns how many were new.
    pub fn extend<'a>(&mut self, statements: impl IntoIterator<Item = &'a Verified>) -> Result<usize, Error> { let _ = statements.into_iter().count(); todo!() }
    /// The cache and export bytes.
    #[must_use] pub fn save(&mut self) -> Vec<u8> { todo!() }
    /// Change hashes, sorted. Compared in tests, never on the wire.
    #[must_use] pub fn heads(&mut self) -> Vec<[u8; 32]> { todo!() }
    /// All values under each key, by `get_all`: (key, payload, id).
    #[must_use] pub fn values(&self) -> Vec<(String, Vec<u8>, StatementId)> { todo!() }
}
