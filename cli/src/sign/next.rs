//! The next epoch of a realm: all of the last one, with one thing changed.
//!
//! It restates the grants, since those of the head alone count. A revoked key is not carried on
//! without a word: a revocation by a root that leaves would be forgotten with it. A list of seals
//! is not carried on at all: it cuts off once, and seals that came after it would fall by it.
//!
//! Source: trust.md sections 4 and 5 (step 2).

use crdt::PublicKey;
use crdt::statement::{Grantee, Root};

use super::seen::Seen;
use crate::args::Signing;
use crate::output::{Code, Failure, short};

/// What is done with revoked keys that the head still names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carry {
    /// They stay.
    pub(crate) reinstate: Vec<PublicKey>,
    /// They go, with what only they stand behind.
    pub(crate) drop: Vec<PublicKey>,
}

impl Carry {
    /// As it was typed.
    pub(crate) fn of(signing: &Signing) -> Self {
        Self { reinstate: signing.reinstate.clone(), drop: signing.drop_key.clone() }
    }
}

/// The successor of a realm's head, changed by `edit`; `None` if that changed nothing.
pub(crate) fn next_epoch(
    seen: &Seen,
    carry: &Carry,
    edit: impl FnOnce(&mut Root) -> Result<(), Failure>,
) -> Result<Option<Root>, Failure> {
    let (id, head) = seen.head()?;
    let mut next = Root { seals: None, ..head.clone() };
    edit(&mut next)?;
    settle(seen, carry, &mut next)?;
    if next == (Root { seals: None, ..head.clone() }) {
        return Ok(None);
    }
    Ok(Some(Root { epoch: head.epoch + 1, prev: Some(id), ..next }))
}

/// Puts the lists of a root in order, takes back what revoked keys had where that was said, and
/// refuses what could never have an effect.
pub(crate) fn settle(seen: &Seen, carry: &Carry, next: &mut Root) -> Result<(), Failure> {
    let gone = |to: &Grantee| matches!(to, Grantee::Key(key) if carry.drop.contains(key));
    next.grants.retain(|grant| !gone(&grant.to));
    next.roots.retain(|root| !carry.drop.contains(root));
    next.roots.sort_unstable();
    next.roots.dedup();
    next.cleared.sort_unstable();
    next.cleared.dedup();
    next.recovery.sort_unstable();
    next.recovery.dedup();
    refuse_revoked(seen, carry, next)?;
    refuse_unsound(next)
}

/// A root that no set of signatures could make sound.
pub(crate) fn refuse_unsound(root: &Root) -> Result<(), Failure> {
    let (k, n) = (root.k as usize, root.roots.len());
    let wrong = |why: String| Failure::new(why).code(Code::Usage);
    if n == 0 {
        return Err(wrong("a realm without a root can never change again".into())
            .hint("--add-root KEY, or keep one"));
    }
    if n > crdt::statement::MAX_ROOTS {
        return Err(wrong(format!("a realm has at most {} roots", crdt::statement::MAX_ROOTS)));
    }
    if k <= n / 2 || k > n {
        return Err(wrong(format!("of {n} roots {k} cannot act: more than half must"))
            .hint(format!("--k {} or more, up to {n}", n / 2 + 1)));
    }
    if root.rk as usize > root.recovery.len() {
        let count = root.recovery.len();
        return Err(wrong(format!("{} of {count} recovery keys cannot act", root.rk)));
    }
    Ok(())
}

fn refuse_revoked(seen: &Seen, carry: &Carry, next: &Root) -> Result<(), Failure> {
    for (key, kept) in seen.revoked() {
        let granted = next.grants.iter().any(|grant| grant.to == Grantee::Key(key));
        let is_named = granted || next.roots.contains(&key);
        if !is_named
            || carry.reinstate.contains(&key)
            || kept.by.iter().all(|id| next.cleared.contains(id))
        {
            continue;
        }
        return Err(Failure::new(format!(
            "the key {} is revoked, and a new epoch does not carry it on by itself",
            short(&key)
        ))
        .hint(format!(
            "--drop {key} takes its grants back (seal first what of it shall stay: griot realm \
             seal); --reinstate {key} keeps them"
        ))
        .code(Code::Refused));
    }
    Ok(())
}
