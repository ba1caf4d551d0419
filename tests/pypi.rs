//! The real clients of Python against real nodes: twine and uv publish, pip and uv install.
//!
//! Nothing here knows how a page looks: the clients are the judges. What they do not show (headers,
//! ranges, forms) is asked in `pypi_http`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::client::{clean, skip};
use crate::harness::wait::{run, run_ok, said};
use crate::harness::{Node, SOON, World};

/// A client takes seconds to start on a busy machine; one that retries for a minute has failed.
const LIMIT: Duration = Duration::from_secs(240);

/// Writes a wheel or an sdist: folder, kind, name, version, build number, what it says, and more
/// lines of metadata.
const MAKE: &str = r#"
import base64, hashlib, io, sys, tarfile, zipfile
folder, kind, name, version, build, says, more = sys.argv[1:8]
module = name.replace("-", "_").replace(".", "_").lower()
stem = f"{module}-{version}"
meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: says {says}\n{more}\n"
if kind == "wheel":
    build = f"-{build}" if build else ""
    path = f"{folder}/{stem}{build}-py3-none-any.whl"
    info = f"{stem}.dist-info"
    files = {f"{module}.py": f"SAYS = {says!r}\n", f"{info}/METADATA": meta,
             f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = ""
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{file},sha256={digest.rstrip('=')},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip:
        for file, text in files.items():
            zip.writestr(file, text)
else:
    path = f"{folder}/{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file, text in {"PKG-INFO": meta, f"{module}.py": f"SAYS = {says!r}\n"}.items():
            entry = tarfile.TarInfo(f"{stem}/{file}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
print(path)
"#;

/// What a sample is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) build: &'a str,
    pub(crate) says: &'a str,
    /// More lines of metadata.
    pub(crate) more: &'a str,
}

impl<'a> Sample<'a> {
    pub(crate) const fn wheel(name: &'a str, version: &'a str, says: &'a str) -> Self {
        Self { kind: "wheel", name, version, build: "", says, more: "" }
    }

    pub(crate) const fn sdist(name: &'a str, version: &'a str) -> Self {
        Self { kind: "sdist", ..Self::wheel(name, version, "source") }
    }
}

/// The clients with an empty home, without any settings of this machine.
#[derive(Debug)]
pub(crate) struct Clients {
    home: PathBuf,
}

impl Clients {
    /// Skips the running test without them.
    pub(crate) fn new(world: &World, name: &str) -> Option<Self> {
        let lacks = ["python", "pip", "uv", "twine"];
        if let Some(tool) = lacks.iter().find(|tool| !Self::program(tool).is_file()) {
            skip(&format!("needs {tool}: tests/run installs it"));
            return None;
        }
        Some(Self { home: world.folder(name) })
    }

    fn program(name: &str) -> PathBuf {
        let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
        cli.parent().expect("the crate lies in the tree").join("target/tools/python/bin").join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = clean(Self::program(program));
        command.current_dir(&self.home).env("HOME", &self.home);
        command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_NO_INPUT", "1");
        command
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_CACHE_DIR", self.home.join("cache-pip"));
        command.env("UV_CACHE_DIR", self.home.join("cache-uv")).env("UV_NO_CONFIG", "1");
        command.env("UV_PYTHON", Self::program("python")).env("UV_PYTHON_DOWNLOADS", "never");
        command.env("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring");
        command.env("NO_COLOR", "1");
        command
    }

    /// Makes a file to upload.
    pub(crate) fn make(&self, sample: Sample<'_>) -> PathBuf {
        let folder = self.home.join("dist");
        fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
        let Sample { kind, name, version, build, says, more } = sample;
        let mut python = self.command("python");
        python.args(["-c", MAKE]).arg(folder).args([kind, name, version, build, says, more]);
        run_ok(&mut python, LIMIT).trim().into()
    }

    fn twine(&self, node: &Node, token: &str, file: &Path) -> Output {
        let mut twine = self.command("twine");
        twine.args(["upload", "--non-interactive", "--disable-progress-bar"]);
        twine.args(["--repository-url", &node.url("/pypi/legacy/")]);
        twine.args(["-u", "__token__", "-p", token]).arg(file);
        run(&mut twine, LIMIT)
    }

    fn uv_publish(&self, node: &Node, token: &str, arguments: &[&str], file: &Path) -> Output {
        let mut uv = self.command("uv");
        uv.args(["publish", "--publish-url", &node.url("/pypi/legacy/"), "--token", token]);
        run(uv.args(arguments).arg(file), LIMIT)
    }

    /// Installs with pip into a folder of its own; what it said.
    fn pip(&self, node: &Node, target: &str, arguments: &[&str]) -> Output {
        let mut pip = self.command("pip");
        pip.args(["install", "--index-url", &node.url("/pypi/simple/"), "--target", target]);
        run(pip.args(arguments), LIMIT)
    }

    fn uv(&self, node: &Node, target: &str, arguments: &[&str]) -> Output {
        let mut uv = self.command("uv");
        uv.args(["pip", "install", "--default-index", &node.url("/pypi/simple/")]);
        run(uv.args(["--target", target]).args(arguments), LIMIT)
    }

    /// What the module says that was installed into a folder.
    fn says(&self, target: &str, module: &str) -> String {
        let code = format!(
            "import sys; sys.path.insert(0, {target:?}); import {module} as m; \
                            print(m.SAYS)"
        );
        run_ok(self.command("python").args(["-c", &code]), LIMIT).trim().to_owned()
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
    let Some(clients) = Clients::new(&world, "clients") else { return };
    b.join(&a);
    let token = a.token("publish");
    let needs =
        Sample { more: "Requires-Dist: acme-base>=1", ..Sample::wheel("Acme.Demo", "2.0", "demo") };
    ok(&clients.twine(&a, &token, &clients.make(needs)));
    ok(&clients.twine(&a, &token, &clients.make(Sample::sdist("Acme.Demo", "2.0"))));
    let base = clients.make(Sample::wheel("acme_base", "1.0+local.1", "base"));
    ok(&clients.uv_publish(&a, &token, &[], &base));
    let row = b.wait_held("pypi", ("acme-demo", "2.0"), SOON);
    assert_eq!(row["artifacts"].as_array().map(Vec::len), Some(2), "{row}");
    b.wait_held("pypi", ("acme-base", "1.0+local.1"), SOON);
    a.kill9();

    ok(&clients.pip(&b, "by-pip", &["ACME_demo"]));
    ok(&clients.uv(&b, "by-uv", &["acme.demo"]));
    for target in ["by-pip", "by-uv"] {
        assert_eq!(clients.says(target, "acme_demo"), "demo");
        assert_eq!(clients.says(target, "acme_base"), "base");
    }
}

#[test]
fn a_yank_is_honoured_by_resolvers_and_ignored_by_a_pin() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::new(&world, "clients") else { return };
    let token = node.token("publish");
    for (version, says) in [("1.0", "old"), ("1.1", "new")] {
        let file = clients.make(Sample::wheel("acme", version, says));
        ok(&clients.twine(&node, &token, &file));
    }
    let reason = "it \"breaks\" <all> & more";
    node.griot(&["yank", "acme@1.1", "--format", "pypi", "--reason", reason]);
    ok(&clients.pip(&node, "pip-range", &["acme>=1"]));
    ok(&clients.uv(&node, "uv-range", &["acme>=1"]));
    let pinned = ok(&clients.pip(&node, "pip-pin", &["acme==1.1"]));
    assert!(pinned.contains(reason), "{pinned}");
    let pinned = ok(&clients.uv(&node, "uv-pin", &["acme==1.1"]));
    assert!(pinned.contains("yanked") && pinned.contains("breaks"), "{pinned}");
    for (target, says) in
        [("pip-range", "old"), ("uv-range", "old"), ("pip-pin", "new"), ("uv-pin", "new")]
    {
        assert_eq!(clients.says(target, "acme"), says, "{target}");
    }
    // A file that joins would bring the yanked ones back.
    let more = Sample { build: "2", ..Sample::wheel("acme", "1.1", "more") };
    refused(&clients.twine(&node, &token, &clients.make(more)), "is yanked");
    node.griot(&["unyank", "acme@1.1", "--format", "pypi"]);
    ok(&clients.uv(&node, "uv-back", &["acme>=1", "--refresh"]));
    assert_eq!(clients.says("uv-back", "acme"), "new");
}

#[test]
fn a_file_is_never_replaced_and_a_wheel_may_join_its_version() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::new(&world, "clients") else { return };
    let token = node.token("publish");
    let file = clients.make(Sample::wheel("acme", "1.0", "first"));
    ok(&clients.twine(&node, &token, &file));
    // The same bytes once more are no failure, whoever sends them.
    ok(&clients.twine(&node, &token, &file));
    ok(&clients.uv_publish(&node, &token, &[], &file));
    let index = node.url("/pypi/simple/");
    let skipped = ok(&clients.uv_publish(&node, &token, &["--check-url", &index], &file));
    assert!(skipped.contains("skipping"), "{skipped}");

    let other = clients.make(Sample::wheel("acme", "1.0", "other"));
    refused(&clients.twine(&node, &token, &other), "File already exists");
    refused(&clients.uv_publish(&node, &token, &[], &other), "File already exists");

    let joins = clients.make(Sample { build: "1", ..Sample::wheel("acme", "1.0", "second") });
    ok(&clients.twine(&node, &token, &joins));
    let row = node.version("pypi", "acme", "1.0");
    assert_eq!(row["artifacts"].as_array().map(Vec::len), Some(2), "{row}");
    // The higher build number is the better one.
    ok(&clients.pip(&node, "pip", &["acme"]));
    assert_eq!(clients.says("pip", "acme"), "second");

    refused(&clients.twine(&node, "wrong", &joins), "401");
    refused(&clients.twine(&node, &node.token("read"), &joins), "403");
}

