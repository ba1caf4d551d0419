//! `griot realm pending`: what has some but not enough signatures, and whose lack.

use crdt::RealmId;
use crdt::realm::Quorum;
use crdt::statement::IdList;
use crdt::{Body, StatementId};
use node::daemon::admin::realms::RealmInfo;
use serde::Serialize;

use super::super::Context;
use crate::client::Node;
use crate::output::{Failure, plain};
use crate::sign::{self, Parcel, Seen, root};

/// Releases of a list that are looked up to be named.
const NAMED_MAX: usize = 20;

/// A statement that waits.
#[derive(Serialize)]
pub(super) struct Waiting {
    pub(super) realm: RealmId,
    title: String,
    pub(super) id: StatementId,
    kind: String,
    /// What it would do, in words.
    says: Vec<String>,
    quorums: Vec<Quorum>,
}

pub(super) async fn run(context: &Context, realm: Option<&str>) -> Result<(), Failure> {
    let node = context.node()?;
    let all = all(&node, realm).await?;
    if context.output.is_human() && all.is_empty() {
        context.output.say("nothing waits for signatures");
    }
    context.output.data(&all, |all| all.iter().flat_map(lines).collect())
}

fn lines(waiting: &Waiting) -> Vec<String> {
    let mut out = vec![format!("{}  {}", waiting.kind, waiting.id)];
    let said = waiting.says.iter().cloned().chain(sign::lacks(&waiting.quorums));
    out.extend(said.map(|line| format!("  {line}")));
    out.push(format!("  griot realm sign {}", waiting.id));
    out
}

/// What waits in one realm, or in all that are followed.
pub(super) async fn all(node: &Node, realm: Option<&str>) -> Result<Vec<Waiting>, Failure> {
    let realms = match realm {
        Some(realm) => vec![super::show(node, realm).await?],
        None => node.get::<Vec<RealmInfo>>("realms").await?,
    };
    let mut found = Vec::new();
    for info in realms.iter().filter(|info| info.pending > 0) {
        let seen = Seen::read(node, &info.realm.to_string()).await?;
        for one in crdt::realm::pending(&seen.authority, &seen.statements) {
            let id = one.statement.id();
            let Some(parcel) = parcel(node, &seen, &id).await? else { continue };
            found.push(Waiting {
                realm: info.realm,
                title: plain(&info.title),
                id,
                kind: one.statement.kind().to_owned(),
                says: sign::says(&parcel)?,
                quorums: one.quorums,
            });
        }
    }
    Ok(found)
}

/// A statement that the node holds, with all that a signer needs.
pub(super) async fn parcel(
    node: &Node,
    seen: &Seen,
    id: &StatementId,
) -> Result<Option<Parcel>, Failure> {
    let Some(held) = seen.statement(id) else { return Ok(None) };
    let mut parcel = Parcel::new(held.statement().clone()).explained_by(seen);
    if let Some(next) = root(held.statement()) {
        parcel.others = seen.standing_routes_for(next);
    }
    let list = match held.statement().body() {
        Body::Seal { releases: list } | Body::Revoke { keep: list, .. } => Some(list),
        _ => None,
    };
    if let Some(IdList::Inline(ids)) = list {
        for release in ids.iter().take(NAMED_MAX) {
            // One that has not arrived is named by its id.
            if let Ok(text) = node.get::<String>(&format!("statements/{release}")).await {
                parcel.context.push(sign::decode(&text)?);
            }
        }
    }
    parcel.merge(seen);
    Ok(Some(parcel))
}
