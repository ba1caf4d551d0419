//! Contradictions that a person should hear of: a lying receipt, a document that says something
//! else than its file, a version declared twice, an object of a bucket with other bytes.
//!
//! An alarm changes nothing about what is served; that was decided where it was raised. It is a row
//! of kind `alarm`, shown by `why`, the log and `status`, and by `why` alone once a person has said
//! that he read it. Such a row stays, so that the same words are not raised again, until there are
//! so many that its place is needed.

use std::collections::BTreeMap;

use crdt::{Digest, PackageId, PublicKey};
use serde::{Deserialize, Serialize};

use super::freshness;
use super::{Error, Registry};

/// The kind of row.
const ALARM: &str = "alarm";
/// Alarms that are kept: one who can raise them could fill the disk otherwise.
const ALARMS_MAX: usize = 1000;
/// Alarms of one package that are kept: one who can raise them could hide the others' otherwise.
const OF_PACKAGE_MAX: usize = 16;
/// Letters of a sentence that is kept.
const TEXT_MAX: usize = 600;

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Of which package.
    pub package: PackageId,
    /// `receipt`, `manifest`, `declared-again` or `bucket`.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// Seconds since 1970 of this node's clock.
    pub at: u64,
    /// The two that contradict each other, where they are bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Whether a person has said that he read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
}

/// Two bodies, and who stood behind the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What the upstream gave.
    pub upstream: Digest,
    /// What was believed instead.
    pub believed: Digest,
    /// Who signed for that.
    pub authors: Vec<PublicKey>,
}

impl Registry {
    /// Raises an alarm, once for the same words.
    pub(super) async fn raise(
        &self,
        package: &PackageId,
        kind: &str,
        text: &str,
        evidence: Option<Evidence>,
    ) -> Result<(), Error> {
        let text: String = text.chars().take(TEXT_MAX).collect();
        let words = format!("{kind} {text} {evidence:?}");
        let key = format!("{package}/{}", &blake3::hash(words.as_bytes()).to_hex()[..16]);
        let store = &self.inner.store;
        if store.row(ALARM, &key)?.is_some() {
            return Ok(());
        }
        tracing::error!(%package, kind, ?evidence, "alarm: {text}");
        if let Some(oldest) = spare(&store.rows(ALARM)?, package) {
            store.delete_row(ALARM, &oldest).await?;
        }
        let (package, kind, at) = (package.clone(), kind.to_owned(), freshness::now());
        let alarm = Alarm { package, kind, text, at, evidence, read: false };
        let value = serde_json::to_vec(&alarm).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(store.put_row(ALARM, &key, value).await?)
    }

    /// Those that nobody has read yet, by package.
    ///
    /// # Errors
    /// When the store fails.
    pub fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        let rows = self.inner.store.rows(ALARM)?;
        Ok(rows.values().filter_map(|row| parse(row)).filter(|alarm| !alarm.read).collect())
    }

    /// All of one package, those included that were read.
    pub(super) fn alarms_of(&self, package: &PackageId) -> Result<Vec<Alarm>, Error> {
        let rows = self.inner.store.rows(ALARM)?;
        let all = rows.values().filter_map(|row| parse(row));
        Ok(all.filter(|alarm| alarm.package == *package).collect())
    }

    /// A person has read the alarms of a package; how many were new to him.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_alarms(&self, package: &PackageId) -> Result<usize, Error> {
        let store = &self.inner.store;
        let mut read = 0;
        for (key, row) in store.rows(ALARM)? {
            let Some(alarm) = parse(&row) else { continue };
            if alarm.read || alarm.package != *package {
                continue;
            }
            let alarm = Alarm { read: true, ..alarm };
            let value = serde_json::to_vec(&alarm).map_err(|e| Error::invalid(e.to_string()))?;
            store.put_row(ALARM, &key, value).await?;
            read += 1;
        }
        Ok(read)
    }
}

fn parse(row: &[u8]) -> Option<Alarm> {
    serde_json::from_slice(row).ok()
}

/// The alarm that makes room for one more of a package, where that needs room: the oldest of the
/// package that has its share, else of the one that has the most; one that was read goes first.
fn spare(rows: &BTreeMap<String, Vec<u8>>, package: &PackageId) -> Option<String> {
    let mut of: BTreeMap<PackageId, Vec<(bool, u64, &String)>> = BTreeMap::new();
    for (key, row) in rows {
        let Ok(alarm) = serde_json::from_slice::<Alarm>(row) else { return Some(key.clone()) };
        of.entry(alarm.package).or_default().push((!alarm.read, alarm.at, key));
    }
    let own = of.get(package).filter(|own| own.len() >= OF_PACKAGE_MAX);
    let most = || of.values().filter(|_| rows.len() >= ALARMS_MAX).max_by_key(|all| all.len());
    own.or_else(most)?.iter().min().map(|(_, _, key)| (*key).clone())
}

impl Alarm {
    /// For people, in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        let alarm = if self.read { "alarm (read)" } else { "alarm" };
        let Some(Evidence { upstream, believed, authors }) = &self.evidence else {
            return format!("{alarm}: {}", self.text);
        };
        let authors: Vec<String> = authors.iter().map(ToString::to_string).collect();
        format!(
            "{alarm}: {}; the upstream gave {upstream}, and {believed} was believed on the word \
             of {}",
            self.text,
            authors.join(" and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: u64, read: bool) -> Vec<u8> {
        let package = PackageId { format: "tiny".into(), name: "pad".into() };
        let (kind, text) = ("manifest".into(), "pad says two things".into());
        let alarm = Alarm { package, kind, text, at, evidence: None, read };
        serde_json::to_vec(&alarm).expect("an alarm is JSON")
    }

    #[test]
    fn of_those_that_were_read_the_oldest_makes_room_first() {
        let package = PackageId { format: "tiny".into(), name: "pad".into() };
        let mut rows = BTreeMap::from([("b".to_owned(), row(30, true))]);
        rows.insert("c".to_owned(), row(20, true));
        assert_eq!(spare(&rows, &package), None, "there is room");
        for at in 0..OF_PACKAGE_MAX as u64 {
            rows.insert(format!("unread {at}"), row(at, false));
        }
        assert_eq!(spare(&rows, &package).as_deref(), Some("c"));
        rows.retain(|key, _| key.starts_with("unread"));
        assert_eq!(spare(&rows, &package).as_deref(), Some("unread 0"));
    }

    #[test]
    fn a_row_of_an_earlier_node_is_unread() {
        let mut value: serde_json::Value = serde_json::from_slice(&row(1, false)).expect("JSON");
        assert!(value.get("read").is_none(), "{value}");
        value["at"] = 7.into();
        assert!(!parse(value.to_string().as_bytes()).expect("an alarm").read);
    }
}
