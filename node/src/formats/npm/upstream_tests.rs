//! The reader of packuments and what is rendered from it, against a parser that holds the tree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::metadata::Form;
use super::mode::Mode;
use super::render::{self, Look};
use super::upstream_outline::scan;
use crate::formats::splice::Segment;

mod reading;
mod rendering;
mod rules;
mod streaming;

const BASE: &str = "https://packages.test/deep/npm/";
const DOOR: &str = "http://127.0.0.1:7878/npm";

fn any_value() -> impl Strategy<Value = Value> {
    let signs = vec!['a', 'b', '"', '\\', '/', '\u{1}', '\n', ' ', 'é', '\u{1f600}'];
    let text = prop::collection::vec(prop::sample::select(signs), 0..8)
        .prop_map(|signs| signs.into_iter().collect::<String>())
        .boxed();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A packument as upstreams make them, and worse.
fn any_packument() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (0_u8..4, 0_u8..4).prop_map(|(a, b)| format!("{a}.{b}.0")),
        Just("1.0.0-rc.1".to_owned()),
        Just("no version".to_owned()),
        Just("__proto__".to_owned()),
        Just("v9.0.0".to_owned()),
    ];
    let tarball = prop_oneof![
        5 => Just("{base}demo/-/demo-{version}.tgz".to_owned()),
        1 => Just("http://elsewhere.test/demo-{version}.tgz".to_owned()),
        1 => Just("HTTP://PACKAGES.test/deep/npm/demo/-/demo-{version}.tgz".to_owned()),
        1 => Just("https://packages.test/demo/-/demo-{version}.tgz".to_owned()),
        1 => Just("{base}demo/-/demo-v{version}.tgz".to_owned()),
        1 => Just("data:nothing".to_owned()),
    ];
    let extra = (any::<bool>(), any::<bool>(), any_value(), any::<[u8; 4]>());
    let entry = (number, tarball, extra);
    (prop::collection::vec(entry, 0..8), any::<bool>(), any_value()).prop_map(
        |(entries, full, unknown)| {
            let (mut versions, mut time) = (Map::new(), Map::new());
            time.insert("created".to_owned(), json!("2011-01-01T00:00:00.000Z"));
            time.insert("modified".to_owned(), json!("2012-01-01T00:00:00.000Z"));
            for (number, tarball, extra) in entries {
                time.insert(number.clone(), json!("2012-01-01T00:00:00.000Z"));
                let made = any_manifest(&number, &tarball, &extra);
                versions.insert(number, made);
            }
            let tags = json!({ "latest": versions.keys().next_back(), "odd": 7 });
            let mut document = json!({ "name": "demo", "dist-tags": tags, "versions": versions });
            if full {
                document["time"] = Value::Object(time);
                document["_id"] = json!("demo");
                document["unknown"] = unknown;
            } else {
                document["modified"] = json!("2012-01-01T00:00:00.000Z");
            }
            document
        },
    )
}

fn any_manifest(number: &str, tarball: &str, extra: &(bool, bool, Value, [u8; 4])) -> Value {
    let (scripts, deprecated, unknown, sum) = extra;
    let tarball = tarball.replace("{base}", BASE).replace("{version}", number);
    let mut made = json!({
        "name": "demo", "_x": unknown, "version": number, "dependencies": { "a": "1" },
        "dist": { "shasum": crdt::digest::to_hex(&[sum[0]; 20]), "tarball": tarball,
            "signatures": [{ "keyid": "k", "sig": "s" }] },
    });
    if *scripts {
        made["scripts"] = json!({ "postinstall": "x" });
    }
    if *deprecated {
        made["deprecated"] = json!("old");
    }
    made
}

fn bytes_of(document: &[u8], segments: &[Segment]) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in segments {
        match segment {
            Segment::Range(range) => {
                let place =
                    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                assert!(!place.is_empty());
                out.extend_from_slice(&document[place]);
            }
            Segment::Literal(bytes) => out.extend_from_slice(bytes),
        }
    }
    assert_eq!(out.len() as u64, segments.iter().map(Segment::len).sum::<u64>());
    out
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }
}

fn looks<'a>(
    offered: Option<&'a BTreeSet<String>>,
    tags: Option<&'a BTreeMap<String, String>>,
) -> Vec<Look<'a>> {
    let mut looks = Vec::new();
    for form in [Form::Full, Form::Abbreviated] {
        for mode in [Mode::Canonical, Mode::Own] {
            looks.push(Look { form, mode, door: DOOR, base: BASE, offered, tags });
        }
    }
    looks
}

fn shown(document: &str, look: &Look<'_>) -> String {
    let (_, table) = scan(&mut document.as_bytes()).unwrap();
    let bytes = bytes_of(document.as_bytes(), &render::packument(&table, look));
    String::from_utf8(bytes).unwrap()
}
