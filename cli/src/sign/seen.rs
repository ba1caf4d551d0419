//! A realm as the running node sees it, read once: what a statement is made from and judged by.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::realm::{Lists, Revoked};
use crdt::statement::Root;
use crdt::{Authority, Body, Envelope, PublicKey, RealmId, StatementId, Verified};
use node::daemon::admin::realms::{RealmInfo, RealmStatements};

use crate::client::Node;
use crate::output::{Code, Failure};

/// What the roots of a realm have said.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// As `realm show` shows it.
    pub(crate) info: RealmInfo,
    /// The chain that the node follows.
    pub(crate) authority: Authority,
    /// Roots, seals, revocations, routes; each once, with all signatures that are held.
    pub(crate) statements: Vec<Verified>,
}

impl Seen {
    /// Reads a realm by its id, the start of one, `own` or `site`.
    pub(crate) async fn read(node: &Node, realm: &str) -> Result<Self, Failure> {
        let path = format!("realms/{}", crate::commands::segment(realm));
        let info: RealmInfo = node.get(&path).await?;
        let all: RealmStatements = node.get(&format!("realms/{}/statements", info.realm)).await?;
        let statements: Vec<Verified> =
            all.statements.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
        let authority = crdt::realm::authority(info.realm, &statements, &all.path);
        Ok(Self { info, authority, statements })
    }

    /// The realm.
    pub(crate) const fn realm(&self) -> RealmId {
        self.info.realm
    }

    /// The root in office.
    pub(crate) fn head(&self) -> Result<(StatementId, &Root), Failure> {
        let id = self.authority.path.last().copied();
        id.zip(self.authority.head.as_ref()).ok_or_else(|| {
            Failure::new("the head of the realm's chain is not held here").code(Code::Lacks)
        })
    }

    /// A statement of the realm.
    pub(crate) fn statement(&self, id: &StatementId) -> Option<&Verified> {
        self.statements.iter().find(|held| held.statement().id() == *id)
    }

    /// The root with this id.
    pub(crate) fn root(&self, id: &StatementId) -> Option<&Root> {
        match self.statement(id)?.statement().body() {
            Body::Root(root) => Some(root),
            _ => None,
        }
    }

    /// Keys that are revoked under the head. Which releases they keep may not be known here.
    pub(crate) fn revoked(&self) -> Revoked {
        crdt::realm::revoked(&self.authority, &self.statements, &Lists::new())
    }

    /// Seals that count under an authority, sorted.
    pub(crate) fn seals(&self, authority: &Authority) -> Vec<StatementId> {
        let seals = self.statements.iter().filter_map(|held| {
            let id = held.statement().id();
            let signers: BTreeSet<PublicKey> = held.signatures().keys().copied().collect();
            let is_seal = matches!(held.statement().body(), Body::Seal { .. });
            (is_seal && authority.seal_counts(&id, &signers)).then_some(id)
        });
        let all: BTreeSet<_> = seals.collect();
        all.into_iter().collect()
    }

    /// The standing routes of the realm, if a new root needs the signatures of its own roots on
    /// them: those who signed them may be too few of the roots that come.
    pub(crate) fn standing_routes_for(&self, next: &Root) -> Vec<Verified> {
        if self.authority.head.as_ref().is_some_and(|head| head.roots == next.roots) {
            return Vec::new();
        }
        let rules = &self.info.routes;
        let stands = |held: &&Verified| match held.statement().body() {
            Body::Route { format, pattern, counter, .. } => rules.iter().any(|rule| {
                rule.format == *format && rule.pattern == *pattern && rule.counter == *counter
            }),
            _ => false,
        };
        self.statements.iter().filter(stands).cloned().collect()
    }
}

/// An envelope as the node hands it out.
pub(crate) fn decode(text: &str) -> Result<Verified, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(format!("the node's answer is no envelope: {error}")).code(Code::Refused)
    };
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| unreadable(&error))?;
    let verified = Envelope::decode(&bytes).and_then(Envelope::verify);
    verified.map_err(|error| unreadable(&error))
}
