//! Statements at rest: how rows become [`Verified`] again, and who asks for them.
//!
//! What lies in `stmt` and `sig` was verified once, at admission; a restart verifies nothing
//! again. A row that does not decode is a damaged file and an error, never skipped: a set that
//! quietly lost a member would give another view than everybody else's.
//!
//! Admission is in `admission`. Source: index.md sections 2.1 and 2.4.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::statement::{BlobRef, MetaBody, Release};
use crdt::{
    Body, Digest, Envelope, PackageId, PublicKey, RealmId, Signature, Statement, StatementId,
    Verified,
};
use redb::{ReadableTable, ReadableTableMetadata as _};
use tokio::sync::broadcast;

use super::changes::Scope;
use super::collections::{self, AUTHORITY};
use super::tables::{self, Tables};
use super::{Admission, ArtifactRef, Error, Store, rulings};

/// The least and the greatest key of a range over keys.
const KEYS: ([u8; 33], [u8; 33]) = ([0; 33], [0xff; 33]);
/// Peers whose logs' state is remembered.
pub(super) const PEERS_SEEN_MAX: u64 = 1024;
/// The least and the greatest id of a range over ids.
pub(super) const IDS: ([u8; 32], [u8; 32]) = ([0; 32], [0xff; 32]);

impl Store {
    /// What each commit admitted. The queue is bounded: a receiver that gets `Lagged` has missed
    /// some and must look at the store itself (the views, or the log by `crdt::session::Index`).
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Admission>> {
        self.inner.admissions.subscribe()
    }

