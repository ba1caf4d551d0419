//! Signing with the root key file: root epochs and routes.
//!
//! The running node never sees a root key. What a statement needs to know of the realm is read from
//! the node, the statement is signed here, and the finished envelope is posted like one from any
//! peer. A realm with several roots needs more signatures than one command can give; it is told so.
//!
//! Source: trust.md sections 15 and 17.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::statement::{Grant, Pattern, Root, RouteSource};
use crdt::{Body, SecretKey, Statement, Verified};
use node::daemon::admin::realms::{Posted, RealmInfo};
use node::daemon::keys::{self, Role};

use crate::client::Node;
use crate::output::{Code, Failure};

/// How often a grant is signed anew because another command was faster.
const ATTEMPTS_MAX: usize = 16;

/// The root key of a home, if it alone can act for the realm.
pub(crate) fn root_key(home: &Path, realm: &RealmInfo) -> Result<SecretKey, Failure> {
    let key = keys::load(home, Role::Root)?.ok_or_else(|| {
        Failure::new(format!("the root key is not at {}", keys::file(home, Role::Root).display()))
            .hint("bring it back from where you keep it, then type this again")
            .code(Code::Refused)
    })?;
    if !realm.roots.contains(&key.public()) {
        return Err(Failure::new(format!(
            "the root key here is none of the realm {}",
            realm.realm
        ))
        .hint(format!("griot realm show {}", realm.realm))
        .code(Code::Refused));
    }
    if realm.k > 1 {
        let (k, n) = (realm.k, realm.roots.len());
        return Err(Failure::new(format!("{k} of the {n} roots of this realm must sign together"))
            .hint("this version signs with one root key alone")
            .code(Code::Refused));
    }
    Ok(key)
}

/// Adds grants beside the others in a new root epoch. `None`: they were all there already.
pub(crate) async fn add_grants(
    node: &Node,
    realm: &RealmInfo,
    grants: &[Grant],
) -> Result<Option<Posted>, Failure> {
    let mut realm = realm.clone();
    for _ in 0..ATTEMPTS_MAX {
        let lacks = |grant: &&Grant| !realm.grants.contains(grant);
        let new: Vec<Grant> = grants.iter().filter(lacks).cloned().collect();
        if new.is_empty() {
            return Ok(None);
        }
        let key = root_key(node.home(), &realm)?;
        let next = next_epoch(&realm, |root| root.grants.extend(new))?;
        let statement = Statement::new(realm.realm, None, Body::Root(next)).map_err(unsound)?;
        let failure = match post(node, statement, &key).await {
            Ok(posted) => return Ok(Some(posted)),
            Err(failure) => failure,
        };
        let now: RealmInfo = node.get(&format!("realms/{}", realm.realm)).await?;
        if now.head == realm.head {
            return Err(failure);
        }
        realm = now;
    }
    Err(Failure::new("the realm changes faster than it can be signed").hint("type this again"))
}

/// Says for the whole site where a name comes from.
pub(crate) async fn add_route(
    node: &Node,
    realm: &RealmInfo,
    (format, names): (&str, &str),
    source: RouteSource,
) -> Result<Posted, Failure> {
    let key = root_key(node.home(), realm)?;
    let body = Body::Route {
        format: format.into(),
        pattern: Pattern::parse(names).map_err(unsound)?,
        source,
        counter: realm.next_route,
    };
    let statement = Statement::new(realm.realm, None, body).map_err(unsound)?;
    post(node, statement, &key).await
}

/// The successor of a realm's head, changed by `change`.
fn next_epoch(realm: &RealmInfo, change: impl FnOnce(&mut Root)) -> Result<Root, Failure> {
    let unheld =
        || Failure::new("the head of the realm's chain is not held here").code(Code::Lacks);
    let (head, payload) = realm.head.zip(realm.payload.as_deref()).ok_or_else(unheld)?;
    let payload = BASE64_STANDARD
        .decode(payload)
        .map_err(|error| Failure::new(format!("the node's answer is no base64: {error}")))?;
    let statement = Statement::decode("root", &payload).map_err(unsound)?;
    if statement.id() != head {
        return Err(
            Failure::new("the node's answer is not the head that it names").code(Code::Refused)
        );
    }
    let Body::Root(root) = statement.body() else { return Err(unheld()) };
    let mut next = Root { epoch: root.epoch + 1, prev: Some(head), ..root.clone() };
    change(&mut next);
    Ok(next)
}

async fn post(node: &Node, statement: Statement, key: &SecretKey) -> Result<Posted, Failure> {
    let verified = Verified::sign(statement, &[key]);
    node.post_statement(verified.envelope().encode()).await
}

fn unsound(error: crdt::Error) -> Failure {
    Failure::new(format!("the statement cannot be made: {error}"))
}
