//! Signing with root keys: root epochs, seals, revocations, routes.
//!
//! The running node never sees a root key. What a statement needs to know of the realm is read from
//! the node ([`Seen`]), the statement is signed here, and the finished envelope is posted like one
//! from any peer; or written to a file ([`Parcel`]), if its keys lie elsewhere. A statement with
//! too few signatures has no effect and spreads like any other until the rest has signed.
//!
//! Source: trust.md sections 2, 15 and 17.

use std::path::{Path, PathBuf};

use crdt::realm::Quorum;
use crdt::statement::{Grant, Pattern, Root, RouteSource};
use crdt::{Body, RealmId, Statement, StatementId};
use node::daemon::admin::realms::RealmInfo;
use node::daemon::admin::realms::post::Posted;
use node::daemon::admin::realms::releases::KeptList;
use node::daemon::keys::{self, Role};
use serde::Serialize;

use crate::args::Signing;
use crate::client::Node;
use crate::code;
use crate::keyfile::KeyFile;
use crate::output::{Code, Failure, Output};

mod hand;
mod ledger;
mod next;
mod parcel;
mod says;
mod seen;

pub(crate) use hand::Hand;
pub(crate) use next::{Carry, next_epoch, refuse_unsound, settle};
pub(crate) use parcel::{Parcel, root};
pub(crate) use says::{grant as grant_in_words, grantee as grantee_in_words, lacks, says};
pub(crate) use seen::{Seen, decode};

/// How often a grant is signed anew because another command was faster.
const ATTEMPTS_MAX: usize = 16;

/// What became of a statement that was signed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Handed {
    /// Its id.
    pub(crate) id: StatementId,
    /// Its type.
    pub(crate) kind: String,
    /// The realm.
    pub(crate) realm: RealmId,
    /// What it does, in words.
    pub(crate) says: Vec<String>,
    /// Whether enough keys have signed for it to have an effect.
    pub(crate) complete: bool,
    /// Who has signed and who lacks.
    pub(crate) quorums: Vec<Quorum>,
    /// Whether the node has it.
    pub(crate) posted: bool,
    /// Where it was written.
    pub(crate) file: Option<PathBuf>,
}

impl Handed {
    /// What happened and what to type next.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.complete {
            out.extend(lacks(&self.quorums));
        }
        let state = if self.complete { "complete" } else { "waits for more signatures" };
        let id = crate::output::short(&self.id);
        match (&self.file, self.posted, self.complete) {
            (Some(file), posted, true) => {
                let file = file.display();
                let here = if posted { "handed in here, and elsewhere" } else { "hand it in" };
                out.push(format!("{state}: {file}; {here}: griot realm post {file}"));
            }
            (Some(file), _, false) => {
                let file = file.display();
                out.push(format!("{state}: {file}; where the others are: griot realm sign {file}"));
            }
            (None, _, true) => out.push(format!("signed and handed in: {} {id}", self.kind)),
            (None, _, false) => {
                out.push(format!("{state}; where the others are: griot realm sign {}", self.id));
            }
        }
        out
    }
}

/// Where a verb signs: its keys, the node if one runs, and what was typed.
pub(crate) struct Desk<'a> {
    pub(crate) output: Output,
    pub(crate) node: Option<&'a Node>,
    pub(crate) signing: &'a Signing,
    pub(crate) hand: Hand,
}

impl<'a> Desk<'a> {
    /// Opens the key files that were named, or the home's root key.
    pub(crate) fn open(
        output: Output,
        node: &'a Node,
        signing: &'a Signing,
    ) -> Result<Self, Failure> {
        let hand = Hand::open(node.home(), signing)?;
        Ok(Self { output, node: Some(node), signing, hand })
    }

    /// The same for seals, revocations and routes.
    pub(crate) fn open_for_rules(
        output: Output,
        node: &'a Node,
        signing: &'a Signing,
    ) -> Result<Self, Failure> {
        let hand = Hand::open_for_rules(node.home(), signing)?;
        Ok(Self { output, node: Some(node), signing, hand })
    }

