//! `griot realm`: who may do what in a realm, and changing it.
//!
//! What changes a realm is signed here with root keys: see `sign`. A verb a file; here those that
//! only look, and the requests of who was invited.

use crdt::statement::{Grant, Grantee, Pattern};
use crdt::{ChainStatus, PublicKey};
use node::daemon::admin::realms::{RealmInfo, RevokedKey};
use node::daemon::invite::InviteRole;
use node::daemon::pairing::Request;
use node::mesh::PeerId;

use super::Context;
use super::follow::segment;
use crate::args::Realm;
use crate::client::Node;
use crate::keyfile::words;
use crate::output::{Code, Failure, plain, short};
use crate::sign;

mod accept;
mod create;
mod grant;
mod pending;
mod recover;
mod rotate;
pub(super) mod seal;
mod signing;

pub(super) async fn run(context: &Context, realm: Realm) -> Result<(), Failure> {
    match realm {
        Realm::Show { realm } => {
            let info = show(&context.node()?, &realm).await?;
            context.output.data(&info, describe)
        }
        Realm::List => {
            let realms: Vec<RealmInfo> = context.node()?.get("realms").await?;
            context.output.data(&realms, |realms| realms.iter().map(row).collect())
        }
        Realm::Create(order) => create::run(context, order).await,
        Realm::Grant(order) => grant::run(context, order, true).await,
        Realm::Ungrant(order) => grant::run(context, order, false).await,
        Realm::Rotate(order) => rotate::run(context, order).await,
        Realm::Seal(order) => seal::run(context, order).await,
        Realm::Clear { ids, realm, signing } => rotate::clear(context, &ids, &realm, signing).await,
        Realm::Recover(order) => recover::run(context, order).await,
        Realm::Accept { realm, root, yes } => accept::run(context, &realm, root, yes).await,
        Realm::Pending { realm } => pending::run(context, realm.as_deref()).await,
        Realm::Sign { what, signing } => signing::sign(context, &what, signing).await,
        Realm::Post { file } => signing::post(context, &file).await,
        Realm::Requests { grant: Some(id) } => grant_by_id(context, &context.node()?, &id).await,
        Realm::Requests { grant: None } => {
            let requests: Vec<Request> = context.node()?.get("requests").await?;
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
        grants.push(grant::of(&request.names, role, Grantee::Key(key_of(request)))?);
    }
    let own = show(node, "own").await?;
    if is_private(&own) {
        // By this the node sees the realm, whatever else it may do there.
        grants.push(grant::of("*:*", "read", Grantee::Key(request.node_key))?);
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
    let (title, realm) = (plain(&info.title), info.realm);
    let (epoch, k, n) = (info.epoch, info.k, info.roots.len());
    let mut out = vec![
        format!("{title}  {realm}"),
        format!("in twelve words: {}", words::check(&realm.0)),
        format!("epoch {epoch}  {}  {k} of {n} roots act", status_word(info.status)),
    ];
    out.extend(contested(info));
    out.extend(info.roots.iter().map(|root| format!("root  {root}")));
    if info.rk > 0 {
        let (rk, n) = (info.rk, info.recovery.len());
        out.push(format!("{rk} of {n} recovery keys act"));
        out.extend(info.recovery.iter().map(|hash| format!("recovery  {hash}")));
    }
    for grant in &info.grants {
        let to = sign::grantee_in_words(&grant.to);
        let (role, names) = (plain(&grant.role), plain(&grant.pattern.0));
        let need = if grant.need > 1 { format!("  need {}", grant.need) } else { String::new() };
        let alone = if grant.exclusive { "  exclusive" } else { "" };
        out.push(format!("{role}  {}:{names}  {to}{need}{alone}", plain(&grant.format)));
    }
    for RevokedKey { key, by } in &info.revoked {
        let by: Vec<String> = by.iter().map(ToString::to_string).collect();
        out.push(format!("revoked  {key}  by {}", by.join(", ")));
    }
    for claim in &info.claims {
        out.push(format!("claims  {}:{}", claim.format, plain(&claim.pattern.0)));
    }
    if info.pending > 0 {
        let count = info.pending;
        out.push(format!("{count} wait for more signatures: griot realm pending {realm}"));
    }
    out
}

/// The status of a chain as it is typed and printed.
pub(super) const fn status_word(status: ChainStatus) -> &'static str {
    match status {
        ChainStatus::Unknown => "unknown",
        ChainStatus::Invalid => "invalid",
        ChainStatus::Ok => "ok",
        ChainStatus::Forked => "forked",
        ChainStatus::ForkPinned => "fork-pinned",
        ChainStatus::RecoverPending => "recover-pending",
    }
}

/// What happened to a realm whose chain does not end in one head, and what to type.
fn contested(info: &RealmInfo) -> Vec<String> {
    let (realm, next) = (info.realm, info.epoch + 1);
    let who: Vec<String> = info.double_signers.iter().map(short).collect();
    let signed = match who.len() {
        0 => String::new(),
        1 => format!("; key {} signed both", who[0]),
        _ => format!("; keys {} signed both", who.join(", ")),
    };
    match info.status {
        ChainStatus::Forked => vec![
            format!("it has {} successors at epoch {next}{signed}", info.evidence.len()),
            format!("authority is frozen at epoch {}; releases are unaffected", info.epoch),
            format!("its recovery key decides, or you, for this node: griot realm accept {realm}"),
        ],
        ChainStatus::ForkPinned => vec![
            format!("its history is contested{signed}; this node stays where it was before"),
            format!("another branch: griot realm accept {realm}"),
        ],
        ChainStatus::RecoverPending => vec![
            format!("it has used its recovery key; this node stays at epoch {}", info.epoch),
            format!("accept new keys? compare the fingerprint: griot realm accept {realm}"),
        ],
        _ => Vec::new(),
    }
}
