//! The chain of roots that this node has accepted of a realm: a pin.
//!
//! It only grows by itself: when the chain of a realm is longer than the one remembered and begins
//! with it, it is remembered instead. A rival successor that arrives later then leaves this node on
//! its branch (`fork-pinned`), and a recovery waits. A person's accept moves it elsewhere. Local
//! state, never rebuilt; it outlives an unfollow.
//!
//! Source: trust.md sections 5 and 6 (`chain`).

use crdt::{Authority, Body, Digest, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};

use super::admission::Batch;
use super::tables::{self, Tables};
use super::{Error, Inner, Store, statements};

impl Store {
    /// A person accepts the chain that goes through this root: a recovery that waits, or one side
    /// of a fork. The chain pin moves there, and the views follow.
    ///
    /// # Errors
    /// [`Error::NoChain`] if the root is not held, its parents are not, or not enough keys signed
    /// one of them; when the database refuses.
    pub async fn accept_chain(
        &self,
        realm: &RealmId,
        root: &StatementId,
    ) -> Result<Authority, Error> {
        let (realm, root) = (*realm, *root);
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let mut batch = Batch::new(inner, txn)?;
            batch.chain_changes(&realm)?;
            set_pin(txn, &realm, &path_to(txn, &realm, &root)?)?;
            let authority = batch.standing(&realm)?.authority().clone();
            if !authority.path.contains(&root) {
                let why = "not enough of the keys that may have signed it or one before it";
                return Err(Error::NoChain { root, why });
            }
            Ok((authority, batch.finish()?))
        };
        let (authority, done) = self.write(change, |inner, (_, done)| done.tell(inner)).await?;
        done.tell_of_packages(&self.inner);
        Ok(authority)
    }
}

/// The chain accepted so far, genesis first.
pub(super) fn pin(txn: &impl Tables, realm: &RealmId) -> Result<Vec<StatementId>, Error> {
    let table = txn.table(tables::PIN_CHAIN)?;
    let Some(row) = table.get(realm.0.as_bytes())? else { return Ok(Vec::new()) };
    let (ids, rest) = row.value().as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Error::unreadable("chain pin", "wrong length"));
    }
    Ok(ids.iter().map(|id| StatementId(Digest::from_bytes(*id))).collect())
}

/// Remembers a chain that continues the one remembered.
pub(super) fn extend_pin(txn: &WriteTransaction, chain: &Authority) -> Result<(), Error> {
    let old = pin(txn, &chain.realm)?;
    if chain.path.len() > old.len() && chain.path.starts_with(&old) {
        set_pin(txn, &chain.realm, &chain.path)?;
    }
    Ok(())
}

fn set_pin(txn: &WriteTransaction, realm: &RealmId, path: &[StatementId]) -> Result<(), Error> {
    let bytes: Vec<u8> = path.iter().flat_map(|id| *id.0.as_bytes()).collect();
    txn.open_table(tables::PIN_CHAIN)?.insert(realm.0.as_bytes(), bytes.as_slice())?;
    Ok(())
}

/// The roots from the genesis to this one, as they name each other.
fn path_to(
    txn: &impl Tables,
    realm: &RealmId,
    root: &StatementId,
) -> Result<Vec<StatementId>, Error> {
    let lacks = |why| Error::NoChain { root: *root, why };
    let (mut path, mut next) = (Vec::new(), Some(*root));
    while let Some(id) = next {
        let held = statements::load_statement(txn, &id)?;
        let held = held.filter(|statement| statement.realm() == *realm);
        let held = held.ok_or_else(|| lacks("it or one before it is not held here"))?;
        let Body::Root(content) = held.body() else { return Err(lacks("it is no root")) };
        path.push(id);
        next = content.prev;
    }
    path.reverse();
    Ok(path)
}
