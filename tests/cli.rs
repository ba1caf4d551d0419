//! The command as people and scripts meet it: help, errors, exit codes, `--json`, secrets.

use std::process::Command;

use serde_json::Value;

use crate::harness::client::clean;
use crate::harness::samples::noise_file;
use crate::harness::wait::{run, run_ok, said};
use crate::harness::{Curl, SOON, World};

const GRIOT: &str = env!("CARGO_BIN_EXE_griot");

/// The verbs that scripts rely on. A verb is added here when it ships, and never leaves.
const VERBS: [&str; 18] = [
    "add", "follow", "info", "invite", "join", "key", "peer", "publish", "realm", "search",
    "status", "tag", "token", "unfollow", "unyank", "up", "why", "yank",
];

fn griot(home: &std::path::Path) -> Command {
    let mut command = clean(GRIOT);
    command.env("GRIOT_HOME", home).env("HOME", home);
    command
}

/// The verbs that `griot --help` lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let lines = lines.take_while(|line| !line.trim().is_empty());
    let verbs = lines.filter_map(|line| line.split_whitespace().next());
    verbs.filter(|verb| *verb != "help").map(str::to_owned).collect()
}

#[test]
fn help_lists_every_verb_and_every_verb_has_help() {
    let world = World::new();
    let help = run_ok(griot(world.path()).arg("--help"), SOON);
    let verbs = listed(&help);
    for verb in VERBS {
        assert!(verbs.iter().any(|listed| listed == verb), "{verb} is missing: {help}");
    }
    for verb in verbs {
        let help = run_ok(griot(world.path()).args([&verb, "--help"]), SOON);
        assert!(help.contains("Usage: griot"), "{verb}: {help}");
        assert!(help.contains("--json"), "{verb} has no --json: {help}");
        let first = help.lines().next().unwrap_or_default();
        assert!(first.len() > 10, "{verb} does not say what it does: {help}");
    }
    let version = run_ok(griot(world.path()).arg("--version"), SOON);
    assert!(version.starts_with("griot 0."), "{version}");
}

/// What failed, why, and on the last line the next command.
#[track_caller]
fn check_error(text: &str) {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(lines.len() >= 2, "too short: {text}");
    let hint = lines.last().expect("there are lines");
    assert!(hint.starts_with("hint:"), "the last line is no hint: {text}");
    assert!(hint.len() > "hint: ".len() + 5, "an empty hint: {text}");
    let body = lines[..lines.len() - 1].join(" ");
    assert!(body.len() > 20, "does not say what failed and why: {text}");
    for bad in ["panicked", "an error occurred", "stack backtrace"] {
        assert!(!text.contains(bad), "{text}");
    }
}

#[test]
fn errors_say_what_failed_why_and_what_to_type_next() {
    let world = World::new();
    let output = run(griot(&world.folder("nowhere")).arg("status"), SOON);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    check_error(&text);
    assert!(text.contains("griot up"), "no node runs, and the hint does not say so: {text}");

    let node = world.node("a");
    for arguments in [
        &["info", "nobody-has-this", "--format", "npm"][..],
        &["add", "nobody-has-this", "--format", "npm"],
        &["join", "this is no invite"],
        &["publish", "/no/such/path"],
        &["yank", "nobody-has-this@1.0.0", "--format", "npm"],
        &["tag", "nobody-has-this@1.0.0", "beta", "--format", "npm"],
        &["realm", "grant", "npm:*", "this is no key"],
        &["token", "create", "--scope", "nonsense"],
        &["peer", "add", "this is no address"],
        &["follow", "this is no realm", "--yes"],
    ] {
        let (text, code) = node.refused(arguments);
        assert!((1..=5).contains(&code), "{arguments:?}: {code}");
        check_error(&text);
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let output = node.run(&with_json);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: --json changes the code");
        let told: Value = serde_json::from_slice(&output.stdout).expect("a failure is JSON too");
        assert_eq!(told["error"]["exit"], code, "{arguments:?}: {told}");
    }
}

#[test]
fn a_name_routed_to_a_realm_that_is_not_followed_says_what_to_follow() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let realm = a.realm();
    b.json(&["route", "add", "npm:left-shift", &realm]);
    let (text, code) = b.refused(&["add", "left-shift", "--format", "npm"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains(&format!("hint: griot follow {realm}")), "{text}");
}

#[test]
fn another_node_at_the_address_of_a_killed_one_is_no_node() {
    let world = World::new();
    let node = world.node("a");
    let left_behind = world.folder("b");
    let text = fs_err::read_to_string(node.home().join("node.json")).expect("the node runs");
    let text = text.replace(&node.admin_token(), "griot_ofAnotherStart");
    fs_err::write(left_behind.join("node.json"), text).expect("it can be written");
    let output = run(griot(&left_behind).arg("status"), SOON);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("no node is running"), "{}", said(&output));
}

