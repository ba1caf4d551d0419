//! The README of each format is a session; here it is typed, with the real client, in four worlds.
//!
//! *alone*: one node, and no upstream. *mesh*: a second node joined, and the first has gone.
//! *upstream*: the client's own settings name a registry (a stub). *offline*: that, and then the
//! cable is out. How a README says which block is of which world: `harness/session.rs`.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use crate::harness::session::{Person, Step, fits, steps};
use crate::harness::upstream::{Crate, Distribution, Stub};
use crate::harness::{Cargo, Client, Curl, Python, World};

const WORLDS: [&str; 4] = ["alone", "mesh", "upstream", "offline"];

fn readme(format: &str) -> String {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = cli.join("../node/src/formats").join(format).join("README.md");
    fs_err::read_to_string(path).expect("each format has a README")
}

/// Whose README it is, and what the client of the person who types it is like.
struct Reader {
    format: &'static str,
    /// The variables of a client with this home.
    variables: fn(&Path) -> Vec<(&'static str, OsString)>,
    /// Writes settings of the client into the home: the stub is its registry.
    points_at: fn(&Path, &Stub),
}

const NPM: Reader = Reader {
    format: "npm",
    variables: |home| Client::Npm11.variables(home),
    points_at: |home, stub| Client::Npm11.configure(home, &stub.url(), None),
};

const PYPI: Reader = Reader {
    format: "pypi",
    variables: Python::variables_at,
    points_at: |home, stub| Python::configure_at(home, &stub.simple_url()),
};

const CARGO: Reader = Reader {
    format: "cargo",
    variables: Cargo::variables_at,
    points_at: |home, stub| Cargo::configure_at(home, &stub.index_url()),
};

const GENERIC: Reader =
    Reader { format: "generic", variables: |_| Vec::new(), points_at: |_, _| {} };

impl Reader {
    /// Types the README in one world; a stub is the upstream where there is one.
    fn follow(&self, name: &str) {
        let world = World::new();
        let home: PathBuf = world.folder("home");
        let stub = matches!(name, "upstream" | "offline").then(upstream);
        if let Some(stub) = &stub {
            (self.points_at)(&home, stub);
        }
        let steps = steps(&readme(self.format), name, &WORLDS);
        Person::new(&home, (self.variables)(&home)).follow(&steps, || {
            let stub = stub.as_ref().expect("only a world with an upstream has a cable");
            stub.switch(|s| s.black_hole = true);
        });
    }
}

/// What the sessions ask for, as the outside has it.
fn upstream() -> Stub {
    let stub = Stub::start();
    for (name, version) in [("left-pad", "1.2.0"), ("left-pad", "1.3.0"), ("is-odd", "3.0.1")] {
        stub.publish(name, version, |p| p);
        stub.upload(Distribution::wheel(name, version));
        stub.add_crate(Crate::new(name, version));
    }
    stub
}

fn npm(name: &str) {
    if Client::Npm11.is_there() {
        NPM.follow(name);
    }
}

fn pypi(name: &str) {
    if Python::is_there() {
        PYPI.follow(name);
    }
}

fn cargo(name: &str) {
    if Cargo::is_there() {
        CARGO.follow(name);
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
fn the_readme_of_pypi_is_true_alone() {
    pypi("alone");
}

#[test]
fn the_readme_of_pypi_is_true_in_the_mesh() {
    pypi("mesh");
}

#[test]
fn the_readme_of_pypi_is_true_with_an_upstream() {
    pypi("upstream");
}

#[test]
fn the_readme_of_pypi_is_true_offline() {
    pypi("offline");
}

#[test]
fn the_readme_of_cargo_is_true_alone() {
    cargo("alone");
}

#[test]
fn the_readme_of_cargo_is_true_in_the_mesh() {
    cargo("mesh");
}

#[test]
fn the_readme_of_cargo_is_true_with_an_upstream() {
    cargo("upstream");
}

#[test]
fn the_readme_of_cargo_is_true_offline() {
    cargo("offline");
}

#[test]
fn the_readme_of_generic_files_is_true_alone() {
    if Curl::new().is_some() {
        GENERIC.follow("alone");
    }
}

#[test]
fn the_readme_of_generic_files_is_true_in_the_mesh() {
    if Curl::new().is_some() {
        GENERIC.follow("mesh");
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
fn a_command_that_fails_or_says_something_else_ends_the_session() {
    let world = World::new();
    let ends = |text: &str| {
        let steps = steps(text, "alone", &WORLDS);
        let mut person = Person::new(world.path(), Vec::new());
        let typed = AssertUnwindSafe(|| person.follow(&steps, || {}));
        std::panic::catch_unwind(typed).is_err()
    };
    assert!(!ends("```console\n$ true\n$ cd /\n$ pwd\n/\n```\n"));
    assert!(!ends("```console\n$ true\n$ false\n$ echo $?\n1\n```\n"));
    assert!(ends("```console\n$ true\n$ true\n$ false\n$ true\n```\n"));
    assert!(ends("```console\n$ true\n$ true\n$ echo two\none\n```\n"));
    assert!(ends("```console\n$ true\n$ true\n$ echo two\n```\n"));
    assert!(ends("```sh\n$ true\n$ true\n$ true\n```\n"), "there is no session");
}
