//! Names and versions of generic files, as facts.

use super::{name, version};

#[test]
fn what_looks_the_same_is_the_same_name() {
    assert_eq!(name::canonical_name("cafe\u{301}").unwrap(), "caf\u{e9}");
    assert_eq!(name::canonical_name("ns/name").unwrap(), "ns/name");
    assert_eq!(name::file_name("a b.txt").unwrap(), "a b.txt");
}

#[test]
fn names_that_trick_a_person_or_a_disk_are_refused() {
    for bad in ["a.", "a ", " a", "..", "a/..", "~x", "a\\b", "a\u{202e}b", "a\u{200b}b", "a\u{7f}"]
    {
        assert!(name::canonical_name(bad).is_err(), "{bad:?}");
    }
    for bad in ["a/b", "SHA256SUMS", "sha256sums", "x.", "", &"x".repeat(256)] {
        assert!(name::file_name(bad).is_err(), "{bad:?}");
    }
    assert!(name::canonical_name(&"a/".repeat(8)).is_err());
    assert!(name::canonical_version(&"1".repeat(128)).is_ok());
    assert!(name::canonical_version(&"1".repeat(129)).is_err());
}

#[test]
fn versions_are_in_natural_order() {
    let ordered =
        ["1", "1.2", "1.2.9", "1.2.10", "1.10", "2", "2024-01-31", "20240131", "a2", "a10"];
    for pair in ordered.windows(2) {
        assert!(version::compare(pair[0], pair[1]).is_lt(), "{pair:?}");
        assert!(version::compare(pair[1], pair[0]).is_gt(), "{pair:?}");
    }
    assert!(version::compare("1.01", "1.1").is_ne());
    assert!(version::compare("1.1", "1.1").is_eq());
}

#[test]
fn the_highest_finished_version_is_the_best() {
    let versions = ["1.0", "1.10", "1.9", "2.0-rc1"].map(String::from);
    let best = |range: &str| version::resolve(range, &versions).unwrap();
    assert_eq!(best("").as_deref(), Some("1.10"));
    assert_eq!(best("*").as_deref(), Some("1.10"));
    assert_eq!(best("2.*").as_deref(), Some("2.0-rc1"));
    assert_eq!(best("1.9").as_deref(), Some("1.9"));
    assert_eq!(best("1.8"), None);
}
