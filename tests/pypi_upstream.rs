//! pip and uv through a node with an upstream of PyPI: a full one, a poor one, a company's mirror
//! with its files on another port. What was installed once installs again with the upstream gone,
//! and at a neighbour that never saw it.
//!
//! What realms publish is in `pypi.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::{clean, skip};
use crate::harness::samples::sha256;
use crate::harness::upstream::{Distribution, Raw, Stub};
use crate::harness::wait::{run, run_ok, said};
use crate::harness::{EVENTUALLY, Node, Request, World, wait_for};

/// Clients take seconds to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(150);
/// For an honest miss; 1.5 s are promised, on a machine that does nothing else.
const SOON: Duration = Duration::from_secs(5);
const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
/// A program of Python's; skips the running test without it.
fn tool(name: &str) -> Option<PathBuf> {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = cli.parent().expect("the crate lies in the tree");
    let program = root.join("target/tools/python/bin").join(name);
    if !program.is_file() {
        skip(&format!("needs {name} of Python: tests/run installs it"));
        return None;
    }
    Some(program)
}

/// A wheel, and the METADATA in it.
struct Wheel {
    name: String,
    file: String,
    bytes: Vec<u8>,
    metadata: Vec<u8>,
}

fn wheel((name, version): (&str, &str), needs: &str, python: &str) -> Wheel {
    let plain = Distribution::wheel(name, version).requires_python(python);
    let it = needs.split_whitespace().fold(plain, Distribution::requires);
    let (file, bytes, metadata) = (it.filename(), it.bytes(), it.metadata().into_bytes());
    Wheel { name: name.to_owned(), file, bytes, metadata }
}

/// What people have behind griot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// JSON with all that there is.
    Full,
    /// HTML with relative URLs and checksums in fragments, and nothing else.
    Poor,
    /// HTML; the files are on another port, and METADATA is beside them under its older name.
    Mirror,
}

/// An outside index on loopback.
struct Index {
    stub: Stub,
    kind: Kind,
}

impl Index {
    fn new(kind: Kind) -> Self {
        Self { stub: Stub::start(), kind }
    }

    fn url(&self) -> String {
        format!("{}simple/", self.stub.url())
    }

    /// A page with these wheels; beside each what the page says of it, in the terms of JSON.
    fn page(&self, name: &str, wheels: &[(&Wheel, Value)]) {
        let files: Vec<Value> = wheels.iter().map(|(wheel, more)| self.file(wheel, more)).collect();
        let raw = if self.kind == Kind::Full {
            let meta = json!({ "api-version": "1.1", "_last-serial": 7 });
            let page = json!({ "meta": meta, "name": name, "files": files, "versions": [] });
            Raw::ok(JSON, page.to_string())
        } else {
            let links: String = files.iter().map(link).collect();
            Raw::ok("text/html", format!("<html><h1>Links for {name}</h1>\n{links}</html>"))
        };
        self.stub.raw(&format!("/simple/{name}/"), raw);
    }

    fn file(&self, wheel: &Wheel, more: &Value) -> Value {
        let Wheel { file, bytes, metadata, .. } = wheel;
        let path = format!("/packages/{}", file.replace('+', "%2B"));
        self.stub.raw(&path, Raw::ok("application/octet-stream", bytes.clone()));
        let base = match self.kind {
            Kind::Full => self.stub.url(),
            Kind::Poor => "../../".to_owned(),
            Kind::Mirror => self.stub.other_url(),
        };
        let url = format!("{base}{}", &path[1..]);
        let mut said =
            json!({ "filename": file, "url": url, "hashes": { "sha256": sha256(bytes) } });
        if self.kind != Kind::Poor {
            let beside = Raw::ok("application/octet-stream", metadata.clone());
            self.stub.raw(&format!("{path}.metadata"), beside);
            said["core-metadata"] = json!({ "sha256": sha256(metadata) });
        }
        let more = more.as_object().expect("it is an object").clone();
        said.as_object_mut().expect("it is an object").extend(more);
        said
    }

