//! Fifty wheels, compiled ones among them, from the index that this machine's own pip names.
//!
//! Like `live.rs` it reaches outside, and only while it may: an index that does not answer makes
//! these tests skip, loudly. The node goes out through a tunnel of the test's own, which later
//! turns into a black hole. The index is found by asking pip; `find-links` and further indexes of
//! this machine, which go past an index, are left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::harness::client::skip;
use crate::harness::project::{cut_off, trust};
use crate::harness::wait::{run, said};
use crate::harness::{Node, NodeOptions, Python, Tunnel, World};

/// Fifty wheels on a bad line.
const INSTALL: Duration = Duration::from_secs(400);
/// Until an unknown name is refused while the index is a black hole.
const REFUSAL: Duration = Duration::from_millis(1_500);
/// With what they need some fifty, half of them compiled.
const LARGE: [&str; 18] = [
    "aiohttp==3.13.2",
    "attrs==25.4.0",
    "click==8.3.0",
    "cryptography==46.0.3",
    "flask==3.1.2",
    "httpx==0.28.1",
    "lxml==6.0.2",
    "msgpack==1.1.2",
    "numpy==2.3.4",
    "orjson==3.11.4",
    "pandas==2.3.3",
    "pillow==12.0.0",
    "psutil==7.1.3",
    "pydantic==2.12.4",
    "pyyaml==6.0.3",
    "requests==2.32.5",
    "rich==14.2.0",
    "sqlalchemy==2.0.44",
];
/// What is locked by the clients that write URLs.
const SMALL: [&str; 4] =
    ["cryptography==46.0.3", "flask==3.1.2", "msgpack==1.1.2", "requests==2.32.5"];

/// The index of this machine's pip.
#[derive(Debug)]
struct Index {
    url: String,
    /// Whether somebody configured it; if not, every client has it built in.
    configured: bool,
}

impl Index {
    /// A home whose clients use it.
    fn home(&self, world: &World, name: &str) -> Option<Python> {
        let python = Python::new(world, name)?;
        if self.configured {
            python.configure(&self.url);
        }
        Some(python)
    }
}

/// A pip with this machine's own settings, but for those that go past an index.
fn own_pip(arguments: &[&str]) -> Output {
    let mut pip = Command::new(Python::folder().join("pip"));
    pip.args(arguments);
    for past in ["PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"] {
        pip.env_remove(past);
    }
    run(&mut pip, INSTALL)
}

/// Where it looks for a package, if the place answers.
fn index(world: &World) -> Option<Index> {
    Python::new(world, "probe")?;
    let folder = world.folder("probe").display().to_string();
    let asked = own_pip(&["download", "-vv", "--no-deps", "--no-cache-dir", "-d", &folder, "six"]);
    let text = said(&asked);
    let place = text.lines().find_map(|line| line.trim().strip_prefix("* ")?.strip_suffix("six/"));
    let (Some(url), true) = (place, asked.status.success()) else {
        skip("the index of this machine's pip does not answer");
        return None;
    };
    let configured = own_pip(&["config", "get", "global.index-url"]).status.success()
        || std::env::var_os("PIP_INDEX_URL").is_some();
    Some(Index { url: url.to_owned(), configured })
}

/// A node that goes out through the tunnel, and has adopted the index.
fn node(world: &World, tunnel: &Tunnel, index: &Index) -> Node {
    let node = silent(world, "a", tunnel);
    node.json(&["upstream", "add", "pypi", &index.url, "--site"]);
    node
}

fn silent(world: &World, name: &str, tunnel: &Tunnel) -> Node {
    let mut environment = trust();
    environment.push(("HTTPS_PROXY".to_owned(), tunnel.url()));
    environment.push(("HTTP_PROXY".to_owned(), tunnel.url()));
    Node::start(world, name, NodeOptions { environment, ..NodeOptions::default() })
}

/// Ends as if the plug was pulled, and begins anew in front of a black hole.
fn pull_the_cable(node: &mut Node, tunnel: &Tunnel) {
    tunnel.black_hole();
    node.kill9();
    node.up();
}

