//! The two ways by which a file of an upstream arrives: from connected members, or from itself.
//!
//! Each is one flight whoever asks, judged by what the document declares before anything refers to
//! the bytes. Which way is tried when is decided in `files`.
//!
//! Source: formats/README.md sections 2 and 7.

use crdt::{Checksums, Digest};
use tokio::sync::watch;

use super::fetch_document::unanswered;
use super::files::{Described, key_of};
use super::flight::{Flight, Landing};
use super::sought::{FILE_BYTES_MAX, Sought};
use super::{Error, Outcome, OutlineFile, Registry, Side};
use crate::store::Hashes;
use crate::store::cached::{CachedBy, CachedFile};
use crate::upstream::{Answer, Arrival, Ask, Progress};

impl Registry {
    pub(super) fn peer_flight(
        &self,
        sought: &Sought,
        described: &Described,
        (digest, size): (Digest, u64),
        by: CachedBy,
    ) -> Landing<CachedFile> {
        let key = format!("{} {digest}", key_of(sought, described));
        let flight = self.inner.files.board(&self.inner.background, key, |_| {
            let (this, sought, described) = (self.clone(), sought.clone(), described.clone());
            async move { this.fetch_from_peers(&sought, &described, (digest, size), by).await }
        });
        flight.landing
    }

    async fn fetch_from_peers(
        &self,
        sought: &Sought,
        described: &Described,
        (digest, size): (Digest, u64),
        by: CachedBy,
    ) -> Result<CachedFile, Error> {
        let held = self.inner.store.blob(&digest)?.is_some();
        if !held {
            let mesh = self.mesh();
            let mesh = mesh.ok_or_else(|| Error::not_here("this node runs without a mesh"))?;
            mesh.fetch(digest, size).await?;
        }
        let checksums = self.complete_checksums(&digest, hashes_for(sought, described)).await?;
        if described.fits(&checksums) {
            return self.keep_file(sought, described, &digest, by).await;
        }
        if !held {
            self.inner.store.remove_unused_blob(&digest).await?;
        }
        Err(does_not_fit(sought, described, "a connected peer"))
    }

    /// The checksums of a blob, those included that were not computed when it came.
    async fn complete_checksums(
        &self,
        digest: &Digest,
        hashes: Hashes,
    ) -> Result<Checksums, Error> {
        use tokio::io::AsyncReadExt as _;
        const PIECE_BYTES: usize = 256 * 1024;
        let (info, mut file) = self.open(digest, "the file").await?;
        let known = &info.checksums;
        let lacks = hashes.sha512 && known.sha512.is_none()
            || hashes.sha1 && known.sha1.is_none()
            || hashes.md5 && known.md5.is_none();
        if !lacks {
            return Ok(info.checksums);
        }
        let mut writer = self.inner.store.writer(hashes, info.size).await?;
        loop {
            let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
            let read = file.read_buf(&mut piece).await.map_err(crate::store::Error::from)?;
            if read == 0 {
                break;
            }
            writer.write(piece.freeze()).await?;
        }
        let staged = writer.finish().await?;
        if staged.info().digest != *digest {
            return Err(Error::not_here("the file is damaged on the disk"));
        }
        Ok(self.inner.store.commit(staged).await?.checksums)
    }

    pub(super) fn file_flight(&self, sought: &Sought, described: &Described) -> Flight<CachedFile> {
        let key = key_of(sought, described);
        self.inner.files.board(&self.inner.background, key, |progress| {
            let (this, sought, described) = (self.clone(), sought.clone(), described.clone());
            let told = self.inner.arrivals.open(&key_of(&sought, &described));
            async move { this.fetch_from_upstream(&sought, &described, told, progress).await }
        })
    }

    /// Where the upstream has the file: by the package's document, by that of the registry, else
    /// where files of the format are.
    async fn url_of(&self, sought: &Sought, described: &Described) -> Result<String, Error> {
        let (name, file) = (&sought.package.name, &described.file);
        if let Some(url) = sought.file_url(described.document.moved.as_deref(), file) {
            return Ok(url);
        }
        let Some(locate) = sought.rules.locate else {
            return Ok(format!("{}{}", sought.endpoint.url, (sought.rules.file)(name, &file.file)));
        };
        let side = Side {
            key: locate.document,
            path: locate.document,
            accept: "*/*",
            never_html: true,
            limit: locate.bytes_max,
        };
        let found = self.side_document(&sought.package.format, Some(&sought.package), side).await?;
        // The name as it is written: some upstreams tell its case.
        let written = &described.outline.name;
        (locate.url)(&found.bytes, written, &described.version, file).map_err(|why| {
            let why = format!("{}: the upstream's {} {why}", file.file, locate.document);
            Error::new(Outcome::NotHere, why).with_hint("griot status")
        })
    }

    async fn fetch_from_upstream(
        &self,
        sought: &Sought,
        described: &Described,
        told: watch::Sender<Arrival>,
        progress: Progress,
    ) -> Result<CachedFile, Error> {
        let OutlineFile { file, size, declared, .. } = &described.file;
        let name = &sought.package.name;
        let ask = Ask {
            url: self.url_of(sought, described).await?,
            accept: "*/*".to_owned(),
            etag: None,
            last_modified: None,
            hashes: hashes_for(sought, described),
            limit: size.unwrap_or(FILE_BYTES_MAX).min(FILE_BYTES_MAX),
            never_html: !file.ends_with(".html"),
            urgent: true,
            arrival: Some(told),
            progress,
        };
        let staged = match self.inner.upstream.get(&sought.endpoint, &ask).await {
            Ok(Answer::Body { staged, .. }) => staged,
            Ok(Answer::Absent) => {
                return Err(Error::not_found(format!(
                    "{name}: the upstream names {file} and does not have it"
                )));
            }
            Ok(Answer::NotModified) => return Err(does_not_fit(sought, described, "the upstream")),
            Err(error) => {
                return Err(unanswered(
                    &format!("{file} of {name}"),
                    &sought.package.format,
                    error,
                ));
            }
        };
        if !described.fits(&staged.info().checksums) {
            tracing::warn!(package = %sought.package, file, "wrong bytes from the upstream");
            return Err(does_not_fit(sought, described, "the upstream"));
        }
        // Under a mirror's document the URL is the mirror's word, too, and not the upstream's.
        let sure = described.document.by == CachedBy::Upstream;
        let by =
            if sure && !declared.is_strong() { CachedBy::Upstream } else { described.ground() };
        self.keep_staged(sought, described, staged, by).await
    }
}

/// What the format needs, and what the document declares.
fn hashes_for(sought: &Sought, described: &Described) -> Hashes {
    let (needs, declared) = (sought.format.hashes, &described.file.declared);
    Hashes {
        sha512: needs.sha512 || declared.sha512.is_some(),
        sha1: needs.sha1 || declared.sha1.is_some(),
        md5: needs.md5 || declared.md5.is_some(),
    }
}

fn does_not_fit(sought: &Sought, described: &Described, from: &str) -> Error {
    let (name, file) = (&sought.package.name, &described.file.file);
    Error::new(
        Outcome::Corrupt,
        format!(
            "{name}: what {from} sent for {file} is not what the upstream's document declares; \
             nothing of it was kept"
        ),
    )
    .with_hint(format!("griot why {name} --format {}", sought.package.format))
}
