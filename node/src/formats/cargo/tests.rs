//! The extractor, index lines and the packer, as facts. Every archive is made here.

use std::io::{Read as _, Seek as _, SeekFrom};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::meta::Meta;
use super::{FORMAT, index, manifest, meta, pack};
use crate::registry::Extracted;

/// The index that a made-up default registry has.
const DEFAULT: &str = "https://packages.test/index";

/// A `.crate` with these files, whose paths are below its folder.
fn archive(folder: &str, files: &[(&str, &str)]) -> std::fs::File {
    let gzip = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes()).unwrap();
    }
    let mut file = tar.into_inner().unwrap().finish().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn extract(folder: &str, files: &[(&str, &str)]) -> Result<Extracted, String> {
    manifest::extract(&mut archive(folder, files), "x.crate")
}

const DEMO: &str = "[package]\nname = \"Demo\"\nversion = \"0.1.0+b1\"\n";

/// The meta of a crate with this behind its `[package]`, and this lockfile.
fn meta_of(more: &str, lock: Option<&str>) -> Result<Value, String> {
    let manifest = format!("{DEMO}{more}");
    let mut files = vec![("Cargo.toml", manifest.as_str())];
    files.extend(lock.map(|lock| ("Cargo.lock", lock)));
    let extracted = extract("Demo-0.1.0+b1", &files)?;
    Ok(serde_json::from_slice(&extracted.meta).unwrap())
}

fn locked(packages: &[(&str, &str)]) -> String {
    let package = |(name, source): &(&str, &str)| {
        format!("[[package]]\nname = {name:?}\nversion = \"1.0.0\"\nsource = {source:?}\n")
    };
    packages.iter().map(package).collect::<Vec<_>>().join("\n")
}

fn registry(url: &str) -> String {
    format!("registry+{url}")
}

#[test]
fn an_archive_says_what_it_is() {
    let files = [
        ("Cargo.toml", DEMO),
        ("Cargo.toml.orig", "broken ["),
        ("README.md", "# demo"),
        ("src/lib.rs", ""),
        ("deep/Cargo.toml", "broken ["),
    ];
    let found = extract("Demo-0.1.0+b1", &files).unwrap();
    assert_eq!((found.name.as_str(), found.version.as_str()), ("Demo", "0.1.0+b1"));
    assert_eq!(found.readme.as_deref(), Some(b"# demo".as_slice()));
    assert_eq!(found, extract("Demo-0.1.0+b1", &files).unwrap(), "the same bytes each time");
    let meta: Value = serde_json::from_slice(&found.meta).unwrap();
    assert_eq!(meta, json!({ "name": "Demo", "vers": "0.1.0+b1", "deps": [], "features": {} }));
}

#[test]
fn archives_that_cargo_would_not_unpack_are_refused() {
    let manifest = [("Cargo.toml", DEMO)];
    for folder in ["Demo-0.1.0", "demo-0.1.0+b1", "package", "Demo-0.1.0+b1/x"] {
        assert!(extract(folder, &manifest).is_err(), "{folder}");
    }
    let several = archive_of_two();
    assert!(manifest::extract(&mut { several }, "").unwrap_err().contains("several folders"));
    let large = format!("{DEMO}# {}\n", "x".repeat(1024 * 1024));
    for (what, text) in [
        ("nothing", ""),
        ("no TOML", "["),
        ("no package", "[dependencies]\n"),
        ("no version", "[package]\nname = \"Demo\"\n"),
        ("inherited", "[package]\nname = \"Demo\"\nversion.workspace = true\n"),
        ("a number", "[package]\nname = \"Demo\"\nversion = 1\n"),
        ("large", &large),
        ("deep", &format!("{DEMO}x = {}{}", "[".repeat(500), "]".repeat(500))),
        ("a dependency of the workspace", &format!("{DEMO}[dependencies]\na.workspace = true\n")),
        ("a registry by its name", &format!("{DEMO}[dependencies.a]\nregistry = \"griot\"\n")),
        ("a feature that is none", &format!("{DEMO}[features]\na = 1\n")),
    ] {
        assert!(extract("Demo-0.1.0+b1", &[("Cargo.toml", text)]).is_err(), "{what}");
    }
    assert!(extract("Demo-0.1.0+b1", &[("cargo.toml", DEMO)]).is_err());
}