#[test]
fn exit_codes_tell_done_failed_and_wrong_use_apart() {
    let world = World::new();
    let node = world.node("a");
    let code = |arguments: &[&str]| node.run(arguments).status.code();
    assert_eq!(code(&["status"]), Some(0));
    assert_eq!(code(&["no-such-verb"]), Some(2));
    assert_eq!(code(&["status", "--no-such-flag"]), Some(2));
    assert_eq!(code(&["info"]), Some(2));
    assert_eq!(code(&["info", ""]), Some(2));
    assert_eq!(code(&["join", "this is no invite"]), Some(2));
    assert_eq!(code(&["peer", "add", "/ip4/127.0.0.1"]), Some(2));
    assert_eq!(code(&["token", "create", "--scope", "read", "--expires", "0"]), Some(2));
    assert_eq!(code(&["publish", ".", "--format", "nonsense"]), Some(2));
    assert_eq!(code(&["publish", "/no/such/path"]), Some(1));
    let miss = code(&["add", "nobody-has-this", "--format", "npm"]);
    assert!(matches!(miss, Some(1 | 3 | 4)), "{miss:?}");
}

#[test]
fn every_verb_prints_one_json_value_on_stdout_and_nothing_else() {
    let world = World::new();
    let node = world.node("a");
    let source = noise_file(&world.path().join("map.bin"), 1, 10_000);
    let file = source.to_str().expect("paths of tests are UTF-8");
    let published =
        node.json(&["publish", "--format", "generic", "--name", "map", "--version", "1", file]);
    assert!(published.is_object() || published.is_array());

    let status = node.status();
    for field in ["node", "realm", "http", "mesh", "peers", "online", "index", "blobs", "wants"] {
        assert!(!status[field].is_null(), "status has no {field}: {status}");
    }
    for field in ["realms", "packages", "releases", "statements"] {
        assert!(status["index"][field].is_u64(), "{status}");
    }
    assert_eq!(status["index"]["packages"], 1);
    assert_eq!(status["blobs"]["count"], 1);
    assert_eq!(status["blobs"]["bytes"], 10_000);

    let info = node.info("generic", "map");
    for field in ["format", "name", "source", "versions", "tags"] {
        assert!(!info[field].is_null(), "info has no {field}: {info}");
    }
    let row = &info["versions"][0];
    assert_eq!(row["state"], "ok");
    assert_eq!(row["artifacts"][0]["filename"], "map.bin");
    assert_eq!(row["artifacts"][0]["held"], true);

    let key = node.json(&["key", "show"]);
    for field in ["publisher", "node", "peer", "roots"] {
        assert!(!key[field].is_null(), "key show has no {field}: {key}");
    }
    let token = node.json(&["token", "create", "--scope", "read,publish"]);
    for field in ["token", "id", "scopes"] {
        assert!(!token[field].is_null(), "token has no {field}: {token}");
    }
    assert!(token.as_object().is_some_and(|token| token.contains_key("expires")), "{token}");
    for arguments in [
        &["peer", "list"][..],
        &["token", "list"],
        &["realm", "show"],
        &["search", "map"],
        &["why", "map", "--format", "generic"],
        &["invite"],
    ] {
        assert_ne!(node.json(arguments), Value::Null, "{arguments:?}");
    }
}

#[test]
fn red_28_no_token_is_ever_in_a_log() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let mut node = world.node("a");
    let (publish, admin) = (node.token("publish"), node.admin_token());
    let source = noise_file(&world.path().join("map.bin"), 1, 10_000);
    assert_eq!(curl.upload(&source, &node.url("/generic/map/1.0.0/map.bin"), &publish), 201);
    let wrong = "griot_thisIsNotATokenOfThisNode0000000000000000";
    assert_eq!(curl.upload(&source, &node.url("/generic/map/1.0.1/map.bin"), wrong), 401);
    node.terminate();
    let logs = node.logs();
    assert!(!logs.is_empty(), "a node that logs nothing proves nothing");
    for secret in [publish.as_str(), &admin, wrong] {
        assert!(!logs.contains(secret), "a token is in the log");
        let tail = &secret[secret.len() / 2..];
        assert!(!logs.contains(tail), "half a token is in the log");
    }
}

#[test]
fn keys_and_the_local_token_are_for_the_keeper_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let node = world.node("a");
    let mode = |path: &std::path::Path| {
        fs_err::metadata(path).expect("the file is there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&node.home().join("node.json")), 0o600);
    let keys = node.home().join("keys");
    assert_eq!(mode(&keys), 0o700);
    for entry in fs_err::read_dir(&keys).expect("the keys are in a folder") {
        let path = entry.expect("a folder can be listed").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn red_30_no_escape_code_of_a_title_reaches_the_terminal() {
    let world = World::new();
    let node = world.node("a");
    let manifest = serde_json::json!({
        "name": "left-shift", "version": "1.0.0", "keywords": ["\u{1b}]0;owned\u{7}"],
    });
    let folder = crate::harness::samples::npm_package_with(world.path(), &manifest, "x");
    let text = fs_err::read_to_string(folder.join("package.json")).expect("it was written");
    let text = text.replace("made by a test", "red \\u001b[31m and \\u202e back");
    fs_err::write(folder.join("package.json"), text).expect("it can be written");
    node.json(&["publish", folder.to_str().expect("paths of tests are UTF-8")]);
    for arguments in [&["info", "left-shift", "--format", "npm"][..], &["search", "left"]] {
        let output = node.run(arguments);
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("left-shift"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    }
}
