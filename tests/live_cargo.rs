//! Two hundred crates from the registry that this machine's own cargo uses.
//!
//! Like `live.rs` it reaches outside, and only while it may: a registry that does not answer makes
//! the test skip, loudly. The node goes out through a tunnel of the test's own, which later turns
//! into a black hole. cargo tells its default registry to nobody, so it is seen from what it does:
//! its settings where they replace the registry, else the name of the cache that it begins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::skip;
use crate::harness::project::{cut_off, trust};
use crate::harness::wait::{run, said};
use crate::harness::{Cargo, Node, NodeOptions, Tunnel, World};

/// Hundreds of crates on a bad line.
const FETCH: Duration = Duration::from_secs(400);
/// Until an unknown name is refused while the registry is a black hole; cargo's start included.
const REFUSAL: Duration = Duration::from_secs(5);
/// With what they need more than two hundred.
const LARGE: [(&str, &str); 12] = [
    ("axum", "=0.7.7"),
    ("chrono", "=0.4.38"),
    ("clap", "=4.5.20"),
    ("flate2", "=1.0.34"),
    ("rand", "=0.8.5"),
    ("regex", "=1.11.0"),
    ("reqwest", "=0.12.8"),
    ("rusqlite", "=0.32.1"),
    ("serde_json", "=1.0.128"),
    ("tokio", "=1.40.0"),
    ("tracing-subscriber", "=0.3.18"),
    ("wasmtime", "=25.0.2"),
];
const CRATES_MIN: usize = 200;

/// The sparse index of this machine's cargo.
#[derive(Debug)]
struct Index {
    url: String,
    /// Whether the settings name it; if not, every cargo has it built in.
    configured: bool,
}

impl Index {
    /// A home whose cargo uses it.
    fn home(&self, world: &World, name: &str) -> Option<Cargo> {
        if self.configured { Cargo::at(world, name, &self.url) } else { Cargo::new(world, name) }
    }
}

/// The end of the chain of replacements in this machine's settings.
fn configured() -> Option<String> {
    let asked = Command::new(env!("CARGO"))
        .args(["-Z", "unstable-options", "config", "get", "--format", "json-value", "source"])
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .ok()?;
    let sources: Value = serde_json::from_slice(&asked.stdout).ok()?;
    let mut name = "crates-io";
    for _ in 0..8 {
        match sources[name]["replace-with"].as_str() {
            Some(next) => name = next,
            None => break,
        }
    }
    let index = sources[name]["registry"].as_str()?;
    index.strip_prefix("sparse+").map(str::to_owned)
}

/// Where cargo looks for crates, if the place answers.
fn index(world: &World) -> Option<Index> {
    let told = configured();
    let index = Index { url: told.clone().unwrap_or_default(), configured: told.is_some() };
    let probe = index.home(world, "probe")?;
    let app = probe.app("app", &[("cfg-if", "=1.0.0")]);
    let fetched = probe.run((&app, &["fetch"]), &trust());
    if !fetched.status.success() {
        skip("the registry of this machine's cargo does not answer");
        return None;
    }
    let seen = || -> Option<String> {
        let caches = fs_err::read_dir(probe.home().join(".cargo/registry/index")).ok()?;
        let name = caches.flatten().next()?.file_name().into_string().ok()?;
        Some(format!("https://{}/", name.rsplit_once('-')?.0))
    };
    let url = told.or_else(seen).expect("cargo has fetched, so it has a cache");
    Some(Index { url, ..index })
}

/// A node that goes out through the tunnel.
fn node(world: &World, name: &str, tunnel: &Tunnel) -> Node {
    let mut environment = trust();
    environment.push(("HTTPS_PROXY".to_owned(), tunnel.url()));
    environment.push(("HTTP_PROXY".to_owned(), tunnel.url()));
    Node::start(world, name, NodeOptions { environment, ..NodeOptions::default() })
}

#[track_caller]
fn ok(cargo: &Cargo, (app, arguments): (&Path, &[&str]), variables: &[(String, String)]) {
    let mut command = cargo.command();
    command.current_dir(app).args(arguments).envs(variables.iter().cloned());
    let output = run(&mut command, FETCH);
    assert!(output.status.success(), "cargo {arguments:?}: {}", said(&output));
}

fn lockfile(app: &Path) -> String {
    fs_err::read_to_string(app.join("Cargo.lock")).expect("cargo wrote a lockfile")
}

/// Resolves anew and fetches everything.
#[track_caller]
fn resolved(cargo: &Cargo) -> PathBuf {
    let app = cargo.app("app", &LARGE);
    ok(cargo, (&app, &["fetch"]), &trust());
    app
}

/// Everything from the node, with an empty home and nothing else to be had.
#[track_caller]
fn fetched_cut_off(world: &World, (name, node): (&str, &Node), lock: &str, tunnel: &Tunnel) {
    let cargo = Cargo::of(world, name, node).expect("cargo was there");
    let app = cargo.app("app", &LARGE);
    fs_err::write(app.join("Cargo.lock"), lock).expect("a lockfile can be written");
    ok(&cargo, (&app, &["fetch", "--locked"]), &cut_off(tunnel));
    assert_eq!(lockfile(&app), lock);
}

#[test]
fn two_hundred_crates_are_fetched_with_the_cable_out_here_and_at_the_neighbour() {
    let world = World::new();
    let Some(index) = index(&world) else { return };
    let tunnel = Tunnel::new();
    let mut a = node(&world, "a", &tunnel);
    a.json(&["upstream", "add", "cargo", &index.url, "--site"]);
    let direct = index.home(&world, "direct").expect("cargo was there");
    let lock = lockfile(&resolved(&direct));
    let crates = lock.lines().filter(|line| line.starts_with("checksum = ")).count();
    assert!(crates >= CRATES_MIN, "{crates} are not enough");
    let through = Cargo::of(&world, "through", &a).expect("cargo was there");
    assert_eq!(lockfile(&resolved(&through)), lock);
    assert!(tunnel.opened() > 0, "the node went out through the tunnel");
    // Manifests of real crates say what the index says of them.
    assert_eq!(a.status()["alarms"], json!([]));
    let b = node(&world, "b", &tunnel);
    b.json(&["join", &a.invite(), "--yes"]);

    tunnel.black_hole();
    a.kill9();
    a.up();
    fetched_cut_off(&world, ("offline", &a), &lock, &tunnel);
    fetched_cut_off(&world, ("neighbour", &b), &lock, &tunnel);
    let cargo = Cargo::of(&world, "unknown", &a).expect("cargo was there");
    let odd = cargo.app("app", &[("no-such-crate-of-griot", "1")]);
    let started = Instant::now();
    let refused = cargo.run((&odd, &["fetch"]), &cut_off(&tunnel));
    assert!(started.elapsed() < REFUSAL, "it took {:?}", started.elapsed());
    assert!(said(&refused).contains("no copy is held"), "{}", said(&refused));
}
