//! `griot realm seal`: the roots vouch for releases, whatever becomes of their signers.
//!
//! Seals add up, so only what no seal names yet is put into a new one. What is disputed is left out
//! until somebody says which content is right.

use crdt::statement::IdList;
use crdt::{Body, Digest, Statement};
use node::daemon::admin::realms::releases::{KeptList, StandingRelease};

use super::super::Context;
use crate::args::Seal;
use crate::client::Node;
use crate::names;
use crate::output::{Code, Failure, plain};
use crate::sign::{self, Desk, Handed, Parcel, Seen};

/// Releases whose statements go along, so that a laptop without a node can name them.
const EXPLAINED_MAX: usize = 500;

pub(super) async fn run(context: &Context, order: Seal) -> Result<(), Failure> {
    let node = context.node()?;
    let seen = Seen::read(&node, &order.realm).await?;
    let rows = standing(&node, &seen).await?;
    let chosen = choose(&rows, &order)?;
    let mut desk = Desk::open_for_rules(context.output, &node, &order.signing)?;
    let parcel = parcel(&node, &seen, &chosen).await?;
    desk.ask(&parcel)?;
    let handed = desk.finish(parcel, Some(&seen)).await?;
    context.output.data(&handed, Handed::lines)
}

/// What stands in a realm.
pub(in crate::commands) async fn standing(
    node: &Node,
    seen: &Seen,
) -> Result<Vec<StandingRelease>, Failure> {
    node.get(&format!("realms/{}/releases", seen.realm())).await
}

/// The releases that the order names.
fn choose(rows: &[StandingRelease], order: &Seal) -> Result<Vec<StandingRelease>, Failure> {
    let named: Vec<Named> =
        order.packages.iter().map(|text| Named::parse(text)).collect::<Result<_, _>>()?;
    if let Some(none) = named.iter().find(|named| !rows.iter().any(|row| named.is(row))) {
        return Err(Failure::new(format!("nothing stands of {}", plain(&none.text)))
            .hint(format!("griot info {} shows what there is", plain(&none.name)))
            .code(Code::Lacks));
    }
    let picked = rows.iter().filter(|row| order.all || named.iter().any(|named| named.is(row)));
    let picked: Vec<&StandingRelease> = picked.collect();
    let is_right = |row: &&&StandingRelease| {
        !row.disputed || row.files.iter().any(|file| order.disputed.contains(file))
    };
    let chosen: Vec<StandingRelease> = picked
        .iter()
        .filter(is_right)
        .filter(|row| !row.sealed)
        .map(|row| (*row).clone())
        .collect();
    if let (true, Some(row)) = (chosen.is_empty(), picked.iter().find(|row| !is_right(row))) {
        let name = plain(&format!("{}@{}", row.package, row.version));
        return Err(Failure::new(format!("{name} is disputed: a seal would take sides"))
            .hint(format!("griot dispute show {name}; then --disputed DIGEST"))
            .code(Code::Refused));
    }
    if chosen.is_empty() {
        return Err(Failure::new("everything that stands there is sealed already")
            .hint("griot info NAME shows it")
            .code(Code::Lacks));
    }
    Ok(chosen)
}

/// A seal of these releases; a list that is too long for a statement is stored by the node first.
pub(in crate::commands) async fn parcel(
    node: &Node,
    seen: &Seen,
    releases: &[StandingRelease],
) -> Result<Parcel, Failure> {
    let (list, bytes) = list(node, releases).await?;
    let body = Body::Seal { releases: list };
    let statement = Statement::new(seen.realm(), None, body).map_err(sign::unsound)?;
    let mut parcel = Parcel::new(statement).explained_by(seen).listing(bytes);
    explain(node, &mut parcel, releases).await?;
    parcel.merge(seen);
    Ok(parcel)
}

/// A list of releases as a statement names it, and its bytes if it is a blob: the node has them.
pub(in crate::commands) async fn list(
    node: &Node,
    releases: &[StandingRelease],
) -> Result<(IdList, Option<Vec<u8>>), Failure> {
    let ids = releases.iter().map(|row| row.release).collect();
    let (list, blob) = IdList::of(ids).map_err(sign::unsound)?;
    if let Some(bytes) = &blob {
        let digest = Digest::of(bytes);
        let kept: KeptList = node.post_bytes("lists", bytes.clone()).await?;
        if kept.digest != digest {
            return Err(Failure::new("the node has stored another list than it was given"));
        }
    }
    Ok((list, blob))
}

/// Puts the statements of releases into a parcel.
pub(in crate::commands) async fn explain(
    node: &Node,
    parcel: &mut Parcel,
    releases: &[StandingRelease],
) -> Result<(), Failure> {
    if releases.len() > EXPLAINED_MAX {
        return Ok(());
    }
    for row in releases {
        let text: String = node.get(&format!("statements/{}", row.release)).await?;
        parcel.context.push(sign::decode(&text)?);
    }
    Ok(())
}

/// `FORMAT:NAME` or `FORMAT:NAME@VERSION`.
pub(in crate::commands) struct Named {
    text: String,
    format: String,
    name: String,
    version: Option<String>,
}

impl Named {
    /// Reads what was typed.
    pub(in crate::commands) fn parse(text: &str) -> Result<Self, Failure> {
        let (format, rest) = names::pattern(text)?;
        let (name, version) = names::split(&rest);
        Ok(Self { text: text.to_owned(), format, name, version })
    }

    /// Whether a release is of it.
    pub(in crate::commands) fn is(&self, row: &StandingRelease) -> bool {
        row.package.format == self.format
            && row.package.name == self.name
            && self.version.as_ref().is_none_or(|version| *version == row.version)
    }
}
