//! `griot realm create`: founds a realm whose roots lie on several laptops, or on sticks.
//!
//! The id of a realm is the fingerprint of its genesis, so nobody issues it. Enough of its own
//! roots must have signed before it is one; until then the envelope is a file that goes round.

use std::path::PathBuf;

use crdt::statement::{Grant, Pattern, Root};
use crdt::{Body, PublicKey, Statement};
use node::daemon::keys::{self, Role};

use super::super::Context;
use super::rotate::majority;
use crate::args::Create;
use crate::keyfile::{KeyFile, words};
use crate::output::{Code, Failure};
use crate::sign::{self, Desk, Hand, Parcel};

/// Letters of a file name that is made from a title.
const NAME_CHARS_MAX: usize = 40;

pub(super) async fn run(context: &Context, order: Create) -> Result<(), Failure> {
    let node = super::super::running(context)?;
    let mut hand = Hand::open(&context.home, &order.signing)?;
    let root = root(context, &order, &hand)?;
    let statement = Statement::genesis(root).map_err(sign::unsound)?;
    let mut parcel = Parcel::new(statement);
    let mut signing = order.signing.clone();
    hand.sign(context.output, &mut parcel, &[])?;
    let complete = parcel.quorums()?.iter().all(|quorum| quorum.lacks() == 0);
    if signing.out.is_none() && (!complete || node.is_none()) {
        signing.out = Some(PathBuf::from(format!("{}.griot", file_name(&order.title))));
    }
    let (output, node) = (context.output, node.as_ref());
    let mut desk = Desk { output, node, signing: &signing, hand };
    let handed = desk.hand_on(parcel).await?;
    context.output.data(&handed, |handed| {
        let mut out = handed.says.clone();
        out.push(format!("in twelve words: {}", words::check(&handed.realm.0)));
        out.extend(handed.lines());
        if handed.posted {
            out.push(format!("this node follows it: griot realm show {}", handed.realm));
        }
        out
    })
}

/// The genesis.
fn root(context: &Context, order: &Create, hand: &Hand) -> Result<Root, Failure> {
    let mut roots = order.roots.clone();
    if roots.is_empty() {
        roots = hand.publics();
    }
    roots.sort_unstable();
    roots.dedup();
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| Failure::new(format!("the system gives no random bytes: {error}")))?;
    let mut recovery = order.recovery.clone();
    recovery.sort_unstable();
    recovery.dedup();
    let rk = if recovery.is_empty() { 0 } else { majority(recovery.len()) };
    let root = Root {
        epoch: 0,
        prev: None,
        nonce,
        title: order.title.clone(),
        k: order.k.unwrap_or_else(|| majority(roots.len())),
        roots,
        rk: order.rk.unwrap_or(rk),
        recovery,
        grants: grants(context, order)?,
        cleared: Vec::new(),
        seals: None,
    };
    sign::refuse_unsound(&root)?;
    Ok(root)
}

/// Who publishes, and in a private realm who reads.
fn grants(context: &Context, order: &Create) -> Result<Vec<Grant>, Failure> {
    let everything = || Pattern::parse("*").map_err(sign::unsound);
    let own = |role| public(context, role);
    let mut publishers = order.publishers.clone();
    if publishers.is_empty() {
        publishers.extend(own(Role::Publisher)?);
    }
    if publishers.is_empty() {
        return Err(Failure::new("nobody could publish in it: this home has no publisher key")
            .hint("--publisher KEY, as griot key show prints it where the publisher is")
            .code(Code::Usage));
    }
    let mut grants = Vec::new();
    for key in &publishers {
        grants.push(Grant::to_key("publish", everything()?, *key));
    }
    // Others see by its beats how much of the realm there is.
    if let Some(key) = own(Role::Node)? {
        grants.push(Grant::to_key("beat", everything()?, key));
    }
    let readers = [own(Role::Publisher)?, own(Role::Node)?].into_iter().flatten();
    for key in readers.filter(|_| order.private) {
        grants.push(Grant::to_key("read", everything()?, key));
    }
    Ok(grants)
}

fn public(context: &Context, role: Role) -> Result<Option<PublicKey>, Failure> {
    Ok(KeyFile::read(&keys::file(&context.home, role))?.map(|file| file.public()))
}

/// A title as the name of a file.
fn file_name(title: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = title.chars().map(letter).take(NAME_CHARS_MAX).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "realm".into() } else { name.into() }
}

/// Whether a parcel founds a realm.
pub(super) const fn founds(parcel: &Parcel) -> bool {
    matches!(parcel.statement().body(), Body::Root(Root { prev: None, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_makes_a_plain_file_name() {
        assert_eq!(file_name("Acme & Sons"), "acme---sons");
        assert_eq!(file_name("../../etc"), "etc");
        assert_eq!(file_name("éé"), "realm");
    }
}
