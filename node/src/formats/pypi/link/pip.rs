//! `pip.conf`: `index-url` of the section `[global]`, and of no other section.
//!
//! pip takes a command's own section before `[global]`, so `index-url` is put out of force in all
//! of them. pip itself rewrites the file without comments when it sets a key.
//!
//! Source: pip's documentation of its configuration.

use super::conf::{self, Entry, Section};
use super::simple;
use crate::formats::{Aim, Settings};

const CLIENT: &str = "pip";
const INDEX: &str = "index-url";
/// Settings that name further places.
pub(super) const BESIDE: [&str; 2] = ["extra-index-url", "find-links"];

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    conf::insert(text, CLIENT, &sections(aim), names_index)
}

pub(super) fn remove(text: &str, aim: &Aim, former: &str) -> Option<String> {
    conf::remove(text, CLIENT, &sections(aim), former)
}

fn sections(aim: &Aim) -> [Section; 1] {
    [Section { name: "global", keys: vec![(INDEX, vec![simple(aim)])] }]
}

fn names_index(entry: &Entry) -> bool {
    entry.key == INDEX
}

pub(super) fn read(text: &str) -> Settings {
    let all = conf::entries(text);
    let of = |section: &str| {
        all.iter().rfind(|entry| names_index(entry) && entry.section == section).map(Entry::text)
    };
    let mut beside = Vec::new();
    for entry in all.iter().filter(|entry| BESIDE.contains(&entry.key.as_str())) {
        let places = entry.value.iter().flat_map(|line| line.split_whitespace());
        beside.extend(places.map(|place| (entry.key.clone(), place.to_owned())));
    }
    Settings { registry: of("install").or_else(|| of("global")), beside, ..Settings::default() }
}
