//! `griot run`: real clients through its proxy, with an upstream and a node that are both stubs,
//! so that each request is seen at one of the two.
//!
//! The node of these tests answers what a node answers, from fixed bytes, and keeps every request;
//! the proxy cannot tell. The same lockfiles with a real node: `tests/link.rs` and its kin.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::harness::client::{clean, find, skip};
use crate::harness::upstream::{Raw, Seen, Stub};
use crate::harness::wait::{run, said, wait_exit};
use crate::harness::{Client, TlsFront, World};

const GRIOT: &str = env!("CARGO_BIN_EXE_griot");
const LIMIT: Duration = Duration::from_secs(150);
/// Name, version, and what it depends on.
const PACKAGES: [(&str, &str, Option<&str>); 3] = [
    ("pad", "1.0.0", None),
    ("left-pad", "1.3.0", Some("pad")),
    ("@village/shifts", "2.0.0", Some("left-pad")),
];
const MANIFEST: &str = r#"{
  "name": "project",
  "version": "1.0.0",
  "private": true,
  "dependencies": { "@village/shifts": "^2.0.0" }
}
"#;

/// An upstream, and a node that has adopted it.
struct Scene {
    world: World,
    upstream: Stub,
    front: Option<TlsFront>,
    node: Stub,
}

impl Scene {
    /// The upstream speaks TLS, or plain HTTP.
    fn new(tls: bool) -> Self {
        let world = World::new();
        let upstream = Stub::start();
        // One form of each document: the node of these tests has no other.
        upstream.switch(|s| s.crippled = true);
        let authority = world.path().join("outside.pem");
        let front = tls.then(|| TlsFront::to(socket(&upstream.url()), &authority));
        let scene = Self { world, upstream, front, node: Stub::start() };
        scene.publish();
        scene.teach_the_node();
        scene
    }

    /// Base URL of the upstream, as clients are configured.
    fn registry(&self) -> String {
        self.front.as_ref().map_or_else(|| self.upstream.url(), TlsFront::url)
    }

    fn publish(&self) {
        for (name, version, needs) in PACKAGES {
            let tarball = format!("{}{}", self.registry(), tarball(name, version));
            self.upstream.publish(name, version, |release| {
                let release = release.claim("dist", json!({ "tarball": tarball }));
                needs.into_iter().fold(release, |release, needs| release.dependency(needs, "^1"))
            });
        }
    }

    /// Gives the node the upstream's bytes, and a home with a file that says where it listens.
    fn teach_the_node(&self) {
        let row = json!({
            "of": "own", "format": "npm", "url": self.registry(), "origin": "00".repeat(32),
            "default": true, "site": false, "patterns": [], "same_as": [], "credential": false,
            "reachable": true,
        });
        let list = json!([row]).to_string();
        self.node.raw("/api/admin/upstreams", Raw::ok("application/json", list));
        for (name, version, _) in PACKAGES {
            let body = self.upstream.bytes(&format!("/{name}"), "").expect("it was published");
            for path in [name.to_owned(), name.replace('/', "%2f"), name.replace('/', "%2F")] {
                let raw = Raw::ok("application/json", body.clone());
                self.node.raw(&format!("/npm/{path}"), raw);
            }
            let path = tarball(name, version);
            let body = self.upstream.bytes(&format!("/{path}"), "").expect("it was published");
            // Berry writes the slash of a scope as it does in documents' paths.
            for path in [path.clone(), path.replacen("/shifts", "%2fshifts", 1)] {
                let raw = Raw::ok("application/octet-stream", body.clone());
                self.node.raw(&format!("/npm/{path}"), raw);
            }
        }
        let http = self.node.url().trim_end_matches('/').to_owned();
        let file = json!({ "pid": 1, "http": http, "token": "t", "version": "0.1.0" });
        let home = self.world.folder("griot");
        fs_err::write(home.join("node.json"), file.to_string()).expect("a file can be written");
    }

    fn home(&self) -> PathBuf {
        self.world.folder("griot")
    }

