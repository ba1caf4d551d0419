//! Whether what lies in `stmt` and `sig` is a statement and its signatures, and is filed.
//!
//! A payload under another id than its own, and a signature that is none, go: nothing can be
//! derived from them, and a peer has the right ones. Rows that lack are put. Rows that are too many
//! are found by `rows`.
//!
//! Source: index.md section 2.4, trust.md section 5 (step 0).

use std::collections::BTreeSet;

use crdt::statement::MAX_SIGNATURES;
use crdt::{Collection, PublicKey, Signature, Statement, signature};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::Error;
use super::super::tables::{self, Tables};
use super::pages::ids;
use super::rows::{Row, Signed, decode, keys_of};
use super::{Difference, PAGE};

/// What a step saw of the statements.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// How many.
    pub(super) statements: u64,
    /// Signatures of them that were verified.
    pub(super) signatures: u64,
    /// The last of them.
    pub(super) last: Option<[u8; 32]>,
    /// Those with which something is wrong.
    pub(super) suspects: Vec<[u8; 32]>,
    /// Where they belong.
    pub(super) collections: BTreeSet<Collection>,
}

/// What is wrong with a statement.
enum Fault {
    /// It is none, and why.
    Statement(String),
    /// One of its signatures is none.
    Signature([u8; 33]),
    /// A row lacks.
    Lacks(Row),
}

/// A statement that was looked at.
struct Looked {
    faults: Vec<Fault>,
    collection: Option<Collection>,
    /// How many were verified.
    signatures: u64,
}

/// Looks at the statements behind an id, at most a page.
pub(super) fn page(
    txn: &impl Tables,
    after: Option<[u8; 32]>,
    verify: bool,
) -> Result<Page, Error> {
    let mut page = Page::default();
    for id in ids(&txn.table(tables::STMT)?, after.as_ref(), PAGE)? {
        let looked = look(txn, &id, verify)?;
        page.statements += 1;
        page.signatures += looked.signatures;
        page.last = Some(id);
        page.collections.extend(looked.collection);
        if !looked.faults.is_empty() {
            page.suspects.push(id);
        }
    }
    Ok(page)
}

/// Mends what is wrong with a statement, if something still is.
pub(super) fn mend(
    txn: &WriteTransaction,
    id: &[u8; 32],
    verify: bool,
) -> Result<Vec<Difference>, Error> {
    let short = crdt::digest::to_hex(&id[..6]);
    let mut found = Vec::new();
    for fault in look(txn, id, verify)?.faults {
        found.push(match fault {
            Fault::Statement(why) => {
                for key in keys_of(txn, id)? {
                    Row::Signature { id: *id, key }.remove(txn)?;
                }
                txn.open_table(tables::STMT)?.remove(id)?;
                Difference::lost("stmt", format!("statement {short} is none: {why}"))
            }
            Fault::Signature(key) => {
                let row = Row::Signature { id: *id, key };
                row.remove(txn)?;
                Difference::lost("sig", format!("{row}: the signature is none"))
            }
            Fault::Lacks(row) => {
                row.put(txn)?;
                Difference::mended(&row.table(), format!("{row} lacked"))
            }
        });
    }
    Ok(found)
}

fn look(txn: &impl Tables, id: &[u8; 32], verify: bool) -> Result<Looked, Error> {
    let mut looked = Looked { faults: Vec::new(), collection: None, signatures: 0 };
    let statement = match decode(txn, id)? {
        Some(Ok(statement)) => statement,
        Some(Err(why)) => {
            looked.faults.push(Fault::Statement(why));
            return Ok(looked);
        }
        None => return Ok(looked),
    };
    let mut keys = Vec::new();
    for key in keys_of(txn, id)? {
        match sound(txn, &statement, &key, verify)? {
            Some(key) => keys.push(key),
            None => looked.faults.push(Fault::Signature(key)),
        }
        looked.signatures += u64::from(verify);
    }
    if keys.is_empty() || keys.len() > MAX_SIGNATURES {
        let why = format!("it has {} signatures", keys.len());
        looked.faults = vec![Fault::Statement(why)];
        return Ok(looked);
    }
    looked.collection = Some(statement.collection());
    for row in (Signed { statement, keys }).rows() {
        if !row.is_there(txn)? {
            looked.faults.push(Fault::Lacks(row));
        }
    }
    Ok(looked)
}

/// The key of a signature; `None` if it is none or, where that is asked, its signature does not
/// verify.
fn sound(
    txn: &impl Tables,
    statement: &Statement,
    key: &[u8; 33],
    verify: bool,
) -> Result<Option<PublicKey>, Error> {
    let Ok(admitted) = PublicKey::admit(key) else { return Ok(None) };
    if !verify {
        return Ok(Some(admitted));
    }
    let table = txn.table(tables::SIG)?;
    let Some(row) = table.get((statement.id().0.as_bytes(), key))? else { return Ok(None) };
    let (kind, payload) = (statement.kind(), statement.payload());
    let verified = signature::verify(&admitted, kind, payload, &Signature(*row.value()));
    Ok(verified.is_ok().then_some(admitted))
}
