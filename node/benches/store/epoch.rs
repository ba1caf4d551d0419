//! What touches a whole realm: a root that adds a grant, a revocation of that key, a root that
//! takes the grant away again.
//!
//! Of the packages only those are derived that the change moves: here none, as the key has signed
//! nothing.

use crdt::statement::{Grant, IdList, Pattern, Root};
use crdt::{Body, SecretKey, Statement, Verified};

use crate::Outcome;
use crate::cost::{costed, forget_most, most_resident};
use crate::figures::Report;
use crate::made::{Realm, noise};
use crate::realm::Growing;

/// A grant comes, and goes.
pub(crate) async fn measure(growing: &mut Growing, report: &mut Report) -> Outcome {
    let packages = growing.packages();
    let Body::Root(genesis) = growing.realm.genesis.statement().body() else {
        return Err("a realm begins with a root".into());
    };
    let mut grants = genesis.grants.clone();
    let key = SecretKey::from_seed(&noise(&[99])).public();
    grants.push(Grant::to_key("publish", Pattern("left-*".to_owned()), key));
    let with = root(&growing.realm, &growing.realm.genesis.clone(), grants)?;
    let without = root(&growing.realm, &with, genesis.grants.clone())?;
    let (keep, reason) = (IdList::Inline(Vec::new()), "lost".to_owned());
    let revoke = Statement::new(growing.realm.id, None, Body::Revoke { key, keep, reason })?;
    let revoke = Verified::sign(revoke, &[&growing.realm.key]);
    let all = [
        ("a root with one more grant", with),
        ("a revocation of its key", revoke),
        ("a root without the grant", without),
    ];
    for (what, statement) in all {
        forget_most()?;
        let (cost, done) = costed(growing.store.admit(vec![statement], None)).await?;
        assert_eq!(done?.new.len(), 1, "it is new");
        let name = format!("authority: {packages} packages, {what}");
        report.line(&name, (cost.time, "s"), &[]);
        report.line(&name, (cost.cpu, "CPU-s"), &[]);
        report.line(&name, (cost.written / f64::from(1 << 20), "MiB"), &[]);
        report.line(&format!("{name}, at the most"), (most_resident()?, "MiB RSS"), &[]);
        let each = cost.cpu / packages as f64 * 1e6;
        report.line(&format!("{name}, each package"), (each, "CPU-µs"), &[]);
    }
    Ok(())
}

/// The next epoch, with these grants.
fn root(realm: &Realm, last: &Verified, grants: Vec<Grant>) -> Outcome<Verified> {
    next(realm, last, |root| root.grants = grants)
}

/// The next epoch, changed in something.
pub(crate) fn next(
    realm: &Realm,
    last: &Verified,
    change: impl FnOnce(&mut Root),
) -> Outcome<Verified> {
    let Body::Root(before) = last.statement().body() else {
        return Err("a realm's chain is of roots".into());
    };
    let prev = Some(last.statement().id());
    let mut next = Root { epoch: before.epoch + 1, prev, ..before.clone() };
    change(&mut next);
    let next = Statement::new(realm.id, None, Body::Root(next))?;
    Ok(Verified::sign(next, &[&realm.key]))
}
