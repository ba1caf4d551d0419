//! npm's rules, the scanner of publish bodies, the extractor and the packer, as facts.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::Digest;
use serde_json::{Value, json};

use super::attachment::{DOCUMENT_MAX_BYTES, Error, Event, Scanner};
use super::metadata::{ABBREVIATED, Form, form};
use super::{claims_root, manifest, name, pack, publish, version};
use crate::formats::PackedBytes;
use crate::http::path::PathQuery;
use crate::registry::Extracted;

#[test]
fn names_published_here_are_those_of_new_packages_and_an_upstream_keeps_its_old_ones() {
    for good in
        ["a", "is-odd", "lodash.merge", "@acme/ui", "@a/b_c", "0x", "x".repeat(214).as_str()]
    {
        assert_eq!(name::canonical(good).as_deref(), Ok(good));
        assert_eq!(name::publishable(good), Ok(()));
    }
    for old in ["JSONStream", "A", "a!", "constructor", "prototype", "con", "@acme/nul.js"] {
        assert_eq!(name::canonical(old).as_deref(), Ok(old), "two spellings are two packages");
        assert!(name::publishable(old).is_err(), "{old}");
    }
    let long = "x".repeat(215);
    for bad in [
        "",
        ".a",
        "_a",
        "@acme",
        "@acme/",
        "@/ui",
        "@Acme/ui",
        "@acme/.ui",
        "@acme/ui/x",
        "a/b",
        "a b",
        "a%2f",
        "é",
        "rе",
        "~a",
        "-",
        "node_modules",
        "favicon.ico",
        "__proto__",
        "@acme/__proto__",
        "a.",
        "a*",
        &long,
    ] {
        assert!(name::canonical(bad).is_err(), "{bad}");
    }
}

#[test]
fn scoped_names_are_split_however_the_slash_comes() {
    let split = |parts: &[&str]| name::split(parts).map(|(name, rest)| (name, rest.join(" ")));
    let ui = |rest: &str| Some(("@acme/ui".to_owned(), rest.to_owned()));
    assert_eq!(split(&["@acme/ui", "-", "ui-1.0.0.tgz"]), ui("- ui-1.0.0.tgz"));
    assert_eq!(split(&["@acme", "ui", "-", "ui-1.0.0.tgz"]), ui("- ui-1.0.0.tgz"));
    assert_eq!(split(&["ui", "1.0.0"]), Some(("ui".to_owned(), "1.0.0".to_owned())));
    assert_eq!(split(&["@acme"]), None);
    assert_eq!(split(&[]), None);
}

#[test]
fn a_tarball_name_and_its_version_belong_together() {
    assert_eq!(name::file_name("@acme/ui", "1.2.3-rc.1"), "ui-1.2.3-rc.1.tgz");
    assert_eq!(name::version_in("@acme/ui", "ui-1.2.3-rc.1.tgz"), Some("1.2.3-rc.1"));
    assert_eq!(name::version_in("@acme/ui", "@acme/ui-1.2.3.tgz"), Some("1.2.3"));
    assert_eq!(name::version_in("is-odd", "is-even-1.0.0.tgz"), None);
    assert_eq!(name::version_in("is-odd", "is-odd-1.0.0.zip"), None);
}

#[test]
fn tarballs_outside_the_mount_are_claimed_and_nothing_else() {
    let claims = |path: &str| claims_root(&PathQuery::parse(&path.parse().unwrap()).unwrap());
    assert!(claims("/is-odd/-/is-odd-3.0.1.tgz"));
    assert!(claims("/@acme/ui/-/ui-1.0.0.tgz"));
    assert!(claims("/@acme%2fui/-/ui-1.0.0.tgz"));
    assert!(claims("/deep/upstream/npm/@acme/ui/-/ui-1.0.0.tgz"), "npm keeps an upstream's path");
    for other in ["/", "/is-odd", "/is-odd/-/x.zip", "/.well-known/x", "/-/ping", "/x.tgz"] {
        assert!(!claims(other), "{other}");
    }
}

#[test]
fn versions_have_one_normal_form() {
    for (written, normal) in [
        ("1.2.3", "1.2.3"),
        ("v1.2.3", "1.2.3"),
        ("1.2.3+build.5", "1.2.3"),
        ("1.0.0-beta.2+x", "1.0.0-beta.2"),
    ] {
        assert_eq!(version::canonical(written).as_deref(), Ok(normal));
    }
    for bad in
        ["", "1", "1.2", "01.2.3", "1.2.3.4", "latest", "1.2.x", "^1.0.0", "1.2.3-", "1.0.0/x"]
    {
        assert!(version::canonical(bad).is_err(), "{bad}");
    }
    assert!(version::compare("1.10.0", "1.9.0").is_gt());
    assert!(version::compare("1.0.0-rc.1", "1.0.0").is_lt());
    assert!(version::compare("1.0.0-alpha.2", "1.0.0-alpha.10").is_lt());
    assert!(version::is_prerelease("1.0.0-rc.1") && !version::is_prerelease("1.0.0"));
}