    /// `griot run -- …` with an environment as empty as that of other clients of tests.
    fn griot_run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = clean(GRIOT);
        command.arg("--home").arg(self.home()).args(["run", "--"]).args(arguments);
        command.env("HOME", self.world.folder("nobody"));
        command.current_dir(self.world.path());
        self.trust(&mut command);
        command
    }

    /// What a person sets who is behind such an upstream.
    fn trust(&self, command: &mut Command) {
        if let Some(front) = &self.front {
            command.env("SSL_CERT_FILE", front.authority());
            command.env("NODE_EXTRA_CA_CERTS", front.authority());
        }
    }

    /// yarn 1 trusts whom this setting names, and nobody whom node's variable does.
    fn cafile(&self, client: Client) -> String {
        let front = self.front.as_ref().filter(|_| client == Client::Yarn1);
        front.map_or_else(String::new, |front| format!("cafile={}\n", front.authority().display()))
    }

    /// A new project with a new home for the client, pointed at the upstream.
    fn project(&self, client: Client, name: &str) -> (PathBuf, PathBuf) {
        let home = self.world.folder(&format!("{}-{name}", client.name()));
        let folder = self.world.folder(&format!("{}-{name}/project", client.name()));
        fs_err::write(folder.join("package.json"), MANIFEST).expect("a manifest can be written");
        let registry = self.registry();
        let (file, text) = match client {
            Client::Berry => {
                let http = "unsafeHttpWhitelist: [\"127.0.0.1\"]";
                (".yarnrc.yml", format!("npmRegistryServer: {registry:?}\n{http}\n"))
            }
            _ => (".npmrc", format!("registry={registry}\n{}", self.cafile(client))),
        };
        fs_err::write(home.join(file), text).expect("a configuration can be written");
        (home, folder)
    }

    /// The lockfile that an install makes, directly or through `griot run`.
    fn lockfile(&self, client: Client, through: bool) -> String {
        let (home, folder) = self.project(client, if through { "through" } else { "direct" });
        let mut command = if through {
            let program = client.folder().join(client.program());
            self.griot_run(&[program])
        } else {
            client.command(&home)
        };
        self.trust(&mut command);
        command.envs(client.variables(&home)).args(install(client)).current_dir(&folder);
        let output = run(&mut command, LIMIT);
        assert!(output.status.success(), "{}: {}", client.name(), said(&output));
        let lockfile = folder.join(client.lockfile());
        let lockfile = fs_err::read_to_string(&lockfile);
        lockfile.unwrap_or_else(|error| panic!("{}: {error}; {}", client.name(), said(&output)))
    }

    /// Installs twice and compares; all that the second asks must have come to the node.
    fn compare(&self, client: Client) {
        let direct = self.lockfile(client, false);
        assert!(self.upstream.count(".tgz") >= PACKAGES.len(), "{}", client.name());
        self.upstream.forget_requests();
        self.node.forget_requests();
        let through = self.lockfile(client, true);
        assert_eq!(direct, through, "{}", client.name());
        let bypassed: Vec<String> = paths(&self.upstream);
        assert!(bypassed.is_empty(), "{} asked the upstream: {bypassed:?}", client.name());
        for (name, version, _) in PACKAGES {
            let file = format!("/npm/{}", tarball(name, version));
            let asked = paths(&self.node).iter().any(|path| path.replace("%2f", "/") == file);
            assert!(asked, "{}: {file}", client.name());
        }
        for seen in self.node.requests().iter().filter(|seen| seen.path.starts_with("/npm/")) {
            assert_eq!(seen.header("x-griot-urls"), Some("canonical"), "{seen:?}");
            assert_eq!(seen.status, Some(200), "{seen:?}");
        }
        self.upstream.forget_requests();
    }
}

fn socket(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().expect("stubs listen on an address")
}

fn tarball(name: &str, version: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    format!("{name}/-/{base}-{version}.tgz")
}

fn paths(stub: &Stub) -> Vec<String> {
    stub.requests().into_iter().map(|seen| seen.path).collect()
}

