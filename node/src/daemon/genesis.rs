//! The personal realm of a home: made at the first start, the same ever after.
//!
//! A newcomer never meets a realm until it matters, but everything he publishes needs one. So the
//! first `griot up` signs a genesis: one root key, which alone decides; this node may publish every
//! name in it, is its mirror, and says how much of it it has heard of (`beat`).
//!
//! A crash between the steps does no harm: the signed genesis is the first thing that is written
//! down (row `daemon`/`genesis`), and every later step is repeated until it has happened.
//!
//! Source: trust.md section 4, DESIGN section 4.

use std::path::Path;

use crdt::statement::{Grant, Pattern, Root};
use crdt::{Envelope, PublicKey, RealmId, SecretKey, Statement, Verified};

use super::keys::{self, Role};
use super::{Error, ROWS};
use crate::store::{FollowKind, Followed, Store};

/// Longest title that is made from a host name.
const TITLE_CHARS_MAX: usize = 64;

/// The statement that founds a personal realm. Pure: equal arguments, equal realm.
///
/// # Errors
/// The title is not acceptable in a statement.
pub fn personal(
    root: &SecretKey,
    publisher: PublicKey,
    node: PublicKey,
    nonce: [u8; 16],
    title: &str,
) -> Result<Verified, crdt::Error> {
    let grant = |role: &str, key| Grant::to_key(role, Pattern("*".into()), key);
    let statement = Statement::genesis(Root::of_one(
        root.public(),
        nonce,
        title,
        vec![grant("publish", publisher), grant("mirror", node), grant("beat", node)],
    ))?;
    Ok(Verified::sign(statement, &[root]))
}

/// The personal realm of this home, followed as its own; made now if this is the first start.
pub(super) async fn ensure(
    store: &Store,
    home: &Path,
    publisher: PublicKey,
    node: PublicKey,
) -> Result<RealmId, Error> {
    let genesis = match store.row(ROWS, "genesis")? {
        Some(bytes) => Envelope::decode(&bytes)?.verify()?,
        None => {
            let root = keys::load_or_create(home, Role::Root)?;
            let mut nonce = [0_u8; 16];
            getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
            let genesis = personal(&root, publisher, node, nonce, &host_title())?;
            store.put_row(ROWS, "genesis", genesis.envelope().encode()).await?;
            genesis
        }
    };
    let realm = RealmId(genesis.statement().id().0);
    let known = store.followed()?.iter().any(|followed| followed.realm == realm);
    if !known {
        store.follow(own(realm)).await?;
    }
    store.admit(vec![genesis], None).await?;
    Ok(realm)
}

fn own(realm: RealmId) -> Followed {
    let (kind, claims, mirrors) = (FollowKind::Own, Vec::new(), Vec::new());
    Followed { realm, kind, claims, order: 0, mirrors }
}

/// The host's name, reduced to what may stand in a title.
pub(super) fn host_title() -> String {
    let system = rustix::system::uname();
    title_from(&system.nodename().to_string_lossy())
}

fn title_from(host: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "-_. ".contains(*c);
    let title: String = host.chars().filter(allowed).take(TITLE_CHARS_MAX).collect();
    let title = title.trim();
    if title.is_empty() { "griot".into() } else { title.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    #[test]
    fn equal_seeds_found_the_same_realm_and_any_other_another() {
        let found = |nonce: u8, title: &str| {
            let made = personal(&key(1), key(2).public(), key(3).public(), [nonce; 16], title);
            made.unwrap().statement().id()
        };
        assert_eq!(found(9, "awa-laptop"), found(9, "awa-laptop"));
        assert_ne!(found(9, "awa-laptop"), found(8, "awa-laptop"));
        assert_ne!(found(9, "awa-laptop"), found(9, "baba-pc"));
    }

    #[test]
    fn the_publisher_may_publish_every_name_and_the_root_key_none() {
        let made = personal(&key(1), key(2).public(), key(3).public(), [0; 16], "t").unwrap();
        let realm = RealmId(made.statement().id().0);
        let authority = crdt::realm::authority(realm, [&made], &[]);
        assert!(authority.holders("publish", "npm", "left-pad").contains(&key(2).public()));
        assert!(!authority.holders("publish", "npm", "left-pad").contains(&key(1).public()));
        assert_eq!(authority.mirrors(), vec![(key(3).public(), "*".to_owned())]);
        assert!(authority.claims().is_empty());
    }

    #[test]
    fn titles_hold_no_control_or_bidirectional_characters() {
        assert_eq!(title_from("awa-laptop.local"), "awa-laptop.local");
        assert_eq!(title_from("a\u{202e}b\n"), "ab");
        assert_eq!(title_from("\u{7}"), "griot");
        assert_eq!(title_from(&"x".repeat(500)).len(), 64);
    }
}
