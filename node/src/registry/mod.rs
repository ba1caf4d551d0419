//! The use-cases; the only place that knows hosted → cache → mesh → upstream.
//!
//! ```text
//!  publish   check who → extract → blobs durable → statement admitted → pins → answer
//!  metadata  name → one source → view → the offline view → what is offered
//!  artifact  slot → content → held? else mesh, verified → bytes (a pin once they are sent)
//!  document  of an upstream: held (a stale one is looked after behind) → upstream → receipt → miss
//! ```
//!
//! Every format asks here and sees nothing below, so none can forget replication, verification or
//! the rule that a name has exactly one source. Nothing here renders a document or parses a
//! client's request: see `formats`.
//!
//! Own state: the table of routes (a cache, dropped when a route or a realm changes), what is known
//! of upstreams for a moment (flights, absences, outlines, what neighbours hold), and the set
//! of releases this node refused because the bytes contradicted them (rows of kind `refused`).

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use crdt::{PackageId, PublicKey, RealmId, SecretKey, StatementId, Verified};

use crate::mesh::Mesh;
use crate::store::cached::{CachedDocument, CachedFile};
use crate::store::{Admission, Store};
use crate::upstream::Upstream;

mod absent;
mod alarms;
mod arriving;
mod artifact;
mod background;
mod change;
mod compare;
mod deliver;
mod documents;
mod endorse;
mod error;
mod fetch_document;
mod file_facts;
mod file_flights;
mod files;
mod flight;
mod follow_up;
mod freshness;
mod from_bucket;
mod from_peers;
mod info;
mod keep;
mod keep_queue;
mod lists;
mod metadata;
mod names;
mod nearby;
mod news;
mod notes;
mod outlines;
mod pinned;
mod prefetch;
mod principal;
mod publish;
mod reading;
mod receipts;
mod room;
mod rules;
mod scrub;
mod seed;
mod sentences;
mod side;
mod signed;
mod slots;
mod sought;
mod sources;
mod stamp;
mod target;
#[cfg(test)]
mod tests;
mod upkeep;
mod uploads;
mod upstream_info;
mod upstreams;
mod wants;

pub use alarms::{Alarm, Evidence};
pub use arriving::{Arriving, Obtained};
pub use artifact::{Completion, VerifiedBytes};
pub use documents::{Document, DocumentAsk, UpstreamDocument};
pub use endorse::Endorsed;
pub use error::{Error, Outcome};
pub use info::{Added, Info, InfoArtifact, InfoFallen, InfoVersion, Offered};
pub use metadata::Metadata;
pub use news::{BEAT_EVERY, Heard, News};
pub use pinned::{Kept, KeptRow};
pub use prefetch::{Failed, Lack, LackOf, Locked, LockedFrom, Polluted, Progress, Project, Report};
pub use principal::{Principal, Scope};
pub use publish::{Publication, Published, PublishedFile};
pub use room::{GARBAGE_EVERY, GarbageStep, Storage};
pub use rules::{
    Declared, Extract, Extracted, LocateRules, Located, Outline, OutlineFile, OutlineVersion,
    Rules, SignatureRules, Spelling, UpstreamRules, Variant,
};
pub use scrub::{
    Course, Finding, IndexStep, IndexVerified, Mended, Scrub, Scrubbed, VerifyOrder, VerifyStep,
};
pub use side::{Side, SideDocument};
pub use stamp::Stamp;
pub use upkeep::{LastGarbage, LastVerify};
pub use upstreams::{Adopted, UpstreamChoice, UpstreamRow, origin_of};
pub use wants::{Want, WantRow, Wanted};

// What a format sees of the store: the place it streams into, and what it gets out.
pub use crate::store::blob::{BlobWriter, Staged};
pub use crate::store::{BlobInfo, FollowKind, Hashes, PackageSummary};

/// Which door of a format a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `/F/`: by routes, the virtual repository.
    Virtual,
    /// `/F/~hosted/`: what realms publish, never an upstream.
    Hosted,
    /// `/F/~upstream/`: the upstream alone.
    Upstream,
}

/// What a registry is made of.
#[derive(Debug)]
pub struct Setup {
    /// Below everything.
    pub store: Store,
    /// Absent when the node runs without one.
    pub mesh: Option<Mesh>,
    /// The HTTP side.
    pub upstream: Upstream,
    /// Those of every format.
    pub rules: Vec<Rules>,
    /// Signs what is published here.
    pub publisher: SecretKey,
    /// Signs receipts: the node's own key.
    pub mirror: SecretKey,
    /// The personal realm.
    pub own: RealmId,
}

