//! `griot dispute`: what this node cannot decide by itself, and deciding it.
//!
//! There are three ways: a publisher withdraws his rival, the roots seal the right content, or a
//! user accepts one for his own node. The first two are for everybody. Which are open is found out
//! here; where more than one is, it has to be said.

use crdt::derive::{Candidate, Fallen, FallenRelease};
use crdt::{Content, Digest, SlotState};
use node::daemon::admin::Done;
use node::daemon::admin::disputes::{
    Dispute as Shown, DisputedFile, Disputes, WithdrawOrder, Withdrawn,
};
use node::daemon::admin::packages::{AcceptOrder, Named};
use node::daemon::keys::{self, Role};
use serde::Serialize;

use super::Context;
use super::realm::seal;
use crate::args::{Dispute, Resolve, Way};
use crate::client::Node;
use crate::keyfile::KeyFile;
use crate::names;
use crate::output::{Code, Failure, plain, short, size};
use crate::sign::{Desk, Handed, Seen};

/// What was decided.
#[derive(Serialize)]
struct Resolved {
    digest: Digest,
    by: &'static str,
    /// The state of the version on this node afterwards.
    state: SlotState,
    /// Of a seal.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Handed>,
}

pub(super) async fn run(context: &Context, dispute: Dispute) -> Result<(), Failure> {
    let node = context.node()?;
    match dispute {
        Dispute::List => {
            let all: Disputes = node.get("disputes").await?;
            if context.output.is_human() && all.realms.is_empty() && all.versions.is_empty() {
                context.output.say("nothing is disputed here");
            }
            context.output.data(&all, list)
        }
        Dispute::Show { package } => {
            let shown = show(&node, &package).await?;
            context.output.data(&shown, describe)
        }
        Dispute::Resolve(order) => resolve(context, &node, order).await,
    }
}

async fn show(node: &Node, package: &str) -> Result<Shown, Failure> {
    node.post("disputes", &named(package)?).await
}

/// `FORMAT:NAME@VERSION` or `NAME@VERSION`.
fn named(text: &str) -> Result<Named, Failure> {
    let (format, rest) = match text.split_once(':') {
        Some((format, rest)) => (Some(format.to_owned()), rest),
        None => (None, text),
    };
    let (name, version) = names::split(rest);
    if version.is_none() {
        return Err(Failure::new(format!("{} names no version", plain(text)))
            .hint("FORMAT:NAME@VERSION, as griot dispute list prints it")
            .code(Code::Usage));
    }
    Ok(Named { name, version, format })
}

fn list(all: &Disputes) -> Vec<String> {
    let realms = all.realms.iter().map(|realm| {
        let (title, status) = (plain(&realm.title), super::realm::status_word(realm.status));
        format!("{status}  {title}  {}: griot realm accept {0}", realm.realm)
    });
    let versions = all.versions.iter().map(|row| {
        let name = plain(&format!("{}@{}", row.package, row.version));
        format!("{}  {name}: griot dispute show {name}", state_word(row.state))
    });
    realms.chain(versions).collect()
}

const fn state_word(state: SlotState) -> &'static str {
    match state {
        SlotState::Ok => "ok",
        SlotState::Disputed => "disputed",
        SlotState::DisputedPinned => "disputed-pinned",
        SlotState::PinnedUnsupported => "pinned-unsupported",
    }
}

fn describe(shown: &Shown) -> Vec<String> {
    let name = plain(&format!("{}@{}", shown.package, shown.version));
    let mut out = vec![format!("{name}  {}", state_word(shown.state))];
    for file in &shown.files {
        out.push(format!("{}  {}", plain(&file.name), state_word(file.state)));
        out.extend(file.candidates.iter().map(|one| candidate(shown, file, one)));
        let pin = file.pin.as_ref();
        let stands = |pin: &Content| file.candidates.iter().any(|one| one.content == *pin);
        if let Some(pin) = pin.filter(|pin| !stands(pin)) {
            out.push(format!("  {}  kept here, stands no more", pin.blake3));
        }
    }
    out.extend(shown.fallen.iter().map(fallen));
    let sealed_twice =
        shown.files.iter().any(|file| file.candidates.iter().filter(|one| one.sealed).count() > 1);
    if sealed_twice {
        out.push(
            "more than one is sealed: the roots declare a seal void: griot realm clear ID".into(),
        );
    }
    if shown.state != SlotState::Ok {
        out.push(format!("griot dispute resolve {name} --digest DIGEST"));
    }
    out
}

fn candidate(shown: &Shown, file: &DisputedFile, one: &Candidate) -> String {
    let signers = one.signers.iter().map(|key| {
        let own = if *key == shown.publisher { " (this node)" } else { "" };
        format!("{}{own}", short(key))
    });
    let signers: Vec<String> = signers.collect();
    let mut notes = vec![size(one.content.size), format!("signed by {}", signers.join(", "))];
    let seals = shown.seals.iter().filter(|it| one.releases.contains(&it.release));
    notes.extend(seals.map(|it| format!("sealed by {}", it.seal)));
    if file.pin.as_ref() == Some(&one.content) {
        notes.push("kept here".into());
    }
    format!("  {}  {}", one.content.blake3, notes.join("  "))
}

