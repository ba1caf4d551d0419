//! The stub's Python index and sparse cargo index, asked by the real clients themselves.
//!
//! What a later test says of a node stands on these: that the clients are shut off from this
//! machine, and that the stub is a registry to them in each of its moods.

use std::path::Path;

use crate::harness::upstream::{Crate, Distribution, Stub, Switches, Tarballs};
use crate::harness::{Cargo, Python, World};

/// A project with a dependency, an interpreter that is too new, and a yanked release.
fn python_stub() -> Stub {
    let stub = Stub::start();
    stub.upload(Distribution::wheel("Acme.Pad", "1.0.0"));
    stub.upload(Distribution::wheel("Acme.Pad", "1.1.0").requires_python(">=3.99"));
    stub.upload(Distribution::wheel("Acme.Pad", "1.2.0").yanked("it \"broke\" <b>all</b>"));
    stub.upload(Distribution::wheel("left-pad", "1.0.0").requires("acme_pad>=1"));
    stub.upload(Distribution::sdist("from-source", "2.0.0").requires("left-pad"));
    stub
}

/// pip and uv install from it, and from nowhere else.
fn python_installs(name: &str, switch: impl Fn(&mut Switches)) {
    let world = World::new();
    let stub = python_stub();
    stub.switch(switch);
    for client in ["pip", "uv"] {
        let Some(python) = Python::new(&world, &format!("{name}-{client}")) else { return };
        python.configure(&stub.simple_url());
        stub.forget_requests();
        match client {
            "pip" => python.pip(&["install", "from-source"]),
            _ => python.uv_pip("install", &["from-source"]),
        };
        assert_eq!(python.says("from_source"), "from-source-2.0.0");
        assert_eq!(python.says("acme_pad"), "Acme.Pad-1.0.0", "{client}");
        assert!(stub.count("from_source-2.0.0.tar.gz") > 0, "{client}");
    }
}

#[test]
fn pip_and_uv_install_from_the_stub() {
    python_installs("usual", |_| {});
}

#[test]
fn pip_and_uv_install_from_a_crippled_stub_with_files_on_another_port() {
    python_installs("poor", |s| {
        s.crippled = true;
        s.ranges = false;
        s.tarballs = Tarballs::OtherHost;
    });
}

#[test]
fn poetry_and_uv_lock_at_the_stub_and_twine_runs() {
    let world = World::new();
    let stub = python_stub();
    let Some(python) = Python::new(&world, "a") else { return };
    python.configure(&stub.simple_url());
    let project = python.project("shop");
    let manifest = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\n\
                    requires-python = \">=3.9\"\ndependencies = [\"left-pad\"]\n";
    let source = format!(
        "\n[[tool.poetry.source]]\nname = \"stub\"\nurl = {:?}\npriority = \"primary\"\n",
        stub.simple_url()
    );
    fs_err::write(project.join("pyproject.toml"), format!("{manifest}{source}")).expect("written");
    python.ok("uv", &project, &["lock"]);
    python.ok("poetry", &project, &["lock"]);
    for lockfile in ["uv.lock", "poetry.lock"] {
        let text = fs_err::read_to_string(project.join(lockfile)).expect("it was written");
        assert!(text.contains("acme_pad-1.0.0-py3-none-any.whl"), "{lockfile}: {text}");
    }
    assert!(python.ok("twine", &project, &["--version"]).contains("twine version"));
}

#[test]
fn cargo_builds_from_the_stub_wherever_its_files_are() {
    let world = World::new();
    let stub = Stub::start();
    stub.add_crate(Crate::new("pad", "1.0.0"));
    stub.add_crate(Crate::new("Pad_Left", "1.1.0").renamed("other", "pad", "1"));
    stub.add_crate(Crate::new("Pad_Left", "1.2.0").dependency("pad", "^1"));
    stub.yank_crate("Pad_Left", "1.2.0", true);
    let places = [Tarballs::Usual, Tarballs::Folder("a/b".to_owned()), Tarballs::OtherHost];
    let mut locks = Vec::new();
    for (at, place) in places.into_iter().enumerate() {
        stub.switch(|s| s.tarballs = place.clone());
        let Some(cargo) = Cargo::at(&world, &format!("c{at}"), &stub.index_url()) else { return };
        let app = cargo.app("app", &[("Pad_Left", "1")]);
        // Its name has capitals, which the name of a module keeps.
        assert_eq!(cargo.says(&app), "Pad_Left-1.1.0");
        locks.push(fs_err::read_to_string(app.join("Cargo.lock")).expect("cargo wrote it"));
        assert_eq!(stub.requests().iter().any(|seen| seen.other_host), at == 2);
    }
    assert!(locks.iter().all(|lock| *lock == locks[0] && !lock.contains("127.0.0.1")));
    assert_eq!(stub.requests().iter().filter(|seen| seen.status == Some(404)).count(), 0);
    nothing_above(world.path());
}

/// Cargo would read it: a test that is not alone must not pass.
#[track_caller]
fn nothing_above(folder: &Path) {
    for above in folder.ancestors() {
        for name in ["config.toml", "config"] {
            let file = above.join(".cargo").join(name);
            assert!(!file.exists(), "{} leaks into tests", file.display());
        }
    }
}