    /// How far this node has a peer's log: (its store epoch, its admission sequence).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn peer_seen(&self, peer: &[u8]) -> Result<Option<(u64, u64)>, Error> {
        self.reading(|txn| {
            let seen = txn.table(tables::PEER_SEEN)?.get(peer)?;
            Ok(seen.map(|row| row.value()))
        })
    }

    /// Remembers that without admitting anything.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_peer_seen(&self, peer: &[u8], epoch: u64, sequence: u64) -> Result<(), Error> {
        let peer = peer.to_vec();
        let change =
            move |_: &_, txn: &redb::WriteTransaction| keep_cursor(txn, &peer, epoch, sequence);
        self.write_scoped(|()| Some(Scope::none()), change, |_, ()| {}).await
    }

    /// Statements of one package of one realm, by id (for the document and for export).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn package_statements(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Vec<Verified>, Error> {
        self.reading(|txn| of_package(txn, &document_id(realm, package)))
    }

    /// All statements of a realm's authority: roots, routes, revocations, seals.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn authority_statements(&self, realm: &RealmId) -> Result<Vec<Verified>, Error> {
        self.reading(|txn| of_authority(txn, realm))
    }

    /// Those of one type, `root` for instance, by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn authority_of_kind(&self, realm: &RealmId, kind: &str) -> Result<Vec<Verified>, Error> {
        self.reading(|txn| {
            let ids = rulings::of_kind(txn, realm, kind)?;
            let mut found = Vec::new();
            for id in ids {
                found.extend(load(txn, &id)?);
            }
            Ok(found)
        })
    }

    /// One statement with all its signatures.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn statement(&self, id: &StatementId) -> Result<Option<Verified>, Error> {
        self.reading(|txn| load(txn, id))
    }

    /// Which releases of followed realms name these bytes, as a file or beside their files.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn artifact(&self, digest: &Digest) -> Result<Vec<ArtifactRef>, Error> {
        self.reading(|txn| {
            let mut found = Vec::new();
            let table = txn.table(tables::ARTIFACT)?;
            let digest = digest.as_bytes();
            for row in table.range((digest, &IDS.0)..=(digest, &IDS.1))? {
                let id = StatementId(Digest::from_bytes(*row?.0.value().1));
                let Some(verified) = load(txn, &id)? else { continue };
                found.extend(
                    named(verified.statement()).filter(|it| it.digest.as_bytes() == digest),
                );
            }
            Ok(found)
        })
    }

    /// Whether a release of a followed realm names the digest, as an artifact, a large meta or
    /// extras, or a seal or a revocation as its list: what may be handed to peers. One that only
    /// strangers signed names nothing: else
    /// whoever names what is cached here would learn of it, and get it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_referenced(&self, digest: &Digest) -> Result<bool, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::ARTIFACT)?;
            let digest = digest.as_bytes();
            for row in table.range((digest, &IDS.0)..=(digest, &IDS.1))? {
                if has_known_signer(txn, row?.0.value().1)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

/// Whether a signer of the statement is no stranger to its realm. Reads no statement: this is asked
/// for each digest that a peer asks about.
pub(super) fn has_known_signer(txn: &impl Tables, id: &[u8; 32]) -> Result<bool, Error> {
    let followed = txn.table(tables::FOLLOWED)?;
    let realms = followed.iter()?.map(|row| Ok(*row?.0.value()));
    let realms: Vec<[u8; 32]> = realms.collect::<Result<_, Error>>()?;
    let strangers = txn.table(tables::STRANGER)?;
    for row in txn.table(tables::SIG)?.range((id, &KEYS.0)..=(id, &KEYS.1))? {
        let key = *row?.0.value().1;
        let mut is_stranger = false;
        for realm in &realms {
            is_stranger |= strangers.get((realm, id, &key))?.is_some();
        }
        if !is_stranger {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Remembers how far a peer's log is here. Ids of peers cost nothing to make: beyond the bound
/// another one's row goes, and those two compare their sets when they meet again.
pub(super) fn keep_cursor(
    txn: &redb::WriteTransaction,
    peer: &[u8],
    epoch: u64,
    sequence: u64,
) -> Result<(), Error> {
    let mut table = txn.open_table(tables::PEER_SEEN)?;
    let is_new = table.insert(peer, (epoch, sequence))?.is_none();
    if is_new && table.len()? > PEERS_SEEN_MAX {
        let mut draw = [0; 8];
        getrandom::fill(&mut draw).map_err(std::io::Error::from)?;
        // Ids begin alike and go on like dice: any but the new one.
        let at = u64::from_le_bytes(draw) % PEERS_SEEN_MAX;
        let other = table.iter()?.map(|row| row.map(|row| row.0.value().to_vec()));
        let at = usize::try_from(at).unwrap_or(0);
        let other = other.filter(|key| key.as_ref().map_or(true, |key| key != peer)).nth(at);
        if let Some(other) = other.transpose()? {
            table.remove(other.as_slice())?;
        }
    }
    Ok(())
}

/// Where the statements of a package are filed.
pub(super) fn document_id(realm: &RealmId, package: &PackageId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("griot 2026 document id v1");
    hasher.update(realm.0.as_bytes());
    hasher.update(&(package.format.len() as u64).to_le_bytes());
    hasher.update(package.format.as_bytes());
    hasher.update(package.name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A statement with all its signatures.
pub(super) fn load(txn: &impl Tables, id: &StatementId) -> Result<Option<Verified>, Error> {
    let Some(statement) = load_statement(txn, id)? else { return Ok(None) };
    let signatures = signatures(txn, id)?;
    Ok(Some(Verified::from_admitted(Envelope { statement, signatures })))
}

/// A statement alone.
pub(super) fn load_statement(
    txn: &impl Tables,
    id: &StatementId,
) -> Result<Option<Statement>, Error> {
    let table = txn.table(tables::STMT)?;
    let Some(row) = table.get(id.0.as_bytes())? else { return Ok(None) };
    let (kind, payload) = row.value();
    Statement::decode(kind, payload).map(Some).map_err(|why| Error::unreadable("statement", why))
}

/// The signatures of a statement.
pub(super) fn signatures(
    txn: &impl Tables,
    id: &StatementId,
) -> Result<BTreeMap<PublicKey, Signature>, Error> {
    let table = txn.table(tables::SIG)?;
    let id = id.0.as_bytes();
    let mut found = BTreeMap::new();
    for row in table.range((id, &KEYS.0)..=(id, &KEYS.1))? {
        let (key, signature) = row?;
        found.insert(public_key(key.value().1)?, Signature(*signature.value()));
    }
    Ok(found)
}

/// A key that was admitted before.
pub(super) fn public_key(bytes: &[u8; 33]) -> Result<PublicKey, Error> {
    PublicKey::admit(bytes).map_err(|why| Error::unreadable("key", why))
}

/// All statements of a package, by id.
pub(super) fn of_package(txn: &impl Tables, document: &[u8; 32]) -> Result<Vec<Verified>, Error> {
    let mut found = Vec::new();
    for id in ids_of_package(txn, document)? {
        found.extend(load(txn, &id)?);
    }
    Ok(found)
}

/// Their ids alone.
pub(super) fn ids_of_package(
    txn: &impl Tables,
    document: &[u8; 32],
) -> Result<Vec<StatementId>, Error> {
    let table = txn.table(tables::DOC_STMT)?;
    let rows = table.range((document, &IDS.0)..=(document, &IDS.1))?;
    rows.map(|row| Ok(StatementId(Digest::from_bytes(*row?.0.value().1)))).collect()
}

/// All statements of a realm's authority, by id.
pub(super) fn of_authority(txn: &impl Tables, realm: &RealmId) -> Result<Vec<Verified>, Error> {
    let items = collections::items(txn, &collections::parse(*realm, AUTHORITY))?;
    let ids: BTreeSet<_> = items.into_iter().map(|item| item.id).collect();
    let mut found = Vec::new();
    for id in ids {
        found.extend(load(txn, &id)?);
    }
    Ok(found)
}

/// Every blob that a release names.
pub(super) fn named(statement: &Statement) -> impl Iterator<Item = ArtifactRef> + '_ {
    let release = match (statement.body(), statement.package()) {
        (Body::Release(release), Some(package)) => Some((release, package)),
        _ => None,
    };
    release.into_iter().flat_map(|(release, package)| named_by(statement, release, package))
}

/// The same by their digests alone, and the blob of a list.
pub(super) fn digests(statement: &Statement) -> BTreeSet<Digest> {
    let list = list_of(statement).map(|blob| blob.digest);
    named(statement).map(|it| it.digest).chain(list).collect()
}

/// The blob of the list in a seal or a revocation.
pub(super) fn list_of(statement: &Statement) -> Option<BlobRef> {
    match statement.body() {
        Body::Seal { releases } => releases.blob(),
        Body::Revoke { keep, .. } => keep.blob(),
        _ => None,
    }
}

fn named_by(statement: &Statement, release: &Release, package: &PackageId) -> Vec<ArtifactRef> {
    let row = |digest, size, checksums, file: &str| ArtifactRef {
        digest,
        size,
        checksums,
        realm: statement.realm(),
        package: package.clone(),
        version: release.version.clone(),
        file: file.to_owned(),
        release: statement.id(),
    };
    let mut found = Vec::new();
    for file in &release.files {
        found.push(row(file.blake3, file.size, Some(file.checksums.clone()), &file.name));
        if let Some(MetaBody::Blob(blob)) = file.meta.as_ref().map(|meta| &meta.body) {
            found.push(row(blob.digest, blob.size, None, &file.name));
        }
    }
    if let Some(blob) = &release.extras {
        found.push(row(blob.digest, blob.size, None, ""));
    }
    found
}
