//! `griot key revoke`: ends a key, but for the releases that are kept.
//!
//! A revocation says what survives and never when: no time could be believed. By default that is
//! all that stands on this node, counted before it is signed. Any one root signs it, or the key.

use crdt::{Body, Statement};
use node::daemon::admin::realms::releases::StandingRelease;

use super::super::Context;
use super::super::realm::seal::{Named, explain, list, standing};
use crate::args::{KeepOf, Revoke};
use crate::output::{Code, Failure, count, plain};
use crate::sign::{self, Desk, Parcel, Seen};

pub(super) async fn run(context: &Context, order: Revoke) -> Result<(), Failure> {
    let node = context.node()?;
    let seen = Seen::read(&node, &order.realm).await?;
    let rows = standing(&node, &seen).await?;
    let signed: Vec<_> =
        rows.into_iter().filter(|row| row.signers.contains(&order.revoked)).collect();
    let (kept, lost) = split(signed, &order.keep)?;
    let (keep, bytes) = list(&node, &kept).await?;
    let body = Body::Revoke { key: order.revoked, keep, reason: order.reason.clone() };
    let statement = Statement::new(seen.realm(), None, body).map_err(sign::unsound)?;
    let mut parcel = Parcel::new(statement).explained_by(&seen).listing(bytes);
    explain(&node, &mut parcel, &kept).await?;
    parcel.merge(&seen);
    let mut desk = Desk::open_for_rules(context.output, &node, &order.signing)?;
    if !lost.is_empty() {
        let names: Vec<String> = lost.iter().take(5).map(name).collect();
        let more = if lost.len() > 5 { " and others" } else { "" };
        context.output.say(format!(
            "{} without this signature: {}{more}; what is right of it another publisher brings \
             back: griot endorse NAME@VERSION",
            count(lost.len() as u64, "release"),
            names.join(", ")
        ));
    }
    desk.ask(&parcel)?;
    let handed = desk.finish(parcel, Some(&seen)).await?;
    let unsealed = kept.iter().filter(|row| !row.sealed).count();
    context.output.data(&handed, |handed| {
        let mut out = vec![format!("revoked; {} of it stay", count(kept.len() as u64, "release"))];
        out.extend(handed.lines());
        if unsealed > 0 {
            let realm = handed.realm;
            out.push(format!(
                "{unsealed} of them stand while it is granted: \
                 griot realm seal --all --realm {realm}"
            ));
        }
        out
    })
}

/// What is kept of a key's releases, and what is not.
fn split(
    rows: Vec<StandingRelease>,
    keep: &[KeepOf],
) -> Result<(Vec<StandingRelease>, Vec<StandingRelease>), Failure> {
    let mut named = Vec::new();
    for one in keep {
        let KeepOf::Package(text) = one else { continue };
        let found = Named::parse(text)?;
        if !rows.iter().any(|row| found.is(row)) {
            return Err(Failure::new(format!(
                "the key signed nothing that stands of {}",
                plain(text)
            ))
            .hint("--keep all, none, or FORMAT:NAME@VERSION")
            .code(Code::Lacks));
        }
        named.push(found);
    }
    let all = keep.contains(&KeepOf::All);
    let stays = |row: &StandingRelease| all || named.iter().any(|named| named.is(row));
    Ok(rows.into_iter().partition(stays))
}

fn name(row: &StandingRelease) -> String {
    plain(&format!("{}@{}", row.package, row.version))
}
