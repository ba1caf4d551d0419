//! `griot realm rotate` and `clear`: the roots, how many act, recovery keys; void rulings.
//!
//! When a root key leaves, it may be in wrong hands: enough keys of an earlier epoch could go on
//! sealing in its name. So the new epoch then lists the seals that count, and no others do, unless
//! `--keep-seals` says otherwise.

use crdt::statement::Root;
use crdt::{Body, StatementId};

use super::super::Context;
use crate::args::{Rotate, Signing};
use crate::output::{Code, Failure};
use crate::sign::{self, Desk, Handed, Seen};

pub(super) async fn run(context: &Context, order: Rotate) -> Result<(), Failure> {
    let node = context.node()?;
    let mut desk = Desk::open(context.output, &node, &order.signing)?;
    let handed = sign::change(&mut desk, &order.realm, |root, seen| edit(root, seen, &order));
    finish(context, handed.await?)
}

pub(super) async fn clear(
    context: &Context,
    ids: &[StatementId],
    realm: &str,
    signing: Signing,
) -> Result<(), Failure> {
    let node = context.node()?;
    let mut desk = Desk::open(context.output, &node, &signing)?;
    let handed = sign::change(&mut desk, realm, |root, seen| {
        for id in ids {
            let body = seen.statement(id).map(|held| held.statement().body());
            if !matches!(body, Some(Body::Revoke { .. } | Body::Seal { .. })) {
                return Err(Failure::new(format!("{id} is no revocation or seal of this realm"))
                    .hint(
                        "griot realm show lists revoked keys; griot dispute show what fell by whom",
                    )
                    .code(Code::Lacks));
            }
        }
        root.cleared.extend(ids);
        Ok(())
    });
    finish(context, handed.await?)
}

fn finish(context: &Context, handed: Option<Handed>) -> Result<(), Failure> {
    let handed = handed.ok_or_else(|| {
        Failure::new("this changes nothing: it is so already")
            .hint("griot realm show")
            .code(Code::Usage)
    })?;
    context.output.data(&handed, |handed| {
        let mut out = handed.says.clone();
        out.extend(handed.lines());
        out
    })
}

fn edit(root: &mut Root, seen: &Seen, order: &Rotate) -> Result<(), Failure> {
    for key in &order.remove_root {
        if !root.roots.contains(key) {
            return Err(Failure::new(format!("{key} is no root of this realm"))
                .hint(format!("griot realm show {}", seen.realm()))
                .code(Code::Lacks));
        }
    }
    root.roots.retain(|key| !order.remove_root.contains(key));
    root.roots.extend(&order.add_root);
    root.roots.sort_unstable();
    root.roots.dedup();
    root.k = order.k.unwrap_or_else(|| majority_like(root.k, root.roots.len()));
    if let Some(title) = &order.title {
        root.title.clone_from(title);
    }
    if !order.recovery.is_empty() {
        root.recovery.clone_from(&order.recovery);
        root.rk = majority(root.recovery.len());
    }
    root.rk = order.rk.unwrap_or(root.rk);
    let leaves = !order.remove_root.is_empty() || !order.signing.drop_key.is_empty();
    if order.cut_seals || (leaves && !order.keep_seals) {
        root.seals = Some(seen.seals(&seen.authority));
    }
    Ok(())
}

/// As many as acted before, if that is still more than half and not more than there are.
fn majority_like(k: u32, roots: usize) -> u32 {
    k.clamp(majority(roots), u32::try_from(roots).unwrap_or(u32::MAX).max(majority(roots)))
}

/// Just more than half.
pub(super) fn majority(count: usize) -> u32 {
    u32::try_from(count / 2 + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_acts_stays_where_it_can() {
        for (k, roots, then) in
            [(2, 3, 2), (2, 4, 3), (3, 3, 3), (3, 2, 2), (1, 1, 1), (1, 2, 2), (5, 5, 5), (5, 9, 5)]
        {
            assert_eq!(majority_like(k, roots), then, "{k} of {roots}");
        }
    }
}