#[track_caller]
fn ok(command: &mut Command, variables: &[(String, String)]) {
    let output = run(command.envs(variables.iter().cloned()), INSTALL);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Locks with hashes, as `python` is set up; what the file says.
#[track_caller]
fn hashes(python: &Python) -> (PathBuf, String) {
    let folder = python.project("locking");
    fs_err::write(folder.join("wanted.txt"), LARGE.join("\n") + "\n").expect("it is written");
    let mut uv = python.command("uv");
    uv.current_dir(&folder).args(["pip", "compile", "--quiet", "--generate-hashes"]);
    ok(uv.args(["wanted.txt", "-o", "locked.txt"]), &trust());
    let locked = folder.join("locked.txt");
    let said = fs_err::read_to_string(&locked).expect("uv wrote it");
    (locked, said)
}

/// The two installers with nothing but the node: what is locked, into empty homes.
#[track_caller]
fn install_cut_off(world: &World, (name, node): (&str, &Node), locked: &Path, tunnel: &Tunnel) {
    for client in ["pip", "uv"] {
        let home = format!("{name}-{client}");
        let python = Python::of(world, &home, node).expect("the clients were there");
        install(&python, client, locked, |command| ok(command, &cut_off(tunnel)));
    }
}

#[track_caller]
fn install(python: &Python, client: &str, locked: &Path, runs: impl Fn(&mut Command)) {
    let arguments = ["--require-hashes", "--only-binary", ":all:", "-r", text(locked)];
    let mut command = match client {
        "pip" => python.pip_command(&["install", "--no-compile", "--no-deps"]),
        _ => python.uv_pip_command("install", &["--no-deps"]),
    };
    runs(command.args(arguments));
    let packages = python.environment("venv").join("lib");
    let packages = fs_err::read_dir(packages).expect("an environment has a library");
    let packages = packages.flatten().next().expect("of one Python").path().join("site-packages");
    for compiled in ["numpy", "pandas", "cryptography", "lxml"] {
        assert!(packages.join(compiled).is_dir(), "{client} installed no {compiled}");
    }
}

#[test]
fn fifty_wheels_install_with_the_cable_out_here_and_at_the_neighbour() {
    let world = World::new();
    let Some(index) = index(&world) else { return };
    let tunnel = Tunnel::new();
    let mut a = node(&world, &tunnel, &index);
    let direct = index.home(&world, "direct").expect("the clients were there");
    let (locked, said) = hashes(&direct);
    let through = Python::of(&world, "through", &a).expect("the clients were there");
    assert_eq!(hashes(&through).1, said, "the lock differs by way of the node");
    assert!(said.matches("==").count() >= 40, "a real application: {said}");
    install(&through, "pip", &locked, |command| ok(command, &cut_off(&tunnel)));
    assert!(tunnel.opened() > 0, "the node went out through the tunnel");

    pull_the_cable(&mut a, &tunnel);
    install_cut_off(&world, ("offline", &a), &locked, &tunnel);
    refuses_unknown_names(&world, &a);

    // B joined, and never saw the index.
    let mut b = silent(&world, "b", &tunnel);
    b.json(&["join", &a.invite(), "--yes"]);
    install_cut_off(&world, ("near", &b), &locked, &tunnel);
    a.kill9();
    b.kill9();
    b.up();
    install_cut_off(&world, ("alone", &b), &locked, &tunnel);
    let anew = Python::of(&world, "anew", &b).expect("the clients were there");
    assert_eq!(hashes_cut_off(&anew, &tunnel), said.lines().filter(pins).collect::<Vec<_>>());
}

/// The lines that name a version.
fn pins(line: &&str) -> bool {
    line.contains("==") && !line.starts_with('#')
}

/// Resolved anew from what is held: the same versions.
#[track_caller]
fn hashes_cut_off(python: &Python, tunnel: &Tunnel) -> Vec<String> {
    let folder = python.project("locking");
    fs_err::write(folder.join("wanted.txt"), LARGE.join("\n") + "\n").expect("it is written");
    let mut uv = python.command("uv");
    uv.current_dir(&folder).args(["pip", "compile", "--quiet", "--generate-hashes"]);
    ok(uv.args(["--only-binary", ":all:", "wanted.txt", "-o", "locked.txt"]), &cut_off(tunnel));
    let said = fs_err::read_to_string(folder.join("locked.txt")).expect("uv wrote it");
    said.lines().filter(pins).map(str::to_owned).collect()
}

/// At once, and with the reason where a client shows one.
#[track_caller]
fn refuses_unknown_names(world: &World, node: &Node) {
    let started = Instant::now();
    let reply = node.get("/pypi/simple/no-such-name-at-all/");
    assert!(started.elapsed() < REFUSAL, "it took {:?}", started.elapsed());
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(reply.text().contains("no copy is held"), "{}", reply.text());
    let python = Python::of(world, "unknown", node).expect("the clients were there");
    let said = python.uv_pip_refused("install", &["no-such-name-at-all"]);
    assert!(said.contains("424"), "{said}");
    let said = python.pip_refused(&["install", "no-such-name-at-all"]);
    assert!(said.contains("No matching distribution"), "{said}");
}

/// A folder of `python` with a project that needs [`SMALL`].
fn small(client: &str, python: &Python, index: &Index) -> PathBuf {
    let folder = python.project("till");
    let needs: Vec<String> = SMALL.iter().map(|need| format!("{need:?}")).collect();
    let mut manifest = format!(
        "[project]\nname = \"till\"\nversion = \"1.0.0\"\nrequires-python = \">=3.11,<4\"\n\
         dependencies = [{}]\n\n[tool.poetry]\npackage-mode = false\n",
        needs.join(", ")
    );
    if client == "poetry" {
        // It takes its index from the project alone, and that it has built in must be more than
        // a simple index.
        let url = &index.url;
        manifest.push_str(&format!(
            "\n[[tool.poetry.source]]\nname = \"own\"\nurl = {url:?}\npriority = \"primary\"\n"
        ));
    }
    fs_err::write(folder.join("pyproject.toml"), manifest).expect("a manifest can be written");
    folder
}

/// Locks in two homes, one by way of `griot run`; then installs with the cable out, and the
/// lockfile stays what it is.
fn one_lockfile(client: &str, lockfile: &str, (lock, sync): (&[&str], &[&str])) {
    let world = World::new();
    let Some(index) = index(&world) else { return };
    let tunnel = Tunnel::new();
    let mut a = node(&world, &tunnel, &index);
    let home = |name: &str| index.home(&world, name).expect("the clients were there");
    let direct = home("direct");
    let folder = small(client, &direct, &index);
    ok(direct.command(client).current_dir(&folder).args(lock), &trust());
    let locked = fs_err::read_to_string(folder.join(lockfile)).expect("the client wrote it");
    let through = home("through").by_way_of(&a);
    let folder = small(client, &through, &index);
    ok(through.command(client).current_dir(&folder).args(lock), &trust());
    let own = fs_err::read_to_string(folder.join(lockfile)).expect("the client wrote it");
    assert_eq!(own, locked, "{client}");
    assert!(tunnel.opened() > 0, "the node went out through the tunnel");
    ok(through.command(client).current_dir(&folder).args(sync), &trust());

    pull_the_cable(&mut a, &tunnel);
    let offline = home("offline").by_way_of(&a);
    let folder = small(client, &offline, &index);
    fs_err::write(folder.join(lockfile), &locked).expect("a lockfile can be written");
    ok(offline.command(client).current_dir(&folder).args(sync), &cut_off(&tunnel));
    assert!(folder.join(".venv").is_dir(), "{client} installed nothing");
    let after = fs_err::read_to_string(folder.join(lockfile)).expect("it is there");
    assert_eq!(after, locked, "{client} changed its lockfile");
}

#[test]
fn uv_has_one_lockfile_with_and_without_the_node() {
    one_lockfile("uv", "uv.lock", (&["lock"], &["sync", "--frozen", "--no-build"]));
}

#[test]
fn poetry_has_one_lockfile_with_and_without_the_node() {
    one_lockfile("poetry", "poetry.lock", (&["lock"], &["install", "--no-root"]));
}
