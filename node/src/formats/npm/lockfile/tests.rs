//! Lockfiles that the real clients wrote for one project, and the traps that they did not show.
//!
//! The project has a package and an alias of another version of it, an optional one for another
//! platform, a tarball by URL, a tarball and two folders of its own, a peer, and a workspace.

use super::LOCKFILES;
use crate::formats::lockfile::{LockError, Parsed, parse};
use crate::registry::{Locked, LockedFrom};

const PACKAGE_LOCKS: [&str; 3] = [
    include_str!("fixtures/package-lock-1.json"),
    include_str!("fixtures/package-lock-2.json"),
    include_str!("fixtures/package-lock-3.json"),
];
const PNPM_6: &str = include_str!("fixtures/pnpm-lock-6.yaml");
const PNPM_9: &str = include_str!("fixtures/pnpm-lock-9.yaml");
const YARN_1: &str = include_str!("fixtures/yarn-1.lock");
const BERRY: &str = include_str!("fixtures/yarn-berry.lock");
const BUN: &str = include_str!("fixtures/bun.lock");

#[track_caller]
fn read(name: &str, text: &str) -> Parsed {
    parse(name, text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn locked(name: &str, text: &str) -> Vec<Locked> {
    read(name, text).locked
}

#[track_caller]
fn refused(name: &str, text: &str) -> LockError {
    parse(name, text).expect_err(name)
}

/// `name@version` of those from a registry, sorted.
fn ids(locked: &[Locked]) -> Vec<String> {
    let registry = locked.iter().filter(|one| one.from.is_registry());
    let mut ids: Vec<String> =
        registry.map(|one| format!("{}@{}", one.name, one.version)).collect();
    ids.sort();
    ids
}

fn elsewhere(locked: &[Locked]) -> Vec<(&str, LockedFrom)> {
    let others = locked.iter().filter(|one| !one.from.is_registry());
    others.map(|one| (one.name.as_str(), one.from)).collect()
}

#[track_caller]
fn one<'l>(locked: &'l [Locked], name: &str, version: &str) -> &'l Locked {
    let found: Vec<_> =
        locked.iter().filter(|one| one.name == name && one.version == version).collect();
    assert_eq!(found.len(), 1, "{name}@{version}: {found:?}");
    found[0]
}

const PROJECT: [&str; 9] = [
    "@types/estree@1.0.5",
    "fsevents@2.3.3",
    "is-number@4.0.0",
    "is-number@6.0.0",
    "is-odd@2.0.0",
    "is-odd@3.0.1",
    "js-tokens@4.0.0",
    "loose-envify@1.4.0",
    "react@18.2.0",
];

const ODD: &str = "\
    sha512-CQpnWPrDwmP1+SMHXZhtLtJv90yiyVfluGsX5iNCVkrhQtU3TQHsUWPG9wkdk9Lgd5yNpAg9jQE\
                   o90CBaXgWMA==";

/// What every client's lockfile of the project says, checksums where it has them.
#[track_caller]
fn check_project(locked: &[Locked], integrity: bool) {
    let ids = ids(locked);
    for id in PROJECT {
        assert!(ids.iter().any(|known| known == id), "{id} is not in {ids:?}");
    }
    assert!(ids.iter().any(|id| id == "use-sync-external-store@1.2.0"), "{ids:?}");
    for own in ["p", "ws", "local", "bnd", "my-odd"] {
        let as_registry = locked.iter().any(|one| one.name == own && one.from.is_registry());
        assert!(!as_registry, "{own} is of the project");
    }
    let odd = one(locked, "is-odd", "3.0.1");
    assert_eq!(odd.integrity.as_deref(), integrity.then_some(ODD));
    let fsevents = one(locked, "fsevents", "2.3.3");
    assert_eq!(fsevents.integrity.is_some(), integrity);
}

