//! The reader of packuments and what is rendered from it, against a parser that holds the tree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::json::{Error, Json};
use super::metadata::{Form, INSTALL_FIELDS};
use super::mode::Mode;
use super::render::{self, Look, Segment};
use super::upstream_outline::{outline, scan};
use super::version;

const BASE: &str = "https://packages.test/deep/npm/";
const DOOR: &str = "http://127.0.0.1:7878/npm";

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

/// What a rendering must be, worked out on the tree.
fn expected(document: &Value, look: &Look<'_>) -> Value {
    let mut document = document.clone();
    let offered = |written: &String| {
        let normal = version::canonical(written).ok();
        look.offered.is_none_or(|offered| normal.is_some_and(|normal| offered.contains(&normal)))
    };
    let versions = document["versions"].as_object_mut().unwrap();
    versions.retain(|written, _| offered(written));
    for (written, manifest) in versions.iter_mut() {
        let Ok(normal) = version::canonical(written) else { continue };
        let path = format!("demo/-/demo-{normal}.tgz");
        let url = manifest["dist"]["tarball"].as_str().unwrap().to_owned();
        let standard = [format!("{BASE}{path}"), format!("HTTP://PACKAGES.test/deep/npm/{path}")];
        if look.mode == Mode::Own && standard.contains(&url) {
            manifest["dist"]["tarball"] = json!(format!("{DOOR}/{path}"));
        }
    }
    if let Some(time) = document.get_mut("time") {
        let time = time.as_object_mut().unwrap();
        time.retain(|written, _| version::canonical(written).is_err() || offered(written));
    }
    if let Some(tags) = look.tags {
        document["dist-tags"] = json!(tags);
    }
    if look.form == Form::Abbreviated && document.get("_id").is_some() {
        document = short(document);
    }
    document
}

