//! What is known here of an upstream's files without asking anybody: which are held, what their
//! document declares, what they say of themselves, and which file a URL means.
//!
//! For formats that show more of a held file than the upstream says, or answer for its URLs.

use std::collections::BTreeMap;

use crdt::{Digest, PackageId};
use url::Url;

use super::sought::{Place, Sought};
use super::{Declared, Door, Error, Registry};
use crate::store::BlobInfo;
use crate::store::cached::CachedDocument;

impl Registry {
    /// Files (version, name) of a package of an upstream that are held here under their record;
    /// none of a package of a realm.
    ///
    /// # Errors
    /// When the name has no source behind the door, or the store fails.
    pub fn held_files(
        &self,
        door: Door,
        package: &PackageId,
    ) -> Result<BTreeMap<(String, String), BlobInfo>, Error> {
        let Place::Upstream(sought) = self.place(door, package)? else {
            return Ok(BTreeMap::new());
        };
        let mut held = BTreeMap::new();
        for file in self.cached_files_of(&sought)? {
            if let Some(info) = self.inner.store.blob(&file.digest)? {
                held.insert((file.version, file.file), info);
            }
        }
        Ok(held)
    }

    /// What a format extracts from a blob that is held, taken for a file of that name; `None` where
    /// it finds nothing that can be used.
    ///
    /// # Errors
    /// When the format is unknown or the store fails.
    pub async fn meta_of(
        &self,
        format: &str,
        file: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(extract) = self.require_rules(format)?.extract else { return Ok(None) };
        let Some((_, blob)) = self.inner.store.open_blob(digest).await? else { return Ok(None) };
        let (mut blob, file) = (blob.into_std().await, file.to_owned());
        let extracted = tokio::task::spawn_blocking(move || extract(&mut blob, &file)).await;
        Ok(extracted.ok().and_then(Result::ok).map(|extracted| extracted.meta))
    }

    /// What a document that is held declares of a file's bytes; `None` if none that is held has it.
    ///
    /// # Errors
    /// When the name has no source behind the door, or the store fails.
    pub async fn declared(
        &self,
        door: Door,
        package: &PackageId,
        (version, file): (&str, &str),
    ) -> Result<Option<Declared>, Error> {
        let Place::Upstream(sought) = self.place(door, package)? else { return Ok(None) };
        let described = self.describe_held(&sought, version, file).await?;
        Ok(described.map(|described| described.file.declared))
    }

    /// The file (version, name) that documents of the package have at an absolute URL, as far as
    /// they are held.
    ///
    /// # Errors
    /// When the name has no source behind the door, or the store fails.
    pub async fn file_at(
        &self,
        door: Door,
        package: &PackageId,
        url: &Url,
    ) -> Result<Option<(String, String)>, Error> {
        let Place::Upstream(sought) = self.place(door, package)? else { return Ok(None) };
        for variant in sought.rules.variants {
            let held = self.held_document(&sought.subject(variant.name))?;
            let Some(CachedDocument { body: Some(body), moved, .. }) = held else { continue };
            let outline = self.outline(&sought, &body).await?;
            for version in &outline.versions {
                let found = version
                    .files
                    .iter()
                    .find(|file| is_at((&sought, moved.as_deref()), &file.url, url));
                if let Some(found) = found {
                    return Ok(Some((version.version.clone(), found.file.clone())));
                }
            }
        }
        Ok(None)
    }
}

/// Whether a document's URL is that one; cheap for those that end otherwise.
fn is_at((sought, moved): (&Sought, Option<&str>), written: &str, url: &Url) -> bool {
    let last = |text: &str| text.rsplit('/').next().map(|last| last.len());
    let near = last(written).zip(last(url.as_str()));
    // Escapes are written in several ways: only what is far off is passed over unread.
    if near.is_none_or(|(one, other)| one.abs_diff(other) > one.max(other) / 2) {
        return false;
    }
    let absolute = sought.absolute(moved, written).and_then(|found| Url::parse(&found).ok());
    absolute.is_some_and(|mut found| {
        found.set_fragment(None);
        found == *url
    })
}
