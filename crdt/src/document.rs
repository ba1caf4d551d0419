//! One package = one automerge document, a pure function of its verified statements.
//!
//! A statement becomes one change: its actor is the full 32-byte statement id, its sequence 1, its
//! only operation puts the payload under the statement's key. No change depends on another, so
//! equal sets of statements give equal heads, whatever the order and whatever signatures are held
//! (they stay in the store). Two statements with one key stand side by side.
//!
//! The document is a cache and an export, never a source: automerge bytes from outside are never
//! loaded nor applied, and a saved document that does not load is rebuilt from the statements.
//! Nothing that a client is served waits for it. The only file that names automerge's types.
//!
//! | type | key |
//! |---|---|
//! | release | `release/<version>` |
//! | withdraw, yank, unyank | `<type>/<release id>` |
//! | tag | `tag/<name>` |
//!
//! Source: trust.md section 9, index.md sections 2.3 and 3.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{
    ActorId, Automerge, Change, ExpandedChange, ObjId, ROOT, ReadDoc, ScalarValue, Value,
};

use crate::{Body, Digest, Error, Statement, StatementId, Verified};

/// The document of a package. Equal sets of statements give equal heads.
pub struct Document {
    doc: Automerge,
    /// What the document holds: statement → key.
    held: BTreeMap<StatementId, String>,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("statements", &self.held.len()).finish_non_exhaustive()
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl Document {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { doc: Automerge::new(), held: BTreeMap::new() }
    }

    /// Loads our own saved cache.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any failure, a panic inside automerge too: rebuild from statements.
    pub fn load(saved: &[u8]) -> Result<Self, Error> {
        if saved.is_empty() {
            return Err(malformed("nothing was saved".to_owned()));
        }
        let loaded = catch_unwind(|| {
            let doc = Automerge::load(saved).map_err(|error| malformed(error.to_string()))?;
            let mut document = Self { doc, held: BTreeMap::new() };
            document.held = document.read()?.into_iter().map(|(key, _, id)| (id, key)).collect();
            // No change depends on another, so each must be a head.
            if document.heads().len() != document.held.len() {
                return Err(malformed("it holds more than statements".to_owned()));
            }
            Ok(document)
        });
        loaded.unwrap_or_else(|_| Err(malformed("automerge panicked".to_owned())))
    }

    /// Applies what it lacks in one batch, in the order of ids; ignores what it has, and statements
    /// that have no place in a package's document. Returns how many were new.
    ///
    /// # Errors
    /// [`Error::Malformed`] if automerge refuses or panics: throw the document away and rebuild it.
    pub fn extend<'a>(
        &mut self,
        statements: impl IntoIterator<Item = &'a Verified>,
    ) -> Result<usize, Error> {
        let entries = statements.into_iter().filter_map(|verified| {
            let statement = verified.statement();
            Some((statement.id(), (key_of(statement)?, statement.payload().to_vec())))
        });
        self.apply(entries.collect())
    }

    fn apply(&mut self, mut new: BTreeMap<StatementId, (String, Vec<u8>)>) -> Result<usize, Error> {
        new.retain(|id, _| !self.held.contains_key(id));
        let changes: Vec<Change> =
            new.iter().map(|(id, (key, payload))| change(*id, key, payload)).collect();
        // In the order of ids, so that equal sets also give equal saved bytes.
        catch_unwind(AssertUnwindSafe(|| self.doc.apply_changes(changes)))
            .map_err(|_| malformed("automerge panicked".to_owned()))?
            .map_err(|error| malformed(error.to_string()))?;
        let count = new.len();
        self.held.extend(new.into_iter().map(|(id, (key, _))| (id, key)));
        Ok(count)
    }

    /// The cache and export bytes. Empty if automerge failed: such a cache does not load.
    #[must_use]
    pub fn save(&mut self) -> Vec<u8> {
        catch_unwind(AssertUnwindSafe(|| self.doc.save())).unwrap_or_default()
    }

    /// Change hashes, sorted. Compared in tests, never on the wire.
    #[must_use]
    pub fn heads(&mut self) -> Vec<[u8; 32]> {
        let mut heads: Vec<[u8; 32]> =
            self.doc.get_heads().into_iter().map(|hash| hash.0).collect();
        heads.sort_unstable();
        heads
    }

    /// All values under each key, concurrent ones side by side: (key, payload, id), by key and id.
    #[must_use]
    pub fn values(&self) -> Vec<(String, Vec<u8>, StatementId)> {
        self.read().unwrap_or_default()
    }

    fn read(&self) -> Result<Vec<(String, Vec<u8>, StatementId)>, Error> {
        let mut out = Vec::new();
        for key in self.doc.keys(ROOT) {
            let values =
                self.doc.get_all(ROOT, &key).map_err(|error| malformed(error.to_string()))?;
            for (value, place) in values {
                let (Value::Scalar(scalar), ObjId::Id(_, actor, _)) = (&value, &place) else {
                    return Err(malformed(format!("{key:.80} holds something else than bytes")));
                };
                let (ScalarValue::Bytes(payload), Ok(id)) =
                    (scalar.as_ref(), <[u8; 32]>::try_from(actor.to_bytes()))
                else {
                    return Err(malformed(format!("{key:.80} was not written by a statement")));
                };
                out.push((key.clone(), payload.clone(), StatementId(Digest::from_bytes(id))));
            }
        }
        out.sort_unstable_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
        Ok(out)
    }
}