    /// `shifts`, which needs a `drum` of which not every version will do.
    fn stock(&self) {
        let make = |name, version, needs, python| wheel((name, version), needs, python);
        let shifts = make("shifts", "1.0", "drum>=1.0", ">=3.8");
        self.page("shifts", &[(&shifts, json!({ "requires-python": ">=3.8" }))]);
        let plain = json!({ "requires-python": ">=3.8" });
        self.page(
            "drum",
            &[
                (&make("drum", "1.0", "", ">=3.8"), plain.clone()),
                (&make("drum", "1.1", "", ">=3.8"), plain.clone()),
                (
                    &make("drum", "2.0", "", ">=3.8"),
                    json!({ "requires-python": ">=3.8", "yanked": "it \"breaks\" <b>" }),
                ),
                (&make("drum", "9.0", "", ">=99"), json!({ "requires-python": ">=99" })),
            ],
        );
    }
}

/// A link of a poor page to what JSON would say.
fn link(file: &Value) -> String {
    let text = |key: &str| file[key].as_str().unwrap_or_default();
    let escaped = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let sum = file["hashes"]["sha256"].as_str().map(|sum| format!("#sha256={sum}"));
    let mut link = format!("<a href=\"{}{}\"", text("url"), sum.unwrap_or_default());
    for (key, attribute) in [("requires-python", "requires-python"), ("yanked", "yanked")] {
        if file[key].is_string() {
            link.push_str(&format!(" data-{attribute}=\"{}\"", escaped(text(key))));
        }
    }
    if let Some(sum) = file["core-metadata"]["sha256"].as_str() {
        link.push_str(&format!(" data-dist-info-metadata=\"sha256={sum}\""));
    }
    format!("{link}>{}</a><br/>\n", escaped(text("filename")))
}

/// A client of Python in a home of its own, with nothing in its caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Pip,
    Uv,
}

const CLIENTS: [Client; 2] = [Client::Pip, Client::Uv];

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
        }
    }

    /// Sets what keeps it off this machine's own settings.
    fn shut_off(command: &mut Command, home: &Path) {
        command.env("HOME", home).env("PIP_CONFIG_FILE", "/dev/null");
        command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_INPUT", "1");
        command.env("UV_NO_CONFIG", "1").env("UV_PYTHON_DOWNLOADS", "never");
        command.env("UV_CACHE_DIR", home.join("uv"));
    }

    /// The words of an install into a folder.
    fn words(self, home: &Path, index: &str, what: &[&str]) -> Vec<String> {
        let program = |name| tool(name).expect("it was there before").display().to_string();
        let target = home.join("installed").display().to_string();
        let words = match self {
            Self::Pip => vec![program("pip"), "install".to_owned()],
            Self::Uv => {
                let python = program("python");
                [&program("uv"), "pip", "install", "--python", &python].map(str::to_owned).to_vec()
            }
        };
        let more = ["--index-url", index, "--target", &target];
        words.into_iter().chain(more.iter().chain(what).map(|word| (*word).to_owned())).collect()
    }

    fn command(self, home: &Path, index: &str, what: &[&str]) -> Command {
        let words = self.words(home, index, what);
        let mut command = clean(&words[0]);
        command.args(&words[1..]);
        Self::shut_off(&mut command, home);
        command
    }
}

#[track_caller]
fn install(world: &World, name: &str, client: Client, node: &Node) {
    let home = world.folder(&format!("{}-{name}", client.name()));
    let index = node.url("/pypi/simple/");
    let output = run(&mut client.command(&home, &index, &["shifts"]), LIMIT);
    assert!(output.status.success(), "{name}: {} {}", said(&output), node.logs());
    check_installed(&home);
}