fn short(mut document: Value) -> Value {
    let mut versions = document["versions"].take();
    for manifest in versions.as_object_mut().unwrap().values_mut() {
        let scripts = manifest.get("scripts").is_some();
        let fields = manifest.as_object_mut().unwrap();
        fields.retain(|key, _| INSTALL_FIELDS.contains(&key.as_str()));
        if scripts {
            manifest["hasInstallScript"] = json!(true);
        }
    }
    json!({
        "name": document["name"], "modified": document["time"]["modified"],
        "dist-tags": document["dist-tags"], "versions": versions,
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }
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

    #[test]
    fn a_rendering_is_the_document_with_what_must_change(
        document in any_packument(),
        pretty in any::<bool>(),
        chosen in any::<Option<u8>>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else {
            serde_json::to_string(&document)
        };
        let bytes = text.unwrap().into_bytes();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let (read, table) = scan(&mut &bytes[..]).unwrap();
        let offered = chosen.map(|bits| {
            let all = read.versions.iter().enumerate();
            let kept = all.filter(|(index, _)| bits >> (index % 8) & 1 == 1);
            kept.map(|(_, version)| version.version.clone()).collect::<BTreeSet<_>>()
        });
        let odd = BTreeMap::from([("x\"y".to_owned(), "7.0.0".to_owned())]);
        let tags = offered.as_ref().map(|_| odd.clone());
        for look in looks(offered.as_ref(), tags.as_ref()) {
            let rendered = bytes_of(&bytes, &render::packument(&table, &look));
            let parsed: Value = serde_json::from_slice(&rendered).unwrap();
            prop_assert_eq!(parsed, expected(&document, &look), "{:?}", look);
        }
        for version in &read.versions {
            let place = usize::try_from(version.declared.start).unwrap()
                ..usize::try_from(version.declared.end).unwrap();
            let declared: Value = serde_json::from_slice(&bytes[place]).unwrap();
            prop_assert_eq!(&declared, &document["versions"][&version.written]);
            let url = declared["dist"]["tarball"].as_str().unwrap();
            let web = url.to_lowercase().starts_with("http");
            prop_assert_eq!(version.files.len(), usize::from(web));
            prop_assert_eq!(version.yanked.as_deref(), declared["deprecated"].as_str());
            let own = Look { mode: Mode::Own, ..looks(None, None)[0] };
            let one = render::manifest(&table, &version.version, &own).unwrap();
            let one: Value = serde_json::from_slice(&bytes_of(&bytes, &one)).unwrap();
            let whole = expected(&document, &own);
            prop_assert_eq!(&one, &whole["versions"][&version.written]);
        }
    }
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

#[test]
fn unknown_members_their_order_and_the_form_of_numbers_survive() {
    let document = concat!(
        r#"{ "z": 1.50E+2, "versions" : {"1.0.0":{"q":-0.0,"dist":{"b":1e9,"#,
        r#""tarball" : "https://packages.test/deep/npm/demo/-/demo-1.0.0.tgz","a":[ ]}} ,"#,
        "\"2.0.0\" :{\"dist\":{}}\n},\"a\":\"\\u00e9\",\"name\":\"demo\"}\n",
    );
    let canonical = Look { mode: Mode::Canonical, ..looks(None, None)[0] };
    assert_eq!(shown(document, &canonical), document);
    let own = Look { mode: Mode::Own, ..canonical };
    let changed = document.replace(BASE, &format!("{DOOR}/"));
    assert_eq!(shown(document, &own), changed);
    let offered = BTreeSet::from(["2.0.0".to_owned()]);
    let hidden = shown(document, &Look { offered: Some(&offered), ..own });
    assert!(hidden.starts_with(r#"{ "z": 1.50E+2, "versions" : {"2.0.0" :{"dist":{}}"#));
}

#[test]
fn the_last_of_equal_keys_counts_and_names_of_javascript_are_ordinary() {
    let document = r#"{"name":"x","name":"demo","versions":{"9.9.9":{}},"dist-tags":{"a":"1.0.0"},
        "versions":{"__proto__":{"dist":{}},"constructor":{},"1.0.0":{"deprecated":"no"},
        "2.0.0":{},"2.0.0":null,"1.0.0":{"dist":{"tarball":"http://a.test/1"},
        "dist":{"tarball":"http://b.test/2","integrity":7}}},
        "dist-tags":{"constructor":"1.0.0","latest":"1.0.0","latest":"2.0.0","bad":"x"}}"#;
    let read = outline(&mut document.as_bytes()).unwrap();
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
    let version =
        |integrity: &str| outline(&mut document(integrity).as_bytes()).unwrap().versions.remove(0);
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
        let refused = outline(&mut bad.as_bytes()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let shallow = format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63));
    assert!(outline(&mut shallow.as_bytes()).is_ok());
}

#[test]
fn tags_name_versions_as_the_document_writes_them_and_are_added_where_it_has_none() {
    let document = r#"{"name":"demo","versions":{"v1.0.0":{}}}"#;
    let tags = BTreeMap::from([("latest".to_owned(), "1.0.0".to_owned())]);
    let look = Look { tags: Some(&tags), ..looks(None, None)[0] };
    let rendered = shown(document, &look);
    assert_eq!(
        rendered,
        r#"{"dist-tags":{"latest":"v1.0.0"},"name":"demo","versions":{"v1.0.0":{}}}"#
    );
    assert_eq!(shown("{}", &look), "{}");
}

/// The tests of a process share its memory, so this one has a process of its own.
#[test]
fn memory_stays_flat_over_a_document_of_fifty_megabytes() {
    const ALONE: &str = "GRIOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return stream_fifty_megabytes();
    }
    let name = "formats::npm::upstream_tests::memory_stays_flat_over_a_document_of_fifty_megabytes";
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("grew by"), "the test ran in it: {said}");
}

