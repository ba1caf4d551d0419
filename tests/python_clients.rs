//! `griot link`, `unlink` and `publish` with Python's own clients: each is asked itself what it
//! uses, installs by its settings alone, and has its former bytes again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::upstream::{Distribution, Stub};
use crate::harness::wait::{run, said};
use crate::harness::{EVENTUALLY, Node, Python, World};

/// An index that nobody asks in these tests.
const ELSEWHERE: &str = "https://packages.test/simple/";

/// A node, a home of Python's clients, and a project.
struct Setting {
    python: Python,
    node: Node,
    project: PathBuf,
    world: World,
}

impl Setting {
    /// Skips without the clients.
    fn new() -> Option<Self> {
        let world = World::new();
        let python = Python::new(&world, "me")?;
        let node = world.node("a");
        let project = python.project("shop");
        Some(Self { python, node, project, world })
    }

    /// `griot …` in the project with the home's settings; its JSON.
    #[track_caller]
    fn griot(&self, arguments: &[&str]) -> Value {
        let mut command = self.node.command(arguments);
        command.envs(self.python.variables()).current_dir(&self.project).arg("--json");
        let output = run(&mut command, EVENTUALLY);
        assert!(output.status.success(), "griot {arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).expect("griot prints JSON")
    }

    /// All that a person reads.
    #[track_caller]
    fn told(&self, arguments: &[&str]) -> String {
        let mut command = self.node.command(arguments);
        command.envs(self.python.variables()).current_dir(&self.project);
        let output = run(&mut command, EVENTUALLY);
        assert!(output.status.success(), "griot {arguments:?}: {}", said(&output));
        said(&output)
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let mut command = self.node.command(arguments);
        command.envs(self.python.variables()).current_dir(&self.project);
        let output = run(&mut command, EVENTUALLY);
        assert!(!output.status.success(), "griot {arguments:?} succeeded: {}", said(&output));
        said(&output)
    }

    /// A wheel that the node hosts from now on.
    fn host(&self, name: &str) {
        let wheel = Distribution::wheel(name, "1.0.0").write(&self.world.folder("dist"));
        self.node.griot(&["publish", &path(&wheel)]);
    }

    fn upstreams(&self) -> Vec<Value> {
        self.node.json(&["upstream", "list"]).as_array().cloned().expect("a list of upstreams")
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn write(file: &Path, text: &str) {
    fs_err::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder is made");
    fs_err::write(file, text).expect("a file can be written");
}

fn read(file: &Path) -> String {
    fs_err::read_to_string(file).expect("the file is there")
}

#[test]
fn pip_goes_there_and_back() {
    let Some(it) = Setting::new() else { return };
    let former = format!(
        "; mine\n[install]\nno-compile = true\n[global]\nindex-url = {ELSEWHERE}\nretries=1"
    );
    write(&it.python.pip_conf(), &former);
    let linked = it.griot(&["link", "pip"])[0].clone();
    let simple = it.node.url("/pypi/simple/");
    assert_eq!(linked["registry"], simple.as_str(), "{linked}");
    assert_eq!((&linked["changed"], &linked["proved"]), (&json!(true), &json!(true)), "{linked}");
    let told = it.python.ok("pip", &it.project, &["config", "get", "global.index-url"]);
    assert_eq!(told, simple);
    let upstreams = it.upstreams();
    assert_eq!(upstreams.len(), 1, "{upstreams:?}");
    assert_eq!(
        (&upstreams[0]["url"], &upstreams[0]["format"]),
        (&json!(ELSEWHERE), &json!("pypi"))
    );

    let written = read(&it.python.pip_conf());
    let again = it.griot(&["link", "pip"])[0].clone();
    assert_eq!((&again["changed"], &again["adopted"]), (&json!(false), &json!([])), "{again}");
    assert_eq!(read(&it.python.pip_conf()), written, "linked twice is linked once");
    it.host("acme-demo");
    it.python.pip(&["install", "acme-demo"]);
    assert_eq!(it.python.says("acme_demo"), "acme-demo-1.0.0");

    assert_eq!(it.griot(&["unlink", "pip"])[0]["state"], "restored");
    assert_eq!(read(&it.python.pip_conf()), former, "the bytes are the former ones");
    assert_eq!(it.griot(&["unlink", "pip"])[0]["state"], "not-linked");
}

#[test]
fn what_pip_rewrites_in_between_is_mended() {
    let Some(it) = Setting::new() else { return };
    write(&it.python.pip_conf(), &format!("[global]\nindex-url = {ELSEWHERE}\n"));
    it.griot(&["link", "pip"]);
    it.python.ok("pip", &it.project, &["config", "set", "global.timeout", "9"]);
    assert!(!read(&it.python.pip_conf()).contains("griot:"), "pip keeps no comments");
    assert_eq!(it.griot(&["unlink", "pip"])[0]["state"], "edited");
    let get = |key: &str| it.python.ok("pip", &it.project, &["config", "get", key]);
    assert_eq!(get("global.index-url"), ELSEWHERE);
    assert_eq!(get("global.timeout"), "9");
}

#[test]
fn a_password_in_the_index_is_kept_as_a_credential_and_said_to_nobody() {
    let Some(it) = Setting::new() else { return };
    let former = "[global]\nindex-url = https://me:s3cret@packages.test/simple/\n\
                  extra-index-url = https://you:hidden@more.test/simple/\n";
    write(&it.python.pip_conf(), former);
    let told = it.told(&["link", "pip"]);
    assert!(!told.contains("s3cret") && !told.contains("hidden"), "{told}");
    assert!(
        told.contains("past the node: extra-index-url says https://more.test/simple/"),
        "{told}"
    );
    let upstreams = it.upstreams();
    assert_eq!(
        (&upstreams[0]["url"], &upstreams[0]["credential"]),
        (&json!(ELSEWHERE), &json!(true))
    );
    it.griot(&["unlink", "pip"]);
    assert_eq!(read(&it.python.pip_conf()), former);
}

#[test]
fn what_goes_past_the_node_is_told() {
    let Some(it) = Setting::new() else { return };
    write(&it.python.pip_conf(), &format!("[global]\nindex-url = {ELSEWHERE}\n"));
    write(&it.project.join("requirements.txt"), "--find-links ./wheels\nsix==1.17.0\n");
    let mut command = it.node.command(&["link", "pip", "--json"]);
    command.envs(it.python.variables()).current_dir(&it.project);
    let output = run(command.env("PIP_FIND_LINKS", "/opt/wheels"), EVENTUALLY);
    let linked: Value = serde_json::from_slice(&output.stdout).expect("griot prints JSON");
    let past: Vec<&str> =
        linked[0]["past"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(past.contains(&"PIP_FIND_LINKS says /opt/wheels"), "{past:?}");
    assert!(past.iter().any(|line| line.contains("requirements.txt: --find-links says ./wheels")));
}

#[test]
fn a_virtual_environment_is_linked_alone() {
    let Some(it) = Setting::new() else { return };
    write(&it.python.pip_conf(), &format!("[global]\nindex-url = {ELSEWHERE}\n"));
    let project = path(&it.project);
    let why = it.refused(&["link", "pip", "--project", &project]);
    assert!(why.contains("pyvenv.cfg"), "{why}");
    it.python.ok("python", &it.project, &["-m", "venv", ".venv"]);
    let linked = it.griot(&["link", "pip", "--project", &project])[0].clone();
    assert_eq!(linked["proved"], true, "{linked}");
    let conf = it.project.join(".venv/pip.conf");
    assert_eq!(linked["file"].as_str(), conf.to_str());
    it.host("acme-demo");
    let mut pip = it.python.command("pip");
    pip.arg("--python").arg(it.project.join(".venv")).args(["config", "get", "global.index-url"]);
    let said = run(&mut pip, EVENTUALLY).stdout;
    assert_eq!(String::from_utf8_lossy(&said).trim(), it.node.url("/pypi/simple/"));
    let told = it.python.ok("pip", &it.project, &["config", "get", "global.index-url"]);
    assert_eq!(told, ELSEWHERE, "the user's own settings are left alone");
    assert_eq!(it.griot(&["unlink", "pip", "--project", &project])[0]["state"], "restored");
    assert!(!conf.exists());
}

#[test]
fn uv_goes_there_and_back() {
    let Some(it) = Setting::new() else { return };
    let former = format!(
        "# mine\noffline = false\n\n[[index]]\nname = \"house\" # ours\nurl = {ELSEWHERE:?}\n\
         default = true\n"
    );
    write(&it.python.uv_toml(), &former);
    let linked = it.griot(&["link", "uv"])[0].clone();
    assert_eq!((&linked["changed"], &linked["proved"]), (&json!(true), &Value::Null), "{linked}");
    assert_eq!(it.upstreams()[0]["url"], ELSEWHERE);
    it.host("acme-demo");
    it.python.uv_pip("install", &["acme-demo"]);
    assert_eq!(it.python.says("acme_demo"), "acme-demo-1.0.0");
    assert_eq!(it.griot(&["unlink", "uv"])[0]["state"], "restored");
    assert_eq!(read(&it.python.uv_toml()), former);
}

#[test]
fn a_project_of_uv_is_linked_in_its_manifest() {
    let Some(it) = Setting::new() else { return };
    let former = format!(
        "[project]\nname = \"shop\"\nversion = \"1.0.0\"\nrequires-python = \">=3.9\"\n\
         dependencies = [\"acme-demo\"]\n\n[[tool.uv.index]]\nurl = {ELSEWHERE:?} # house\n\
         default = true\n\n[tool.uv.pip]\nno-build = true\n"
    );
    let manifest = it.project.join("pyproject.toml");
    write(&manifest, &former);
    it.host("acme-demo");
    let project = path(&it.project);
    let linked = it.griot(&["link", "uv", "--project", &project])[0].clone();
    assert_eq!(linked["file"].as_str(), manifest.to_str(), "{linked}");
    it.python.ok("uv", &it.project, &["sync"]);
    assert!(read(&it.project.join("uv.lock")).contains(&it.node.url("/pypi/simple")));
    assert_eq!(it.griot(&["unlink", "uv", "--project", &project])[0]["state"], "restored");
    assert_eq!(read(&manifest), former);
}

#[test]
fn twine_publishes_by_name_and_forgets_it_again() {
    let Some(it) = Setting::new() else { return };
    let pypirc = it.python.home().join(".pypirc");
    let former = "[distutils]\nindex-servers =\n    house\n\n[house]\nrepository = \
                  https://packages.test/legacy/\nusername = me\n";
    write(&pypirc, former);
    let told = it.told(&["link", "twine"]);
    assert!(told.contains("twine upload -r griot"), "{told}");
    assert!(it.upstreams().is_empty(), "nothing is adopted of who only publishes");
    let wheel = Distribution::wheel("acme-demo", "1.0.0").write(&it.world.folder("dist"));
    let upload = ["upload", "--non-interactive", "--disable-progress-bar", "-r", "griot"];
    let mut arguments = upload.to_vec();
    let wheel = path(&wheel);
    arguments.push(&wheel);
    it.python.ok("twine", &it.project, &arguments);
    let info = it.node.json(&["info", "acme-demo", "--format", "pypi"]);
    assert_eq!(info["versions"][0]["artifacts"][0]["held"], true, "{info}");
    assert_eq!(it.griot(&["unlink", "twine"])[0]["state"], "restored");
    assert_eq!(read(&pypirc), former);
    assert!(it.refused(&["link", "twine", "--project", "."]).contains("no settings of a project"));
}

#[test]
fn poetry_publishes_by_name_and_is_told_of_run_for_the_rest() {
    let Some(it) = Setting::new() else { return };
    write(&it.python.pip_conf(), &format!("[global]\nindex-url = {ELSEWHERE}\n"));
    let config = it.python.home().join(".config/pypoetry/config.toml");
    let former = "[virtualenvs]\nin-project = true # mine\n";
    write(&config, former);
    let told = it.told(&["link", "poetry", "--publish"]);
    assert!(told.contains("griot run -- poetry"), "{told}");
    let legacy = it.node.url("/pypi/legacy/");
    let url = it.python.ok("poetry", &it.project, &["config", "repositories.griot.url"]);
    assert_eq!(url, legacy);
    let manifest = "[project]\nname = \"acme-demo\"\nversion = \"1.0.0\"\n";
    write(&it.project.join("pyproject.toml"), manifest);
    Distribution::wheel("acme-demo", "1.0.0").write(&it.python.project("shop/dist"));
    it.python.ok("poetry", &it.project, &["publish", "-r", "griot"]);
    let info = it.node.json(&["info", "acme-demo", "--format", "pypi"]);
    assert_eq!(info["versions"][0]["version"], "1.0.0", "{info}");
    assert_eq!(it.griot(&["unlink", "poetry"])[0]["state"], "restored");
    assert_eq!(read(&config), former);
}

#[test]
fn the_registry_that_is_built_into_a_client_is_adopted_where_no_setting_names_one() {
    let Some(it) = Setting::new() else { return };
    let linked = it.griot(&["link", "uv", "--private"])[0].clone();
    let adopted = linked["adopted"][0]["url"].as_str().expect("something is adopted").to_owned();
    let help = it.python.ok("uv", &it.project, &["pip", "install", "--help"]);
    assert!(help.contains(adopted.trim_end_matches('/')), "{adopted}");
    it.griot(&["unlink", "uv"]);
    assert!(!it.python.uv_toml().exists());
}

#[test]
fn wheels_and_sdists_are_published_together_and_added_by_range() {
    let Some(it) = Setting::new() else { return };
    let dist = it.world.folder("dist");
    let wheel = Distribution::wheel("Acme.Demo", "1.2.0").write(&dist);
    let sdist = Distribution::sdist("Acme.Demo", "1.2.0").write(&dist);
    let done = it.griot(&["publish", &path(&wheel), &path(&sdist)]);
    let all = done.as_array().expect("a list of what was published");
    assert_eq!(all.len(), 2, "{done}");
    assert!(all.iter().all(|one| one["name"] == "acme-demo" && one["new"] == true), "{done}");
    let again = it.griot(&["publish", &path(&wheel), &path(&sdist)]);
    assert!(again.as_array().into_iter().flatten().all(|one| one["new"] == false), "{again}");

    it.griot(&["add", "pypi:acme-demo@>=1,<2"]);
    for file in [&wheel, &sdist] {
        let fetched = it.project.join(file.file_name().expect("a file has a name"));
        assert_eq!(fs_err::read(fetched).expect("it is here"), fs_err::read(file).expect("it is"));
    }
    let junk = dist.join("junk-1.0-py3-none-any.whl");
    write(&junk, "no archive");
    assert!(it.refused(&["publish", &path(&junk)]).contains("pypi"));
}

/// A backend without dependencies: what builds it is in the project itself.
const BACKEND: &str = r#"
import io, os, tarfile, zipfile
NAME = "acme_built-3.0"
META = "Metadata-Version: 2.1\nName: acme-built\nVersion: 3.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = NAME + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        info = NAME + ".dist-info/"
        archive.writestr("acme_built.py", "SAYS = 'built'\n")
        archive.writestr(info + "METADATA", META)
        archive.writestr(info + "WHEEL", WHEEL)
        archive.writestr(info + "RECORD", "")
    return name

def build_sdist(folder, config_settings=None):
    name = NAME + ".tar.gz"
    with tarfile.open(os.path.join(folder, name), "w:gz") as archive:
        for path in ["pyproject.toml", "backend.py"]:
            archive.add(path, NAME + "/" + path)
        meta = tarfile.TarInfo(NAME + "/PKG-INFO")
        meta.size = len(META)
        archive.addfile(meta, io.BytesIO(META.encode()))
    return name
"#;

#[test]
fn a_project_is_built_and_published_whole() {
    let Some(it) = Setting::new() else { return };
    let manifest = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\n\
                    backend-path = [\".\"]\n[project]\nname = \"acme-built\"\nversion = \"3.0\"\n";
    write(&it.project.join("pyproject.toml"), manifest);
    write(&it.project.join("backend.py"), BACKEND);
    let done = it.griot(&["publish"]);
    let files: Vec<&str> = done
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["files"][0]["filename"].as_str())
        .collect();
    assert_eq!(files, ["acme_built-3.0-py3-none-any.whl", "acme_built-3.0.tar.gz"], "{done}");
    assert!(!it.project.join("dist").exists(), "the project's own folder is not touched");
    it.python.configure(&it.node.url("/pypi/simple/"));
    it.python.pip(&["install", "acme-built"]);
    assert_eq!(it.python.says("acme_built"), "built");
}

/// An index with files for several platforms, and a project that needs them.
fn stub() -> Stub {
    let stub = Stub::start();
    stub.upload(Distribution::wheel("Acme.Pad", "1.0.0"));
    stub.upload(Distribution::wheel("Acme.Pad", "1.0.0").tags("cp311-cp311-win_amd64"));
    stub.upload(Distribution::sdist("Acme.Pad", "1.0.0"));
    stub.upload(Distribution::wheel("Acme.Pad", "2.0.0"));
    stub.upload(Distribution::wheel("left-pad", "1.3.0").requires("acme_pad<2"));
    stub
}

const SHOP: &str = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\n\
                    requires-python = \">=3.9\"\ndependencies = [\"left-pad\"]\n";

/// The lockfile of the project, made directly at the stub.
fn lock(it: &Setting, stub: &Stub, kind: &str) -> PathBuf {
    it.python.configure(&stub.simple_url());
    let source = format!(
        "\n[[tool.poetry.source]]\nname = \"stub\"\nurl = {:?}\npriority = \"primary\"\n",
        stub.simple_url()
    );
    let manifest = if kind == "poetry.lock" { format!("{SHOP}{source}") } else { SHOP.to_owned() };
    write(&it.project.join("pyproject.toml"), &manifest);
    let uv = |arguments: &[&str]| it.python.ok("uv", &it.project, arguments);
    match kind {
        "uv.lock" => drop(uv(&["lock"])),
        "poetry.lock" => drop(it.python.ok("poetry", &it.project, &["lock"])),
        "pylock.toml" => {
            uv(&["lock"]);
            uv(&["export", "--format", "pylock.toml", "-o", "pylock.toml"]);
            fs_err::remove_file(it.project.join("uv.lock")).expect("a file can be removed");
        }
        _ => {
            let out = ["-o", "requirements.txt"];
            uv(&[
                "pip",
                "compile",
                "--generate-hashes",
                "--universal",
                "pyproject.toml",
                out[0],
                out[1],
            ]);
        }
    }
    it.project.join(kind)
}

/// Prefetched by its lockfile, and proven with the cable out.
#[track_caller]
fn prefetched(it: &mut Setting, stub: &Stub, kind: &str) {
    let lockfile = lock(it, stub, kind);
    let before = read(&lockfile);
    it.node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    let check = |it: &Setting, code: i32| {
        let mut command = it.node.command(&["check", kind, "--json"]);
        let output = run(command.current_dir(&it.project), EVENTUALLY);
        assert_eq!(output.status.code(), Some(code), "{kind}: {}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("griot prints JSON")
    };
    let lacks = check(it, 3);
    assert_eq!((&lacks["packages"], &lacks["need"]), (&json!(2), &json!(2)), "{kind}: {lacks}");
    stub.forget_requests();
    let done = it.griot(&["prefetch"]);
    assert_eq!((&done["complete"], &done["failed"]), (&json!(true), &json!([])), "{kind}: {done}");
    let asked = |part: &str| stub.requests().iter().any(|seen| seen.path.ends_with(part));
    assert!(
        asked("-cp311-cp311-win_amd64.whl") && asked("-1.0.0.tar.gz"),
        "{kind}: a file of each"
    );
    assert_eq!(stub.count("-2.0.0-"), 0, "{kind}: what is not locked is not fetched");
    assert_eq!(it.griot(&["prefetch"])["fetched"], 0, "{kind}: what is held is fetched again");

    stub.switch(|s| s.black_hole = true);
    it.node.terminate();
    it.node.up();
    check(it, 0);
    assert_eq!(read(&lockfile), before, "{kind}: the lockfile is as it was");
}

#[test]
fn hashed_requirements_install_with_the_cable_out() {
    let Some(mut it) = Setting::new() else { return };
    let stub = stub();
    prefetched(&mut it, &stub, "requirements.txt");
    it.python.configure(&it.node.url("/pypi/simple/"));
    let list = path(&it.project.join("requirements.txt"));
    it.python.pip(&["install", "--no-cache-dir", "--require-hashes", "-r", &list]);
    assert_eq!(it.python.says("left_pad"), "left-pad-1.3.0");
}

#[test]
fn a_lockfile_of_uv_installs_with_the_cable_out_by_way_of_run() {
    let Some(mut it) = Setting::new() else { return };
    let stub = stub();
    prefetched(&mut it, &stub, "uv.lock");
    let run = it.python.by_way_of(&it.node);
    run.ok("uv", &it.project, &["sync", "--frozen", "--no-cache"]);
    let module = it.project.join(".venv");
    assert!(module.is_dir());
}

#[test]
fn a_lockfile_of_poetry_is_proven_with_the_cable_out() {
    let Some(mut it) = Setting::new() else { return };
    prefetched(&mut it, &stub(), "poetry.lock");
}

#[test]
fn a_pylock_is_proven_with_the_cable_out() {
    let Some(mut it) = Setting::new() else { return };
    prefetched(&mut it, &stub(), "pylock.toml");
}

#[test]
fn a_lockfile_that_names_the_node_is_reported_and_mended() {
    let Some(it) = Setting::new() else { return };
    let stub = stub();
    let lockfile = lock(&it, &stub, "uv.lock");
    let clean = read(&lockfile);
    fs_err::remove_file(&lockfile).expect("a file can be removed");
    it.node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    it.python.configure(&it.node.url("/pypi/simple/"));
    it.python.ok("uv", &it.project, &["lock", "--no-cache"]);
    assert!(read(&lockfile).contains(it.node.address()), "uv writes down where it asked");
    it.griot(&["prefetch"]);
    let checked = it.griot(&["check", "--fix"]);
    assert!(checked["fixed"].as_u64() > Some(0), "{checked}");
    assert!(!read(&lockfile).contains(it.node.address()), "{}", read(&lockfile));
    let plain = |text: &str| text.replace("/simple/\"", "/simple\"");
    assert_eq!(plain(&read(&lockfile)), plain(&clean));
}
