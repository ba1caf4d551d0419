//! What is read of a document: whatever it holds, wherever its bytes are cut.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::render;
use super::super::upstream_outline::{outline, scan};
use super::{any_packument, any_value, bytes_of, config, looks};
use crate::formats::json::{Error, Json};

/// The tree of what is read, by the visitors alone.
fn tree(json: &mut Json<'_>, bytes: &[u8]) -> Result<Value, Error> {
    match json.peek()? {
        b'{' => {
            let mut map = Map::new();
            json.object(&mut |json, key| {
                assert_eq!(bytes[usize::try_from(key.at).unwrap()], b'"');
                let value = tree(json, bytes)?;
                map.insert(key.text, value);
                Ok(())
            })?;
            Ok(Value::Object(map))
        }
        b'[' => {
            let mut items = Vec::new();
            json.array(&mut |json| {
                items.push(tree(json, bytes)?);
                Ok(())
            })?;
            Ok(Value::Array(items))
        }
        b'"' => Ok(json!(json.text(usize::MAX)?.unwrap())),
        _ => {
            let place = json.skip()?;
            let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
            // What serde cannot hold is a number all the same.
            Ok(serde_json::from_slice(&bytes[place]).unwrap_or(Value::Null))
        }
    }
}

/// Reads through a small window, so that every token is cut somewhere.
fn read(bytes: &[u8], window: usize) -> Result<Value, Error> {
    let mut input = std::io::BufReader::with_capacity(window, bytes);
    let mut json = Json::new(&mut input);
    let value = tree(&mut json, bytes)?;
    json.end()?;
    assert_eq!(json.at(), bytes.len() as u64);
    Ok(value)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_read_is_what_another_parser_reads(value in any_value(), window in 1_usize..9) {
        for bytes in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            // Through the text once: the other parser rounds some numbers.
            let value: Value = serde_json::from_str(&bytes).unwrap();
            prop_assert_eq!(read(bytes.as_bytes(), window).unwrap(), value);
        }
    }


    #[test]
    fn mutated_bytes_are_refused_or_read_and_never_panic(
        document in any_packument(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut bytes = document.to_string().into_bytes();
        for (at, byte, what) in changes {
            // The one before may have taken the last byte.
            let at = at.index(bytes.len().max(1));
            if bytes.is_empty() {
                bytes.push(byte);
            }
            match what {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let theirs = serde_json::from_slice::<Value>(&bytes);
        let ours = read(&bytes, 7);
        if let Ok(theirs) = &theirs {
            prop_assert_eq!(&ours.clone().unwrap(), theirs);
        }
        // Where the other parser knows more it is about text and numbers, never about structure.
        if let (Ok(_), Err(theirs)) = (&ours, &theirs) {
            let theirs = theirs.to_string();
            let about = ["number out of range", "unicode", "surrogate", "hex escape"];
            prop_assert!(about.iter().any(|text| theirs.contains(text)), "{}", theirs);
        }
        if let Ok((outline, table)) = scan(&mut &bytes[..]) {
            let nothing = BTreeSet::new();
            for look in looks(Some(&nothing), None) {
                bytes_of(&bytes, &render::packument(&table, &look));
            }
            for version in &outline.versions {
                prop_assert!(version.declared.end <= bytes.len() as u64);
            }
        }
    }
}

#[test]
fn the_last_of_equal_keys_counts_and_names_of_javascript_are_ordinary() {
    let document = r#"{"name":"x","name":"demo","versions":{"9.9.9":{}},"dist-tags":{"a":"1.0.0"},
        "versions":{"__proto__":{"dist":{}},"constructor":{},"1.0.0":{"deprecated":"no"},
        "2.0.0":{},"2.0.0":null,"1.0.0":{"dist":{"tarball":"http://a.test/1"},
        "dist":{"tarball":"http://b.test/2","integrity":7}}},
        "dist-tags":{"constructor":"1.0.0","latest":"1.0.0","latest":"2.0.0","bad":"x"}}"#;
    let read = outline("", &mut document.as_bytes()).unwrap();
    assert_eq!(read.name, "demo");
    let versions: Vec<_> = read.versions.iter().map(|v| v.version.as_str()).collect();
    assert_eq!(versions, ["1.0.0"]);
    assert_eq!(read.versions[0].files[0].url, "http://b.test/2");
    assert_eq!(read.versions[0].yanked, None);
    let tags: Vec<_> = read.tags.iter().map(|(tag, to)| format!("{tag}={to}")).collect();
    assert_eq!(tags, ["constructor=1.0.0", "latest=2.0.0"]);
}

#[test]
fn checksums_are_read_in_every_form() {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let integrity = format!(
        "sha512-{}?x sha1-{} sha256-{} md4-AAAA sha512-short junk",
        encode(&[5; 64]),
        encode(&[1; 20]).trim_end_matches('='),
        encode(&[2; 32])
    );
    let shasum = "AA".repeat(20);
    let document = |integrity: &str| {
        let dist = json!({ "tarball": "http://a.test/x", "integrity": integrity,
            "shasum": shasum, "signatures": [{ "keyid": "k", "sig": "s" }, 7, { "keyid": 1 }] });
        json!({ "name": "demo", "versions": { "1.0.0": { "dist": dist } } }).to_string()
    };
    let version = |integrity: &str| {
        outline("", &mut document(integrity).as_bytes()).unwrap().versions.remove(0)
    };
    let all = version(&integrity);
    let declared = &all.files[0].declared;
    assert_eq!(declared.sha512, Some([5; 64]));
    assert_eq!((declared.sha256, declared.sha1), (Some([2; 32]), Some([1; 20])));
    assert_eq!(all.signatures, [("k".to_owned(), "s".to_owned())]);
    assert_eq!(all.files[0].file, "demo-1.0.0.tgz");
    let old = version("");
    assert_eq!(old.files[0].declared.sha1, Some([0xaa; 20]));
    assert!(!old.files[0].declared.is_strong(), "a package with sha1 alone");
}

#[test]
fn a_document_cut_at_every_byte_has_the_same_places() {
    let text = concat!(
        "{ \"\\u006eame\":\"p\\u0061d\", \"r\u{e9}adme\":\"\u{1f4e6}\\ud83d\\udce6\\\"\\\\\",",
        "\"dist-t\\u0061gs\":{\"latest\":\"1.0.0\", \"\\u00e9\":\"2.0.0\"},",
        "\"\\u0076ersions\":{\"1.0.0\":{\"dist\":{\"tarb\\u0061ll\":",
        "\"http:\\/\\/packages.test/\u{e9}\"}},",
        "\"2.0.0\":{\"deprecated\":\"\u{20ac}\\ud800\",",
        "\"d\\u0069st\":{\"shasum\":\"00\"}},\"\u{20ac}\":[]},",
        "\"time\":{\"modified\":\"now\",\"1.0.0\":\"then\"}, \"x\":-1.5e+7}\n",
    );
    let places = |capacity: usize| {
        let mut reader = std::io::BufReader::with_capacity(capacity, text.as_bytes());
        let (outline, table) = scan(&mut reader).unwrap();
        format!("{outline:?} {table:?}")
    };
    let whole = places(text.len());
    assert!(whole.contains("name: \"pad\"") && whole.contains("http://packages.test/\u{e9}"));
    for capacity in 1..text.len() {
        assert_eq!(places(capacity), whole, "{capacity}");
    }
    // Two pieces, parted at each byte.
    for at in 0..=text.len() {
        let (one, two) = text.as_bytes().split_at(at);
        let mut parted = std::io::Read::chain(one, two);
        let (outline, table) = scan(&mut parted).unwrap();
        assert_eq!(format!("{outline:?} {table:?}"), whole, "{at}");
    }
}

#[test]
fn what_is_too_deep_too_long_or_no_packument_is_refused() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let long = "\"x\":1,".repeat(70_000);
    for (bad, why) in [
        (deep.as_str(), "deeper than 64"),
        (&format!("{{\"time\":{{{long}\"y\":1}}}}"), "more versions, times or tags"),
        ("[]", "not JSON"),
        ("", "not JSON"),
        ("\u{feff}{}", "not JSON"),
        ("{} x", "not JSON at byte 3"),
        ("{\"a\":01}", "not JSON"),
        ("{\"a\":\"\t\"}", "not JSON"),
        ("<html>", "not JSON"),
    ] {
        let refused = outline("", &mut bad.as_bytes()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let shallow = format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63));
    assert!(outline("", &mut shallow.as_bytes()).is_ok());
}
