//! The rest, to come.
use super::*;
use crdt::routes::{Rule, Source};
use crdt::{
    Authority, Content, Digest, PackageId, PackageView, Pins, PublicKey, RealmId, StatementId,
    Verified,
};
use std::collections::BTreeMap;
#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Store {
    // ---- statements --------------------------------------------------------------------------
    /// Admits verified statements in one commit: new (id, signer) pairs get a sequence, collections'
    /// fingerprints, the log, views and artifact rows follow in the same transaction. Statements of realms
    /// that are not followed are ignored (counted). `cursor`: peer id bytes → (their epoch, their sequence).
    pub async fn admit(
        &self,
        batch: Vec<Verified>,
        cursor: Option<(Vec<u8>, u64, u64)>,
    ) -> Result<Admission, Error> {
        todo!()
    }
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<std::sync::Arc<Admission>> {
        todo!()
    }
    pub fn peer_seen(&self, peer: &[u8]) -> Result<Option<(u64, u64)>, Error> {
        todo!()
    }
    pub async fn set_peer_seen(&self, peer: &[u8], epoch: u64, sequence: u64) -> Result<(), Error> {
        todo!()
    }
    /// Statements of one package of one realm (for the document and for export).
    pub fn package_statements(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Vec<Verified>, Error> {
        todo!()
    }
    /// `root` and `route` statements of a realm.
    pub fn authority_statements(&self, realm: &RealmId) -> Result<Vec<Verified>, Error> {
        todo!()
    }
    pub fn statement(&self, id: &StatementId) -> Result<Option<Verified>, Error> {
        todo!()
    }

    // ---- views -------------------------------------------------------------------------------
    pub fn authority(&self, realm: &RealmId) -> Result<Authority, Error> {
        todo!()
    }
    /// The derived view with this node's pins applied. `None`: no standing or pinned version.
    pub fn package(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Option<PackageView>, Error> {
        todo!()
    }
    /// Every followed realm that has the name, sorted by realm.
    pub fn realms_with(&self, package: &PackageId) -> Result<Vec<RealmId>, Error> {
        todo!()
    }
    /// Case-insensitive substring of name or description; `format` narrows; pages by limit and offset. (rows, total)
    pub fn search(
        &self,
        query: &str,
        format: Option<&str>,
        limit: usize,
        offset: usize,
    ) -> Result<(Vec<PackageSummary>, usize), Error> {
        todo!()
    }
    /// Which artifacts (of followed realms) have this digest.
    pub fn artifact(&self, digest: &Digest) -> Result<Vec<ArtifactRef>, Error> {
        todo!()
    }
    /// Bumped by each admission or pin that touches the package: an ETag seed that survives a restart.
    pub fn revision(&self, package: &PackageId) -> Result<u64, Error> {
        todo!()
    }
    /// The automerge document of a package, brought up to date in one batch (the only place that touches automerge).
    pub async fn document(&self, realm: &RealmId, package: &PackageId) -> Result<Vec<u8>, Error> {
        todo!()
    }

    // ---- local state: never gossiped, never rebuilt ------------------------------------------
    /// Adds or changes; statements already lobbied are not kept, so sync follows.
    pub async fn follow(&self, followed: Followed) -> Result<(), Error> {
        todo!()
    }
    pub async fn unfollow(&self, realm: &RealmId) -> Result<bool, Error> {
        todo!()
    }
    pub fn followed(&self) -> Result<Vec<Followed>, Error> {
        todo!()
    }
    /// Fires when `followed` changes.
    pub fn watch_follows(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!()
    }
    pub async fn set_route(&self, rule: Rule) -> Result<(), Error> {
        todo!()
    }
    pub async fn remove_route(&self, format: &str, pattern: &str) -> Result<bool, Error> {
        todo!()
    }
    pub fn routes(&self) -> Result<Vec<Rule>, Error> {
        todo!()
    }
    pub fn pins(&self, realm: &RealmId, package: &PackageId) -> Result<Pins, Error> {
        todo!()
    }
    /// Sets a pin only if the slot has none (`replace` = a person's accept). Returns whether it changed. View follows.
    pub async fn pin_content(
        &self,
        realm: &RealmId,
        package: &PackageId,
        version: &str,
        file: &str,
        content: Content,
        replace: bool,
    ) -> Result<bool, Error> {
        todo!()
    }
    pub fn pinned_source(&self, package: &PackageId) -> Result<Option<Source>, Error> {
        todo!()
    }
    pub async fn pin_source(
        &self,
        package: &PackageId,
        source: Source,
        replace: bool,
    ) -> Result<bool, Error> {
        todo!()
    }
    /// Small named rows of other layers (tokens, peers, invites, requests, refused releases …):
    /// (kind, key) → value. Durable when it returns.
    pub async fn put_row(&self, kind: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        todo!()
    }
    pub async fn delete_row(&self, kind: &str, key: &str) -> Result<bool, Error> {
        todo!()
    }
    pub fn row(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        todo!()
    }
    pub fn rows(&self, kind: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        todo!()
    }
    /// Whether the key signs for a realm that is followed (used for limits).
    pub fn is_granted(&self, key: &PublicKey) -> Result<bool, Error> {
        todo!()
    }
}