#[test]
fn package_locks_of_all_versions_lock_the_same() {
    let all = PACKAGE_LOCKS.map(|text| locked("package-lock.json", text));
    for locked in &all {
        check_project(locked, true);
        let from = elsewhere(locked);
        assert_eq!(from.len(), 2, "{from:?}");
        assert!(from.contains(&("tb", LockedFrom::File)), "{from:?}");
        assert!(from.iter().any(|(_, from)| *from == LockedFrom::Url), "{from:?}");
        assert!(one(locked, "fsevents", "2.3.3").optional);
        assert!(!one(locked, "react", "18.2.0").optional);
        let odd = one(locked, "is-odd", "3.0.1");
        assert_eq!(odd.url.as_deref(), Some("https://packages.test/is-odd/-/is-odd-3.0.1.tgz"));
    }
    assert_eq!(ids(&all[1]), ids(&all[2]));
}

#[test]
fn a_shrinkwrap_is_a_package_lock() {
    let parsed = read("npm-shrinkwrap.json", PACKAGE_LOCKS[2]);
    assert_eq!(parsed.lockfile.title, "package-lock.json");
    assert_eq!(parsed.locked, locked("package-lock.json", PACKAGE_LOCKS[2]));
}

#[test]
fn a_package_lock_without_urls_locks_by_name_and_git_links_and_bundles_are_told_apart() {
    let text = r#"{ "lockfileVersion": 3, "packages": {
        "": { "dependencies": { "far": "https://files.test/far.tgz#abc", "g": "github:u/g" } },
        "node_modules/plain": { "version": "1.0.0", "integrity": "sha512-AAAA" },
        "node_modules/far": { "version": "2.0.0", "resolved": "https://files.test/far.tgz" },
        "node_modules/g": { "version": "0.1.0", "resolved": "git+ssh://git@host.test/u/g.git#c0" },
        "node_modules/plain/node_modules/in": { "version": "3.0.0", "inBundle": true },
        "node_modules/w": { "resolved": "packages/w", "link": true },
        "packages/w": { "version": "9.0.0" },
        "packages/w/node_modules/deep": { "version": "4.0.0", "devOptional": true } } }"#;
    let locked = locked("package-lock.json", text);
    assert_eq!(ids(&locked), ["deep@4.0.0", "plain@1.0.0"]);
    assert_eq!(elsewhere(&locked), [("far", LockedFrom::Url), ("g", LockedFrom::Git)]);
    assert!(one(&locked, "deep", "4.0.0").optional);
    assert_eq!(one(&locked, "plain", "1.0.0").url, None);
}

#[test]
fn a_package_at_two_places_is_locked_once_and_is_needed_if_one_needs_it() {
    let text = r#"{ "lockfileVersion": 2, "packages": {
        "node_modules/a": { "version": "1.0.0", "optional": true },
        "node_modules/b/node_modules/a": { "version": "1.0.0" } } }"#;
    let locked = locked("package-lock.json", text);
    assert_eq!(locked.len(), 1);
    assert!(!locked[0].optional);
}

#[test]
fn an_old_package_lock_knows_git_and_bundles() {
    let text = r#"{ "lockfileVersion": 1, "dependencies": {
        "g": { "version": "git+https://host.test/u/g.git#c0ffee", "from": "g@1" },
        "b": { "version": "1.0.0", "dependencies": {
            "in": { "version": "2.0.0", "bundled": true },
            "out": { "version": "3.0.0", "integrity": "sha1-AAAA" } } } } }"#;
    let locked = locked("package-lock.json", text);
    assert_eq!(ids(&locked), ["b@1.0.0", "out@3.0.0"]);
    assert_eq!(elsewhere(&locked), [("g", LockedFrom::Git)]);
}

#[test]
fn pnpm_locks_of_both_versions_lock_the_project() {
    for text in [PNPM_6, PNPM_9] {
        let locked = locked("pnpm-lock.yaml", text);
        check_project(&locked, true);
        assert_eq!(elsewhere(&locked), [("tb", LockedFrom::File)]);
        assert!(one(&locked, "fsevents", "2.3.3").optional);
        assert!(!one(&locked, "react", "18.2.0").optional);
        // pnpm found the tarball by its URL in the registry, and locks it as such.
        assert_eq!(one(&locked, "left-pad", "1.3.0").url, None);
    }
}