    /// Shows what a parcel does.
    pub(crate) fn show(&self, parcel: &Parcel) -> Result<Vec<String>, Failure> {
        let words = says(parcel)?;
        words.iter().for_each(|line| self.output.say(line));
        Ok(words)
    }

    /// Shows what a parcel does, and asks whether to sign it.
    pub(crate) fn ask(&self, parcel: &Parcel) -> Result<(), Failure> {
        self.show(parcel)?;
        confirm(self.output, self.signing.yes, "sign this?")
    }

    /// Signs, and hands the parcel on: to the node, or to a file.
    pub(crate) async fn finish(
        &mut self,
        mut parcel: Parcel,
        seen: Option<&Seen>,
    ) -> Result<Handed, Failure> {
        let held = seen.map_or(&[][..], |seen| &seen.statements);
        self.hand.sign(self.output, &mut parcel, held)?;
        self.hand_on(parcel).await
    }

    /// Hands a parcel on as it is: to the file that was named, else to the node.
    pub(crate) async fn hand_on(&mut self, parcel: Parcel) -> Result<Handed, Failure> {
        match &self.signing.out {
            Some(file) => self.deliver(parcel, (Some(file), None)).await,
            None if self.node.is_some() => self.deliver(parcel, (None, self.node)).await,
            None => Err(Failure::new("no node runs here, and no file was named")
                .hint("--out FILE writes what others sign")
                .code(Code::Offline)),
        }
    }

    /// Hands a parcel to a node, writes it to a file, or both.
    pub(crate) async fn deliver(
        &mut self,
        parcel: Parcel,
        (file, node): (Option<&Path>, Option<&Node>),
    ) -> Result<Handed, Failure> {
        let (words, quorums) = (says(&parcel)?, parcel.quorums()?);
        let handed = Handed {
            id: parcel.id(),
            kind: parcel.statement().kind().to_owned(),
            realm: parcel.statement().realm(),
            says: words,
            complete: quorums.iter().all(|quorum| quorum.lacks() == 0),
            quorums,
            posted: node.is_some(),
            file: file.map(Path::to_owned),
        };
        if let Some(node) = node
            && let Err(failure) = post(node, &parcel).await
        {
            self.hand.take_back(node, &parcel.id()).await;
            return Err(failure);
        }
        if let Some(file) = file {
            let mut head = handed.says.clone();
            head.extend(lacks(&handed.quorums));
            parcel.write(file, &head)?;
            code::show(self.output, &parcel.letters());
        }
        Ok(handed)
    }
}

/// Asks, unless `--yes` was typed. A no, or nobody to ask, ends the verb.
pub(crate) fn confirm(output: Output, yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match output.ask(question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new("nothing was changed").hint("griot status")),
        None => Err(Failure::new("nobody is here to answer; nothing was changed")
            .hint("read it, and type it again with --yes")
            .code(Code::Refused)),
    }
}

/// Posts what a parcel holds: a genesis of a new realm makes the node follow it. A list comes
/// before the statement that names it.
async fn post(node: &Node, parcel: &Parcel) -> Result<(), Failure> {
    let main = parcel.main.envelope().encode();
    let is_genesis = root(parcel.statement()).is_some_and(|root| root.prev.is_none());
    let path = if is_genesis { "realms" } else { "statements" };
    if let Some(list) = &parcel.list {
        node.post_bytes::<KeptList>("lists", list.clone()).await?;
    }
    node.post_bytes::<Posted>(path, main).await?;
    for other in parcel.others.iter().filter(|other| !other.signatures().is_empty()) {
        node.post_bytes::<Posted>("statements", other.envelope().encode()).await?;
    }
    Ok(())
}

/// Whether the home's root key is one of the realm's, before somebody waits for its signature.
pub(crate) fn root_key(home: &Path, realm: &RealmInfo) -> Result<(), Failure> {
    let path = keys::file(home, Role::Root);
    let key = KeyFile::read(&path)?.ok_or_else(|| hand::lacks_key(&path))?;
    if realm.roots.contains(&key.public()) {
        return Ok(());
    }
    Err(Failure::new(format!("the root key here is none of the realm {}", realm.realm))
        .hint(format!("griot realm show {}", realm.realm))
        .code(Code::Refused))
}

