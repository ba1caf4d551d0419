//! What a statement would do, in words: shown before it is signed, and wherever it waits.
//!
//! Made from the statement itself and from what it refers to, never from what a file says of it.

use std::collections::BTreeSet;

use crdt::realm::{By, Quorum};
use crdt::statement::{Grant, Grantee, IdList, Root, RouteSource};
use crdt::{Body, Digest, Statement, StatementId};
use node::mesh::PeerId;

use super::parcel::Parcel;
use crate::output::{Failure, plain, short};

/// Releases that are named one by one; more are counted.
const RELEASES_SHOWN: usize = 20;

/// What signing a parcel would do, a line each; the first names the realm.
pub(crate) fn says(parcel: &Parcel) -> Result<Vec<String>, Failure> {
    let statement = parcel.statement();
    let ground = parcel.ground()?;
    let realm = statement.realm();
    let title = |root: Option<&Root>| plain(root.map_or("", |root| root.title.as_str()));
    let mut out = match (statement.body(), ground) {
        (Body::Root(root), None) => founds(root, &realm.to_string()),
        (Body::Root(next), Some(root)) => {
            let recovers = parcel.quorums()?.iter().any(|quorum| quorum.by == By::Recovery);
            let mut out = vec![format!(
                "{} ({realm}): from epoch {} to {}",
                title(ground),
                root.epoch,
                next.epoch
            )];
            if recovers {
                out.push("a recovery: its roots take the place of all others".into());
            }
            out.extend(changes(root, next));
            out
        }
        (body, _) => {
            let mut out = vec![format!("{} ({realm})", title(ground))];
            out.extend(rules(parcel, body));
            out
        }
    };
    for other in &parcel.others {
        out.extend(
            rules(parcel, other.statement().body())
                .into_iter()
                .map(|it| format!("as before: {it}")),
        );
    }
    Ok(out)
}

/// Who has signed, and how many more must.
pub(crate) fn lacks(quorums: &[Quorum]) -> Vec<String> {
    let line = |quorum: &Quorum| {
        let who = match quorum.by {
            By::Roots => "roots",
            By::NewRoots => "new roots",
            By::Recovery => "recovery keys",
            By::KeyOrRoot => "the key itself or one root",
        };
        let signed: Vec<String> = quorum.signed.iter().map(short).collect();
        let signed = if signed.is_empty() { "nobody".into() } else { signed.join(", ") };
        match (quorum.lacks(), quorum.by) {
            (0, _) => format!("{who}: signed by {signed}"),
            (more, By::Recovery) => format!("{who}: signed by {signed}; {more} more must sign"),
            (more, _) => {
                let open = quorum.keys.iter().filter(|key| !quorum.signed.contains(key));
                let open: Vec<String> = open.map(short).collect();
                let open = open.join(", ");
                format!("{who}: signed by {signed}; {more} more of {open} must sign")
            }
        }
    };
    quorums.iter().map(line).collect()
}

fn founds(root: &Root, realm: &str) -> Vec<String> {
    let (k, n) = (root.k, root.roots.len());
    let mut out = vec![format!("founds {} ({realm})", plain(&root.title))];
    out.push(format!("{k} of its {n} roots act together"));
    out.extend(root.roots.iter().map(|key| format!("root {key}")));
    out.extend(root.recovery.iter().map(|hash| format!("recovery key with the hash {hash}")));
    out.extend(root.grants.iter().map(|it| format!("grants {}", grant(it))));
    out
}

fn changes(old: &Root, new: &Root) -> Vec<String> {
    let mut out = Vec::new();
    if old.title != new.title {
        out.push(format!("its title becomes {}", plain(&new.title)));
    }
    out.extend(differ("root", &old.roots, &new.roots));
    if old.k != new.k || old.roots.len() != new.roots.len() {
        let (k, n) = (new.k, new.roots.len());
        out.push(format!("{k} of {n} roots act together from then on"));
    }
    out.extend(differ("recovery key with the hash", &old.recovery, &new.recovery));
    if old.rk != new.rk && new.rk > 0 {
        out.push(format!("{} recovery keys act together", new.rk));
    }
    let lost = old.grants.iter().filter(|it| !new.grants.contains(it));
    out.extend(lost.map(|it| format!("takes back {}", grant(it))));
    let gained = new.grants.iter().filter(|it| !old.grants.contains(it));
    out.extend(gained.map(|it| format!("grants {}", grant(it))));
    let cleared = new.cleared.iter().filter(|id| !old.cleared.contains(id));
    out.extend(cleared.map(|id| format!("declares the revocation or seal {id} void")));
    if let Some(seals) = &new.seals {
        out.push(format!("of the earlier seals {} go on counting, and no others", seals.len()));
    }
    if out.is_empty() {
        out.push("changes nothing".into());
    }
    out
}