fn malformed(why: String) -> Error {
    Error::Malformed { what: "document", why }
}

/// Where the statement lies in its package's document, if it does.
fn key_of(statement: &Statement) -> Option<String> {
    statement.package()?;
    match statement.body() {
        Body::Release(release) => Some(format!("release/{}", release.version)),
        Body::Withdraw { release, .. } => Some(format!("withdraw/{release}")),
        Body::Yank { release, .. } => Some(format!("yank/{release}")),
        Body::Unyank { release, .. } => Some(format!("unyank/{release}")),
        Body::Tag { tag, .. } => Some(format!("tag/{tag}")),
        Body::Root(_)
        | Body::Route { .. }
        | Body::Revoke { .. }
        | Body::Seal { .. }
        | Body::Receipt(_)
        | Body::Beat(_)
        | Body::Unknown => None,
    }
}

/// The change of one statement, built by hand so that nothing but the statement enters it.
fn change(id: StatementId, key: &str, payload: &[u8]) -> Change {
    ExpandedChange {
        operations: vec![Op {
            action: OpType::Put(ScalarValue::Bytes(payload.to_vec())),
            obj: ObjectId::Root,
            key: Key::Map(key.into()),
            pred: Vec::new().into(),
            insert: false,
        }],
        actor_id: ActorId::from(id.0.as_bytes().as_slice()),
        hash: None,
        seq: 1,
        start_op: NonZeroU64::MIN,
        time: 0,
        message: None,
        deps: Vec::new(),
        extra_bytes: Vec::new(),
        author: None,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_share_sixteen_bytes_do_not_collide() {
        let id = |last| {
            let mut bytes = [7; 32];
            bytes[31] = last;
            StatementId(Digest::from_bytes(bytes))
        };
        let entry = |last: u8| (id(last), ("release/1.0.0".to_owned(), vec![last]));
        let mut forwards = Document::new();
        forwards.apply([entry(1)].into()).unwrap();
        forwards.apply([entry(2)].into()).unwrap();
        let mut at_once = Document::new();
        assert_eq!(at_once.apply([entry(2), entry(1)].into()).unwrap(), 2);
        assert_eq!(forwards.heads(), at_once.heads());
        let values: Vec<(Vec<u8>, StatementId)> =
            forwards.values().into_iter().map(|(_, payload, id)| (payload, id)).collect();
        assert_eq!(values, [(vec![1], id(1)), (vec![2], id(2))]);
    }
}
