//! A real application, from the upstream that this machine's own npm names, with every client.
//!
//! The one file whose tests reach outside, and only while they may: an upstream that does not
//! answer makes them skip, loudly. The node goes out through a tunnel of the test's own, which
//! later turns into a black hole: it accepts and never answers.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::client::{clean, find, skip};
use crate::harness::clients::Client;
use crate::harness::wait::{run, said};
use crate::harness::{Node, NodeOptions, Tunnel, World};

/// Several hundred packages on a bad line.
const INSTALL: Duration = Duration::from_secs(400);
/// Of the certificates that this machine trusts.
const TRUST: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"];

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

/// The variables of this machine that say whom it trusts.
fn trust() -> Vec<(String, String)> {
    let set = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
    TRUST.iter().filter_map(set).collect()
}

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

/// A project, and a home for its client.
struct Project {
    client: Client,
    home: PathBuf,
    folder: PathBuf,
}

impl Project {
    /// With the manifest, and a client whose own settings name `registry`.
    fn new(world: &World, name: &str, client: Client, registry: &str) -> Self {
        let home = world.folder(&format!("{name}-{}-home", client.name()));
        let folder = world.folder(&format!("{name}-{}", client.name()));
        let settings = match client {
            Client::Berry => {
                // What is not there is not asked for anew by another address.
                fs_err::write(folder.join("yarn.lock"), "").expect("a file can be written");
                (".yarnrc.yml", format!("npmRegistryServer: {registry:?}\n"))
            }
            _ => (".npmrc", format!("registry={registry}\n")),
        };
        fs_err::write(home.join(settings.0), settings.1).expect("settings can be written");
        Self { client, home, folder }
    }

    fn with(self, manifest: &str) -> Self {
        fs_err::write(self.folder.join("package.json"), manifest).expect("a manifest is written");
        self
    }

    /// The same project elsewhere, with an empty home.
    fn with_lockfile_of(self, other: &Self) -> Self {
        for file in ["package.json", self.client.lockfile()] {
            let from = other.folder.join(file);
            fs_err::copy(from, self.folder.join(file)).expect("a project can be copied");
        }
        self
    }

    fn link(self, node: &Node) -> Self {
        let linked = node
            .command(&["link", link_name(self.client), "--json"])
            .envs(self.client.variables(&self.home))
            .env("GRIOT_HOME", node.home())
            .current_dir(&self.folder)
            .output();
        let linked = linked.expect("the command runs");
        assert!(linked.status.success(), "{}", said(&linked));
        self
    }

    fn install(&self, arguments: &[&str]) {
        self.install_with(arguments, trust());
    }

    /// With nothing to be had but from loopback: all else is asked of the black hole.
    fn install_cut_off(&self, arguments: &[&str], tunnel: &Tunnel) {
        let names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        let mut variables = names.map(|name| (name.to_owned(), tunnel.url())).to_vec();
        for name in ["NO_PROXY", "no_proxy", "npm_config_noproxy"] {
            variables.push((name.to_owned(), "127.0.0.1,localhost".to_owned()));
        }
        self.install_with(arguments, variables);
    }

    fn install_with(&self, arguments: &[&str], variables: Vec<(String, String)>) {
        let mut command = self.client.command(&self.home);
        command.current_dir(&self.folder).args(arguments).envs(variables);
        let output = run(&mut command, INSTALL);
        let name = self.client.name();
        assert!(output.status.success(), "{name} {arguments:?}: {}", said(&output));
    }

    fn lockfile(&self) -> String {
        fs_err::read_to_string(self.folder.join(self.client.lockfile())).expect("a lockfile")
    }
}

fn link_name(client: Client) -> &'static str {
    match client {
        Client::Berry => "berry",
        other => other.program(),
    }
}

/// The arguments of an install that may write the lockfile.
fn fresh(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => {
            &["install", "--ignore-scripts", "--no-audit", "--no-fund"]
        }
        Client::Berry => &["install", "--mode=skip-build"],
        _ => &["install", "--ignore-scripts"],
    }
}

/// The arguments of one that may not.
fn locked(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => {
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        }
        Client::Berry => &["install", "--immutable", "--mode=skip-build"],
        _ => &["install", "--frozen-lockfile", "--ignore-scripts"],
    }
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
    let direct = Project::new(&world, "direct", client, &upstream).with(SMALL);
    direct.install(fresh(client));
    let through = Project::new(&world, "through", client, &upstream).with(SMALL).link(&node);
    through.install(fresh(client));
    assert_eq!(through.lockfile(), direct.lockfile(), "{}", client.name());
    assert!(tunnel.opened() > 0, "the node went out through the tunnel");

    tunnel.black_hole();
    node.kill9();
    node.up();
    let offline = Project::new(&world, "offline", client, &upstream);
    let offline = offline.with_lockfile_of(&direct).link(&node);
    offline.install_cut_off(locked(client), &tunnel);
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
    direct.install(fresh(npm));
    let through = Project::new(&world, "through", npm, &upstream).with(LARGE).link(&a);
    through.install(fresh(npm));
    assert_eq!(through.lockfile(), direct.lockfile());
    assert!(direct.lockfile().matches("\"resolved\"").count() > 400, "a real application");
    a.json(&["upstream", "add", "npm", &upstream, "--site"]);

    tunnel.black_hole();
    a.kill9();
    a.up();
    let offline = Project::new(&world, "offline", npm, &upstream);
    offline.with_lockfile_of(&direct).link(&a).install_cut_off(locked(npm), &tunnel);
    let unknown = Project::new(&world, "unknown", npm, &upstream).with("{}").link(&a);
    let said = npm.refused(&unknown.home, &unknown.folder, &["install", "no-such-name-at-all"]);
    assert!(said.contains("424") && said.contains("no copy is held"), "{said}");

    // B joined, and never saw the upstream.
    let mut b = node(&world, "b", &tunnel);
    b.json(&["join", &a.invite(), "--yes"]);
    let near = Project::new(&world, "near", npm, &upstream).with_lockfile_of(&direct).link(&b);
    near.install_cut_off(locked(npm), &tunnel);
    let lockfile = direct.folder.join("package-lock.json");
    let lockfile = lockfile.to_str().expect("paths of tests are UTF-8");
    b.griot(&["prefetch", lockfile]);
    b.griot(&["check", lockfile]);
    a.kill9();
    b.kill9();
    b.up();
    let alone = Project::new(&world, "alone", npm, &upstream).with_lockfile_of(&direct).link(&b);
    alone.install_cut_off(locked(npm), &tunnel);
    let anew = Project::new(&world, "anew", npm, &upstream).with(LARGE).link(&b);
    anew.install_cut_off(fresh(npm), &tunnel);
    assert_eq!(anew.lockfile(), direct.lockfile(), "resolved anew from what is held");
}