fn differ<T: Ord + ToString>(what: &str, old: &[T], new: &[T]) -> Vec<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let added = new.difference(&old).map(|one| format!("adds {what} {}", one.to_string()));
    let gone = old.difference(&new).map(|one| format!("removes {what} {}", one.to_string()));
    added.chain(gone).collect()
}

/// A grant in words: `publish npm:@acme/* to 01ab…`.
pub(crate) fn grant(grant: &Grant) -> String {
    let to = grantee(&grant.to);
    let (role, names) = (plain(&grant.role), plain(&grant.pattern.0));
    let mut text = format!("{role} {}:{names} to {to}", plain(&grant.format));
    if grant.need > 1 {
        text += &format!(", {} signatures needed", grant.need);
    }
    if grant.exclusive {
        text += ", nobody else";
    }
    text
}

/// Whom a grant is for.
pub(crate) fn grantee(to: &Grantee) -> String {
    match to {
        Grantee::Key(key) => key.to_string(),
        Grantee::Realm(realm) => format!("the realm {realm}"),
        Grantee::Peer(peer) => PeerId::from_bytes(peer)
            .map_or_else(|_| "a peer".into(), |peer| format!("the peer {peer}")),
    }
}

/// What a seal, a revocation or a route says.
fn rules(parcel: &Parcel, body: &Body) -> Vec<String> {
    match body {
        Body::Seal { releases } => {
            let mut out = vec![format!("seals {}", count(releases))];
            out.extend(names(parcel, releases));
            out
        }
        Body::Revoke { key, keep, reason } => {
            let mut out = vec![format!("revokes the key {key}")];
            if !reason.is_empty() {
                out.push(format!("because: {}", plain(reason)));
            }
            out.push(format!("of what it signed {} stay", count(keep)));
            out.extend(names(parcel, keep));
            out
        }
        Body::Route { format, pattern, source, .. } => {
            let source = match source {
                RouteSource::Realm(realm) => format!("from the realm {realm}"),
                RouteSource::Upstream { url, .. } => format!("from {}", plain(url)),
                RouteSource::Deny => "from nobody".into(),
            };
            vec![format!("names {}:{} come {source}", plain(format), plain(&pattern.0))]
        }
        other => vec![format!("a statement of the type {}", other.kind().unwrap_or("unknown"))],
    }
}

fn count(list: &IdList) -> String {
    match list {
        IdList::Inline(ids) if ids.len() == 1 => "1 release".into(),
        IdList::Inline(ids) => format!("{} releases", ids.len()),
        IdList::Blob { digest, count } => format!("{count} releases, listed in {digest}"),
    }
}

fn names(parcel: &Parcel, list: &IdList) -> Vec<String> {
    let IdList::Inline(ids) = list else { return Vec::new() };
    let mut out: Vec<String> =
        ids.iter().take(RELEASES_SHOWN).map(|id| format!("  {}", name(parcel, id))).collect();
    if ids.len() > RELEASES_SHOWN {
        out.push(format!("  and {} more", ids.len() - RELEASES_SHOWN));
    }
    out
}

fn name(parcel: &Parcel, id: &StatementId) -> String {
    let named = |statement: &Statement| match (statement.body(), statement.package()) {
        (Body::Release(release), Some(package)) => {
            let files: Vec<String> = release
                .files
                .iter()
                .map(|file| format!("{} {}", plain(&file.name), digest(&file.blake3)))
                .collect();
            let version = plain(&release.version);
            Some(format!("{}@{version}  {}", plain(&package.to_string()), files.join(", ")))
        }
        _ => None,
    };
    parcel.find(id).and_then(named).unwrap_or_else(|| format!("release {id}"))
}

fn digest(digest: &Digest) -> String {
    short(digest)
}
