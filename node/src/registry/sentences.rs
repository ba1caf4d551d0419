//! What a person is told of versions that are not plainly ok, and of realms that are contested.
//!
//! Each sentence says what happened, to whom, and what to type. It decides nothing: the rules are
//! those of `crdt::derive` and `crdt::realm`.
//!
//! Source: trust.md section 7 (the column of what the user sees).

use crdt::derive::{Fallen, FallenRelease, FileView, VersionView};
use crdt::{Authority, ChainStatus, PackageId, PackageView, PublicKey, SlotState, StatementId};

/// Digits of a key or a digest that are shown in a sentence.
const DIGITS_SHOWN: usize = 12;

/// What a person should know of a version that is not plainly ok. `using`: what new resolution
/// takes in its place.
pub(super) fn of_version(
    package: &PackageId,
    version: &VersionView,
    using: Option<&str>,
) -> Option<String> {
    let PackageId { format, name } = package;
    let written = &version.written;
    let accept = format!("griot accept {name}@{written} --digest DIGEST --format {format}");
    match version.state {
        SlotState::Disputed => {
            let using = using.map(|using| format!(" Using {using}.")).unwrap_or_default();
            Some(format!(
                "{name}@{written} is disputed: {}.{using} A publisher withdraws one, the roots \
                 seal one, or you choose for this node: {accept}",
                rivals(version)
            ))
        }
        SlotState::DisputedPinned => Some(format!(
            "{name}@{written} is disputed: {}; keeping the one you have until you type: {accept}",
            rivals(version)
        )),
        SlotState::PinnedUnsupported => Some(format!(
            "nobody stands behind {name}@{written} any more; what you have keeps installing"
        )),
        SlotState::Ok => {
            version.yanked.as_ref().map(|reason| format!("yanked: {reason}")).or_else(|| {
                version.withdrawn_others.then(|| {
                    "other bytes were once signed for a file of it, and withdrawn".to_owned()
                })
            })
        }
    }
}

/// Which file was signed with which bytes, and by whom.
fn rivals(version: &VersionView) -> String {
    let contested = |(_, file): &(&String, &FileView)| file.state != SlotState::Ok;
    let told = version.files.iter().filter(contested).map(|(name, file)| {
        let by = file.candidates.iter().map(|candidate| {
            let who = keys(&candidate.signers);
            let digest = candidate.content.blake3.to_hex();
            let sealed = if candidate.sealed { ", sealed" } else { "" };
            format!("{who} ({}{sealed})", &digest[..DIGITS_SHOWN])
        });
        let by: Vec<String> = by.collect();
        match by.as_slice() {
            [] => format!("nobody signs {name} any more"),
            by => format!("{name} was signed by {}", by.join(" and by ")),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Why a release does not stand, and what would help.
pub(super) fn of_fallen(package: &PackageId, version: &str, fallen: &FallenRelease) -> String {
    let PackageId { format, name } = package;
    let endorse = format!("griot endorse {name}@{version} --format {format}");
    let files = fallen.files.join(", ");
    match &fallen.why {
        Fallen::Signers { have, need } => {
            let lacks = need.saturating_sub(*have);
            let word = if lacks == 1 { "signature" } else { "signatures" };
            format!(
                "{version} needs {lacks} more {word} ({need} in all); another publisher types: \
                 {endorse}"
            )
        }
        Fallen::Revoked(_) => format!(
            "{version} was signed by a revoked key ({}) and is not in its keep list. Ask a \
             publisher to endorse it: {endorse}",
            keys(&fallen.signers)
        ),
        Fallen::Withdrawn => {
            format!("{version} ({files}) was withdrawn by {}", keys(&fallen.signers))
        }
        Fallen::NotYetKnown => format!(
            "whether {version} stands is not yet known: a list that its realm's revocation names \
             has not arrived here"
        ),
        Fallen::Closed => format!(
            "{files} waits for the seal: {version} was sealed without it, so it is served to \
             nobody until the roots type: griot realm seal {format}:{name}@{version}"
        ),
    }
}

/// All that is odd about a package's realm.
pub(super) fn of_realm(authority: &Authority) -> Option<String> {
    let realm = authority.realm;
    let epoch = authority.epoch();
    let rivals = ids(&authority.evidence);
    match authority.status {
        ChainStatus::Ok | ChainStatus::Unknown => None,
        ChainStatus::Invalid => Some(format!(
            "the first statement of {realm} is not signed by enough of its roots: nobody can \
             publish in it"
        )),
        ChainStatus::Forked => Some(format!(
            "{realm} has several successors at epoch {} ({rivals}); {} signed more than one. \
             Authority is frozen at epoch {epoch}, releases are unaffected. To follow one: griot \
             realm accept {realm} ID",
            epoch + 1,
            signed_twice(authority)
        )),
        ChainStatus::ForkPinned => Some(format!(
            "{realm} is contested: {} signed several successors of one epoch ({rivals}). This \
             node stays on the one that it had accepted, at epoch {epoch}",
            signed_twice(authority)
        )),
        ChainStatus::RecoverPending => Some(format!(
            "{realm} used its recovery key, and its new roots wait for you ({rivals}). Compare \
             them with somebody you trust, then: griot realm accept {realm}"
        )),
    }
}

fn signed_twice(authority: &Authority) -> String {
    let twice: Vec<PublicKey> = authority.double_signers.iter().copied().collect();
    if twice.is_empty() { "several keys".to_owned() } else { format!("key {}", keys(&twice)) }
}

fn keys(keys: &[PublicKey]) -> String {
    let shown = keys.iter().map(|key| key.to_string()[..DIGITS_SHOWN].to_owned());
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "nobody who counts".to_owned() } else { shown.join(", ") }
}

fn ids(ids: &[StatementId]) -> String {
    let shown = ids.iter().map(|id| id.to_string()[..DIGITS_SHOWN].to_owned());
    shown.collect::<Vec<_>>().join(", ")
}

/// The sentences for all releases of a version that do not stand.
pub(super) fn of_all_fallen(view: &PackageView, version: &str) -> Vec<String> {
    let fallen = view.fallen.get(version).into_iter().flatten();
    fallen.map(|fallen| of_fallen(&view.package, version, fallen)).collect()
}
