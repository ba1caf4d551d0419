//! `griot realm accept`: a person's word about a recovery, or about one branch of a fork.
//!
//! Nothing else moves a node from the chain that it has accepted. What is shown is to be compared
//! by another way than the one by which it came: by the phone, on paper, face to face.

use crdt::realm::Quorum;
use crdt::{Body, StatementId};
use node::daemon::admin::Done;
use node::daemon::admin::realms::post::AcceptRoot;
use serde::Serialize;

use super::super::Context;
use super::show;
use crate::keyfile::words;
use crate::output::{Code, Failure, plain, short};
use crate::sign::{self, Parcel, Seen, confirm};

#[derive(Serialize)]
struct Accepted {
    realm: crdt::RealmId,
    root: StatementId,
    words: String,
    changed: bool,
}

pub(super) async fn run(
    context: &Context,
    realm: &str,
    root: Option<StatementId>,
    yes: bool,
) -> Result<(), Failure> {
    let node = context.node()?;
    let seen = Seen::read(&node, realm).await?;
    let rivals: Vec<StatementId> = seen.info.evidence.clone();
    let open: Vec<StatementId> =
        rivals.iter().filter(|id| !seen.authority.path.contains(id)).copied().collect();
    for id in &rivals {
        lines(&seen, id)?.iter().for_each(|line| context.output.say(line));
    }
    let root = match (root, open.as_slice()) {
        (Some(root), _) if rivals.contains(&root) => root,
        (None, [only]) => *only,
        (_, []) => return Err(nothing(&seen)),
        (Some(root), _) => {
            return Err(Failure::new(format!("{root} is none of them")).hint(hint(&seen)));
        }
        (None, _) => {
            return Err(Failure::new("there are several, and each excludes the others")
                .hint(hint(&seen))
                .code(Code::Usage));
        }
    };
    let title = plain(&seen.info.title);
    confirm(context.output, yes, &format!("take {} for {title} from now on?", short(&root)))?;
    let path = format!("realms/{}/accept", seen.realm());
    let done: Done = node.post(&path, &AcceptRoot { root }).await?;
    let words = words::check(&root.0);
    let accepted = Accepted { realm: seen.realm(), root, words, changed: done.changed };
    let now = show(&node, &seen.realm().to_string()).await?;
    context
        .output
        .data(&accepted, |_| vec![format!("accepted: {title} is at epoch {} here", now.epoch)])
}

/// One successor, as a person compares it.
fn lines(seen: &Seen, id: &StatementId) -> Result<Vec<String>, Failure> {
    let Some(held) = seen.statement(id) else { return Ok(vec![format!("{id} is not held here")]) };
    let mut parcel = Parcel::new(held.statement().clone()).explained_by(seen);
    parcel.merge(seen);
    let here = seen.authority.path.contains(id);
    let mut out = vec![String::new(), format!("root {id}")];
    out.push(format!("in twelve words: {}", words::check(&id.0)));
    if here {
        out.push("this node follows it now".into());
    }
    out.extend(sign::says(&parcel)?);
    if let Body::Root(root) = held.statement().body() {
        out.extend(root.roots.iter().map(|key| format!("its root {key}")));
    }
    let quorums: Vec<Quorum> = parcel.quorums()?;
    out.extend(sign::lacks(&quorums));
    Ok(out)
}

fn nothing(seen: &Seen) -> Failure {
    let title = plain(&seen.info.title);
    Failure::new(format!("nothing about {title} waits to be accepted"))
        .hint(format!("griot realm show {}", seen.realm()))
        .code(Code::Lacks)
}

fn hint(seen: &Seen) -> String {
    format!("griot realm accept {} ROOT, with the one whose twelve words are right", seen.realm())
}
