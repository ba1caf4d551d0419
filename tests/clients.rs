//! Every client in every version: what is published here installs, and nothing leaves the home.

use crate::harness::samples::{module_text, npm_package};
use crate::harness::{Client, World};

const MANIFEST: &str = r#"{"name":"project","version":"1.0.0","private":true}"#;

/// What each client types to add a package.
const fn add(client: Client) -> &'static str {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => "install",
        Client::Pnpm | Client::Yarn1 | Client::Berry | Client::Bun => "add",
    }
}

#[track_caller]
fn installs(client: Client) {
    if !client.is_there() {
        return;
    }
    let world = World::new();
    let node = world.node("a");
    let source = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    node.griot(&["publish", &source.display().to_string()]);
    let home = world.folder("home");
    client.configure(&home, &node.url("/npm/"), None);
    let project = world.folder("home/project");
    fs_err::write(project.join("package.json"), MANIFEST).expect("a manifest can be written");
    if client == Client::Berry {
        // A folder of modules, as the others make it; and a root of its own.
        let settings = fs_err::read_to_string(home.join(".yarnrc.yml")).expect("just written");
        let settings = settings + "nodeLinker: node-modules\n";
        fs_err::write(project.join(".yarnrc.yml"), settings).expect("settings can be written");
        fs_err::write(project.join("yarn.lock"), "").expect("a lockfile can be written");
    }
    client.ok(&home, &project, &[add(client), "left-shift@1.0.0"]);
    let module = project.join("node_modules/left-shift/index.js");
    assert_eq!(fs_err::read_to_string(module).expect("it is installed"), module_text("one"));
    assert!(project.join(client.lockfile()).is_file(), "{} wrote no lockfile", client.name());
}

#[test]
fn npm_8_installs_from_a_node() {
    installs(Client::Npm8);
}

#[test]
fn npm_10_installs_from_a_node() {
    installs(Client::Npm10);
}

#[test]
fn npm_11_installs_from_a_node() {
    installs(Client::Npm11);
}

#[test]
fn npm_12_installs_from_a_node() {
    installs(Client::Npm12);
}

#[test]
fn pnpm_installs_from_a_node() {
    installs(Client::Pnpm);
}

#[test]
fn yarn_1_installs_from_a_node() {
    installs(Client::Yarn1);
}

#[test]
fn berry_installs_from_a_node() {
    installs(Client::Berry);
}

#[test]
fn bun_installs_from_a_node() {
    installs(Client::Bun);
}
