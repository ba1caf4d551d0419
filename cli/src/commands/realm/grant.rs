//! `griot realm grant` and `ungrant`: a role for names, in the next epoch.
//!
//! A grant joins the others and replaces none: all that match a name count together.

use crdt::statement::{Grant, Grantee, Pattern};
use serde::Serialize;

use super::super::Context;
use crate::args::Granting;
use crate::names;
use crate::output::{Code, Failure};
use crate::sign::{self, Desk, Handed};

#[derive(Serialize)]
struct Granted {
    realm: crdt::RealmId,
    grant: Grant,
    /// Absent if it was so already.
    statement: Option<Handed>,
}

pub(super) async fn run(context: &Context, order: Granting, add: bool) -> Result<(), Failure> {
    let node = context.node()?;
    let (need, exclusive) = (order.need, order.exclusive);
    let grant = Grant { need, exclusive, ..of(&order.names, &order.role, order.to)? };
    let info = super::show(&node, &order.realm).await?;
    let mut desk = Desk::open(context.output, &node, &order.signing)?;
    let statement = sign::change(&mut desk, &info.realm.to_string(), |root, _| {
        if add {
            let is_there = root.grants.contains(&grant);
            root.grants.extend((!is_there).then(|| grant.clone()));
        } else {
            root.grants.retain(|held| !is_same(held, &grant));
        }
        Ok(())
    })
    .await?;
    if !add && statement.is_none() {
        let said = sign::grant_in_words(&grant);
        return Err(Failure::new(format!("the realm does not grant {said}"))
            .hint(format!("griot realm show {}", info.realm))
            .code(Code::Lacks));
    }
    let granted = Granted { realm: info.realm, grant, statement };
    context.output.data(&granted, |granted| {
        let said = sign::grant_in_words(&granted.grant);
        let Some(handed) = &granted.statement else { return vec![format!("had {said}")] };
        let word = match (add, handed.complete) {
            (true, true) => "granted",
            (true, false) => "would grant",
            (false, true) => "taken back:",
            (false, false) => "would take back",
        };
        let mut out = vec![format!("{word} {said}")];
        out.extend(handed.lines());
        out
    })
}

/// A grant of one signature.
pub(super) fn of(names: &str, role: &str, to: Grantee) -> Result<Grant, Failure> {
    let (format, pattern) = names::pattern(names)?;
    let pattern = Pattern::parse(&pattern).map_err(|error| {
        Failure::new(error.to_string()).hint("FORMAT:NAME or FORMAT:PREFIX*").code(Code::Usage)
    })?;
    let wrong = match (role, &to) {
        ("member", Grantee::Peer(_)) => None,
        ("member", _) => Some("a member is a peer, named by its peer id"),
        (_, Grantee::Peer(_)) => Some("a peer id is for the role member alone"),
        ("publish", _) | (_, Grantee::Key(_)) => None,
        (_, Grantee::Realm(_)) => Some("another realm is for the role publish alone"),
    };
    if let Some(wrong) = wrong {
        let hint = "griot key show, on the other node, prints its keys and its peer id";
        return Err(Failure::new(wrong).hint(hint).code(Code::Usage));
    }
    Ok(Grant { format, pattern, role: role.to_owned(), to, need: 1, exclusive: false })
}

/// Whether two grants give the same, whatever the conditions.
fn is_same(one: &Grant, two: &Grant) -> bool {
    (&one.format, &one.pattern, &one.role, &one.to)
        == (&two.format, &two.pattern, &two.role, &two.to)
}
