//! The README of each format is a session; here it is typed, with the real client, in four worlds.
//!
//! *alone*: one node, and no upstream. *mesh*: a second node joined, and the first has gone.
//! *upstream*: the client's own settings name a registry (a stub). *offline*: that, and then the
//! cable is out. How a README says which block is of which world: `harness/session.rs`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::harness::session::{Person, Step, fits, steps};
use crate::harness::upstream::Stub;
use crate::harness::{Client, Curl, World};

const WORLDS: [&str; 4] = ["alone", "mesh", "upstream", "offline"];

fn readme(format: &str) -> String {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = cli.join("../node/src/formats").join(format).join("README.md");
    fs_err::read_to_string(path).expect("each format has a README")
}

/// Types the README of a format in one world; a stub is the upstream where there is one.
fn live(format: &str, name: &str, variables: impl Fn(&Path) -> Vec<(&'static str, OsString)>) {
    let world = World::new();
    let home: PathBuf = world.folder("home");
    let stub = matches!(name, "upstream" | "offline").then(upstream);
    if let Some(stub) = &stub {
        Client::Npm11.configure(&home, &stub.url(), None);
    }
    let steps = steps(&readme(format), name, &WORLDS);
    Person::new(&home, variables(&home)).follow(&steps, || {
        let stub = stub.as_ref().expect("only a world with an upstream has a cable");
        stub.switch(|s| s.black_hole = true);
    });
}

/// What the session asks for, as the outside has it.
fn upstream() -> Stub {
    let stub = Stub::start();
    stub.publish("left-pad", "1.2.0", |p| p);
    stub.publish("left-pad", "1.3.0", |p| p);
    stub.publish("is-odd", "3.0.1", |p| p);
    stub
}

fn npm(name: &str) {
    if Client::Npm11.is_there() {
        live("npm", name, |home| Client::Npm11.variables(home));
    }
}

#[test]
fn the_readme_of_npm_is_true_alone() {
    npm("alone");
}

#[test]
fn the_readme_of_npm_is_true_in_the_mesh() {
    npm("mesh");
}

#[test]
fn the_readme_of_npm_is_true_with_an_upstream() {
    npm("upstream");
}

#[test]
fn the_readme_of_npm_is_true_offline() {
    npm("offline");
}

#[test]
fn the_readme_of_generic_files_is_true_alone() {
    if Curl::new().is_some() {
        live("generic", "alone", |_| Vec::new());
    }
}

#[test]
fn the_readme_of_generic_files_is_true_in_the_mesh() {
    if Curl::new().is_some() {
        live("generic", "mesh", |_| Vec::new());
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_output_that_differs_does_not_fit() {
    assert!(fits(&lines("a[..]c\n[..]\nz"), &["abc", "x", "y", "z"]));
    assert!(fits(&lines("a\n[..]"), &["a"]));
    assert!(!fits(&lines("a[..]c"), &["abd"]));
    assert!(!fits(&lines("a"), &["a", "b"]));
    assert!(!fits(&lines("a\n[..]\nz"), &["a", "x"]));
    assert!(!fits(&[], &["a"]));
}

#[test]
fn a_block_belongs_to_the_worlds_that_it_names() {
    let text = "```console\n$ all\n```\n### Mesh, alone: x\n```console\n$ two\nout\n```\n\
                ```console offline\n$ one\n```\n<!-- session: stop a -->\n```sh\n$ none\n```\n";
    let typed = |world| {
        let named = steps(text, world, &WORLDS).into_iter().map(|step| match step {
            Step::Type { command, .. } => command,
            Step::Stop(home) => format!("stop {home}"),
            Step::CableOut => "cable out".to_owned(),
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!(typed("mesh"), ["all", "two", "stop a"]);
    assert_eq!(typed("offline"), ["all", "one"]);
    assert_eq!(typed("upstream"), ["all"]);
}

#[test]
#[should_panic(expected = "to print")]
fn a_command_that_fails_ends_the_session() {
    let world = World::new();
    let text = "```console\n$ true\n$ true\n$ false\n$ true\n```\n";
    Person::new(world.path(), Vec::new()).follow(&steps(text, "alone", &WORLDS), || {});
}
