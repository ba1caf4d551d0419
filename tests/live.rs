//! A real application, from the upstream that this machine's own npm names, with every client.
//!
//! The one file whose tests reach outside, and only while they may: an upstream that does not
//! answer makes them skip, loudly. The node goes out through a tunnel of the test's own, which
//! later turns into a black hole: it accepts and never answers.

use std::process::Command;
use std::time::Duration;

use crate::harness::client::{clean, find, skip};
use crate::harness::project::{fresh, locked, trust};
use crate::harness::wait::run;
use crate::harness::{Client, Node, NodeOptions, Project, Tunnel, World};

/// Several hundred packages.
const LARGE: &str = r#"{
  "name": "shop", "version": "1.0.0", "private": true,
  "dependencies": {
    "axios": "1.7.2", "express": "4.19.2", "lodash": "4.17.21", "react": "18.3.1",
    "react-dom": "18.3.1"
  },
  "devDependencies": {
    "@babel/core": "7.24.7", "@babel/preset-env": "7.24.7", "babel-loader": "9.1.3",
    "eslint": "8.57.0", "jest": "29.7.0", "typescript": "5.5.2", "webpack": "5.92.0",
    "webpack-cli": "5.1.4", "webpack-dev-server": "5.0.4"
  }
}
"#;

/// Some seventy packages: scopes, optional ones for other platforms, old ones with capitals.
const SMALL: &str = r#"{
  "name": "till", "version": "1.0.0", "private": true,
  "dependencies": {
    "@types/node": "20.14.9", "JSONStream": "1.3.5", "chalk": "4.1.2", "esbuild": "0.21.5",
    "express": "4.19.2", "react": "18.3.1"
  }
}
"#;

/// What this machine's npm points at, if it answers.
fn upstream() -> Option<String> {
    if find("npm").is_none() || find("curl").is_none() {
        skip("needs npm and curl");
        return None;
    }
    let asked = Command::new("npm").args(["config", "get", "registry"]).output().ok()?;
    let url = String::from_utf8_lossy(&asked.stdout).trim().trim_end_matches('/').to_owned();
    let probe = format!("{url}/is-number");
    for _ in 0..3 {
        let mut curl = clean("curl");
        curl.args(["-sSf", "--max-time", "20", "-o", "/dev/null", &probe]).envs(trust());
        if run(&mut curl, Duration::from_secs(30)).status.success() {
            return Some(format!("{url}/"));
        }
    }
    skip("the upstream of this machine's npm does not answer");
    None
}

/// A node that goes out through the tunnel.
fn node(world: &World, name: &str, tunnel: &Tunnel) -> Node {
    let mut environment = trust();
    environment.push(("HTTPS_PROXY".to_owned(), tunnel.url()));
    environment.push(("HTTP_PROXY".to_owned(), tunnel.url()));
    Node::start(world, name, NodeOptions { environment, ..NodeOptions::default() })
}

/// Whether the client's way to the node is `griot run`: yarn 1 fetches by the URLs of its lockfile.
fn by_run(client: Client) -> bool {
    client == Client::Yarn1
}

/// A project whose client goes through the node.
fn near(world: &World, name: &str, node: &Node, (client, upstream): (Client, &str)) -> Project {
    let project = Project::new(world, name, client, upstream);
    if by_run(client) { project.by_way_of(node) } else { project.link(node) }
}

