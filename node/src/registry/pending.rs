//! TEMPORARY: signatures of owner obtain, until merged.
use bytes::Bytes;
use crdt::PackageId;

use super::{Error, Registry};

/// Side
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// k
    pub key: &'a str,
    /// p
    pub path: &'a str,
    /// a
    pub accept: &'a str,
    /// n
    pub never_html: bool,
    /// l
    pub limit: u64,
}

/// SideDocument
#[derive(Debug)]
pub struct SideDocument {
    /// b
    pub bytes: Bytes,
    /// c
    pub content_type: String,
    /// s
    pub stale: bool,
}

impl Registry {
    /// s
    ///
    /// # Errors
    /// e
    pub async fn side_document(
        &self,
        _format: &str,
        _package: Option<&PackageId>,
        _side: Side<'_>,
    ) -> Result<SideDocument, Error> {
        Err(Error::not_here("the upstream is unreachable"))
    }

    /// p
    ///
    /// # Errors
    /// e
    pub async fn upstream_post(
        &self,
        _format: &str,
        _path: &str,
        _body: Bytes,
    ) -> Result<(String, Bytes), Error> {
        Err(Error::not_here("the upstream is unreachable"))
    }

    /// n
    ///
    /// # Errors
    /// e
    pub async fn put_note(&self, format: &str, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        Ok(self.inner.store.put_row("note", &format!("{format}/{key}"), bytes).await?)
    }

    /// n
    ///
    /// # Errors
    /// e
    pub fn note(&self, format: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.inner.store.row("note", &format!("{format}/{key}"))?)
    }
}
