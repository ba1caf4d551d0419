//! Every client through a node with an upstream: the lockfile is the one made without the node, and
//! what was installed once installs again with the upstream gone.
//!
//! The packages are those that are awkward in the world: capitals, checksums of long ago, aliases,
//! optional ones of other platforms, prereleases alone, tarballs at odd places. What the verbs of
//! npm say of an upstream: `upstream_verbs.rs`. A real application: `live.rs`.

use std::net::SocketAddr;

use serde_json::json;

use crate::harness::project::{fresh, locked};
use crate::harness::upstream::{Stub, Tarballs};
use crate::harness::wait::said;
use crate::harness::{Client, Node, NodeOptions, Project, TlsFront, World};

const MANIFEST: &str = r#"{
  "name": "project", "version": "1.0.0", "private": true,
  "dependencies": {
    "@village/shifts": "^2.0.0", "JSONStream": "1.3.5", "aliased": "npm:pad@1.0.0",
    "ancient": "~0.1.0", "coming": "^1.0.0-beta.0", "native": "1.0.0", "old": "npm:left-pad@1.0.0"
  }
}
"#;
/// Folder of a module, and what it says.
const MODULES: [(&str, &str); 7] = [
    ("@village/shifts", "@village/shifts@2.0.0"),
    ("JSONStream", "JSONStream@1.3.5"),
    ("aliased", "pad@1.0.0"),
    ("ancient", "ancient@0.1.2"),
    ("coming", "coming@1.0.0-beta.2"),
    ("native", "native@1.0.0"),
    ("old", "left-pad@1.0.0"),
];

/// Publishes what [`MANIFEST`] needs; `base` is where tarballs are said to be, if not at the stub.
fn stock(stub: &Stub, base: Option<&str>) {
    let put = |name: &str, version: &str, dependencies: &[&str], dist: serde_json::Value| {
        let file = format!("{}-{version}.tgz", name.rsplit('/').next().unwrap_or(name));
        let mut dist = dist;
        if let Some(base) = base {
            dist["tarball"] = json!(format!("{base}{name}/-/{file}"));
        }
        stub.publish(name, version, |release| {
            let release = release.claim("dist", dist);
            dependencies.iter().fold(release, |release, name| release.dependency(name, "^1.0.0"))
        });
    };
    put("pad", "1.0.0", &[], json!({}));
    put("pad", "1.1.0", &[], json!({}));
    put("left-pad", "1.0.0", &[], json!({}));
    put("left-pad", "1.3.0", &["pad"], json!({}));
    stub.deprecate("left-pad", "1.0.0", "pads the other side");
    put("@village/shifts", "2.0.0", &["left-pad"], json!({}));
    put("JSONStream", "1.3.5", &[], json!({}));
    put("ancient", "0.1.2", &[], json!({ "integrity": null }));
    put("coming", "1.0.0-beta.2", &[], json!({}));
    let elsewhere = "native-elsewhere";
    let tarball = |name: &str| base.map(|base| format!("{base}{name}/-/{name}-1.0.0.tgz"));
    let dist = |name: &str| tarball(name).map_or(json!({}), |url| json!({ "tarball": url }));
    stub.publish(elsewhere, "1.0.0", |release| {
        let release = release.field("os", json!(["aix"])).field("cpu", json!(["ppc64"]));
        release.claim("dist", dist(elsewhere))
    });
    stub.publish("native", "1.0.0", |release| {
        let optional = json!({ elsewhere: "1.0.0" });
        release.field("optionalDependencies", optional).claim("dist", dist("native"))
    });
}

/// Clients that take the tarballs from the URLs of their lockfile, past every setting.
const fn by_run(client: Client) -> bool {
    matches!(client, Client::Yarn1 | Client::Bun)
}

/// A project whose client goes through the node, as the guide says.
fn near(world: &World, name: &str, node: &Node, (client, upstream): (Client, &str)) -> Project {
    let project = Project::new(world, name, client, upstream);
    if by_run(client) { project.by_way_of(node) } else { project.link(node) }
}

#[track_caller]
fn check_modules(project: &Project) {
    for (module, says) in MODULES {
        let name = project.client.name();
        assert_eq!(project.module(module), format!("module.exports = '{says}';\n"), "{name}");
    }
}

/// Directly, through the node, and with the upstream gone.
#[track_caller]
fn there_and_gone(client: Client, tarballs: Tarballs) {
    if !client.is_there() {
        return;
    }
    let world = World::new();
    let stub = Stub::start();
    stock(&stub, None);
    stub.switch(|s| s.tarballs = tarballs);
    let mut node = world.node("a");
    node.json(&["upstream", "add", "npm", &stub.url()]);
    let direct = Project::new(&world, "direct", client, &stub.url()).with(MANIFEST);
    direct.install();
    check_modules(&direct);
    let through = near(&world, "through", &node, (client, &stub.url())).with(MANIFEST);
    through.install();
    check_modules(&through);
    assert_eq!(through.lockfile(), direct.lockfile(), "{}", client.name());

    stub.down();
    node.kill9();
    node.up();
    let gone = near(&world, "gone", &node, (client, &stub.url())).with_lockfile_of(&direct);
    gone.ok(locked(client));
    check_modules(&gone);
    assert_eq!(gone.lockfile(), direct.lockfile(), "{}", client.name());
}

#[test]
fn npm_8_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Npm8, Tarballs::Usual);
}

#[test]
fn npm_10_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Npm10, Tarballs::Usual);
}

#[test]
fn npm_11_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Npm11, Tarballs::Usual);
}

