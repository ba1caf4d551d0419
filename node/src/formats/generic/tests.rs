//! Names and versions of generic files, as facts.

use super::{name, version};
use crate::formats::text;

#[test]
fn names_are_plain_and_parts_may_be_nested() {
    for good in ["a", "app", "ns/app", "@ns/app", "a-b.c_d", "a/b/c/d", &"x".repeat(64)] {
        assert_eq!(name::canonical_name(good).as_deref(), Ok(good));
    }
    let long = "x".repeat(65);
    for bad in [
        "",
        "Tool",
        "-a",
        "a-",
        "a..b",
        "a.-b",
        "con",
        "ns/aux.x",
        "re\u{430}ct",
        "a b",
        "~x",
        "@ns",
        "ns/@app",
        "a/",
        "/a",
        "a//b",
        "..",
        "a/b/c/d/e",
        "a\\b",
        "caf\u{e9}",
        &long,
    ] {
        assert!(name::canonical_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn files_and_versions_that_trick_a_person_or_a_disk_are_refused() {
    assert_eq!(text::file_name("a b-e\u{301}.txt").unwrap(), "a b-\u{e9}.txt");
    for bad in [
        "a/b",
        "SHA256SUMS",
        "sha256sums",
        "x.",
        "x ",
        " x",
        "",
        ".",
        "..",
        "a\\b",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{7f}",
        "nul",
        "COM1.txt",
        &"x".repeat(256),
    ] {
        assert!(text::file_name(bad).is_err(), "{bad:?}");
    }
    assert!(name::canonical_version(&"1".repeat(128)).is_ok());
    for bad in ["", " ", "1.", "1/2", "1\n", "..", &"1".repeat(129)] {
        assert!(name::canonical_version(bad).is_err(), "{bad:?}");
    }
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
