//! `griot realm`: who may do what in a realm, and granting it.
//!
//! Grants are signed here with the root key file: see `sign`.

use crdt::PublicKey;
use crdt::statement::{Grant, Grantee, Pattern};
use node::daemon::admin::realms::{Posted, RealmInfo};
use node::daemon::invite::InviteRole;
use node::daemon::pairing::Request;
use node::mesh::PeerId;
use serde::Serialize;

use super::Context;
use super::follow::segment;
use crate::args::Realm;
use crate::client::Node;
use crate::names;
use crate::output::{Code, Failure, plain, short};
use crate::sign;

#[derive(Serialize)]
struct Granted {
    realm: crdt::RealmId,
    grant: Grant,
    /// Absent if it was granted already.
    statement: Option<Posted>,
}

pub(super) async fn run(context: &Context, realm: Realm) -> Result<(), Failure> {
    let node = context.node()?;
    match realm {
        Realm::Show { realm } => {
            let info = show(&node, &realm).await?;
            context.output.data(&info, describe)
        }
        Realm::List => {
            let realms: Vec<RealmInfo> = node.get("realms").await?;
            context.output.data(&realms, |realms| realms.iter().map(row).collect())
        }
        Realm::Grant { names, key, role, realm } => {
            let info = show(&node, &realm).await?;
            let grant = grant(&names, &role, key)?;
            let statement = sign::add_grants(&node, &info, std::slice::from_ref(&grant)).await?;
            let granted = Granted { realm: info.realm, grant, statement };
            context.output.data(&granted, |granted| {
                let word = if granted.statement.is_some() { "granted" } else { "had" };
                vec![format!("{word} {role} {names} to {} in {}", short(&key), short(&info.realm))]
            })
        }
        Realm::Requests { grant: Some(id) } => grant_by_id(context, &node, &id).await,
        Realm::Requests { grant: None } => {
            let requests: Vec<Request> = node.get("requests").await?;
            if context.output.is_human() && requests.is_empty() {
                context.output.say("nobody asks for a role");
            }
            context.output.data(&requests, |requests| requests.iter().map(asks).collect())
        }
    }
}

async fn show(node: &Node, realm: &str) -> Result<RealmInfo, Failure> {
    node.get(&format!("realms/{}", segment(realm))).await
}

async fn grant_by_id(context: &Context, node: &Node, id: &str) -> Result<(), Failure> {
    let requests: Vec<Request> = node.get("requests").await?;
    let request = requests.into_iter().find(|request| request.id == id).ok_or_else(|| {
        Failure::new(format!("there is no request {id}"))
            .hint("griot realm requests")
            .code(Code::Lacks)
    })?;
    grant_request(node, &request).await?;
    let granted = Request { granted: true, ..request };
    context.output.data(&granted, |granted| vec![asks(granted)])
}

/// Signs and posts what a request asks for, and marks it. In the same epoch its peer becomes a
/// member of the site for all who joined it, and not for the inviting node alone.
pub(super) async fn grant_request(node: &Node, request: &Request) -> Result<(), Failure> {
    let mut grants = vec![membership(request)?];
    let role = match request.role {
        InviteRole::Reader => None,
        InviteRole::Publisher => Some("publish"),
        InviteRole::Mirror => Some("mirror"),
    };
    if let Some(role) = role {
        grants.push(grant(&request.names, role, key_of(request))?);
    }
    let own = show(node, "own").await?;
    if is_private(&own) {
        // By this the node sees the realm, whatever else it may do there.
        grants.push(grant("*:*", "read", request.node_key)?);
    }
    sign::add_grants(node, &own, &grants).await?;
    node.post::<_, Request>(&format!("requests/{}/granted", request.id), &()).await?;
    Ok(())
}

/// Whether nobody but its readers may see the realm.
pub(super) fn is_private(realm: &RealmInfo) -> bool {
    realm.grants.iter().any(|grant| grant.role == "read")
}

/// The key that a request is about.
pub(super) const fn key_of(request: &Request) -> PublicKey {
    match request.role {
        InviteRole::Mirror | InviteRole::Reader => request.node_key,
        InviteRole::Publisher => request.publisher,
    }
}

fn grant(names: &str, role: &str, key: PublicKey) -> Result<Grant, Failure> {
    let (format, pattern) = names::pattern(names)?;
    let pattern = Pattern::parse(&pattern).map_err(|error| {
        Failure::new(error.to_string()).hint("FORMAT:NAME or FORMAT:PREFIX*").code(Code::Usage)
    })?;
    let role = role.to_owned();
    Ok(Grant { format, pattern, role, to: Grantee::Key(key), need: 1, exclusive: false })
}

fn membership(request: &Request) -> Result<Grant, Failure> {
    let peer: PeerId = request
        .peer
        .parse()
        .map_err(|_| Failure::new("the peer that asked has no sound id").code(Code::Refused))?;
    let pattern = Pattern::parse("*").map_err(|error| Failure::new(error.to_string()))?;
    let (format, role) = ("*".to_owned(), "member".to_owned());
    let to = Grantee::Peer(peer.to_bytes());
    Ok(Grant { format, pattern, role, to, need: 1, exclusive: false })
}

fn asks(request: &Request) -> String {
    let state = if request.granted { "granted" } else { "waits" };
    let (name, key) = (plain(&request.name), short(&key_of(request)));
    format!("{}  {state}  {} {} for {name} {key}", request.id, request.role, request.names)
}

fn row(info: &RealmInfo) -> String {
    let kind = info.kind.map_or_else(|| "shown by a peer".into(), |kind| format!("{kind:?}"));
    format!("{}  {}  {}", info.realm, plain(&info.title), kind.to_lowercase())
}

fn describe(info: &RealmInfo) -> Vec<String> {
    let (title, status) = (plain(&info.title), format!("{:?}", info.status).to_lowercase());
    let mut out = vec![
        format!("{title}  {}", info.realm),
        format!("epoch {}  {status}  {} of {} roots act", info.epoch, info.k, info.roots.len()),
    ];
    out.extend(info.roots.iter().map(|root| format!("root  {root}")));
    for grant in &info.grants {
        let to = match &grant.to {
            Grantee::Key(key) => key.to_string(),
            Grantee::Realm(realm) => realm.to_string(),
            Grantee::Peer(peer) => PeerId::from_bytes(peer)
                .map_or_else(|_| "a peer".into(), |peer| format!("the peer {peer}")),
        };
        let (role, names) = (plain(&grant.role), plain(&grant.pattern.0));
        out.push(format!("{role}  {}:{names}  {to}", grant.format));
    }
    for claim in &info.claims {
        out.push(format!("claims  {}:{}", claim.format, plain(&claim.pattern.0)));
    }
    out
}