/// A handle; clones are cheap.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    mesh: Option<Mesh>,
    upstream: Upstream,
    rules: Vec<Rules>,
    publisher: SecretKey,
    mirror: SecretKey,
    own: RealmId,
    routing: sources::RoutingCache,
    refused: RwLock<BTreeSet<StatementId>>,
    private: reading::PrivateRealms,
    background: background::Background,
    /// Upstreams that are being asked for a sign of life.
    probed: std::sync::Mutex<BTreeSet<crdt::Digest>>,
    documents: flight::Flights<fetch_document::Word>,
    files: flight::Flights<CachedFile>,
    arrivals: arriving::Arrivals,
    deliveries: flight::Flights<CachedDocument>,
    /// Documents that neighbours have delivered so far.
    landed: AtomicU64,
    looks: flight::Flights<Arc<nearby::Near>>,
    sides: flight::Flights<SideDocument>,
    absences: absent::Absences,
    doubts: absent::Doubts,
    outlines: outlines::Outlines,
    nearby: nearby::Nearby,
    signing: signed::Signing,
    unsigned: receipts::Unsigned,
    counted: news::Known,
    declined: deliver::Declined,
    pace: wants::Pace,
    /// How far the log was read for what to fetch ahead; its row may be behind.
    kept_to: std::sync::Mutex<Option<keep::Progress>>,
    /// Held while the blobs are read again.
    verifying: scrub::Turn,
}

impl Registry {
    /// From its parts.
    ///
    /// # Errors
    /// When the rows of refused releases cannot be read.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let Setup { store, mesh, upstream, rules, publisher, mirror, own } = setup;
        store.set_own_keys([publisher.public(), mirror.public()]);
        let refused = store.rows(artifact::REFUSED)?;
        let refused = refused.keys().filter_map(|id| id.parse().ok()).collect();
        let routing = sources::RoutingCache::new(&store);
        let absences = absent::Absences::new(&store);
        let inner = Inner {
            store,
            mesh,
            upstream,
            rules,
            publisher,
            mirror,
            own,
            routing,
            refused: RwLock::new(refused),
            private: reading::PrivateRealms::default(),
            background: background::Background::new(),
            probed: std::sync::Mutex::default(),
            documents: flight::Flights::new(),
            files: flight::Flights::new(),
            arrivals: arriving::Arrivals::default(),
            deliveries: flight::Flights::new(),
            landed: AtomicU64::new(0),
            looks: flight::Flights::new(),
            sides: flight::Flights::new(),
            absences,
            doubts: absent::Doubts::default(),
            outlines: outlines::Outlines::default(),
            nearby: nearby::Nearby::default(),
            signing: signed::Signing::default(),
            unsigned: receipts::Unsigned::default(),
            counted: news::Known::default(),
            declined: deliver::Declined::default(),
            pace: wants::Pace::default(),
            kept_to: std::sync::Mutex::default(),
            verifying: scrub::Turn::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The store below, for the daemon's own answers.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The mesh below; absent when the node runs without one.
    #[must_use]
    pub fn mesh(&self) -> Option<&Mesh> {
        self.inner.mesh.as_ref()
    }

    /// The personal realm of this node.
    #[must_use]
    pub fn own_realm(&self) -> RealmId {
        self.inner.own
    }

    /// The key that signs what is published here.
    #[must_use]
    pub fn publisher_key(&self) -> PublicKey {
        self.inner.publisher.public()
    }

    /// The rules of a format.
    #[must_use]
    pub fn rules(&self, format: &str) -> Option<&Rules> {
        self.inner.rules.iter().find(|rules| rules.format == format)
    }

    /// The rules, or the error for a format that does not exist here.
    fn require_rules(&self, format: &str) -> Result<&Rules, Error> {
        self.rules(format).ok_or_else(|| {
            let known: Vec<_> = self.inner.rules.iter().map(|rules| rules.format).collect();
            Error::invalid(format!("there is no format `{format:.40}`"))
                .with_hint(format!("use one of: {}", known.join(", ")))
        })
    }

    /// Name of a package in its normal form.
    ///
    /// # Errors
    /// [`Outcome::Invalid`] for an unknown format or a name that it does not allow.
    pub fn package_id(&self, format: &str, name: &str) -> Result<PackageId, Error> {
        let rules = self.require_rules(format)?;
        let name = (rules.canonical_name)(name).map_err(Error::invalid)?;
        Ok(PackageId::new(rules.format, name))
    }

    /// Admits finished envelopes, such as those that the command signed with a root key.
    ///
    /// # Errors
    /// [`Outcome::Forbidden`] when one is of a realm that this node does not follow.
    pub async fn admit(&self, envelopes: Vec<Verified>) -> Result<usize, Error> {
        let admission = self.inner.store.admit(envelopes, None).await?;
        refuse_ignored(&admission)?;
        Ok(admission.new.len())
    }
}

/// What was signed here and not taken cannot be what was meant.
fn refuse_ignored(admission: &Admission) -> Result<(), Error> {
    if admission.ignored == 0 {
        return Ok(());
    }
    Err(Error::forbidden("the statement is of a realm that is not followed here")
        .with_hint("griot follow REALM"))
}
