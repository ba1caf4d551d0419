//! The real clients of Python against real nodes: twine and uv publish, pip and uv install.
//!
//! Nothing here knows how a page looks: the clients are the judges. What they do not show (headers,
//! ranges, forms) is asked in `pypi_http`.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::upstream::Distribution;
use crate::harness::wait::said;
use crate::harness::{Node, Python, SOON, World};

/// The clients, and a folder for what they upload.
struct Clients {
    python: Python,
    dist: PathBuf,
}

impl Clients {
    /// They install from the node. Skips the running test without them.
    fn of(world: &World, node: &Node) -> Option<Self> {
        let python = Python::of(world, "clients", node)?;
        Some(Self { python, dist: world.folder("dist") })
    }

    fn write(&self, distribution: &Distribution) -> PathBuf {
        distribution.write(&self.dist)
    }

    fn twine(&self, node: &Node, token: &str, file: &Path) -> Output {
        self.python.twine(node, token, &[file])
    }

    fn uv_publish(&self, node: &Node, token: &str, arguments: &[&str], file: &Path) -> Output {
        let (url, file) = (node.url("/pypi/legacy/"), file.display().to_string());
        let all = [&["publish", "--publish-url", &url, "--token", token], arguments, &[&file]];
        self.python.run("uv", (self.python.home(), &all.concat()), &[])
    }

    /// Installs with pip into a folder of its own.
    fn pip(&self, target: &str, arguments: &[&str]) -> Output {
        let all = [&["install", "--target", target], arguments].concat();
        self.python.run("pip", (self.python.home(), &all), &[])
    }

    fn uv(&self, target: &str, arguments: &[&str]) -> Output {
        let all = [&["pip", "install", "--target", target], arguments].concat();
        self.python.run("uv", (self.python.home(), &all), &[])
    }

    /// What the module says that was installed into a folder.
    fn says(&self, target: &str, module: &str) -> String {
        let code = format!(
            "import sys; sys.path.insert(0, {target:?}); import {module} as m; print(m.SAYS)"
        );
        self.python.ok("python", self.python.home(), &["-c", &code])
    }
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

#[track_caller]
fn refused(output: &Output, because: &str) {
    assert!(!output.status.success(), "{}", said(output));
    assert!(said(output).contains(because), "{because}: {}", said(output));
}

#[test]
fn what_twine_and_uv_published_on_a_is_installed_from_b_after_a_was_killed() {
    let world = World::new();
    let mut a = world.node("a");
    let b = world.node("b");
    let Some(clients) = Clients::of(&world, &b) else { return };
    b.join(&a);
    let token = a.token("publish");
    let needs = Distribution::wheel("Acme.Demo", "2.0").says("demo").requires("acme-base>=1");
    ok(&clients.twine(&a, &token, &clients.write(&needs)));
    ok(&clients.twine(&a, &token, &clients.write(&Distribution::sdist("Acme.Demo", "2.0"))));
    let base = clients.write(&Distribution::wheel("acme_base", "1.0+local.1").says("base"));
    ok(&clients.uv_publish(&a, &token, &[], &base));
    let row = b.wait_held("pypi", ("acme-demo", "2.0"), SOON);
    assert_eq!(row["artifacts"].as_array().map(Vec::len), Some(2), "{row}");
    b.wait_held("pypi", ("acme-base", "1.0+local.1"), SOON);
    a.kill9();

    ok(&clients.pip("by-pip", &["ACME_demo"]));
    ok(&clients.uv("by-uv", &["acme.demo"]));
    for target in ["by-pip", "by-uv"] {
        assert_eq!(clients.says(target, "acme_demo"), "demo");
        assert_eq!(clients.says(target, "acme_base"), "base");
    }
}

#[test]
fn a_yank_is_honoured_by_resolvers_and_ignored_by_a_pin() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::of(&world, &node) else { return };
    let token = node.token("publish");
    for (version, says) in [("1.0", "old"), ("1.1", "new")] {
        let file = clients.write(&Distribution::wheel("acme", version).says(says));
        ok(&clients.twine(&node, &token, &file));
    }
    let reason = "it \"breaks\" <all> & more";
    node.griot(&["yank", "acme@1.1", "--format", "pypi", "--reason", reason]);
    ok(&clients.pip("pip-range", &["acme>=1"]));
    ok(&clients.uv("uv-range", &["acme>=1"]));
    let pinned = ok(&clients.pip("pip-pin", &["acme==1.1"]));
    assert!(pinned.contains(reason), "{pinned}");
    let pinned = ok(&clients.uv("uv-pin", &["acme==1.1"]));
    assert!(pinned.contains("yanked") && pinned.contains("breaks"), "{pinned}");
    for (target, says) in
        [("pip-range", "old"), ("uv-range", "old"), ("pip-pin", "new"), ("uv-pin", "new")]
    {
        assert_eq!(clients.says(target, "acme"), says, "{target}");
    }
    // A file that joins would bring the yanked ones back.
    let more = Distribution::wheel("acme", "1.1").tags("2-py3-none-any").says("more");
    refused(&clients.twine(&node, &token, &clients.write(&more)), "is yanked");
    node.griot(&["unyank", "acme@1.1", "--format", "pypi"]);
    ok(&clients.uv("uv-back", &["acme>=1", "--refresh"]));
    assert_eq!(clients.says("uv-back", "acme"), "new");
}