#[track_caller]
fn check_installed(home: &Path) {
    for (module, says) in [("shifts", "shifts-1.0"), ("drum", "drum-1.1")] {
        let file = home.join("installed").join(format!("{module}.py"));
        let text = fs_err::read_to_string(file).expect("the module was installed");
        assert_eq!(text, format!("SAYS = {says:?}\n"));
    }
}

fn refused(world: &World, name: &str, client: Client, node: &Node) -> String {
    let home = world.folder(&format!("{}-{name}", client.name()));
    let index = node.url("/pypi/simple/");
    let output = run(&mut client.command(&home, &index, &[name]), LIMIT);
    assert!(!output.status.success(), "{}", said(&output));
    said(&output)
}

fn page(node: &Node, name: &str) -> Value {
    let path = format!("/pypi/simple/{name}/");
    let reply = node.send(&Request::get(&path).header("accept", JSON));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some(JSON));
    reply.json()
}

fn names(page: &Value) -> Vec<&str> {
    let files = page["files"].as_array().expect("a page has files");
    files.iter().map(|file| file["filename"].as_str().expect("a file has a name")).collect()
}

/// The path at the node of a file of a page.
fn path_of(file: &Value) -> String {
    let url = file["url"].as_str().expect("a file has a URL");
    format!("/pypi/{}", url.strip_prefix("../../").expect("it is relative to the page"))
}

fn adopt(node: &Node, index: &Index) {
    node.json(&["upstream", "add", "pypi", &index.url()]);
}

fn there_and_gone(kind: Kind) {
    let (Some(_), Some(_)) = (tool("pip"), tool("uv")) else { return };
    let world = World::new();
    let index = Index::new(kind);
    index.stock();
    let mut node = world.node("a");
    adopt(&node, &index);
    let all = page(&node, "drum");
    assert_eq!(names(&all).len(), 4, "{all}");
    assert_eq!(all["files"][2]["yanked"], "it \"breaks\" <b>");
    assert_eq!(all["files"][3]["requires-python"], ">=99");
    for client in CLIENTS {
        install(&world, "there", client, &node);
    }

    drop(index);
    node.kill9();
    node.up();
    for client in CLIENTS {
        install(&world, "gone", client, &node);
    }
    let told = refused(&world, "no-such-drum", Client::Uv, &node);
    assert!(told.contains("424"), "{told}");
    refused(&world, "no-such-drum", Client::Pip, &node);
    let asked = Instant::now();
    let reply = node.get("/pypi/simple/no-such-drummer/");
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
    assert!(reply.text().contains("no copy is held"), "{}", reply.text());
    let held = page(&node, "drum");
    assert_eq!(names(&held), ["drum-1.1-py3-none-any.whl"], "{held}");
    assert!(held["files"][0]["core-metadata"]["sha256"].is_string(), "{held}");
}

#[test]
fn pip_and_uv_install_from_a_full_index_and_again_with_it_gone() {
    there_and_gone(Kind::Full);
}

#[test]
fn pip_and_uv_install_from_a_poor_index_and_again_with_it_gone() {
    there_and_gone(Kind::Poor);
}

#[test]
fn pip_and_uv_install_from_a_mirror_with_its_files_elsewhere_and_again_with_it_gone() {
    there_and_gone(Kind::Mirror);
}

#[test]
fn a_second_node_that_never_saw_the_index_installs_what_the_first_one_has() {
    let (Some(_), Some(_)) = (tool("pip"), tool("uv")) else { return };
    let world = World::new();
    let index = Index::new(Kind::Full);
    index.stock();
    let a = world.node("a");
    a.json(&["upstream", "add", "pypi", &index.url(), "--site"]);
    install(&world, "at-a", Client::Pip, &a);
    drop(index);
    let b = world.node("b");
    b.json(&["join", &a.invite(), "--yes"]);
    for client in CLIENTS {
        install(&world, "at-b", client, &b);
    }
    let why = b.griot(&["why", "drum", "--format", "pypi"]);
    assert!(why.contains("receipt"), "on what ground is it believed: {why}");
}