fn archive_of_two() -> std::fs::File {
    let gzip = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for path in ["Demo-0.1.0+b1/Cargo.toml", "Other/Cargo.toml"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(DEMO.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, DEMO.as_bytes()).unwrap();
    }
    let mut file = tar.into_inner().unwrap().finish().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

#[test]
fn every_kind_of_dependency_is_read_from_the_normalised_manifest() {
    let more = "links = \"z\"\nrust-version = \"1.60\"\n\
        [dependencies.alias]\nversion = \"1.0\"\npackage = \"real\"\noptional = true\n\
        default-features = false\nfeatures = [\"b\", \"a\"]\n\
        registry-index = \"sparse+http://h/i/\"\n\
        [dev_dependencies.tests]\nversion = \"=2.0.0\"\nregistry-index = \"sparse+http://h/i/\"\n\
        [dev-dependencies.own]\nversion = \"1\"\nregistry-index = \"sparse+http://h/i/\"\n\
        [target.'cfg(unix)'.build-dependencies.cc]\nversion = \">=1, <3\"\n\
        registry-index = \"sparse+http://h:1/cargo/~hosted/index/\"\n\
        [dev-dependencies.bare]\npath = \"../bare\"\n";
    let meta = meta_of(more, None).unwrap();
    assert_eq!((&meta["links"], &meta["rust_version"]), (&json!("z"), &json!("1.60")));
    let deps = json!([
        {
            "name": "alias", "package": "real", "req": "^1.0", "features": ["b", "a"],
            "optional": true, "default_features": false, "target": null, "kind": "normal",
            "registry": "sparse+http://h/i/",
        },
        {
            "name": "cc", "req": ">=1, <3", "features": [], "optional": false,
            "default_features": true, "target": "cfg(unix)", "kind": "build",
        },
        {
            "name": "own", "req": "^1", "features": [], "optional": false,
            "default_features": true, "target": null, "kind": "dev",
            "registry": "sparse+http://h/i/",
        },
    ]);
    assert_eq!(meta["deps"], deps);
}

#[test]
fn features_with_dep_or_a_weak_mark_are_for_those_who_understand_them() {
    let more = "[features]\ndefault = [\"std\"]\nstd = []\nnew = [\"dep:a\"]\nweak = [\"a?/b\"]\n";
    let meta = meta_of(more, None).unwrap();
    assert_eq!(meta["features"], json!({ "default": ["std"], "std": [] }));
    assert_eq!(meta["features2"], json!({ "new": ["dep:a"], "weak": ["a?/b"] }));
    let meta: Meta = serde_json::from_value(meta).unwrap();
    let line = index::line(&meta, &[7; 32], true);
    let expected = format!(
        "{{\"name\":\"Demo\",\"vers\":\"0.1.0+b1\",\"deps\":[],\"cksum\":\"{}\",\
         \"features\":{{\"default\":[\"std\"],\"std\":[]}},\"yanked\":true,\"v\":2,\
         \"features2\":{{\"new\":[\"dep:a\"],\"weak\":[\"a?/b\"]}}}}",
        "07".repeat(32)
    );
    assert_eq!(line, expected);
    let old = Meta { features2: Default::default(), ..meta };
    assert!(!index::line(&old, &[7; 32], false).contains("\"v\":"));
}

#[test]
fn a_dependency_on_the_default_registry_keeps_its_url_from_the_lockfile() {
    let more = "[dependencies.one]\nversion = \"1\"\n[dependencies.two]\nversion = \"1\"\n";
    let place = |packages: &[(&str, &str)]| {
        let meta = meta_of(more, Some(&locked(packages))).unwrap();
        let registry = |at: usize| meta["deps"][at]["registry"].as_str().map(str::to_owned);
        [registry(0).unwrap(), registry(1).unwrap()]
    };
    let (of, other) = (registry(DEFAULT), registry("https://example.test/other"));
    assert_eq!(place(&[("one", &of), ("two", &of)]), [DEFAULT, DEFAULT]);
    // One that is not in the lockfile is of the same registry as the others.
    assert_eq!(place(&[("one", &of)]), [DEFAULT, DEFAULT]);
    // Another registry has a crate of that name, too.
    assert_eq!(place(&[("one", &of), ("one", &other), ("two", &of)]), [DEFAULT, DEFAULT]);
    let sparse = "sparse+http://h/cargo/~hosted/index/";
    assert_eq!(place(&[("one", sparse), ("one", &of)]), [DEFAULT, DEFAULT]);
    for unclear in [
        &[("one", of.as_str()), ("one", &other)][..],
        &[("one", &of), ("two", &other)],
        &[("else", &of)],
        &[("one", "git+https://example.test/x#0123")],
        &[],
    ] {
        assert_eq!(place(unclear), ["", ""], "{unclear:?}");
    }
    assert_eq!(meta_of(more, None).unwrap()["deps"][0]["registry"], "");
    assert_eq!(meta_of(more, Some("no TOML [")).unwrap()["deps"][0]["registry"], "");
}

#[test]
fn the_registry_of_a_dependency_is_none_for_this_one_and_a_url_for_another() {
    let more = "[dependencies.ours]\nversion = \"1\"\n\
        registry-index = \"sparse+https://some.example.test:99/deep/cargo/~hosted/index/\"\n\
        [dependencies.theirs]\nversion = \"1\"\nregistry-index = \"https://example.test/other\"\n\
        [dependencies.usual]\nversion = \"1\"\n";
    let other = registry("https://example.test/other");
    let of = registry(DEFAULT);
    let lock = locked(&[("theirs", &other), ("usual", &of), ("usual", &other)]);
    let meta = meta_of(more, Some(&lock)).unwrap();
    let registry = |at: usize| meta["deps"][at].get("registry").cloned();
    assert_eq!(registry(0), None);
    assert_eq!(registry(1), Some(json!("https://example.test/other")));
    assert_eq!(registry(2), Some(json!(DEFAULT)));
}

#[test]
fn old_archives_of_upstreams_are_read_as_far_as_they_go() {
    let more = "[dependencies]\none = \"0.3\"\n\
        two = { version = \"*\", default_features = false }\n\
        odd = \"no range\"\n[dependencies.bare]\npath = \"x\"\n";
    let meta = meta_of(more, None).unwrap();
    let reqs: Vec<_> = meta["deps"].as_array().unwrap().iter().map(|d| d["req"].clone()).collect();
    assert_eq!(reqs, ["*", "no range", "^0.3", "*"]);
    assert_eq!(meta["deps"][3]["default_features"], false);
    let project = DEMO.replace("[package]", "[project]");
    assert!(extract("Demo-0.1.0+b1", &[("Cargo.toml", &project)]).is_ok());
}

#[test]
fn a_description_is_one_line_that_no_terminal_misreads() {
    let meta = meta_of("description = \"two\\nlines \\u001b[2J\"\n", None).unwrap();
    assert_eq!(meta::describe(meta.to_string().as_bytes()), "two lines  [2J");
    assert_eq!(meta::describe(b"junk"), "");
}

#[test]
fn a_crate_is_recognised_by_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any-name.crate");
    let mut bytes = Vec::new();
    archive("Demo-0.1.0+b1", &[("Cargo.toml", DEMO)]).read_to_end(&mut bytes).unwrap();
    fs_err::write(&path, &bytes).unwrap();
    let packed = pack::pack(&path).unwrap().unwrap();
    assert_eq!((packed.name.as_str(), packed.version.as_str()), ("Demo", "0.1.0+b1"));
    assert_eq!(packed.filename, "demo-0.1.0.crate");
    fs_err::write(&path, b"no archive").unwrap();
    assert!(pack::pack(&path).unwrap().is_err());
    let needy = format!("{DEMO}[dependencies]\none = \"1\"\n");
    let mut file = archive("Demo-0.1.0+b1", &[("Cargo.toml", &needy)]);
    bytes.clear();
    file.read_to_end(&mut bytes).unwrap();
    fs_err::write(&path, &bytes).unwrap();
    assert!(pack::pack(&path).unwrap().unwrap_err().contains("one of cargo's default registry"));
    assert!(pack::pack(folder.path()).is_none());
    assert!(pack::pack(&folder.path().join("x.tgz")).is_none());
}

#[test]
fn the_line_to_install_names_the_hosted_door() {
    let line = (FORMAT.install)("http://127.0.0.1:1", "demo", "1.0.0");
    assert!(line.starts_with("cargo add demo@1.0.0 "), "{line}");
    assert!(line.contains("sparse+http://127.0.0.1:1/cargo/~hosted/index/\""), "{line}");
}