/// Directly and through the node; then with the cable out of a node that began anew.
fn compare(client: Client) {
    if !client.is_there() {
        return;
    }
    let Some(upstream) = upstream() else { return };
    let world = World::new();
    let tunnel = Tunnel::new();
    let mut node = node(&world, "a", &tunnel);
    if by_run(client) {
        node.json(&["upstream", "add", "npm", &upstream]);
        // In its lockfile it writes its own default host in place of npm's.
        let own = Project::new(&world, "own", client, &upstream).with("{}");
        fs_err::remove_file(own.home.join(".npmrc")).expect("the settings were just written");
        let own = own.ok(&["config", "get", "registry"]);
        if own.trim_end_matches('/') != upstream.trim_end_matches('/') {
            node.json(&["upstream", "add", "npm", &own, "--same-as", &upstream]);
        }
    }
    let direct = Project::new(&world, "direct", client, &upstream).with(SMALL);
    direct.install();
    let through = near(&world, "through", &node, (client, &upstream)).with(SMALL);
    through.install();
    assert_eq!(through.lockfile(), direct.lockfile(), "{}", client.name());
    assert!(tunnel.opened() > 0, "the node went out through the tunnel");
    if client == Client::Bun {
        // It fetches what it resolves anew from the upstream itself.
        node.griot(&["prefetch", through.lockfile_path().to_str().expect("paths are UTF-8")]);
    }

    tunnel.black_hole();
    node.kill9();
    node.up();
    let offline = near(&world, "offline", &node, (client, &upstream)).with_lockfile_of(&direct);
    offline.ok_cut_off(locked(client), &tunnel);
    assert_eq!(offline.lockfile(), direct.lockfile(), "{}", client.name());
}

#[test]
fn npm_8_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Npm8);
}

#[test]
fn npm_10_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Npm10);
}

#[test]
fn npm_12_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Npm12);
}

#[test]
fn yarn_1_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Yarn1);
}

#[test]
fn pnpm_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Pnpm);
}

#[test]
fn berry_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Berry);
}

#[test]
fn bun_has_one_lockfile_with_and_without_the_node() {
    compare(Client::Bun);
}

#[test]
fn a_real_application_installs_with_the_cable_out_here_and_at_the_neighbours() {
    if !Client::Npm11.is_there() {
        return;
    }
    let Some(upstream) = upstream() else { return };
    let world = World::new();
    let tunnel = Tunnel::new();
    let mut a = node(&world, "a", &tunnel);
    let npm = Client::Npm11;
    let direct = Project::new(&world, "direct", npm, &upstream).with(LARGE);
    direct.install();
    let through = Project::new(&world, "through", npm, &upstream).with(LARGE).link(&a);
    through.install();
    assert_eq!(through.lockfile(), direct.lockfile());
    assert!(direct.lockfile().matches("\"resolved\"").count() > 400, "a real application");
    a.json(&["upstream", "add", "npm", &upstream, "--site"]);
    // The optional ones of other platforms, too, which no install here fetches.
    let lockfile = direct.lockfile_path();
    let lockfile = lockfile.to_str().expect("paths of tests are UTF-8");
    a.griot(&["prefetch", lockfile]);

    tunnel.black_hole();
    a.kill9();
    a.up();
    let offline = Project::new(&world, "offline", npm, &upstream);
    offline.with_lockfile_of(&direct).link(&a).ok_cut_off(locked(npm), &tunnel);
    let unknown = Project::new(&world, "unknown", npm, &upstream).with("{}").link(&a);
    let said = unknown.refused(&["install", "no-such-name-at-all"]);
    assert!(said.contains("424") && said.contains("no copy is held"), "{said}");

    // B joined, and never saw the upstream.
    let mut b = node(&world, "b", &tunnel);
    b.json(&["join", &a.invite(), "--yes"]);
    let near = Project::new(&world, "near", npm, &upstream).with_lockfile_of(&direct).link(&b);
    near.ok_cut_off(locked(npm), &tunnel);
    b.griot(&["prefetch", lockfile]);
    b.griot(&["check", lockfile]);
    a.kill9();
    b.kill9();
    b.up();
    let alone = Project::new(&world, "alone", npm, &upstream).with_lockfile_of(&direct).link(&b);
    alone.ok_cut_off(locked(npm), &tunnel);
    let anew = Project::new(&world, "anew", npm, &upstream).with(LARGE).link(&b);
    anew.ok_cut_off(fresh(npm), &tunnel);
    assert_eq!(anew.lockfile(), direct.lockfile(), "resolved anew from what is held");
}
