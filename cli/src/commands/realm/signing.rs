//! `griot realm sign` and `post`: a further signature for what waits, and handing it in.
//!
//! A file works on a laptop without a node and without a network: it says in words what is signed,
//! from the envelope and its context, and is written back with the signature in it.

use std::path::{Path, PathBuf};

use super::super::{Context, running};
use super::{create, pending};
use crate::args::Signing;
use crate::client::Node;
use crate::output::{Code, Failure};
use crate::sign::{Desk, Hand, Handed, Parcel, Seen};

pub(super) async fn sign(context: &Context, what: &str, signing: Signing) -> Result<(), Failure> {
    let file = PathBuf::from(what);
    let handed = if file.is_file() {
        sign_file(context, &file, signing).await?
    } else {
        sign_waiting(context, what, &signing).await?
    };
    context.output.data(&handed, Handed::lines)
}

/// The file is written with the signature in it, and handed in if the node can take it.
async fn sign_file(context: &Context, file: &Path, signing: Signing) -> Result<Handed, Failure> {
    let node = running(context)?;
    let mut parcel = Parcel::read(file)?;
    let seen = seen(node.as_ref(), &parcel).await?;
    if let Some(seen) = &seen {
        parcel = parcel.explained_by(seen);
        parcel.merge(seen);
    }
    let hand = Hand::open(&context.home, &signing)?;
    let (output, node) = (context.output, node.as_ref());
    let mut desk = Desk { output, node, signing: &signing, hand };
    desk.ask(&parcel)?;
    let held = seen.as_ref().map_or(&[][..], |seen| &seen.statements);
    desk.hand.sign(context.output, &mut parcel, held)?;
    let complete = parcel.quorums()?.iter().all(|quorum| quorum.lacks() == 0);
    let takes = seen.is_some() || (create::founds(&parcel) && complete);
    let to = signing.out.as_deref().unwrap_or(file);
    let node = node.filter(|_| takes && signing.out.is_none());
    desk.deliver(parcel, (Some(to), node)).await
}

/// What the node knows of the parcel's realm, if it follows it.
async fn seen(node: Option<&Node>, parcel: &Parcel) -> Result<Option<Seen>, Failure> {
    let Some(node) = node else { return Ok(None) };
    match Seen::read(node, &parcel.statement().realm().to_string()).await {
        Ok(seen) if seen.info.kind.is_some() => Ok(Some(seen)),
        Ok(_) | Err(Failure { code: Code::Lacks | Code::Offline, .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

async fn sign_waiting(context: &Context, what: &str, signing: &Signing) -> Result<Handed, Failure> {
    let node = context.node()?;
    let all = pending::all(&node, None).await?;
    let found: Vec<_> = all.iter().filter(|one| one.id.to_string().starts_with(what)).collect();
    let [one] = found.as_slice() else {
        let why = match found.len() {
            0 => format!("{what:.80} is neither a file nor anything that waits for signatures"),
            several => format!("{several} of those that wait begin with {what:.80}"),
        };
        return Err(Failure::new(why).hint("griot realm pending").code(Code::Lacks));
    };
    let seen = Seen::read(&node, &one.realm.to_string()).await?;
    let lacks = || Failure::new("it was taken away meanwhile").hint("griot realm pending");
    let parcel = pending::parcel(&node, &seen, &one.id).await?.ok_or_else(lacks)?;
    let mut desk = Desk::open(context.output, &node, signing)?;
    desk.ask(&parcel)?;
    desk.finish(parcel, Some(&seen)).await
}

pub(super) async fn post(context: &Context, file: &Path) -> Result<(), Failure> {
    let node = context.node()?;
    let parcel = Parcel::read(file)?;
    let signing = Signing::default();
    let hand = Hand::empty();
    let mut desk = Desk { output: context.output, node: Some(&node), signing: &signing, hand };
    desk.show(&parcel)?;
    let handed = desk.hand_on(parcel).await?;
    context.output.data(&handed, Handed::lines)
}
