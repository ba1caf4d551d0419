//! What a lockfile demands of a file's bytes: `sha512-…`, `sha256-…`, `sha1-…`, apart by spaces.
//!
//! The strongest algorithm that is there decides, and of several sums of it any will do, as clients
//! hold it. What cannot be read counts as a demand that nothing meets.
//!
//! Source: W3C, Subresource Integrity, section 3.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::Checksums;

use crate::registry::Declared;

/// Algorithms that are computed here, the strongest first.
const ALGORITHMS: [&str; 4] = ["sha512", "sha256", "sha1", "md5"];

/// What is demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Integrity {
    algorithm: &'static str,
    sums: Vec<Vec<u8>>,
}

impl Integrity {
    /// Reads the notation; none where it has no algorithm that is computed here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let tokens = || text.split_whitespace().filter_map(|token| token.split_once('-'));
        let algorithm =
            ALGORITHMS.into_iter().find(|known| tokens().any(|(name, _)| name == *known))?;
        let of_it = tokens().filter(|(name, _)| *name == algorithm);
        // Options may follow a question mark.
        let plain = of_it.map(|(_, sum)| sum.split('?').next().unwrap_or_default());
        let sums = plain.filter_map(|sum| BASE64_STANDARD.decode(sum).ok()).collect();
        Some(Self { algorithm, sums })
    }

    /// Whether the bytes with these checksums meet it; none if the checksum was not computed.
    pub(super) fn fits(&self, checksums: &Checksums) -> Option<bool> {
        self.agrees(match self.algorithm {
            "sha512" => checksums.sha512.as_ref().map(<[u8; 64]>::as_slice),
            "sha256" => Some(checksums.sha256.as_slice()),
            "sha1" => checksums.sha1.as_ref().map(<[u8; 20]>::as_slice),
            _ => checksums.md5.as_ref().map(<[u8; 16]>::as_slice),
        })
    }

    /// Whether a document's word agrees with it; none if that says nothing of the algorithm.
    pub(super) fn agrees_with(&self, declared: &Declared) -> Option<bool> {
        self.agrees(match self.algorithm {
            "sha512" => declared.sha512.as_ref().map(<[u8; 64]>::as_slice),
            "sha256" => declared.sha256.as_ref().map(<[u8; 32]>::as_slice),
            "sha1" => declared.sha1.as_ref().map(<[u8; 20]>::as_slice),
            _ => declared.md5.as_ref().map(<[u8; 16]>::as_slice),
        })
    }

    fn agrees(&self, sum: Option<&[u8]>) -> Option<bool> {
        sum.map(|sum| self.sums.iter().any(|known| known == sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksums() -> Checksums {
        Checksums { sha256: [2; 32], sha512: Some([5; 64]), sha1: Some([1; 20]), md5: None }
    }

    fn text(algorithm: &str, sum: &[u8]) -> String {
        format!("{algorithm}-{}", BASE64_STANDARD.encode(sum))
    }

    #[track_caller]
    fn fits(text: &str) -> Option<bool> {
        Integrity::parse(text).unwrap().fits(&checksums())
    }

    #[test]
    fn the_strongest_algorithm_decides() {
        let both = format!("{} {}", text("sha1", &[9; 20]), text("sha512", &[5; 64]));
        assert_eq!(fits(&both), Some(true));
        let both = format!("{} {}", text("sha1", &[1; 20]), text("sha512", &[9; 64]));
        assert_eq!(fits(&both), Some(false));
        assert_eq!(fits(&text("sha1", &[1; 20])), Some(true));
    }

    #[test]
    fn of_several_sums_any_will_do() {
        let several = format!("{} {}?x=y", text("sha256", &[9; 32]), text("sha256", &[2; 32]));
        assert_eq!(fits(&several), Some(true));
    }

    #[test]
    fn what_cannot_be_read_or_was_not_computed_is_no_proof() {
        assert_eq!(fits("sha512-***"), Some(false));
        assert_eq!(fits(&text("md5", &[1; 16])), None);
        assert_eq!(Integrity::parse("sha3-AAAA"), None);
        assert_eq!(Integrity::parse(""), None);
    }

    #[test]
    fn a_document_may_contradict_it() {
        let demanded = Integrity::parse(&text("sha512", &[5; 64])).unwrap();
        let declared = Declared { sha512: Some([6; 64]), ..Declared::default() };
        assert_eq!(demanded.agrees_with(&declared), Some(false));
        assert_eq!(demanded.agrees_with(&Declared::default()), None);
    }
}