fn fallen(row: &FallenRelease) -> String {
    let why = match &row.why {
        Fallen::Signers { have, need } => format!("{have} of {need} signatures count"),
        Fallen::Revoked(by) => {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            let by = by.join(", ");
            format!(
                "signed by a revoked key and not kept by {by}; a publisher may griot endorse it"
            )
        }
        Fallen::Withdrawn => "withdrawn by its signers".into(),
        Fallen::NotYetKnown => "a list that may keep it has not arrived".into(),
        Fallen::Closed => "waits for a seal: its version is sealed without it".into(),
    };
    let files: Vec<String> = row.files.iter().map(|name| plain(name)).collect();
    format!("fallen  {}  {}: {why}", short(&row.release), files.join(", "))
}

/// The file and the content that a digest, or its start, means.
fn chosen<'s>(
    shown: &'s Shown,
    digest: &str,
) -> Result<(&'s DisputedFile, &'s Candidate), Failure> {
    let all = shown.files.iter().flat_map(|file| file.candidates.iter().map(move |it| (file, it)));
    let fits = |(_, one): &(&DisputedFile, &Candidate)| {
        digest.len() >= 6 && one.content.blake3.to_string().starts_with(digest)
    };
    let found: Vec<_> = all.filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        _ => Err(Failure::new(format!("{} contents there begin with {digest:.80}", found.len()))
            .hint("griot dispute show lists the digests")
            .code(Code::Usage)),
    }
}

/// The ways that are open for a content here.
fn open(
    context: &Context,
    shown: &Shown,
    file: &DisputedFile,
    one: &Candidate,
    roots: &[crdt::PublicKey],
) -> Result<Vec<Way>, Failure> {
    let mine = |it: &&Candidate| it.content != one.content && it.signers.contains(&shown.publisher);
    let key = KeyFile::read(&keys::file(&context.home, Role::Root))?;
    let mut ways = Vec::new();
    if file.candidates.iter().any(|it| mine(&it)) {
        ways.push(Way::Withdraw);
    }
    if !one.sealed && key.is_some_and(|key| roots.contains(&key.public())) {
        ways.push(Way::Seal);
    }
    if file.pin.as_ref() != Some(&one.content) {
        ways.push(Way::Accept);
    }
    Ok(ways)
}

const fn way_word(way: Way) -> &'static str {
    match way {
        Way::Withdraw => "withdraw",
        Way::Seal => "seal",
        Way::Accept => "accept",
    }
}

async fn resolve(context: &Context, node: &Node, order: Resolve) -> Result<(), Failure> {
    let shown = show(node, &order.package).await?;
    let (file, one) = chosen(&shown, &order.digest)?;
    let digest = one.content.blake3;
    let seen = Seen::read(node, &shown.realm.to_string()).await?;
    let ways = open(context, &shown, file, one, &seen.info.roots)?;
    let way = match (order.by, ways.as_slice()) {
        (Some(way), _) => way,
        (None, [only]) => *only,
        (None, []) => {
            return Err(Failure::new("this is what stands here already")
                .hint(format!("griot dispute show {}", plain(&order.package)))
                .code(Code::Usage));
        }
        (None, several) => {
            let words: Vec<&str> = several.iter().map(|way| way_word(*way)).collect();
            return Err(Failure::new(format!("it can be decided in {} ways", words.len()))
                .hint(format!(
                    "--by {}; accept is for this node alone, the others are for everybody",
                    words.join(" or --by ")
                ))
                .code(Code::Usage));
        }
    };
    let named = named(&order.package)?;
    let mut statement = None;
    match way {
        Way::Withdraw => {
            withdraw(node, WithdrawOrder { named, digest, reason: order.reason }).await?
        }
        Way::Seal => {
            let rows = seal::standing(node, &seen).await?.into_iter();
            let rows: Vec<_> = rows.filter(|row| one.releases.contains(&row.release)).collect();
            let parcel = seal::parcel(node, &seen, &rows).await?;
            let mut desk = Desk::open_for_rules(context.output, node, &order.signing)?;
            desk.ask(&parcel)?;
            statement = Some(desk.finish(parcel, Some(&seen)).await?);
        }
        Way::Accept => {
            let file = Some(file.name.clone());
            let order = AcceptOrder { named, file, digest: Some(digest), ..AcceptOrder::default() };
            node.post::<_, Done>("accept", &order).await?;
        }
    }
    let state = show(node, &order.package).await?.state;
    let resolved = Resolved { digest, by: way_word(way), state, statement };
    context.output.data(&resolved, |it| lines(it, way))
}

async fn withdraw(node: &Node, order: WithdrawOrder) -> Result<(), Failure> {
    let done: Withdrawn = node.post("disputes/withdraw", &order).await?;
    if done.count > 0 {
        return Ok(());
    }
    Err(Failure::new("this node has signed no rival of it, so it has nothing to withdraw")
        .hint("--by seal as a root, or --by accept for this node alone")
        .code(Code::Refused))
}

fn lines(resolved: &Resolved, way: Way) -> Vec<String> {
    let state = state_word(resolved.state);
    let mut out = vec![match way {
        Way::Withdraw => format!("this node's signature is off the other content: {state} here"),
        Way::Seal => format!("sealed for everybody: {state} here"),
        Way::Accept => {
            format!("this node takes it from now on; others decide for themselves: {state} here")
        }
    }];
    out.extend(resolved.statement.iter().flat_map(Handed::lines));
    out
}