#[test]
fn pnpm_peers_tarballs_git_and_a_second_document_are_understood() {
    let text = "---
lockfileVersion: '9.0'
packages:
  own-tool@1.0.0:
    resolution: {integrity: sha512-AA}
---
lockfileVersion: '9.0'
packages:
  '@s/x@1.10.0-rc.1':
    resolution: {integrity: sha512-BB, tarball: https://packages.test/@s/x/-/x.tgz}
  far@https://files.test/far.tgz:
    resolution: {tarball: https://files.test/far.tgz}
    version: 2.0.0
  code@https://files.test/u/code/tar.gz/c0ffee:
    resolution: {tarball: https://files.test/u/code/tar.gz/c0ffee}
    version: 3.0.0
  g@git+https://host.test/u/g.git#c0:
    resolution: {commit: c0, repo: https://host.test/u/g.git, type: git}
    version: 0.1.0
snapshots:
  '@s/x@1.10.0-rc.1(@s/y@2.0.0(react@18.2.0))':
    optional: true
  '@s/x@1.10.0-rc.1(@s/y@3.0.0)': {}
";
    let locked = locked("pnpm-lock.yaml", text);
    assert_eq!(ids(&locked), ["@s/x@1.10.0-rc.1", "own-tool@1.0.0"]);
    let x = one(&locked, "@s/x", "1.10.0-rc.1");
    assert_eq!(x.url.as_deref(), Some("https://packages.test/@s/x/-/x.tgz"));
    assert!(!x.optional, "one snapshot needs it");
    assert_eq!(
        elsewhere(&locked),
        [("code", LockedFrom::Url), ("far", LockedFrom::Url), ("g", LockedFrom::Git)]
    );
    let git = one(&locked, "g", "0.1.0");
    assert_eq!(git.url.as_deref(), Some("https://host.test/u/g.git#c0"));
}

#[test]
fn pnpm_6_writes_what_is_from_elsewhere_without_a_slash() {
    let text = "lockfileVersion: '6.1'
packages:
  /a@1.0.0(react@18.2.0):
    resolution: {integrity: sha512-AA}
  host.test/u/g/c0ffee:
    resolution: {tarball: https://files.test/u/g/tar.gz/c0ffee}
    name: g
    version: 0.1.0
  '@files.test/far.tgz':
    resolution: {tarball: https://files.test/far.tgz}
    name: far
    version: 2.0.0
  file:../beside:
    resolution: {directory: ../beside, type: directory}
    name: beside
    version: 1.0.0
";
    let locked = locked("pnpm-lock.yaml", text);
    assert_eq!(ids(&locked), ["a@1.0.0"]);
    assert_eq!(elsewhere(&locked), [("far", LockedFrom::Url), ("g", LockedFrom::Url)]);
}

#[test]
fn a_yarn_1_lock_locks_the_project_with_the_urls_that_yarn_will_fetch() {
    let locked = locked("yarn.lock", YARN_1);
    check_project(&locked, true);
    assert_eq!(elsewhere(&locked), [("left-pad-url", LockedFrom::Url), ("tb", LockedFrom::File)]);
    let odd = one(&locked, "is-odd", "2.0.0");
    assert_eq!(odd.url.as_deref(), Some("https://packages.test/is-odd/-/is-odd-2.0.0.tgz"));
}

#[test]
fn a_yarn_1_lock_without_integrity_has_the_checksum_of_the_fragment() {
    let text = "# yarn lockfile v1\n\n\
        \"@s/a@^1.0.0 || 2\", \"@s/a@~1.2.0\":\n  version \"1.2.3\"\n  resolved \
        \"https://packages.test/@s/a/-/a-1.2.3.tgz#da39a3ee5e6b4b0d3255bfef95601890afd80709\"\n\n\
        b@u/b:\n  version \"0.1.0\"\n  resolved \"https://files.test/u/b/tar.gz/c0ffee\"\n";
    let locked = locked("yarn.lock", text);
    let a = one(&locked, "@s/a", "1.2.3");
    assert_eq!(a.integrity.as_deref(), Some("sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="));
    assert_eq!(a.url.as_deref(), Some("https://packages.test/@s/a/-/a-1.2.3.tgz"));
    assert_eq!(elsewhere(&locked), [("b", LockedFrom::Git)]);
}

#[test]
fn a_berry_lock_locks_the_project_without_checksums_of_the_registrys_files() {
    let parsed = read("yarn.lock", BERRY);
    assert_eq!(parsed.lockfile.title, "yarn.lock (berry)");
    check_project(&parsed.locked, false);
    let from = elsewhere(&parsed.locked);
    assert!(from.contains(&("left-pad-url", LockedFrom::Url)), "{from:?}");
    assert!(from.contains(&("tb", LockedFrom::File)), "{from:?}");
    assert!(one(&parsed.locked, "fsevents", "2.3.3").optional);
}

#[test]
fn a_berry_patch_locks_what_it_patches_and_an_archive_url_is_kept() {
    let text = "__metadata:
  version: 8

\"a@patch:a@npm%3A^1#optional!builtin<compat/a>\":
  version: 1.5.0
  resolution: \"a@patch:a@npm%3A1.5.0#optional!builtin<compat/a>::version=1.5.0&hash=1a\"

\"b@npm:^1\":
  version: 1.0.0
  resolution: \"b@npm:1.0.0::__archiveUrl=http%3A%2F%2F127.0.0.1%3A1%2Fnpm%2Fb%2F-%2Fb-1.0.0.tgz\"

\"g@https://host.test/u/g.git#commit=c0ffee\":
  version: 0.1.0
  resolution: \"g@https://host.test/u/g.git#commit=c0ffee\"
";
    let locked = locked("yarn.lock", text);
    assert_eq!(ids(&locked), ["a@1.5.0", "b@1.0.0"]);
    let b = one(&locked, "b", "1.0.0");
    assert_eq!(b.url.as_deref(), Some("http://127.0.0.1:1/npm/b/-/b-1.0.0.tgz"));
    assert_eq!(elsewhere(&locked), [("g", LockedFrom::Git)]);
}

#[test]
fn a_bun_lock_locks_the_project() {
    let locked = locked("bun.lock", BUN);
    check_project(&locked, true);
    assert_eq!(elsewhere(&locked), [("left-pad", LockedFrom::Url), ("tb", LockedFrom::File)]);
    assert!(one(&locked, "fsevents", "2.3.3").optional);
}

#[test]
fn a_bun_lock_may_have_comments_git_urls_and_bundles() {
    let text = r#"{
  // made by hand
  "lockfileVersion": 1,
  "workspaces": { "": { "name": "p", }, },
  "packages": {
    "a": ["a@1.0.0", "https://packages.test/a/-/a-1.0.0.tgz", {}, "sha512-AA=="],
    "a/in": ["in@2.0.0", "", { "bundled": true }, "sha512-BB=="],
    "g": ["g@git+ssh://git@host.test/u/g.git#c0ffee", {}, "c0ffee"],
    "h": ["h@github:u/h#c0ffee", {}, "u-h-c0ffee"],
    "p": ["p@root:", { "bin": "x" }],
  },
}"#;
    let locked = locked("bun.lock", text);
    assert_eq!(ids(&locked), ["a@1.0.0"]);
    assert_eq!(locked[0].url.as_deref(), Some("https://packages.test/a/-/a-1.0.0.tgz"));
    assert_eq!(elsewhere(&locked), [("g", LockedFrom::Git), ("h", LockedFrom::Git)]);
}

#[test]
fn a_lockfile_with_another_name_is_known_by_its_content() {
    let kinds = [
        (PACKAGE_LOCKS[0], "package-lock.json"),
        (PACKAGE_LOCKS[1], "package-lock.json"),
        (PACKAGE_LOCKS[2], "package-lock.json"),
        (PNPM_6, "pnpm-lock.yaml"),
        (PNPM_9, "pnpm-lock.yaml"),
        (YARN_1, "yarn.lock"),
        (BERRY, "yarn.lock (berry)"),
        (BUN, "bun.lock"),
    ];
    for (text, title) in kinds {
        let parsed = read("saved.txt", text);
        assert_eq!(parsed.lockfile.title, title);
        assert_eq!(parsed.format.id, "npm");
    }
    assert_eq!(
        read("package-lock.json", &format!("\u{feff}{}", PACKAGE_LOCKS[2])).locked.len(),
        12
    );
    let error = refused("notes.txt", "# shopping\n- bread\n");
    assert!(error.why.contains("pnpm-lock.yaml"), "{error}");
}

#[test]
fn a_broken_lockfile_is_told_with_its_line() {
    let lines = |name: &str, text: &str| refused(name, text).line;
    assert_eq!(lines("package-lock.json", "{\n\"lockfileVersion\": 3,\n!"), Some(3));
    let nameless = "{\"lockfileVersion\": 3, \"packages\": {\n\"node_modules/a\": {}}}";
    assert_eq!(lines("package-lock.json", nameless), Some(2));
    assert_eq!(lines("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  a: [b\n"), Some(4));
    let bare = "lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    engines: x\n";
    assert_eq!(lines("pnpm-lock.yaml", bare), Some(3));
    let stray = "# yarn lockfile v1\n\na@1:\n  version\n";
    assert_eq!(lines("yarn.lock", stray), Some(4));
    let conflict = "# yarn lockfile v1\n<<<<<<< mine\n";
    assert_eq!(lines("yarn.lock", conflict), Some(2));
    let berry = "__metadata:\n  version: 8\n\"a@npm:1\":\n  version: 1.0.0\n";
    assert_eq!(lines("yarn.lock", berry), Some(3));
    assert_eq!(lines("bun.lock", "{\n\"lockfileVersion\": 1,\n\"packages\": {\"a\" 1}}"), Some(3));
    let odd = "{\"lockfileVersion\": 1, \"packages\": {\n\"a\": [1]}}";
    assert_eq!(lines("bun.lock", odd), Some(2));
}

#[test]
fn a_lockfile_of_an_unknown_version_is_refused() {
    let why = |name: &str, text: &str| refused(name, text).why;
    assert!(why("package-lock.json", "{\"lockfileVersion\": 4}").contains('4'));
    assert!(why("pnpm-lock.yaml", "lockfileVersion: 5.4\n").contains("5.4"));
    assert!(why("bun.lock", "{\"lockfileVersion\": 77}").contains("77"));
}

#[test]
fn hostile_texts_are_errors_and_never_a_panic() {
    let deep = |open: &str, text: &str| format!("{text}{}", open.repeat(200_000));
    let laughs = "lockfileVersion: '9.0'\na: &a [x, x]\nb: &b [*a, *a]\npackages: {k: *b}\n";
    let nested = deep("- ", "lockfileVersion: '9.0'\npackages:\n  ");
    let texts = [
        ("package-lock.json", deep("{\"dependencies\":", "{\"lockfileVersion\": 1, \"x\": ")),
        ("package-lock.json", "[]".to_owned()),
        ("package-lock.json", String::new()),
        ("pnpm-lock.yaml", nested),
        ("pnpm-lock.yaml", deep("[", "lockfileVersion: '9.0'\npackages: ")),
        ("pnpm-lock.yaml", deep("? ", "lockfileVersion: '9.0'\npackages: \n ")),
        ("pnpm-lock.yaml", laughs.to_owned()),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  ? [a]\n  : b\n".to_owned()),
        ("yarn.lock", "# yarn lockfile v1\n@:\n".to_owned()),
        ("yarn.lock", "# yarn lockfile v1\n\"a@1:\n".to_owned()),
        ("yarn.lock", "__metadata: {}\n\"x\":\n  resolution: \"\u{e9}\"\n".to_owned()),
        ("bun.lock", deep("[", "{\"lockfileVersion\": 1, \"packages\": ")),
        ("bun.lock", "{\"lockfileVersion\": 1, \"packages\": {\"\": [\"\"]}}".to_owned()),
    ];
    for (name, text) in texts {
        let error = refused(name, &text);
        assert!(!error.why.is_empty());
    }
    for lockfile in LOCKFILES {
        for text in ["", "{", "\u{e9}@\u{e9}:\n", "a@\n", "@@@", "\0\0\0", "lockfileVersion"] {
            let _ = ((lockfile.is)(text), (lockfile.parse)(text));
        }
    }
}

#[test]
fn a_text_over_the_limit_is_refused_before_it_is_read() {
    let text = " ".repeat(crate::formats::lockfile::BYTES_MAX + 1);
    assert!(refused("package-lock.json", &text).why.contains("at most"));
}
