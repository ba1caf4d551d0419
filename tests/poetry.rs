//! poetry with the index that is built into it, by way of `griot run`: it asks the older JSON of
//! every version, and its lockfile is the one that it writes without a node.
//!
//! That index is a host of the world. A few lines of Python move it to the stub before poetry
//! starts; nothing else of poetry is changed.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::samples::sha256;
use crate::harness::upstream::{Distribution, Seen, Stub, Tarballs};
use crate::harness::{Node, Python, World};

/// poetry, with another index built in: its URL, then poetry's own arguments.
const POETRY: &str = "import sys; from poetry.repositories.pypi_repository import PyPiRepository; \
                      PyPiRepository.__init__.__defaults__ = (sys.argv.pop(1),); \
                      from poetry.console.application import main; sys.exit(main())";
const SHOP: &str = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\n\
                    requires-python = \">=3.9\"\ndependencies = [\"left-pad\"]\n\
                    [tool.poetry]\npackage-mode = false\n";

/// An index whose files are on another port, where the page says all that a lockfile needs.
fn stub() -> Stub {
    let stub = Stub::start();
    stub.switch(|s| s.tarballs = Tarballs::OtherHost);
    stub.upload(Distribution::wheel("Acme.Pad", "1.0.0"));
    stub.upload(Distribution::sdist("Acme.Pad", "1.0.0"));
    stub.upload(Distribution::wheel("Acme.Pad", "2.0.0"));
    let wheel = Distribution::wheel("left-pad", "1.3.0").requires_python(">=3.8");
    stub.upload(wheel.requires("acme_pad<2").requires("is-odd; extra == 'odd'"));
    stub.upload(Distribution::wheel("left-pad", "1.4.0").yanked("it only pads"));
    stub
}

/// A project of poetry, and the index that it believes to be built in.
struct Shop {
    python: Python,
    folder: PathBuf,
    index: String,
}

impl Shop {
    fn new(python: Python, stub: &Stub) -> Self {
        let folder = python.project("shop");
        fs_err::write(folder.join("pyproject.toml"), SHOP).expect("a file can be written");
        Self { python, folder, index: stub.url() }
    }

    #[track_caller]
    fn poetry(&self, arguments: &[&str]) {
        let all = [&["-c", POETRY, &self.index], arguments].concat();
        self.python.ok("python", &self.folder, &all);
    }

    /// The lockfile, written anew without any cache.
    #[track_caller]
    fn locked(&self) -> String {
        let file = self.folder.join("poetry.lock");
        if file.exists() {
            fs_err::remove_file(&file).expect("a file can be removed");
        }
        self.poetry(&["lock", "--no-cache"]);
        fs_err::read_to_string(file).expect("poetry wrote it")
    }

    /// Removes what was installed.
    fn empty(&self) -> &Path {
        let folder = self.folder.join(".venv");
        if folder.exists() {
            fs_err::remove_dir_all(folder).expect("a folder can be removed");
        }
        &self.folder
    }

    #[track_caller]
    fn installed(&self) {
        self.empty();
        self.poetry(&["install", "--no-cache"]);
        let found = walk(&self.folder.join(".venv"), "left_pad.py");
        assert!(found && walk(&self.folder.join(".venv"), "acme_pad.py"), "it installs both");
    }
}

fn walk(folder: &Path, name: &str) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entry.file_name() == name || (is_folder && walk(&entry.path(), name))
    })
}

#[test]
fn the_index_that_is_built_into_poetry_locks_and_installs_by_way_of_run() {
    let world = World::new();
    let stub = stub();
    let Some(python) = Python::new(&world, "me") else { return };
    let mut node = world.node("a");
    node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    let direct = Shop::new(python.clone(), &stub);
    let before = direct.locked();
    assert!(before.contains("acme_pad-1.0.0.tar.gz") && before.contains("odd = ["), "{before}");
    let through = Shop { python: python.by_way_of(&node), ..direct };
    stub.forget_requests();
    assert_eq!(through.locked(), before, "the index has the older JSON");
    let asked_by = |seen: &Seen| seen.header("user-agent").unwrap_or_default().to_owned();
    let poetry = |seen: &Seen| asked_by(seen).to_lowercase().contains("poetry");
    assert!(!stub.requests().iter().any(poetry), "it goes past the node");
    // An index that has none: poetry alone cannot lock there.
    stub.switch(|s| s.project_json = false);
    let other = world.node("b");
    other.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    let poor = Shop { python: python.by_way_of(&other), ..through };
    stub.forget_requests();
    assert_eq!(poor.locked(), before, "the index has no older JSON");
    assert_eq!(stub.count(".whl.metadata"), 2, "it comes out of METADATA");
    assert_eq!(stub.requests().iter().filter(|seen| seen.path.ends_with(".whl")).count(), 0);
    let through = Shop { python: python.by_way_of(&node), ..poor };
    through.installed();
    // Nothing of it needs the index a second time, nor after a restart.
    stub.switch(|s| s.black_hole = true);
    node.terminate();
    node.up();
    let through = Shop { python: python.by_way_of(&node), ..through };
    through.installed();
}

