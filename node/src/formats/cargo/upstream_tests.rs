//! Index files of upstreams, sound and hostile: what is read of them, and what is shown.

use std::collections::BTreeSet;
use std::io::Read as _;

use proptest::prelude::*;

use super::outline::{self, Table};
use super::upstream_index;
use crate::formats::splice::{self, Segment};
use crate::registry::Outline;

fn line(name: &str, version: &str, more: &str) -> String {
    let sum = blake3::hash(version.as_bytes()).to_hex();
    format!("{{\"name\":\"{name}\",\"vers\":\"{version}\",\"cksum\":\"{sum}\"{more}}}\n")
}

fn scan(package: &str, text: &str) -> Result<(Outline, Table), String> {
    outline::scan(package, &mut text.as_bytes())
}

/// What is left of a file with these versions near, with the files of their plain names.
fn shown(package: &str, text: &str, near: &[(&str, &str)]) -> String {
    let (_, table) = scan(package, text).unwrap();
    let near: BTreeSet<_> = near.iter().map(|(v, f)| ((*v).into(), (*f).into())).collect();
    write(text, upstream_index::lines(&table, &near))
}

fn write(text: &str, segments: Vec<Segment>) -> String {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let mut out = Vec::new();
    splice::write(file, segments.into(), &mut out).unwrap();
    let mut told = String::new();
    out.as_slice().read_to_string(&mut told).unwrap();
    told
}

#[test]
fn versions_checksums_and_yanks_are_read_in_the_order_of_the_lines() {
    let more = ",\"yanked\":false,\"v\":3,\"pubtime\":\"2026\",\"new\":[{}]";
    let odd = line("Serde", "0.9.0", more);
    let text = line("Serde", "1.0.0", ",\"yanked\":true")
        + &odd
        + &line("Serde", "1.1.0-rc.1", ",\"yanked\":null");
    let (outline, _) = scan("serde", &text).unwrap();
    assert_eq!(outline.name, "Serde", "as it is written: downloads are asked for by it");
    let found: Vec<_> =
        outline.versions.iter().map(|v| (v.version.as_str(), v.yanked.is_some())).collect();
    assert_eq!(found, [("1.0.0", true), ("0.9.0", false), ("1.1.0-rc.1", false)]);
    let version = &outline.versions[1];
    assert_eq!(version.files[0].file, "serde-0.9.0.crate");
    let sum = version.files[0].declared.sha256.unwrap();
    assert_eq!(sum, *blake3::hash(b"0.9.0").as_bytes());
    let (start, end) = (version.declared.start as usize, version.declared.end as usize);
    assert_eq!(text[start..end], odd);
}

#[test]
fn junk_lines_are_passed_over_and_stay_where_they_are() {
    let long = format!("{{\"name\":\"a\",\"x\":\"{}\"}}\n", "y".repeat(5 << 20));
    let deep = format!("{}{}\n", "[".repeat(5000), "]".repeat(5000));
    let short = "{\"name\":\"a\",\"vers\":\"1.0.1\",\"cksum\":\"abcd\"}\n";
    let junk = [
        "\n",
        "\r\n",
        "null\n",
        "[]\n",
        "{}\n",
        "{\"name\":\"a\"}\n",
        "\u{0}\n",
        short,
        &long,
        &deep,
        &line("b", "1.0.0", ""),
        &line("a", "1.0", ""),
        &line("a", "../1.0.0", ""),
    ];
    let sound = [line("a", "1.0.0", ""), line("a", "2.0.0", "")];
    let text = format!("{}{}{}", junk.concat(), sound.concat(), junk.concat());
    let (outline, table) = scan("a", &text).unwrap();
    assert_eq!(outline.versions.len(), 2);
    assert_eq!(table.lines.len(), 2 * junk.len() + 2);
    let end = table.lines.last().unwrap().place.end as usize;
    assert_eq!(end, text.len(), "the table covers every byte");
    assert_eq!(shown("a", &text, &[("2.0.0", "a-2.0.0.crate")]), sound[1]);
}