#[test]
fn ranges_resolve_as_npm_does() {
    let versions = ["0.9.0", "1.0.0", "1.2.0", "1.3.0-beta.1", "2.0.0-rc.1"].map(String::from);
    let resolve = |range: &str| version::resolve(range, &versions).unwrap();
    for (range, found) in [
        ("^1.0.0", Some("1.2.0")),
        ("~1.0", Some("1.0.0")),
        ("*", Some("1.2.0")),
        ("", Some("1.2.0")),
        (">=2", None),
        ("^1.3.0-beta", Some("1.3.0-beta.1")),
        ("0.x || 1.0.0", Some("1.0.0")),
        ("0.9.0 - 1.0.0", Some("1.0.0")),
        ("2.0.0-rc.1", Some("2.0.0-rc.1")),
    ] {
        assert_eq!(resolve(range).as_deref(), found, "{range}");
    }
    assert!(version::resolve("not a range!", &versions).is_err());
}

#[test]
fn the_abbreviated_form_is_for_those_who_prefer_it() {
    let npm8 = format!("{ABBREVIATED}; q=1.0, application/json; q=0.8, */*");
    assert_eq!(form(Some(&npm8)), Form::Abbreviated);
    assert_eq!(form(Some(ABBREVIATED)), Form::Abbreviated);
    assert_eq!(form(Some("application/json")), Form::Full);
    assert_eq!(form(Some(&format!("application/json, {ABBREVIATED};q=0.5"))), Form::Full);
    assert_eq!(form(Some(&format!("{ABBREVIATED};q=0"))), Form::Full);
    assert_eq!(form(None), Form::Full);
}

#[test]
fn every_hash_of_an_integrity_must_fit() {
    let checksums =
        crdt::Checksums { sha256: [1; 32], sha512: Some([2; 64]), sha1: Some([3; 20]), md5: None };
    let right = format!("sha512-{}", STANDARD.encode([2; 64]));
    let wrong = format!("sha512-{}", STANDARD.encode([9; 64]));
    assert!(publish::integrity_holds(&right, &checksums));
    assert!(publish::integrity_holds(
        &format!("{right}?opt sha1-{}", STANDARD.encode([3; 20])),
        &checksums
    ));
    assert!(!publish::integrity_holds(&wrong, &checksums));
    assert!(!publish::integrity_holds(&format!("{right} {wrong}"), &checksums));
    assert!(!publish::integrity_holds("nonsense", &checksums));
}

/// The document, and the tarballs by their keys.
type Scanned = (Value, Vec<(String, Vec<u8>)>);

/// What comes out when the body arrives in these pieces.
fn scan<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Scanned, Error> {
    let mut scanner = Scanner::new();
    let (mut events, mut files, mut open) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        scanner.push(piece, &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Begin(name) => {
                    files.push((name, Vec::new()));
                    assert!(!std::mem::replace(&mut open, true));
                }
                Event::Data(bytes) => files.last_mut().unwrap().1.extend_from_slice(&bytes),
                Event::End => assert!(std::mem::replace(&mut open, false)),
            }
        }
    }
    let document = scanner.finish()?;
    assert!(!open);
    Ok((serde_json::from_slice(&document).unwrap(), files))
}

fn body(data: &str) -> String {
    format!(
        r#"{{"_id":"@a/b","note":"_attachments \" {{ [ \\","versions":{{"1.0.0":{{"data":"x"}}}},
        "other":{{"b.tgz":{{"data":"kept"}}}},"list":[{{"data":"kept"}},"]"],
        "_att\u0061chments":{{"b-1.sigstore":{{"data":"{{\"kept\":1}}"}},
        "@a/b-1.0.0.tgz":{{"content_type":"x/y","data":"{data}","length":9}}}}}}"#
    )
}