fn urls(document: &Value) -> Vec<&Value> {
    document["urls"].as_array().expect("a list of files").iter().collect()
}

#[test]
fn the_older_json_of_an_upstream_is_its_page_and_what_it_says_itself() {
    let world = World::new();
    let stub = stub();
    let node = world.node("a");
    node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    let get = |path: &str| node.get(path).json();
    let whole = get("/pypi/Acme_Pad/json");
    assert_eq!(
        (&whole["info"]["version"], &whole["info"]["name"]),
        (&json!("2.0.0"), &json!("Acme.Pad"))
    );
    assert_eq!(whole["info"]["x-kept-by-the-stub"], json!(true), "the index has said it");
    let releases = whole["releases"].as_object().expect("releases by version");
    assert_eq!(releases.keys().collect::<Vec<_>>(), ["1.0.0", "2.0.0"]);
    let one = get("/pypi/acme-pad/1.0.0/json");
    assert_eq!((urls(&one).len(), &one["releases"]), (2, &Value::Null));
    let wheel = urls(&one)[0];
    let bytes = Distribution::wheel("Acme.Pad", "1.0.0").bytes();
    let path = format!("/pypi/files/acme-pad/{}/acme_pad-1.0.0-py3-none-any.whl", sha256(&bytes));
    assert_eq!(wheel["url"], node.url(&path), "{wheel}");
    assert_eq!(
        (&wheel["size"], &wheel["digests"]["md5"]),
        (&json!(bytes.len()), &json!("not looked at"))
    );
    assert_eq!(node.get(&path).body, bytes);
    let behind = get("/pypi/~upstream/acme-pad/1.0/json");
    assert_eq!(behind["info"]["version"], "1.0.0", "one version has several names");
    let yanked = get("/pypi/left-pad/1.4.0/json");
    assert_eq!(
        (&yanked["info"]["yanked"], &yanked["info"]["yanked_reason"]),
        (&json!(true), &json!("it only pads"))
    );
    assert_eq!(
        get("/pypi/left-pad/json")["info"]["version"],
        "1.3.0",
        "what is yanked is passed over"
    );
    for path in ["/pypi/left-pad/9.9/json", "/pypi/nobody/json", "/pypi/~hosted/left-pad/json"] {
        assert_eq!(node.get(path).status, 404, "{path}");
    }
    assert_eq!(stub.count(".metadata"), 0, "who is told asks no more");
}

#[test]
fn the_older_json_of_a_poor_upstream_is_made_here() {
    let world = World::new();
    let stub = stub();
    stub.switch(|s| s.project_json = false);
    let mut node = world.node("a");
    node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    let get = |node: &Node, path: &str| node.get(path).json();
    let one = get(&node, "/pypi/left-pad/1.3.0/json");
    let info = &one["info"];
    assert_eq!(info["requires_dist"], json!(["acme_pad<2", "is-odd; extra == 'odd'"]), "{info}");
    assert_eq!(
        (&info["requires_python"], &info["summary"]),
        (&json!(">=3.8"), &json!("made by a test"))
    );
    assert_eq!(info["yanked"], json!(false));
    let file = urls(&one)[0];
    assert_eq!(
        (&file["packagetype"], &file["python_version"]),
        (&json!("bdist_wheel"), &json!("py3"))
    );
    assert!(file["upload_time_iso_8601"].is_string() && file["size"].is_number(), "{file}");
    assert_eq!(get(&node, "/pypi/acme-pad/1.0.0/json")["info"]["requires_dist"], json!([]));
    assert_eq!(stub.requests().iter().filter(|seen| seen.path.ends_with(".whl")).count(), 0);
    // Without METADATA beside it nobody knows what a wheel requires, and none is fetched for that.
    stub.upload(Distribution::sdist("only-source", "1.0"));
    let source = get(&node, "/pypi/only-source/json");
    assert_eq!(source["info"]["requires_dist"], Value::Null);
    assert_eq!(urls(&source)[0]["packagetype"], "sdist");
    // The cable out: what is held is listed, and what is known of the rest is said.
    let held = urls(&one)[0]["url"].as_str().expect("a URL").to_owned();
    let held = held.strip_prefix(&node.url("")).expect("it lies here").to_owned();
    assert_eq!(node.get(&held).status, 200);
    stub.switch(|s| s.black_hole = true);
    node.terminate();
    node.up();
    let offline = get(&node, "/pypi/left-pad/1.3.0/json");
    assert_eq!(offline["info"], one["info"]);
    assert_eq!(urls(&get(&node, "/pypi/left-pad/json")).len(), 1);
    for path in ["/pypi/left-pad/1.4.0/json", "/pypi/acme-pad/json", "/pypi/acme-pad/2.0.0/json"] {
        assert_eq!(node.get(path).status, 424, "{path}");
    }
    assert_eq!(node.get("/pypi/left-pad/7.0/json").status, 404);
}