#[test]
fn what_is_no_index_file_of_the_crate_is_refused_or_told_by_its_name() {
    for text in ["<!DOCTYPE html>\n<html></html>", "{\"name\":\"a\"}", "not found"] {
        assert!(scan("a", text).is_err(), "{text}");
    }
    assert_eq!(scan("a", &line("evil", "1.0.0", "")).unwrap().0.name, "evil");
    let (outline, _) = scan("a", "").unwrap();
    assert_eq!((outline.name.as_str(), outline.versions.len()), ("a", 0));
}

#[test]
fn versions_that_differ_by_build_metadata_are_one_with_several_files() {
    let text = line("a", "1.0.0+one", ",\"yanked\":true")
        + &line("a", "1.0.0", "")
        + &line("a", "1.0.0+two", ",\"yanked\":true");
    let (outline, _) = scan("a", &text).unwrap();
    let [version] = outline.versions.as_slice() else { panic!("{outline:?}") };
    assert_eq!(version.yanked, None, "one of them is live");
    let files: Vec<_> = version.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, ["a-1.0.0.crate", "a-1.0.0+.crate", "a-1.0.0+two.crate"]);
    let written = files.iter().map(|file| outline::written("a", version, file));
    assert_eq!(written.collect::<Vec<_>>(), ["1.0.0+one", "1.0.0", "1.0.0+two"]);
    assert!(version.declared.is_empty(), "no one line stands for all");
    let two = shown("a", &text, &[("1.0.0", "a-1.0.0+two.crate")]);
    assert_eq!(two, line("a", "1.0.0+two", ",\"yanked\":true"));
}

#[test]
fn of_two_equal_versions_the_later_line_counts() {
    let other = "f".repeat(64);
    let later =
        format!("{{\"name\":\"a\",\"vers\":\"1.0.0\",\"cksum\":\"{other}\",\"yanked\":true}}\n");
    let text = line("a", "1.0.0", "") + &later;
    let (outline, _) = scan("a", &text).unwrap();
    let version = &outline.versions[0];
    assert_eq!((outline.versions.len(), version.files.len()), (1, 1));
    assert_eq!(version.files[0].declared.sha256, Some([0xff; 32]));
    assert!(version.yanked.is_some());
    assert_eq!(version.declared.end, text.len() as u64);
}

#[test]
fn lines_out_of_reach_are_left_out_whole_and_the_others_are_the_same_bytes() {
    let first = line("a", "1.0.0", ",\"unknown\" : { \"z\":1.50, \"a\":[ ] }");
    let last = line("a", "3.0.0", "").trim_end().to_owned();
    let text = format!("{first}{}{last}", line("a", "2.0.0", ""));
    let all = [("1.0.0", "a-1.0.0.crate"), ("3.0.0", "a-3.0.0.crate")];
    assert_eq!(shown("a", &text, &all), format!("{first}{last}"), "no line break is added");
    assert_eq!(shown("a", &text, &all[..1]), first);
    assert_eq!(shown("a", &text, &[]), "");
}

#[test]
fn a_hundred_thousand_lines_are_read_and_more_than_are_read_are_refused() {
    let lines = |count: usize| (0..count).map(|n| line("a", &format!("0.0.{n}"), "")).collect();
    let text: String = lines(100_000);
    let (outline, table) = scan("a", &text).unwrap();
    assert_eq!((outline.versions.len(), table.lines.len()), (100_000, 100_000));
    let near = [("0.0.99999", "a-0.0.99999.crate")];
    assert_eq!(shown("a", &text, &near), line("a", "0.0.99999", ""));
    assert!(scan("a", &"\n".repeat(200_000)).unwrap_err().contains("lines"));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_every_byte_has_its_line(bytes: Vec<u8>, cut in 0_usize..200) {
        let mut all = bytes;
        all.extend_from_slice(line("a", "1.0.0", "").as_bytes());
        all.truncate(all.len() - cut.min(all.len()));
        if let Ok((_, table)) = outline::scan("a", &mut all.as_slice()) {
            let mut at = 0;
            for line in &table.lines {
                prop_assert_eq!(line.place.start, at);
                at = line.place.end;
            }
            prop_assert_eq!(at as usize, all.len());
        }
    }
}
