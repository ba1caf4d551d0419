//! pip and poetry by way of `griot run`, with an index that speaks TLS: lockfiles are those made
//! without the node, and what came once through the node comes from it with the cable out.

use std::path::{Path, PathBuf};

use crate::harness::upstream::{Distribution, Stub};
use crate::harness::wait::said;
use crate::harness::{Node, NodeOptions, Python, TlsFront, World};

const SHOP: &str = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\n\
                    requires-python = \">=3.9\"\ndependencies = [\"left-pad\"]\n\
                    [tool.poetry]\npackage-mode = false\n\
                    [[tool.poetry.source]]\nname = \"outside\"\npriority = \"primary\"\n";

/// An index behind TLS, and a node that has adopted it.
struct Scene {
    world: World,
    stub: Stub,
    front: TlsFront,
    node: Node,
}

impl Scene {
    fn new() -> Option<Self> {
        if !Python::is_there() {
            return None;
        }
        let world = World::new();
        let stub = Stub::start();
        stub.upload(Distribution::wheel("acme-pad", "1.0.0"));
        stub.upload(Distribution::wheel("left-pad", "1.3.0").requires("acme-pad<2"));
        let url = stub.url();
        let socket = url.trim_start_matches("http://").trim_end_matches('/');
        let socket = socket.parse().expect("a stub listens on a socket");
        let front = TlsFront::to(socket, &world.path().join("outside.pem"));
        let trust = vec![("SSL_CERT_FILE".to_owned(), front.authority().display().to_string())];
        let node =
            Node::start(&world, "a", NodeOptions { environment: trust, ..Default::default() });
        let scene = Self { world, stub, front, node };
        scene.node.json(&["upstream", "add", "pypi", &scene.index()]);
        Some(scene)
    }

    fn index(&self) -> String {
        format!("{}simple/", self.front.url())
    }

    /// Clients with an empty home, whose one index is the one behind TLS.
    fn home(&self, name: &str) -> Python {
        let python = Python::new(&self.world, name).expect("it was there a moment ago");
        python.configure(&self.index());
        python
    }

    /// Runs a client that trusts the index's authority, with the node or without; it must succeed.
    #[track_caller]
    fn ok(&self, python: &Python, program: &str, (folder, arguments): (&Path, &[&str])) {
        let authority = self.front.authority().display().to_string();
        let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"];
        let trust = names.map(|name| (name.to_owned(), authority.clone()));
        let output = python.run(program, (folder, arguments), &trust);
        assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
    }

    /// From now on the index hears and never answers; what it was asked is counted anew.
    fn cut(&self) {
        self.stub.switch(|s| s.black_hole = true);
        self.stub.forget_requests();
    }

    /// Nothing came from the index since [`Self::cut`], and no file was even asked for.
    #[track_caller]
    fn all_came_from_the_node(&self) {
        let seen = self.stub.requests();
        let is_file = |path: &str| path.contains(".whl");
        assert!(seen.iter().all(|seen| seen.status.is_none() && !is_file(&seen.path)), "{seen:?}");
    }

    fn project(&self, python: &Python, lockfile: Option<&str>) -> PathBuf {
        let folder = python.project("shop");
        let manifest = format!("{SHOP}url = {:?}\n", self.index());
        fs_err::write(folder.join("pyproject.toml"), manifest).expect("a file can be written");
        if let Some(text) = lockfile {
            fs_err::write(folder.join("poetry.lock"), text).expect("a file can be written");
        }
        folder
    }
}

fn read(folder: &Path, name: &str) -> String {
    fs_err::read_to_string(folder.join(name)).expect("the client wrote it")
}

/// Whether a module lies somewhere below a folder.
fn has(folder: &Path, module: &str) -> bool {
    let entries = fs_err::read_dir(folder).expect("the folder is there");
    let mut paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.any(|path| match path.is_dir() && !path.is_symlink() {
        true => has(&path, module),
        false => path.file_name().is_some_and(|name| name == module),
    })
}

#[test]
fn poetry_installs_through_tls_and_then_from_the_node_alone() {
    let Some(scene) = Scene::new() else { return };
    let lock = |python: &Python| {
        let folder = scene.project(python, None);
        scene.ok(python, "poetry", (&folder, &["lock", "--no-cache"]));
        read(&folder, "poetry.lock")
    };
    let install = |python: &Python, lockfile: &str| {
        let folder = scene.project(python, Some(lockfile));
        scene.ok(python, "poetry", (&folder, &["install", "--no-root", "--no-cache"]));
        assert!(has(&folder.join(".venv"), "left_pad.py"), "it is installed");
        assert_eq!(read(&folder, "poetry.lock"), lockfile);
    };
    let plain = lock(&scene.home("direct"));
    assert!(plain.contains("acme-pad") && plain.contains(&scene.index()[..17]), "{plain}");
    assert_eq!(lock(&scene.home("locks").by_way_of(&scene.node)), plain);
    install(&scene.home("first").by_way_of(&scene.node), &plain);
    let held = scene.node.version("pypi", "left-pad", "1.3.0");
    assert_eq!(held["artifacts"][0]["held"], true, "{held}");
    scene.cut();
    install(&scene.home("second").by_way_of(&scene.node), &plain);
    scene.all_came_from_the_node();
}

