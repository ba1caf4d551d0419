//! `griot realm recover`: new roots for a realm, signed by the recovery keys of a good epoch.
//!
//! It outranks every ordinary successor of that epoch. Nodes that have seen the realm before do
//! not follow it by themselves: their users compare a fingerprint and accept it.
//!
//! It always lists the seals that go on counting: the roots that are left behind may be stolen.

use crdt::statement::{Root, recovery_hash};
use crdt::{Authority, Body, PublicKey, Statement, StatementId};

use super::super::Context;
use super::rotate::majority;
use crate::args::Recover;
use crate::keyfile::words;
use crate::output::{Code, Failure};
use crate::prompt;
use crate::sign::{self, Carry, Desk, Hand, Parcel, Seen};

pub(super) async fn run(context: &Context, order: Recover) -> Result<(), Failure> {
    let node = context.node()?;
    let seen = Seen::read(&node, &order.realm).await?;
    let mut hand = hand(context, &order)?;
    let (parent, root) = parent(&seen, &order, &hand.publics())?;
    let next = next(&seen, &order, parent, root)?;
    let statement = Statement::new(seen.realm(), None, Body::Root(next)).map_err(sign::unsound)?;
    let mut parcel = Parcel::new(statement).explained_by(&seen);
    parcel.merge(&seen);
    let signing = &order.signing;
    // What it is can be said only once a recovery key has signed.
    hand.sign(context.output, &mut parcel, &seen.statements)?;
    let mut desk = Desk { output: context.output, node: Some(&node), signing, hand };
    if let Err(no) = desk.ask(&parcel) {
        desk.hand.forget(&parcel.id());
        return Err(no);
    }
    let handed = desk.hand_on(parcel).await?;
    context.output.data(&handed, |handed| {
        let mut out = handed.lines();
        if handed.complete && handed.posted {
            let realm = handed.realm;
            out.push(format!("its twelve words: {}", words::check(&handed.id.0)));
            out.push(format!(
                "whoever knew the realm compares and types: griot realm accept {realm}"
            ));
        }
        out
    })
}

/// The keys that were named, and those of the words.
fn hand(context: &Context, order: &Recover) -> Result<Hand, Failure> {
    if order.signing.key_files.is_empty() && !order.words {
        return Err(Failure::new("a recovery key is needed, and none was named")
            .hint("--words to type it from paper, or --key FILE")
            .code(Code::Usage));
    }
    let mut hand = match order.signing.key_files.is_empty() {
        true => Hand::empty(),
        false => Hand::open(&context.home, &order.signing)?,
    };
    if order.words {
        let text = prompt::secret("the 24 words of the recovery key: ")?;
        hand.take(words::to_key(&text)?);
    }
    Ok(hand)
}

/// The last good epoch: the one that was named, else the last that one of the keys can recover.
fn parent<'s>(
    seen: &'s Seen,
    order: &Recover,
    keys: &[PublicKey],
) -> Result<(StatementId, &'s Root), Failure> {
    let hashes: Vec<_> = keys.iter().map(recovery_hash).collect();
    let path = seen.authority.path.iter().rev();
    let roots = path.filter_map(|id| Some((*id, seen.root(id)?)));
    let can = |root: &Root| root.recovery.iter().any(|hash| hashes.contains(hash));
    let fits = |root: &Root| order.from.is_none_or(|epoch| epoch == root.epoch) && can(root);
    roots.into_iter().find(|(_, root)| fits(root)).ok_or_else(|| {
        let which =
            order.from.map_or_else(|| "no epoch".into(), |at| format!("epoch {at} does not"));
        let verb = if order.from.is_some() { "name" } else { "names" };
        Failure::new(format!("{which} {verb} this recovery key: it cannot recover the realm"))
            .hint(format!("griot realm show {} lists the hashes of recovery keys", seen.realm()))
            .code(Code::Refused)
    })
}

fn next(seen: &Seen, order: &Recover, id: StatementId, parent: &Root) -> Result<Root, Failure> {
    let at = seen.authority.path.iter().position(|it| *it == id).unwrap_or(0);
    let path = &seen.authority.path[..=at];
    let is_later = |it: &StatementId| !path.contains(it);
    let good = seen.statements.iter().filter(|held| {
        let is_root = matches!(held.statement().body(), Body::Root(_));
        !(is_root && is_later(&held.statement().id()))
    });
    let good: Authority = crdt::realm::authority(seen.realm(), good, path);
    let mut roots = order.roots.clone();
    roots.sort_unstable();
    roots.dedup();
    let mut next = Root {
        epoch: parent.epoch + 1,
        prev: Some(id),
        k: order.k.unwrap_or_else(|| majority(roots.len())),
        roots,
        seals: Some(seen.seals(&good)),
        ..parent.clone()
    };
    if !order.recovery.is_empty() {
        next.recovery.clone_from(&order.recovery);
        next.rk = majority(next.recovery.len());
    }
    next.rk = order.rk.unwrap_or(next.rk);
    let carry = Carry::of(&order.signing);
    let before = Seen { authority: good, ..seen.clone() };
    sign::settle(&before, &carry, &mut next)?;
    Ok(next)
}