#[test]
fn a_file_is_never_replaced_and_a_wheel_may_join_its_version() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::of(&world, &node) else { return };
    let token = node.token("publish");
    let file = clients.write(&Distribution::wheel("acme", "1.0").says("first"));
    ok(&clients.twine(&node, &token, &file));
    // The same bytes once more are no failure, whoever sends them.
    ok(&clients.twine(&node, &token, &file));
    ok(&clients.uv_publish(&node, &token, &[], &file));
    let index = node.url("/pypi/simple/");
    let skipped = ok(&clients.uv_publish(&node, &token, &["--check-url", &index], &file));
    assert!(skipped.contains("skipping"), "{skipped}");

    let other = clients.write(&Distribution::wheel("acme", "1.0").says("other"));
    refused(&clients.twine(&node, &token, &other), "File already exists");
    refused(&clients.uv_publish(&node, &token, &[], &other), "File already exists");

    let joins =
        clients.write(&Distribution::wheel("acme", "1.0").tags("1-py3-none-any").says("second"));
    ok(&clients.twine(&node, &token, &joins));
    let row = node.version("pypi", "acme", "1.0");
    assert_eq!(row["artifacts"].as_array().map(Vec::len), Some(2), "{row}");
    // The higher build number is the better one.
    ok(&clients.pip("pip", &["acme"]));
    assert_eq!(clients.says("pip", "acme"), "second");

    refused(&clients.twine(&node, "wrong", &joins), "401");
    refused(&clients.twine(&node, &node.token("read"), &joins), "403");
}

#[test]
fn resolvers_honour_requires_python_epochs_and_prereleases() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::of(&world, &node) else { return };
    let token = node.token("publish");
    let future = Distribution::wheel("acme", "9!1").says("far").requires_python(">=3.8,>99");
    let files = [
        Distribution::wheel("acme", "2026.1").says("years").requires_python(">=3.8"),
        Distribution::wheel("acme", "1!2.0.post1").says("epoch"),
        Distribution::wheel("acme", "1!3.0rc1").says("early"),
        future,
    ];
    for sample in files {
        ok(&clients.twine(&node, &token, &clients.write(&sample)));
    }
    ok(&clients.pip("pip", &["acme"]));
    ok(&clients.uv("uv", &["acme"]));
    ok(&clients.pip("pip-pre", &["acme", "--pre"]));
    ok(&clients.uv("uv-old", &["acme==2026.*"]));
    for (target, says) in
        [("pip", "epoch"), ("uv", "epoch"), ("pip-pre", "early"), ("uv-old", "years")]
    {
        assert_eq!(clients.says(target, "acme"), says, "{target}");
    }
    refused(&clients.pip("never", &["acme==9!1"]), "No matching distribution");
}