#[test]
fn pip_installs_through_tls_and_then_from_the_node_alone() {
    let Some(scene) = Scene::new() else { return };
    let lock = |python: &Python| {
        let folder = python.project("shop");
        let words = ["lock", "--no-cache-dir", "left-pad", "-o", "pylock.toml"];
        scene.ok(python, "pip", (&folder, &words));
        read(&folder, "pylock.toml")
    };
    let install = |python: &Python| {
        let folder = python.project("shop");
        let to = folder.join("lib");
        let to = to.to_str().expect("paths of tests are UTF-8");
        let words = ["install", "--no-cache-dir", "--target", to, "left-pad"];
        scene.ok(python, "pip", (&folder, &words));
        assert!(has(&folder.join("lib"), "left_pad.py") && has(&folder, "acme_pad.py"));
    };
    let plain = lock(&scene.home("direct"));
    assert!(plain.contains(&scene.front.url()), "{plain}");
    assert_eq!(lock(&scene.home("locks").by_way_of(&scene.node)), plain);
    install(&scene.home("first").by_way_of(&scene.node));
    let held = scene.node.version("pypi", "left-pad", "1.3.0");
    assert_eq!(held["artifacts"][0]["held"], true, "{held}");
    scene.cut();
    install(&scene.home("second").by_way_of(&scene.node));
    assert_eq!(lock(&scene.home("third").by_way_of(&scene.node)), plain);
    scene.all_came_from_the_node();
}

#[test]
fn what_no_named_platform_installs_is_left_out_and_told() {
    let world = World::new();
    let Some(python) = Python::new(&world, "p") else { return };
    let stub = Stub::start();
    let tags = ["manylinux2014_x86_64", "manylinux2014_aarch64", "macosx_11_0_arm64", "win_amd64"];
    for tag in tags {
        let wheel = Distribution::wheel("acme-pad", "1.0.0").tags(&format!("py3-none-{tag}"));
        stub.upload(wheel);
    }
    stub.upload(Distribution::wheel("left-pad", "1.3.0").requires("acme-pad<2"));
    let node = world.node("a");
    node.json(&["upstream", "add", "pypi", &stub.simple_url()]);
    python.configure(&stub.simple_url());
    let folder = python.project("shop");
    let manifest = SHOP.split("[tool.poetry]").next().expect("it has a first part");
    fs_err::write(folder.join("pyproject.toml"), manifest).expect("a file can be written");
    python.ok("uv", &folder, &["lock", "--no-cache"]);
    let lock = folder.join("uv.lock");
    let lock = lock.to_str().expect("paths of tests are UTF-8");
    stub.forget_requests();
    let named = ["--platform", "linux-x86_64", "--platform", "macos-arm64"];
    let done = node.json(&[&["prefetch", lock], named.as_slice()].concat());
    assert_eq!(done["complete"], true, "{done}");
    let skipped = done["skipped"]["files"].as_array().expect("they are listed");
    let files: Vec<&str> = skipped.iter().filter_map(|file| file["file"].as_str()).collect();
    assert_eq!(files.len(), 2, "{done}");
    for tag in tags {
        let left_out = matches!(tag, "manylinux2014_aarch64" | "win_amd64");
        assert_eq!(files.iter().any(|file| file.contains(tag)), left_out, "{tag}: {done}");
        assert_eq!(stub.count(&format!("{tag}.whl")) == 0, left_out, "{tag}");
    }
    assert!(done["skipped"]["bytes"].as_u64() > Some(100), "{done}");
    let told = node.griot(&[&["check", lock], named.as_slice()].concat());
    assert!(told.contains("left out: 2 files") && told.contains("win_amd64"), "{told}");
    let (lacks, _) = node.refused(&["check", lock]);
    assert!(lacks.contains("griot prefetch"), "all of it was not fetched: {lacks}");
    let (unknown, _) = node.refused(&["check", lock, "--platform", "amiga"]);
    assert!(unknown.contains("linux-x86_64"), "{unknown}");
}
