//! `status` and `keys`: what this node is, and how it is doing.
//!
//! The shape of [`Status`] is a contract of scripts (DESIGN section 8): fields may join it, none
//! may leave or change its meaning.

use std::sync::Arc;

use axum::extract::State;
use crdt::{PublicKey, RealmId};
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, Json, pairing};
use crate::mesh::budget::Budgets;
use crate::registry::{Alarm, News, Storage};
use crate::store::BucketStatus;

/// `griot status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This node's id in the mesh: what others list as a peer's `id`.
    pub node: String,
    /// This node's own realm.
    pub realm: RealmId,
    /// The realm joined by invite; the own one if none.
    pub site: RealmId,
    /// What this node calls itself.
    pub title: String,
    /// Base address, such as `http://127.0.0.1:7878`.
    pub http: String,
    /// Where others can dial this node, each closed by `/p2p/ID`.
    pub mesh: Vec<String>,
    /// Peers that are connected now.
    pub peers: Vec<PeerStatus>,
    /// Whether this node may ask an upstream: false under `--offline`. The mesh works either way.
    pub online: bool,
    /// The replicated index.
    pub index: IndexCounts,
    /// Bytes that are held.
    pub blobs: BlobCounts,
    /// The bucket that has them, if they are not only in the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketStatus>,
    /// Why they are held, and how much room there is.
    #[serde(default)]
    pub storage: Storage,
    /// What links may cost, and what waits for that reason.
    #[serde(default)]
    pub budget: Budgets,
    /// Misses that became wants.
    pub wants: u64,
    /// Nodes that ask for a role and wait for a root key.
    pub requests: u64,
    /// Contradictions that `griot why NAME` tells of, the newest last.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// How fresh the news of each followed realm are.
    #[serde(default)]
    pub news: Vec<News>,
    /// Whether this node came from a backup and may not know the newest roles of its realm yet.
    #[serde(default)]
    pub restored: bool,
    /// Version of the program.
    pub version: String,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its id in the mesh.
    pub id: String,
    /// Where it is connected.
    pub address: String,
    /// By what: `tcp` or `quic`.
    #[serde(default)]
    pub transport: String,
    /// About how many statements we still lack from it.
    pub behind: u64,
}

/// What the index holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IndexCounts {
    pub realms: u64,
    pub packages: u64,
    pub releases: u64,
    pub statements: u64,
}

/// What the blob store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct BlobCounts {
    pub count: u64,
    pub bytes: u64,
}

/// `griot key show --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Signs releases.
    pub publisher: PublicKey,
    /// Signs what this node says itself.
    pub node: PublicKey,
    /// The id in the mesh.
    pub peer: Option<String>,
    /// The root keys of this node's own realm.
    pub roots: Vec<PublicKey>,
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Result<Json<Status>, Failure> {
    let counts = admin.store.counts()?;
    let requests =
        pairing::requests(&admin.store)?.iter().filter(|request| !request.granted).count();
    let peers = admin.mesh.peers().await.into_iter();
    Ok(Json(Status {
        node: admin.mesh.local_peer().to_string(),
        realm: admin.own,
        site: admin.registry.site_realm()?,
        title: admin.title.clone(),
        http: admin.http.clone(),
        mesh: admin.mesh.addresses().await.iter().map(ToString::to_string).collect(),
        peers: peers
            .map(|peer| PeerStatus {
                id: peer.id,
                address: peer.address,
                transport: peer.transport,
                behind: peer.behind,
            })
            .collect(),
        online: !admin.offline,
        index: IndexCounts {
            realms: counts.realms,
            packages: counts.packages,
            releases: counts.releases,
            statements: counts.statements,
        },
        blobs: BlobCounts { count: counts.blobs, bytes: counts.blob_bytes },
        bucket: admin.store.bucket(),
        storage: admin.registry.storage().await?,
        budget: admin.mesh.budget().show()?,
        wants: counts.wants,
        requests: requests as u64,
        alarms: admin.registry.alarms()?,
        news: admin.registry.news_of_all()?,
        restored: admin.store.restored()?,
        version: env!("CARGO_PKG_VERSION").into(),
    }))
}

pub(super) async fn keys(State(admin): State<Arc<Admin>>) -> Result<Json<Keys>, Failure> {
    let authority = admin.store.authority(&admin.own)?;
    Ok(Json(Keys {
        publisher: admin.registry.publisher_key(),
        node: admin.node_key,
        peer: Some(admin.mesh.local_peer().to_string()),
        roots: authority.head.map(|head| head.roots).unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::Digest;

    #[test]
    fn status_has_the_shape_that_scripts_rely_on() {
        let realm = RealmId(Digest::of(b"realm"));
        let status = Status {
            node: "12D3".into(),
            realm,
            site: realm,
            title: "awa-laptop".into(),
            http: "http://127.0.0.1:7878".into(),
            mesh: vec!["/ip4/127.0.0.1/tcp/7879/p2p/12D3".into()],
            peers: vec![PeerStatus {
                id: "12D4".into(),
                address: "/ip4/1".into(),
                transport: "tcp".into(),
                behind: 3,
            }],
            online: true,
            index: IndexCounts { realms: 1, packages: 2, releases: 3, statements: 4 },
            blobs: BlobCounts { count: 5, bytes: 6 },
            bucket: None,
            storage: Storage::default(),
            budget: Budgets::default(),
            wants: 7,
            requests: 0,
            alarms: Vec::new(),
            news: Vec::new(),
            restored: false,
            version: "0.1.0".into(),
        };
        let value = serde_json::to_value(&status).unwrap();
        assert_eq!(value["realm"], realm.to_string());
        assert_eq!(
            value["peers"][0],
            serde_json::json!({"id":"12D4","address":"/ip4/1","transport":"tcp","behind":3})
        );
        assert_eq!(
            value["index"],
            serde_json::json!({"realms":1,"packages":2,"releases":3,"statements":4})
        );
        assert_eq!(value["blobs"], serde_json::json!({"count":5,"bytes":6}));
        assert_eq!(value["storage"]["published"], serde_json::json!({"count":0,"bytes":0}));
        assert_eq!((&value["wants"], &value["online"]), (&7.into(), &true.into()));
        assert_eq!(value["mesh"][0], "/ip4/127.0.0.1/tcp/7879/p2p/12D3");
        assert_eq!(value["http"], "http://127.0.0.1:7878");
        assert_eq!(value["node"], "12D3");
    }
}