fn stream_fifty_megabytes() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let mut file = tempfile::tempfile().unwrap();
    let filler = "x".repeat(20_000);
    write!(file, "{{\"_id\":\"big\",\"name\":\"big\",\"versions\":{{").unwrap();
    for number in 0..2650 {
        let comma = if number > 0 { "," } else { "" };
        write!(
            file,
            "{comma}\"1.0.{number}\":{{\"name\":\"big\",\"readme\":\"{filler}\",\"dist\":{{\
             \"tarball\":\"{BASE}big/-/big-1.0.{number}.tgz\"}}}}"
        )
        .unwrap();
    }
    write!(file, "}}}}").unwrap();
    let size = file.stream_position().unwrap();
    assert!(size > 50 * 1024 * 1024);
    drop(filler);

    let before = resident();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut input = std::io::BufReader::with_capacity(64 * 1024, file.try_clone().unwrap());
    let (outline, table) = scan(&mut input).unwrap();
    drop(input);
    eprintln!("the scan grew by {} bytes", resident().saturating_sub(before));
    assert_eq!(outline.versions.len(), 2650);
    let own = Look { mode: Mode::Own, ..looks(None, None)[0] };
    let segments = render::packument(&table, &own);
    let length: u64 = segments.iter().map(Segment::len).sum();
    let body = super::stream::body(file, segments.into());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (sent, peak) = runtime.block_on(async {
        use futures::StreamExt as _;
        let mut stream = body.into_data_stream();
        let (mut sent, mut peak) = (0, 0);
        while let Some(piece) = stream.next().await {
            sent += piece.unwrap().len() as u64;
            peak = peak.max(resident());
        }
        (sent, peak)
    });
    assert_eq!(sent, length);
    let shorter = (BASE.len() - DOOR.len() - 1) as u64;
    assert_eq!(length, size - 2650 * shorter);
    let grown = peak.saturating_sub(before);
    eprintln!("grew by {grown} bytes");
    assert!(grown < 8 * 1024 * 1024, "grew by {grown} bytes");
}

/// Bytes of this process in memory, without its code.
fn resident() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[tokio::test]
async fn a_file_that_is_shorter_than_its_segments_breaks_the_body_off() {
    use futures::StreamExt as _;
    use std::io::Write as _;
    let cases: [(&[(u64, u64)], bool); 4] = [
        (&[(0, 10)], true),
        (&[(5, 8), (0, 2)], true),
        (&[(0, 11)], false),
        (&[(0, 400_000)], false),
    ];
    for (ranges, whole) in cases {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut segments: Vec<Segment> =
            ranges.iter().map(|(start, end)| Segment::Range(*start..*end)).collect();
        segments.push(Segment::Literal(bytes::Bytes::from_static(b"end")));
        let mut stream = super::stream::body(file, segments.into()).into_data_stream();
        let mut seen = Vec::new();
        let mut broken = false;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => seen.extend_from_slice(&piece),
                Err(_) => broken = true,
            }
        }
        assert_eq!((broken, seen.ends_with(b"end")), (!whole, whole));
    }
}

#[test]
fn tables_are_kept_as_long_as_they_fit_and_the_least_used_goes_first() {
    use std::sync::Arc;
    let digest = |text: &str| crdt::Digest::of(text.as_bytes());
    let table = |versions: usize| {
        let mut entries = Map::new();
        for number in 0..versions {
            entries.insert(format!("1.0.{number}"), json!({ "dist": { "tarball": "http://a/" } }));
        }
        let document = json!({ "name": "demo", "versions": entries }).to_string();
        Arc::new(scan(&mut document.as_bytes()).unwrap().1)
    };
    let mut kept = super::spans::Kept::new(30_000);
    for name in ["a", "b"] {
        kept.put(digest(name), table(100));
    }
    assert!(kept.get(&digest("a")).is_some());
    kept.put(digest("c"), table(100));
    let held = ["a", "b", "c"].map(|name| kept.get(&digest(name)).is_some());
    assert_eq!(held, [true, false, true]);
    kept.put(digest("huge"), table(2000));
    assert!(kept.get(&digest("huge")).is_none() && kept.get(&digest("c")).is_some());
}