#[test]
fn npm_12_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Npm12, Tarballs::Usual);
}

#[test]
fn pnpm_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Pnpm, Tarballs::Usual);
}

#[test]
fn yarn_1_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Yarn1, Tarballs::Usual);
}

#[test]
fn berry_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Berry, Tarballs::Usual);
}

#[test]
fn bun_makes_the_same_lockfile_and_installs_it_with_the_upstream_gone() {
    there_and_gone(Client::Bun, Tarballs::Usual);
}

#[test]
fn npm_finds_tarballs_in_another_folder_of_the_upstream_and_on_another_host() {
    there_and_gone(Client::Npm11, Tarballs::Folder("files/v2".to_owned()));
    there_and_gone(Client::Npm11, Tarballs::OtherHost);
}

#[test]
fn tarballs_at_odd_places_leave_the_lockfiles_of_the_others_as_they_are() {
    for client in [Client::Pnpm, Client::Berry, Client::Yarn1, Client::Bun] {
        for odd in [Tarballs::Folder("files/v2".to_owned()), Tarballs::OtherHost] {
            if !client.is_there() {
                continue;
            }
            let world = World::new();
            let stub = Stub::start();
            stock(&stub, None);
            stub.switch(|s| s.tarballs = odd.clone());
            let node = world.node("a");
            node.json(&["upstream", "add", "npm", &stub.url()]);
            let direct = Project::new(&world, "direct", client, &stub.url()).with(MANIFEST);
            direct.install();
            let through = near(&world, "through", &node, (client, &stub.url())).with(MANIFEST);
            through.install();
            check_modules(&through);
            assert_eq!(through.lockfile(), direct.lockfile(), "{} {odd:?}", client.name());
        }
    }
}

#[test]
fn a_lockfile_installs_from_a_node_that_has_seen_no_document_yet() {
    for client in [Client::Npm8, Client::Npm11, Client::Npm12, Client::Pnpm, Client::Berry] {
        if !client.is_there() {
            continue;
        }
        let world = World::new();
        let stub = Stub::start();
        stock(&stub, None);
        let direct = Project::new(&world, "direct", client, &stub.url()).with(MANIFEST);
        direct.install();
        let node = world.node("a");
        let through = near(&world, "through", &node, (client, &stub.url()));
        let through = through.with_lockfile_of(&direct);
        stub.forget_requests();
        through.ok(locked(client));
        check_modules(&through);
        assert_eq!(through.lockfile(), direct.lockfile(), "{}", client.name());
        let agents = stub.requests().into_iter().filter_map(|seen| {
            let agent = seen.header("user-agent").unwrap_or_default().to_owned();
            (!agent.starts_with("griot")).then_some((seen.path, agent))
        });
        assert_eq!(agents.collect::<Vec<_>>(), [], "{} went past the node", client.name());
    }
}

fn socket(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().expect("stubs listen on an address")
}

/// Over TLS, with a node in between, and by `griot run` alone: no setting of the client changes.
#[track_caller]
fn by_griot_run(client: Client) {
    if !client.is_there() {
        return;
    }
    let world = World::new();
    let stub = Stub::start();
    let front = TlsFront::to(socket(&stub.url()), &world.path().join("outside.pem"));
    stock(&stub, Some(&front.url()));
    let authority = front.authority().display().to_string();
    let trust =
        ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(|it| (it.to_owned(), authority.clone()));
    let options = NodeOptions { environment: trust.to_vec(), ..NodeOptions::default() };
    let mut node = Node::start(&world, "a", options);
    node.json(&["upstream", "add", "npm", &front.url()]);
    let install = |project: &Project, arguments: &[&str]| {
        if client == Client::Yarn1 {
            // It trusts whom this setting names, and nobody whom node's variable does.
            let settings = format!("registry={}\ncafile={authority}\n", front.url());
            fs_err::write(project.home.join(".npmrc"), settings).expect("settings are written");
        }
        let output = project.run(arguments, &trust);
        assert!(output.status.success(), "{}: {}", client.name(), said(&output));
        check_modules(project);
    };
    let direct = Project::new(&world, "direct", client, &front.url()).with(MANIFEST);
    install(&direct, fresh(client));
    stub.forget_requests();
    let through = Project::new(&world, "through", client, &front.url()).by_way_of(&node);
    let through = through.with(MANIFEST);
    install(&through, fresh(client));
    assert_eq!(through.lockfile(), direct.lockfile(), "{}", client.name());
    for seen in stub.requests() {
        let agent = seen.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("griot"), "{} went past the node: {seen:?}", client.name());
    }
    stub.down();
    node.kill9();
    node.up();
    let gone = Project::new(&world, "gone", client, &front.url()).by_way_of(&node);
    let gone = gone.with_lockfile_of(&direct);
    install(&gone, locked(client));
    assert_eq!(gone.lockfile(), direct.lockfile(), "{}", client.name());
}

#[test]
fn yarn_1_by_griot_run_over_tls_needs_no_setting() {
    by_griot_run(Client::Yarn1);
}

#[test]
fn berry_by_griot_run_over_tls_needs_no_setting() {
    by_griot_run(Client::Berry);
}

#[test]
fn pnpm_by_griot_run_over_tls_needs_no_setting() {
    by_griot_run(Client::Pnpm);
}

#[test]
fn bun_by_griot_run_over_tls_needs_no_setting() {
    by_griot_run(Client::Bun);
}

#[test]
fn npm_12_by_griot_run_over_tls_needs_no_setting() {
    by_griot_run(Client::Npm12);
}