#[test]
fn a_private_name_is_never_asked_of_the_index() {
    let (Some(_), Some(twine)) = (tool("pip"), tool("twine")) else { return };
    let world = World::new();
    let index = Index::new(Kind::Full);
    let stranger = wheel(("drum", "9.9"), "", ">=3.8");
    index.page("drum", &[(&stranger, json!({}))]);
    let node = world.node("a");
    adopt(&node, &index);
    let own = wheel(("drum", "1.0"), "", ">=3.8");
    let file = world.folder("wheels").join(&own.file);
    fs_err::write(&file, &own.bytes).expect("a file can be written in the test's folder");
    let mut command = clean(twine);
    Client::shut_off(&mut command, &world.folder("twine"));
    command.args(["upload", "--non-interactive", "--repository-url"]);
    command.arg(node.url("/pypi/legacy/")).args(["-u", "__token__", "-p"]);
    run_ok(command.arg(node.token("publish")).arg(file), LIMIT);
    assert_eq!(names(&page(&node, "drum")), [own.file.as_str()], "of {}", own.name);
    let home = world.folder("pip");
    let index_url = node.url("/pypi/simple/");
    run_ok(&mut Client::Pip.command(&home, &index_url, &["drum"]), LIMIT);
    let text = fs_err::read_to_string(home.join("installed/drum.py")).expect("it was installed");
    assert_eq!(text, "SAYS = \"drum-1.0\"\n");
    let path = format!("/pypi/files/drum/{}/{}", sha256(&stranger.bytes), stranger.file);
    assert_eq!(node.get(&path).status, 404);
    assert_eq!(index.stub.count("drum"), 0, "{:?}", index.stub.requests());
}

#[test]
fn a_poor_index_is_improved_and_what_it_says_stays() {
    let Some(_) = tool("python") else { return };
    let world = World::new();
    let index = Index::new(Kind::Poor);
    let drum = wheel(("drum", "1.0+cu12"), "", ">=3.8");
    index.page("drum", &[(&drum, json!({ "requires-python": ">=3.8" }))]);
    let node = world.node("a");
    adopt(&node, &index);
    let before = page(&node, "drum");
    let file = &before["files"][0];
    assert_eq!(file["core-metadata"], false, "{before}");
    assert_eq!(file["requires-python"], ">=3.8");
    assert!(file.get("upload-time").is_none() && before["versions"] == json!(["1.0+cu12"]));
    let path = path_of(file);
    assert!(path.contains("1.0%2Bcu12"), "{path}");
    assert_eq!(node.get(&path).body, drum.bytes);
    let wrong = path.replace(&sha256(&drum.bytes), &"0".repeat(64));
    assert_eq!(node.get(&wrong).status, 404, "another checksum is another file");

    let after = page(&node, "drum");
    let sum = sha256(&drum.metadata);
    assert_eq!(after["files"][0]["core-metadata"]["sha256"], sum, "{after}");
    assert_eq!(node.get(&format!("{path}.metadata")).body, drum.metadata);
    let reply = node.send(&Request::get("/pypi/simple/drum/").header("accept", HTML));
    let html = reply.text();
    assert_eq!(reply.header("content-type"), Some(HTML));
    assert!(html.contains(&format!("data-core-metadata=\"sha256={sum}\"")), "{html}");
    assert!(html.contains("data-requires-python=\"&gt;=3.8\"") && html.contains("<br/>"), "{html}");
    let part = node.send(&Request::get(&path).header("range", "bytes=2-5"));
    assert_eq!((part.status, part.body.as_slice()), (206, &drum.bytes[2..6]));
    let beyond = node.send(&Request::get(&path).header("range", "bytes=9999999-"));
    assert_eq!(beyond.status, 416);
    let head = node.send(&Request::new("HEAD", &path));
    let length = drum.bytes.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
    let refused = node.send(&Request::get("/pypi/simple/drum/").header("accept", "image/png"));
    assert_eq!(refused.status, 406);
    let reply = node.get("/pypi/simple/drum/?format=application/vnd.pypi.simple.v1%2Bjson");
    assert_eq!(reply.header("content-type"), Some(JSON));
    assert!(reply.header("vary").is_some_and(|vary| vary.contains("Accept")));
}