#[test]
fn a_version_is_signed_by_its_upstreams_key_or_the_reason_is_said() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    let random = ring::rand::SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).unwrap();
    let mut spki = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
    spki.extend_from_slice(pair.public_key().as_ref());
    let keys = |id: &str, expires: Value| {
        let key = json!({ "keyid": id, "keytype": "ecdsa-sha2-nistp256", "expires": expires,
            "scheme": "ecdsa-sha2-nistp256", "key": STANDARD.encode(&spki) });
        json!({ "keys": [{ "keyid": "other", "key": "AAAA" }, key] }).to_string().into_bytes()
    };
    let integrity = format!("sha512-{}", STANDARD.encode([3; 64]));
    let signed = format!("@acme/ui@1.0.0:{integrity}");
    let sign = |text: &str| STANDARD.encode(pair.sign(&random, text.as_bytes()).unwrap());
    let version = |integrity: &str, signatures: Value| {
        let dist = json!({ "tarball": "http://a.test/x", "integrity": integrity,
            "signatures": signatures });
        let document = json!({ "name": "@acme/ui", "versions": { "1.0.0": { "dist": dist } } });
        outline(&mut document.to_string().as_bytes()).unwrap().versions.remove(0)
    };
    let verify = super::signature::RULES.verify;
    let good = version(&integrity, json!([{ "keyid": "k", "sig": sign(&signed) }]));
    assert_eq!(verify("@acme/ui", &good, &keys("k", Value::Null)), Ok(()));
    let past = json!("2001-01-01T00:00:00.000Z");
    assert_eq!(verify("@acme/ui", &good, &keys("k", past)), Ok(()), "no clock decides");

    let other_bytes = format!("sha512-{}", STANDARD.encode([4; 64]));
    let broken = json!([{ "keyid": "k", "sig": "!" }]);
    let swapped = json!([{ "keyid": "k", "sig": sign(&signed) }]);
    for (name, version, keys, why) in [
        ("@acme/ui", version(&integrity, json!([])), keys("k", Value::Null), "no signature"),
        ("@acme/ui", good.clone(), keys("j", Value::Null), "does not list"),
        ("@acme/xi", good.clone(), keys("k", Value::Null), "not over its checksum"),
        ("@acme/ui", version(&other_bytes, swapped), keys("k", Value::Null), "not over"),
        ("@acme/ui", version(&integrity, broken), keys("k", Value::Null), "not over"),
        (
            "@acme/ui",
            version("", json!([{ "keyid": "k", "sig": "" }])),
            keys("k", Value::Null),
            "no sha512",
        ),
        ("@acme/ui", good.clone(), b"<html>".to_vec(), "cannot be read"),
    ] {
        let refused = verify(name, &version, &keys).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_document_that_hides_what_an_archive_does_is_found_out() {
    let differs = super::upstream_rules::RULES.differs;
    let meta = json!({
        "name": "demo", "version": "1.0.0", "dependencies": { "a": "^1" },
        "optionalDependencies": { "o": "1" }, "scripts": { "postinstall": "x", "test": "y" },
        "hasInstallScript": true,
    });
    let differs = |declared: &Value, meta: &Value| {
        differs(declared.to_string().as_bytes(), meta.to_string().as_bytes())
    };
    let same = json!({
        "name": "demo", "version": "1.0.0", "dependencies": { "a": "^1", "o": "1" },
        "hasInstallScript": true, "dist": {},
    });
    assert_eq!(differs(&same, &meta), None);
    for (field, value, why) in [
        ("name", json!("other"), "name"),
        ("version", json!("1.0.1"), "version"),
        ("dependencies", json!({ "a": "^1" , "evil": "1" }), "evil"),
        ("dependencies", json!({ "o": "1" }), "a is not the same"),
        ("peerDependencies", json!({ "p": "1" }), "peer dependency p"),
        ("hasInstallScript", json!(false), "postinstall"),
        ("scripts", json!({ "postinstall": "harmless" }), "postinstall"),
    ] {
        let mut declared = same.clone();
        declared[field] = value;
        let said = differs(&declared, &meta).unwrap_or_default();
        assert!(said.contains(why), "{field}: {said}");
    }
    let gyp = json!({ "name": "demo", "version": "1.0.0", "gypfile": true,
        "scripts": { "install": "node-gyp rebuild" } });
    assert_eq!(differs(&json!({ "name": "demo", "version": "1.0.0" }), &gyp), None);
}

#[test]
fn an_upstream_is_asked_for_escaped_names() {
    let rules = super::upstream_rules::RULES;
    assert_eq!((rules.document)("@acme/ui"), "@acme%2fui");
    assert_eq!((rules.document)("a(b)!"), "a%28b%29%21");
    assert_eq!((rules.file)("@acme/ui", "ui-1.0.0.tgz"), "@acme/ui/-/ui-1.0.0.tgz");
    let version_of = |name: &str, file: &str| (rules.version_of)(name, file);
    assert_eq!(version_of("@acme/ui", "ui-1.0.0-rc.1.tgz").as_deref(), Some("1.0.0-rc.1"));
    assert_eq!(version_of("@acme/ui", "ui-latest.tgz"), None);
}