const fn install(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => {
            &["install", "--no-audit", "--no-fund"]
        }
        Client::Yarn1 => &["install", "--non-interactive"],
        Client::Pnpm | Client::Berry | Client::Bun => &["install"],
    }
}

#[test]
fn with_every_client_the_lockfile_is_the_one_made_without_us() {
    let scene = Scene::new(true);
    for client in Client::ALL.into_iter().filter(|client| client.is_there()) {
        scene.compare(client);
    }
}

#[test]
fn an_upstream_on_plain_http_is_taken_over_as_well() {
    let scene = Scene::new(false);
    let clients = [Client::Npm11, Client::Pnpm, Client::Yarn1, Client::Berry, Client::Bun];
    for client in clients.into_iter().filter(|client| client.is_there()) {
        scene.compare(client);
    }
}

#[test]
fn a_publish_goes_to_the_upstream_with_the_clients_own_token() {
    let scene = Scene::new(true);
    if !Client::Npm11.is_there() {
        return;
    }
    let created = Raw { status: 201, ..Raw::ok("application/json", r#"{"ok":true}"#) };
    scene.upstream.raw("/fresh", created);
    let (home, folder) = scene.project(Client::Npm11, "publisher");
    let manifest = json!({ "name": "fresh", "version": "1.0.0" }).to_string();
    fs_err::write(folder.join("package.json"), manifest).expect("a manifest can be written");
    let registry = scene.registry();
    let key = registry.trim_start_matches("https:");
    let settings = format!("registry={registry}\n{key}:_authToken=secret-of-a-person\n");
    fs_err::write(home.join(".npmrc"), settings).expect("a configuration can be written");
    let program = Client::Npm11.folder().join("npm");
    let mut command = scene.griot_run(&[program.as_os_str(), "publish".as_ref()]);
    command.envs(Client::Npm11.variables(&home)).current_dir(&folder);
    let output = run(&mut command, LIMIT);
    assert!(output.status.success(), "{}", said(&output));
    let is_put = |seen: &&Seen| seen.method == "PUT";
    let requests = scene.upstream.requests();
    let put = requests.iter().find(is_put).expect("the upstream saw the publish");
    assert_eq!(put.path, "/fresh");
    assert_eq!(put.header("authorization"), Some("Bearer secret-of-a-person"));
    let at_the_node = scene.node.requests();
    assert!(at_the_node.iter().all(|seen| seen.method != "PUT"), "{at_the_node:?}");
    // The credential of the admin API is the command's own; the person's token stays outside.
    let token = |seen: &&Seen| seen.header("authorization") == Some("Bearer secret-of-a-person");
    assert!(!at_the_node.iter().any(|seen| token(&seen)), "{at_the_node:?}");
}

#[test]
fn the_child_decides_the_exit_code_and_all_that_is_printed() {
    let scene = Scene::new(true);
    for (script, code, out) in [
        ("echo out; echo err >&2; exit 7", 7, "out\n"),
        ("exit 0", 0, ""),
        ("kill -KILL $$", 128 + 9, ""),
    ] {
        let output = run(&mut scene.griot_run(&["sh", "-c", script]), LIMIT);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", said(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{script}");
    }
    let output = run(&mut scene.griot_run(&["griot-no-such-command"]), LIMIT);
    assert_eq!(output.status.code(), Some(127), "{}", said(&output));
    assert!(said(&output).contains("hint: griot run -- COMMAND"), "{}", said(&output));
}

#[test]
fn a_signal_reaches_the_child_which_ends_in_its_own_way() {
    let scene = Scene::new(true);
    for (signal, code) in [("TERM", 41), ("INT", 42)] {
        let script = "trap 'exit 41' TERM; trap 'exit 42' INT; echo ready; \
                      while :; do sleep 0.05; done";
        let mut command = scene.griot_run(&["sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(stdout).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        let kill = format!("kill -{signal} {}", child.id());
        assert!(run(clean("sh").args(["-c", &kill]), LIMIT).status.success());
        let status = wait_exit(&mut child, LIMIT).expect("the child takes the signal");
        assert_eq!(status.code(), Some(code), "{signal}");
    }
}

/// curl inside `griot run`; `authority` replaces what the run trusts.
fn curl(scene: &Scene, url: &str, authority: Option<&Path>) -> Output {
    let mut arguments = vec!["curl".into(), "--disable".into(), "--silent".into()];
    arguments.extend(["--show-error", "--fail", "--noproxy", "", url].map(Into::into));
    if let Some(authority) = authority {
        arguments.extend(["--cacert".into(), authority.as_os_str().to_owned()]);
    }
    run(&mut scene.griot_run(&arguments), LIMIT)
}

#[test]
fn only_the_adopted_host_is_opened_and_others_are_not_looked_into() {
    if find("curl").is_none() {
        return skip("needs curl");
    }
    let scene = Scene::new(true);
    let other = Stub::start();
    other.publish("elsewhere", "1.0.0", |release| release);
    let authority = scene.world.path().join("other.pem");
    let other_front = TlsFront::to(socket(&other.url()), &authority);
    let url = format!("{}elsewhere", other_front.url());
    // The other host shows its own certificate: nobody has spoken in its name.
    let output = curl(&scene, &url, Some(&authority));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(other.count("/elsewhere"), 1);
    // On the adopted host it is the run's certificate, of which the run's bundle alone knows.
    let url = format!("{}left-pad", scene.registry());
    let front = scene.front.as_ref().expect("this scene has TLS");
    assert!(!curl(&scene, &url, Some(front.authority())).status.success());
    let output = curl(&scene, &url, None);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(scene.upstream.count("/left-pad"), 0, "{:?}", paths(&scene.upstream));
    assert!(paths(&scene.node).contains(&"/npm/left-pad".to_owned()));
    // What the node does not answer for goes to the host, which the run trusts as before.
    let output = curl(&scene, &format!("{}-/whoami", scene.registry()), None);
    assert!(!output.status.success());
    assert_eq!(scene.upstream.count("/-/whoami"), 1, "{}", said(&output));
}

#[test]
fn git_is_not_looked_into_on_an_adopted_host_either() {
    if find("git").is_none() {
        return skip("needs git");
    }
    let scene = Scene::new(true);
    let url = format!("{}village.git", scene.registry());
    let mut command = scene.griot_run(&["git", "ls-remote", &url]);
    let front = scene.front.as_ref().expect("this scene has TLS");
    // git believes the host's own certificate alone.
    command.env("GIT_SSL_CAINFO", front.authority()).env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GRIOT_LOG", "griot=debug").env("NO_COLOR", "1").env("GIT_TERMINAL_PROMPT", "0");
    let output = run(&mut command, LIMIT);
    assert_eq!(scene.upstream.count("/village.git/info/refs"), 1, "{}", said(&output));
    assert!(said(&output).contains("opened=false"), "{}", said(&output));
}

#[test]
fn a_former_proxy_is_still_used_with_its_credentials() {
    if find("curl").is_none() {
        return skip("needs curl");
    }
    let scene = Scene::new(true);
    let other = Stub::start();
    other.publish("elsewhere", "1.0.0", |release| release);
    let authority = scene.world.path().join("other.pem");
    let front = TlsFront::to(socket(&other.url()), &authority);
    // The outer run's proxy is the inner run's former one, and it wants its secret.
    let authority = authority.to_str().expect("paths of tests are UTF-8");
    let url = format!("{}elsewhere", front.url());
    let home = scene.home();
    let home = home.to_str().expect("paths of tests are UTF-8");
    let inner = ["env", "GRIOT_LOG=off", GRIOT, "--home", home, "run", "--", "curl", "--disable"];
    let rest = ["--silent", "--fail", "--noproxy", "", "--cacert", authority, &url];
    let mut command = scene.griot_run(&[&inner[..], &rest[..]].concat());
    command.env("GRIOT_LOG", "griot=debug").env("NO_COLOR", "1");
    let output = run(&mut command, LIMIT);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(other.count("/elsewhere"), 1);
    let port = format!("port={}", front.port());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let tunnel = log.lines().any(|line| line.contains(&port) && line.contains("opened=false"));
    assert!(tunnel, "the outer proxy saw no tunnel: {log}");
}

/// Sends a CONNECT to the proxy and returns the first line of its answer.
fn connect(address: &str, target: &str, credential: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket takes a time limit");
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
    if let Some(credential) = credential {
        head.push_str(&format!("proxy-authorization: {credential}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("the proxy reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("the proxy answers");
    line
}

#[test]
fn the_proxy_is_for_the_child_alone_and_leaves_nothing_behind() {
    let scene = Scene::new(true);
    let script = "echo \"$HTTPS_PROXY\"; echo \"$SSL_CERT_FILE\"; exec cat";
    let mut command = scene.griot_run(&["sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    let (proxy, bundle) = (line(), PathBuf::from(line()));
    let address = proxy.rsplit('@').next().expect("the address").to_owned();
    let port = scene.front.as_ref().expect("this scene has TLS").port();
    let target = format!("localhost:{port}");
    for credential in [None, Some("Basic Z3Jpb3Q6Z3Vlc3M=")] {
        let line = connect(&address, &target, credential);
        assert!(line.contains(" 407 "), "{credential:?}: {line}");
    }
    let mode = fs_err::metadata(&bundle).expect("the bundle is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let outside = fs_err::read_to_string(scene.world.path().join("outside.pem"));
    let body = outside.expect("it was written").lines().nth(1).expect("base64").to_owned();
    let text = fs_err::read_to_string(&bundle).expect("the bundle can be read");
    assert!(text.contains(&body), "what was trusted before is trusted no more");
    drop(child.stdin.take());
    assert!(wait_exit(&mut child, LIMIT).is_some_and(|status| status.success()));
    assert!(TcpStream::connect(&address).is_err(), "the proxy outlived its child");
    assert!(!bundle.exists(), "{} was left behind", bundle.display());
}

#[test]
fn the_key_is_the_users_and_stays() {
    let scene = Scene::new(true);
    let path = scene.home().join("ca/key.pem");
    assert!(!path.exists());
    assert!(run(&mut scene.griot_run(&["true"]), LIMIT).status.success());
    let first = fs_err::read(&path).expect("the first run makes it");
    let mode = fs_err::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(run(&mut scene.griot_run(&["true"]), LIMIT).status.success());
    assert_eq!(fs_err::read(&path).expect("it is still there"), first);
    fs_err::write(&path, "no key").expect("a file can be written");
    let output = run(&mut scene.griot_run(&["true"]), LIMIT);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("hint: remove the file"), "{}", said(&output));
}

#[test]
fn without_a_node_or_an_upstream_it_says_what_to_type() {
    let scene = Scene::new(false);
    scene.node.raw("/api/admin/upstreams", Raw::ok("application/json", "[]"));
    let output = run(&mut scene.griot_run(&["true"]), LIMIT);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("hint: griot link npm"), "{}", said(&output));
    fs_err::remove_file(scene.home().join("node.json")).expect("the scene wrote it");
    let output = run(&mut scene.griot_run(&["true"]), LIMIT);
    assert_eq!(output.status.code(), Some(4));
    assert!(said(&output).contains("griot up"), "{}", said(&output));
}

#[test]
fn a_node_that_goes_away_is_told_at_once() {
    if find("curl").is_none() {
        return skip("needs curl");
    }
    let scene = Scene::new(true);
    let url = format!("{}left-pad", scene.registry());
    let script = format!(
        "read line; curl --disable --silent --noproxy '' --write-out '\\n%{{http_code}}' {url}"
    );
    let mut command = scene.griot_run(&["sh", "-c", &script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // The list of upstreams was read before there was a child.
    crate::harness::wait_until("the node to be asked", LIMIT, || {
        scene.node.count("/api/admin/upstreams") > 0
    });
    scene.node.down();
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"go\n").expect("the child reads");
    let mut text = String::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut text).expect("the child prints text");
    assert!(wait_exit(&mut child, LIMIT).is_some());
    assert!(text.ends_with("424") && text.contains("the node cannot be asked"), "{text}");
}

/// A run whose child prints its proxy and lives until its input ends.
struct Held {
    child: std::process::Child,
    address: String,
    credential: String,
}

impl Held {
    fn of(scene: &Scene) -> Self {
        let mut command = scene.griot_run(&["sh", "-c", "echo \"$HTTPS_PROXY\"; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let proxy = lines.next().expect("a line").expect("text");
        let (user, address) = proxy
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('@'))
            .expect("a URL with a user");
        use base64::Engine as _;
        let user = base64::engine::general_purpose::STANDARD.encode(user);
        Self { child, address: address.to_owned(), credential: format!("Basic {user}") }
    }

    /// A connection that was opened to a target.
    fn opened(&self, target: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("the proxy listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket takes a time limit");
        let head = format!(
            "CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nproxy-authorization: {}\r\n\r\n",
            self.credential
        );
        stream.write_all(head.as_bytes()).expect("the proxy reads");
        let mut reader = BufReader::new(stream);
        assert!(status(&mut reader).contains(" 200 "));
        let mut line = String::new();
        while reader.read_line(&mut line).expect("the proxy answers") > 2 {
            line.clear();
        }
        reader
    }

    fn ends(mut self) {
        drop(self.child.stdin.take());
        assert!(wait_exit(&mut self.child, LIMIT).is_some_and(|status| status.success()));
    }
}

fn status(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the proxy answers");
    line
}

#[test]
fn an_odd_request_reaches_no_other_host_and_is_never_two() {
    let (scene, other) = (Scene::new(false), Stub::start());
    let held = Held::of(&scene);
    let target = socket(&scene.upstream.url()).to_string();
    let send = |text: &str| {
        let mut reader = held.opened(&target);
        reader.get_mut().write_all(text.as_bytes()).expect("the proxy reads");
        status(&mut reader)
    };
    // The connection says where it goes, whatever the request in it says.
    let url = format!("{}left-pad", other.url());
    let host = socket(&other.url());
    let lied = send(&format!("GET {url} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    assert!(lied.contains(" 200 "), "{lied}");
    assert_eq!((scene.node.count("/npm/left-pad"), other.requests().len()), (1, 0));
    // Both kinds of length, where a second request would hide in the body for one of two readers.
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let both = format!(
        "PUT /left-pad HTTP/1.1\r\nhost: {target}\r\ncontent-length: {}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    send(&both);
    for seen in scene.upstream.requests() {
        let lengths = ["content-length", "transfer-encoding"].map(|name| seen.header(name));
        assert!(lengths.iter().flatten().count() < 2, "{seen:?}");
        assert_ne!(seen.path, "/hidden", "{seen:?}");
    }
    for bad in [
        "PUT /left-pad HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "PUT /left-pad HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, odd\r\n\r\nab",
        "GET /left-pad HTTP/1.1\r\n bad: x\r\n\r\n",
    ] {
        assert!(send(bad).contains(" 400 "), "{bad}");
    }
    let long = format!("GET /left-pad HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert!(send(&long).contains(" 431 "));
    held.ends();
}

#[test]
fn three_hundred_connections_that_say_nothing_keep_nobody_waiting() {
    let scene = Scene::new(false);
    let held = Held::of(&scene);
    let target = socket(&scene.upstream.url()).to_string();
    let idle: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(&held.address).expect("the proxy listens")).collect();
    let mut reader = held.opened(&target);
    let ask = format!("GET /left-pad HTTP/1.1\r\nhost: {target}\r\n\r\n");
    reader.get_mut().write_all(ask.as_bytes()).expect("the proxy reads");
    assert!(status(&mut reader).contains(" 200 "));
    drop(idle);
    held.ends();
}