/// Adds grants beside the others in a new root epoch. `None`: they were all there already.
pub(crate) async fn add_grants(
    node: &Node,
    realm: &RealmInfo,
    grants: &[Grant],
) -> Result<Option<Handed>, Failure> {
    root_key(node.home(), realm)?;
    let signing = Signing::default();
    let mut desk = Desk::open(Output::new(false), node, &signing)?;
    change(&mut desk, &realm.realm.to_string(), |root, _| {
        let lacks = |grant: &&Grant| !root.grants.contains(grant);
        let new: Vec<Grant> = grants.iter().filter(lacks).cloned().collect();
        root.grants.extend(new);
        Ok(())
    })
    .await
}

/// Signs the next epoch of a realm, and again if another command was faster. `None`: `edit`
/// changed nothing.
pub(crate) async fn change(
    desk: &mut Desk<'_>,
    realm: &str,
    edit: impl Fn(&mut Root, &Seen) -> Result<(), Failure>,
) -> Result<Option<Handed>, Failure> {
    let node = desk.node.ok_or_else(|| Failure::new("no node runs here").code(Code::Offline))?;
    let mut seen = Seen::read(node, realm).await?;
    for _ in 0..ATTEMPTS_MAX {
        let carry = Carry::of(desk.signing);
        let Some(next) = next_epoch(&seen, &carry, |root| edit(root, &seen))? else {
            return Ok(None);
        };
        let routes = seen.standing_routes_for(&next);
        let statement = Statement::new(seen.realm(), None, Body::Root(next)).map_err(unsound)?;
        let mut parcel = Parcel::new(statement).explained_by(&seen);
        parcel.others = routes;
        parcel.merge(&seen);
        let failure = match desk.finish(parcel, Some(&seen)).await {
            Ok(handed) => return Ok(Some(handed)),
            Err(failure) => failure,
        };
        let now = Seen::read(node, &seen.realm().to_string()).await?;
        if now.info.head == seen.info.head {
            return Err(failure);
        }
        seen = now;
    }
    Err(Failure::new("the realm changes faster than it can be signed").hint("type this again"))
}

/// Says for the whole site where a name comes from.
pub(crate) async fn add_route(
    desk: &mut Desk<'_>,
    realm: &str,
    (format, names): (&str, &str),
    source: RouteSource,
) -> Result<Handed, Failure> {
    let node = desk.node.ok_or_else(|| Failure::new("no node runs here").code(Code::Offline))?;
    let seen = Seen::read(node, realm).await?;
    let body = Body::Route {
        format: format.into(),
        pattern: Pattern::parse(names).map_err(unsound)?,
        source,
        counter: seen.info.next_route,
    };
    let statement = Statement::new(seen.realm(), None, body).map_err(unsound)?;
    let parcel = Parcel::new(statement).explained_by(&seen);
    desk.finish(parcel, Some(&seen)).await
}

/// The same for the own realm, with the home's root key and nothing typed.
pub(crate) async fn add_own_route(
    node: &Node,
    names: (&str, &str),
    source: RouteSource,
) -> Result<Handed, Failure> {
    let signing = Signing::default();
    let mut desk = Desk::open_for_rules(Output::new(false), node, &signing)?;
    add_route(&mut desk, "own", names, source).await
}

/// Whether the home has a root key that signs without asking anybody.
pub(crate) fn has_open_root_key(home: &Path) -> Result<bool, Failure> {
    let file = KeyFile::read(&keys::file(home, Role::Root))?;
    Ok(file.is_some_and(|file| !file.is_sealed()))
}

/// Why a statement cannot be made.
pub(crate) fn unsound(error: crdt::Error) -> Failure {
    Failure::new(format!("the statement cannot be made: {error}"))
}