#[test]
fn junk_among_the_files_can_be_downloaded_and_a_login_page_is_no_index() {
    let world = World::new();
    let index = Index::new(Kind::Poor);
    let sum = "md5=d41d8cd98f00b204e9800998ecf8427e";
    let links = format!(
        "<a href=\"../../packages/READ.ME\">READ.ME</a><br><a href=\"../\">up</a>\
         <a href=\"../../packages/Dr.um-1.0.zip#{sum}\">x</a>"
    );
    let meta = "<meta name=\"pypi:project-status\" content=\"archived\">";
    let body = format!("{meta}<h1>Links for dr-um</h1>{links}");
    index.stub.raw("/simple/dr-um/", Raw::ok("text/html", body));
    index.stub.raw("/packages/READ.ME", Raw::ok("text/plain", "read me"));
    index.stub.raw("/packages/Dr.um-1.0.zip", Raw::ok("application/zip", ""));
    let node = world.node("a");
    adopt(&node, &index);
    let reply = node.get("/pypi/simple/Dr..Um/");
    assert_eq!((reply.status, reply.header("location")), (301, Some("../dr-um/")));
    let found = page(&node, "dr-um");
    assert_eq!(names(&found), ["READ.ME", "Dr.um-1.0.zip"]);
    assert_eq!(found["project-status"]["status"], "archived", "{found}");
    for (file, body) in [(0, "read me"), (1, "")] {
        let reply = node.get(&path_of(&found["files"][file]));
        assert_eq!((reply.status, reply.text().as_str()), (200, body));
    }
    index.stub.switch(|s| s.portal = true);
    let reply = node.get("/pypi/simple/tambour/");
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(reply.text().contains("login page"), "{}", reply.text());
}

#[test]
fn a_page_that_contradicts_a_wheel_raises_an_alarm_and_stays_as_it_is() {
    let Some(_) = tool("python") else { return };
    let world = World::new();
    let index = Index::new(Kind::Full);
    let drum = wheel(("drum", "1.0"), "", ">=3.8");
    let more = json!({ "requires-python": ">=3.11", "x-own": "a <word>", "x-list": [1] });
    index.page("drum", &[(&drum, more)]);
    let node = world.node("a");
    adopt(&node, &index);
    let found = page(&node, "drum");
    assert_eq!(found["meta"]["_last-serial"], 7, "unknown members survive: {found}");
    assert_eq!(found["files"][0]["x-list"], json!([1]));
    let html = node.send(&Request::get("/pypi/simple/drum/").header("accept", HTML)).text();
    assert!(html.contains(" data-x-own=\"a &lt;word&gt;\"") && !html.contains("x-list"), "{html}");
    assert_eq!(node.get(&path_of(&found["files"][0])).body, drum.bytes);
    wait_for("an alarm", EVENTUALLY, || {
        let why = node.griot(&["why", "drum", "--format", "pypi"]);
        if why.contains("do not say the same") { Ok(()) } else { Err(why) }
    });
    assert_eq!(page(&node, "drum")["files"][0]["requires-python"], ">=3.11");
}

