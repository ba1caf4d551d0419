//! Whether strangers on the mesh are kept out: what was asked for, or as the last time.
//!
//! A node whose keeper closed it once must not stand open after a restart by another script, so the
//! choice is a row. What closed doors mean is the mesh's business.
//!
//! Source: mesh.md section 3.2.

use super::{Error, ROWS};
use crate::store::Store;

/// A row, present while the doors are closed.
const MEMBERS_ONLY: &str = "members-only";

/// What holds for this run, written down if it was asked for.
pub(super) async fn choose(asked: Option<bool>, store: &Store) -> Result<bool, Error> {
    match asked {
        Some(true) => store.put_row(ROWS, MEMBERS_ONLY, Vec::new()).await?,
        Some(false) => {
            store.delete_row(ROWS, MEMBERS_ONLY).await?;
        }
        None => {}
    }
    Ok(store.row(ROWS, MEMBERS_ONLY)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closed_doors_stay_closed_until_they_are_opened() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        assert!(!choose(None, &store).await.unwrap());
        assert!(choose(Some(true), &store).await.unwrap());
        assert!(choose(None, &store).await.unwrap());
        assert!(!choose(Some(false), &store).await.unwrap());
        assert!(!choose(None, &store).await.unwrap());
    }
}