#[test]
fn a_body_may_be_cut_at_every_byte() {
    for bytes in [&b""[..], b"a", b"ab", b"abc", b"\0\xff tarball bytes"] {
        let text = body(&STANDARD.encode(bytes));
        let whole = scan([text.as_bytes()]).unwrap();
        assert_eq!(whole.1, [("@a/b-1.0.0.tgz".to_owned(), bytes.to_vec())]);
        assert_eq!(
            whole.0["_attachments"]["@a/b-1.0.0.tgz"],
            json!({
                "content_type": "x/y", "data": "", "length": 9,
            })
        );
        assert_eq!(whole.0["_attachments"]["b-1.sigstore"]["data"], "{\"kept\":1}");
        assert_eq!(whole.0["other"]["b.tgz"]["data"], "kept");
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            assert_eq!(scan([first, second]).unwrap(), whole, "cut at {at}");
        }
        assert_eq!(scan(text.as_bytes().chunks(1)).unwrap(), whole);
    }
}

#[test]
fn escapes_in_the_data_are_read_and_others_refused() {
    let escaped = body(r"\/\/\/\/\n\r\/\/8=");
    let (_, files) = scan(escaped.as_bytes().chunks(1)).unwrap();
    assert_eq!(files[0].1, [255, 255, 255, 255, 255]);
    for bad in ["a*==", "YQ==YQ==", "Y", r"\u0041", "YQ= ="] {
        assert_eq!(scan([body(bad).as_bytes()]).unwrap_err(), Error::NotBase64, "{bad}");
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for bad in [
        "",
        "{",
        "{\"a\":\"",
        "}",
        "[}",
        "{\"a\":1]",
        "{\"_attachments\":{\"x.tgz\":{\"data\":\"YQ",
    ] {
        assert_eq!(scan([bad.as_bytes()]).unwrap_err(), Error::NotJson, "{bad}");
    }
    assert_eq!(scan(["[".repeat(65).as_bytes()]).unwrap_err(), Error::TooDeep);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(DOCUMENT_MAX_BYTES));
    assert_eq!(scan([long.as_bytes()]).unwrap_err(), Error::TooLarge);
}

#[test]
fn the_tarball_is_never_held() {
    let head = br#"{"_attachments":{"x.tgz":{"data":""#;
    let mut scanner = Scanner::new();
    let mut events = Vec::new();
    scanner.push(head, &mut events).unwrap();
    let piece = STANDARD.encode(vec![7; 3 * 100_000]).into_bytes();
    let mut decoded = 0;
    for _ in 0..100 {
        scanner.push(&piece, &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Data(bytes) = event {
                decoded += bytes.len();
            }
        }
    }
    assert!(decoded > 29_000_000);
    scanner.push(b"\"}}}", &mut events).unwrap();
    assert!(scanner.finish().unwrap().len() < 100);
}

/// Writes files below a new folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

/// The archive that a folder packs to, and what it holds.
fn packed(path: &Path) -> (Vec<u8>, BTreeMap<String, u32>) {
    let packed = pack::pack(path).unwrap().unwrap();
    let PackedBytes::Made(mut file) = packed.archive else { panic!("made in memory") };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, entry.header().mode().unwrap())
    });
    let entries = entries.collect();
    (bytes, entries)
}

fn names(path: &Path) -> Vec<String> {
    let strip = |path: String| path.strip_prefix("package/").unwrap().to_owned();
    packed(path).1.into_keys().map(strip).collect()
}