#[test]
fn by_run_a_client_sees_the_indexs_own_urls_and_the_node_keeps_the_files() {
    let (Some(_), Some(_)) = (tool("pip"), tool("uv")) else { return };
    let world = World::new();
    let index = Index::new(Kind::Mirror);
    index.stock();
    let node = world.node("a");
    adopt(&node, &index);
    let canonical = Request::get("/pypi/simple/drum/").header("x-griot-urls", "canonical");
    let reply = node.send(&canonical.header("accept", HTML));
    assert!(reply.text().contains(&format!("{}packages/", index.stub.other_url())));
    let url = index.url();
    let through = |client: Client, name: &str| {
        let home = world.folder(&format!("{}-{name}", client.name()));
        let words = client.words(&home, &url, &["shifts"]);
        let words: Vec<&str> =
            ["run", "--"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let mut command = node.command(&words);
        Client::shut_off(&mut command, &home);
        let output = run(&mut command, LIMIT);
        assert!(output.status.success(), "{name}: {} {}", said(&output), node.logs());
        check_installed(&home);
    };
    for client in CLIENTS {
        through(client, "there");
    }
    let held = node.version("pypi", "drum", "1.1");
    let held = held["artifacts"].as_array().expect("a version has artifacts").iter();
    let is_wheel = |file: &Value| file["filename"].as_str().is_some_and(|f| f.ends_with(".whl"));
    let kept = held.filter(|file| file["held"] == true && is_wheel(file)).count();
    assert_eq!(kept, 1, "the file passed through the node");
    drop(index);
    for client in CLIENTS {
        through(client, "gone");
    }
}

/// What Python itself opens, and where redirects lead it.
const OPEN: &str = "import sys, urllib.request; \
                    print(urllib.request.urlopen(sys.argv[1]).geturl())";

#[test]
fn by_run_a_name_that_is_not_normal_leads_to_the_page_at_the_index() {
    let Some(python) = tool("python") else { return };
    let world = World::new();
    let index = Index::new(Kind::Full);
    index.stock();
    let node = world.node("a");
    adopt(&node, &index);
    let (url, python) = (format!("{}Drum", index.url()), python.display().to_string());
    let mut command = node.command(&["run", "--", &python, "-c", OPEN, &url]);
    Client::shut_off(&mut command, &world.folder("home"));
    let opened = run_ok(&mut command, LIMIT);
    assert_eq!(opened.trim(), format!("{}drum/", index.url()));
}

#[test]
fn a_page_that_the_index_redirects_names_files_relative_to_where_it_lies() {
    let Some(_) = tool("python") else { return };
    let world = World::new();
    let stub = Stub::start();
    let drum = wheel(("drum", "1.0"), "", ">=3.8");
    let body = json!({
        "meta": { "api-version": "1.1" }, "name": "drum", "versions": ["1.0"],
        "files": [{
            "filename": drum.file, "url": format!("../wheels/{}", drum.file),
            "hashes": { "sha256": sha256(&drum.bytes) }, "requires-python": ">=3.8",
        }],
    });
    let away = format!("{}far/away/drum/", stub.other_url());
    stub.raw("/simple/drum/", Raw::redirect(302, &away));
    stub.raw("/far/away/drum/", Raw::ok(JSON, body.to_string()));
    let path = format!("/far/away/wheels/{}", drum.file);
    stub.raw(&path, Raw::ok("application/octet-stream", drum.bytes.clone()));
    let node = world.node("a");
    node.griot(&["upstream", "add", "pypi", &format!("{}simple/", stub.url())]);
    let found = page(&node, "drum");
    assert_eq!(node.get(&path_of(&found["files"][0])).body, drum.bytes);
    // Who keeps the upstream's URLs knows of no redirect.
    let canonical = Request::get("/pypi/simple/drum/").header("x-griot-urls", "canonical");
    let reply = node.send(&canonical.header("accept", JSON));
    let url = format!("{}far/away/wheels/{}", stub.other_url(), drum.file);
    assert_eq!(reply.json()["files"][0]["url"], url);
    let hosts = reply.header("x-griot-hosts").unwrap_or_default().to_owned();
    assert!(hosts.contains(stub.other_url().trim_end_matches('/')), "{hosts}");
    let older = Request::get("/pypi/drum/1.0/json").header("x-griot-urls", "canonical");
    assert_eq!(node.send(&older).json()["urls"][0]["url"], url);
    let at = format!("/pypi/at?url={}", url.replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(node.get(&at).body, drum.bytes, "it is known by its URL");
}