#[test]
fn resolvers_honour_requires_python_epochs_and_prereleases() {
    let world = World::new();
    let node = world.node("a");
    let Some(clients) = Clients::new(&world, "clients") else { return };
    let token = node.token("publish");
    let future =
        Sample { more: "Requires-Python: >=3.8,>99", ..Sample::wheel("acme", "9!1", "far") };
    let files = [
        Sample { more: "Requires-Python: >=3.8", ..Sample::wheel("acme", "2026.1", "years") },
        Sample::wheel("acme", "1!2.0.post1", "epoch"),
        Sample::wheel("acme", "1!3.0rc1", "early"),
        future,
    ];
    for sample in files {
        ok(&clients.twine(&node, &token, &clients.make(sample)));
    }
    ok(&clients.pip(&node, "pip", &["acme"]));
    ok(&clients.uv(&node, "uv", &["acme"]));
    ok(&clients.pip(&node, "pip-pre", &["acme", "--pre"]));
    ok(&clients.uv(&node, "uv-old", &["acme==2026.*"]));
    for (target, says) in
        [("pip", "epoch"), ("uv", "epoch"), ("pip-pre", "early"), ("uv-old", "years")]
    {
        assert_eq!(clients.says(target, "acme"), says, "{target}");
    }
    refused(&clients.pip(&node, "never", &["acme==9!1"]), "No matching distribution");
}