#[test]
fn packing_twice_gives_the_same_bytes() {
    let files = [
        ("package.json", r#"{"name":"@acme/ui","version":"v1.0.0","bin":"./run.js"}"#),
        ("run.js", "#!"),
        ("lib/a.js", "a"),
        ("README.md", "# ui"),
    ];
    let (one, two) = (folder(&files), folder(&files));
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    fs_err::File::options()
        .write(true)
        .open(two.path().join("lib/a.js"))
        .unwrap()
        .into_parts()
        .0
        .set_modified(later)
        .unwrap();
    let (bytes, entries) = packed(one.path());
    assert_eq!(Digest::of(&bytes), Digest::of(&packed(two.path()).0));
    let modes: Vec<_> = entries.into_iter().collect();
    assert_eq!(
        modes,
        [
            ("package/README.md".to_owned(), 0o644),
            ("package/lib/a.js".to_owned(), 0o644),
            ("package/package.json".to_owned(), 0o644),
            ("package/run.js".to_owned(), 0o755),
        ]
    );
    let packed = pack::pack(one.path()).unwrap().unwrap();
    assert_eq!((packed.name.as_str(), packed.filename.as_str()), ("@acme/ui", "ui-1.0.0.tgz"));
}

#[test]
fn ignore_files_leave_out_and_what_must_be_in_is_in() {
    let tree = folder(&[
        ("package.json", r#"{"name":"x","version":"1.0.0","main":"dist/main"}"#),
        (".gitignore", "dist\n"),
        (".npmignore", "*.log\n/secret\nkeep/*\n!keep/this.txt\n"),
        ("dist/main.js", ""),
        ("a.log", ""),
        ("secret/key", ""),
        ("keep/this.txt", ""),
        ("keep/that.txt", ""),
        ("sub/.gitignore", "out\n"),
        ("sub/out/x", ""),
        ("sub/in", ""),
        ("node_modules/y/index.js", ""),
        ("sub/node_modules/z/index.js", ""),
        (".git/config", ""),
        (".npmrc", "token"),
        ("package-lock.json", "{}"),
        ("License", ""),
        ("._x", ""),
        ("x.orig", ""),
    ]);
    let expected = ["License", "dist/main.js", "keep/this.txt", "package.json", "sub/in"];
    assert_eq!(names(tree.path()), expected);
}

#[test]
fn the_list_of_files_decides_where_there_is_one() {
    let tree = folder(&[
        (
            "package.json",
            r#"{"name":"x","version":"1.0.0","main":"./index.js",
            "files":["lib","/types/*.d.ts","!lib/test"]}"#,
        ),
        (".gitignore", "lib\n"),
        ("index.js", ""),
        ("README", ""),
        ("other.js", ""),
        ("lib/a.js", ""),
        ("lib/deep/b.js", ""),
        ("lib/test/t.js", ""),
        ("lib/.npmrc", ""),
        ("nested/lib/c.js", ""),
        ("types/x.d.ts", ""),
        ("types/x.ts", ""),
    ]);
    let expected =
        ["README", "index.js", "lib/a.js", "lib/deep/b.js", "package.json", "types/x.d.ts"];
    assert_eq!(names(tree.path()), expected);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_out_of_the_folder() {
    let tree = folder(&[("package.json", r#"{"name":"x","version":"1.0.0"}"#)]);
    std::os::unix::fs::symlink("/etc", tree.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", tree.path().join("host")).unwrap();
    assert_eq!(names(tree.path()), ["package.json"]);
}

#[test]
fn what_is_no_package_is_not_recognised() {
    let tree = folder(&[("x.txt", ""), ("y.tgz", "not an archive")]);
    assert!(pack::pack(tree.path()).is_none());
    assert!(pack::pack(&tree.path().join("x.txt")).is_none());
    assert!(pack::pack(&tree.path().join("y.tgz")).is_none());
    let private = folder(&[("package.json", r#"{"name":"x","version":"1.0.0","private":true}"#)]);
    assert!(pack::pack(private.path()).unwrap().is_err());
    let bad = folder(&[("package.json", r#"{"name":"X","version":"1.0.0"}"#)]);
    assert!(pack::pack(bad.path()).unwrap().is_err());
}

/// What the extractor reads in a folder that was packed.
fn extracted(files: &[(&str, &str)]) -> Result<Extracted, String> {
    let tree = folder(files);
    let (bytes, _) = packed(tree.path());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(0)).unwrap();
    manifest::extract(&mut file, "x.tgz")
}

#[test]
fn the_meta_is_the_manifest_in_one_canonical_form() {
    let manifest =
        "\u{feff}{\"version\":\"v1.0.0\",\"name\":\"@acme/x\",\"_private\":1,\"readme\":\"r\",
        \"dist\":{\"tarball\":\"http://evil\"},\"deprecated\":\"no\",\"bin\":\"./x.js\",
        \"scripts\":{\"test\":\"t\"},\"dependencies\":{\"b\":\"1\",\"a\":\"2\"}}";
    let found = extracted(&[("package.json", manifest), ("readme.md", "# x"), ("binding.gyp", "")]);
    let found = found.unwrap();
    assert_eq!((found.name.as_str(), found.version.as_str()), ("@acme/x", "v1.0.0"));
    assert_eq!(found.readme.as_deref(), Some(&b"# x"[..]));
    let expected = concat!(
        r#"{"bin":{"x":"x.js"},"dependencies":{"a":"2","b":"1"},"gypfile":true,"#,
        r#""hasInstallScript":true,"name":"@acme/x","#,
        r#""scripts":{"install":"node-gyp rebuild","test":"t"},"version":"1.0.0"}"#,
    );
    assert_eq!(std::str::from_utf8(&found.meta).unwrap(), expected);
}

#[test]
fn a_description_is_one_line_without_escapes() {
    let meta = json!({ "description": "  a\u{1b}[31m\nb\u{202e}c  " }).to_string();
    assert_eq!(manifest::describe(meta.as_bytes()), "a [31m b c");
    assert_eq!(manifest::describe(b"not json"), "");
}
