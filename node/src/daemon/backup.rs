//! What of a node goes into its backup, and what not.
//!
//! A backup is for who wants this node back, so the keys go along: without them nobody could sign
//! for the realm any more, and peers would meet a stranger. The records hold secrets of their own
//! (credentials of upstreams, invites, the seed of the tokens), so the folder is as secret as the
//! home either way.
//!
//! A backup without keys is for giving away: those secrets are left out too, and the realm becomes
//! the site of a node that makes keys of its own.
//!
//! Left out of both: what `griot link` and `griot run` keep for this machine's clients.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::describe;
use crate::store::backup::{Order, Report, Tell};
use crate::store::{Error, Store};

/// Key files, by their name in a home.
const KEYS: [&str; 5] =
    ["keys/root", "keys/root.signed", "keys/publisher", "keys/node", "keys/peer"];
/// Kinds of rows that are of use only to who has the keys.
const SECRET: [&str; 6] = ["token", "token-state", "invite", "request", "member", "joining"];

/// What a person wants backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The folder of the backup, absolute.
    pub folder: PathBuf,
    /// Whether the node's keys go along.
    pub keys: bool,
}

/// The order for a home; a root key that lies elsewhere stays there.
#[must_use]
pub fn order(home: &Path, wish: Wish) -> Order {
    let there = |name: &&str| wish.keys && home.join(name).is_file();
    let files = KEYS.into_iter().filter(there).map(str::to_owned).collect();
    let row = if wish.keys { all } else { without_secrets };
    Order { folder: wish.folder, files, row, is_own: wish.keys }
}

/// Backs a home up on which no node runs.
///
/// # Errors
/// A node runs after all, or as [`Store::back_up`].
pub async fn of_stopped(home: &Path, wish: Wish, tell: Tell) -> Result<Report, Error> {
    let store = Store::open_with(home, describe)?;
    store.back_up(order(home, wish), tell).await
}

fn all(_: &str, _: &str, value: &[u8]) -> Option<Vec<u8>> {
    Some(value.to_vec())
}

fn without_secrets(kind: &str, key: &str, value: &[u8]) -> Option<Vec<u8>> {
    if SECRET.contains(&kind) || (kind, key) == (super::ROWS, "genesis") {
        return None;
    }
    if kind != "upstream" {
        return Some(value.to_vec());
    }
    let mut upstream: serde_json::Value = serde_json::from_slice(value).ok()?;
    upstream.as_object_mut()?.remove("credential");
    serde_json::to_vec(&upstream).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_to_give_away_has_no_secret() {
        let row = br#"{"url":"https://packages.test/","credential":"Bearer x","default":true}"#;
        let kept = without_secrets("upstream", "npm/1", row).unwrap();
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.contains("packages.test") && !kept.contains("Bearer"), "{kept}");
        assert_eq!(without_secrets("upstream", "npm/1", b"[]"), None);
        for (kind, key) in [("token", "a"), ("token-state", "secret"), ("daemon", "genesis")] {
            assert_eq!(without_secrets(kind, key, b"x"), None, "{kind}");
        }
        assert_eq!(without_secrets("daemon", "mesh-port", b"7"), Some(b"7".to_vec()));
        assert_eq!(all("token", "a", b"x"), Some(b"x".to_vec()));
    }

    #[test]
    fn the_keys_that_are_there_go_along_unless_they_shall_not() {
        let home = tempfile::tempdir().unwrap();
        fs_err::create_dir(home.path().join("keys")).unwrap();
        fs_err::write(home.path().join("keys/node"), "x").unwrap();
        let wish = |keys| Wish { folder: "/b".into(), keys };
        assert_eq!(order(home.path(), wish(true)).files, ["keys/node"]);
        assert!(order(home.path(), wish(true)).is_own);
        assert!(order(home.path(), wish(false)).files.is_empty());
        assert!(!order(home.path(), wish(false)).is_own);
    }
}
