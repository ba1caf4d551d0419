//! A real node: a process of the binary that was just built, with its own home and ports.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::client::clean_on;
use super::http::{Reply, Request};
use super::wait::{run, said, wait_exit, wait_for};
use super::world::World;

/// The command under test.
const GRIOT: &str = env!("CARGO_BIN_EXE_griot");
/// Until `ready`, on a machine that also compiles.
const START: Duration = Duration::from_secs(60);
/// For one run of a verb.
const VERB: Duration = Duration::from_secs(120);

/// How a node is started.
#[derive(Debug, Clone)]
pub(crate) struct NodeOptions {
    /// Multiaddresses to dial.
    pub(crate) peers: Vec<String>,
    /// Whether it looks for neighbours on the LAN.
    pub(crate) mdns: bool,
    /// Where the mesh listens; a restart listens where it did before. Empty: as without the flag.
    pub(crate) mesh_listen: String,
    /// The network namespace to run in.
    pub(crate) host: Option<String>,
    /// What its wall clock says at its start, if not the truth; see [`Clock`](super::Clock).
    pub(crate) clock: Option<super::Clock>,
    /// More variables of its environment, such as a proxy.
    pub(crate) environment: Vec<(String, String)>,
    /// More flags of `griot up`.
    pub(crate) arguments: Vec<String>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            mdns: false,
            mesh_listen: "/ip4/127.0.0.1/tcp/0".to_owned(),
            host: None,
            clock: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// A node of a test; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    folder: PathBuf,
    options: NodeOptions,
    child: Option<Child>,
    starts: u32,
    address: String,
}

impl Node {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(world: &World, name: &str, options: NodeOptions) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            folder: world.folder(name),
            options,
            child: None,
            starts: 0,
            address: String::new(),
        };
        node.up();
        node
    }

    /// Starts the same home again, after it was ended; the mesh listens where it did.
    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let ready = self.log("out");
        let mut command = self.command(&["up", "--listen", "127.0.0.1:0"]);
        if !self.options.mesh_listen.is_empty() {
            command.args(["--mesh-listen", &self.options.mesh_listen]);
        }
        if !self.options.mdns {
            command.arg("--no-mdns");
        }
        command.args(&self.options.arguments);
        for peer in &self.options.peers {
            command.args(["--peer", peer]);
        }
        let create =
            |path: &Path| Stdio::from(std::fs::File::create(path).expect("a log can be made"));
        command.stdin(Stdio::null()).stdout(create(&ready)).stderr(create(&self.log("err")));
        let mut child = command.spawn().expect("the binary under test starts");
        let address = wait_for("a node to be ready", START, || {
            let out = fs_err::read_to_string(&ready).unwrap_or_default();
            if let Some(line) = out.lines().find_map(|line| line.strip_prefix("ready http://")) {
                return Ok(line.trim().trim_end_matches('/').to_owned());
            }
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{} ended with {status}: {}", self.name, self.logs());
            }
            Err(out)
        });
        self.address = address;
        self.child = Some(child);
        self.remember_mesh_port();
    }

    /// Peers that learned the address of this node find it there again after a restart.
    fn remember_mesh_port(&mut self) {
        if !self.options.mesh_listen.ends_with("/tcp/0") {
            return;
        }
        let status = self.status();
        let addresses = status["mesh"].as_array().expect("status lists mesh addresses");
        let first = addresses.iter().filter_map(Value::as_str).find(|a| a.contains("/tcp/"));
        let first = first.unwrap_or_else(|| panic!("no mesh address in {status}"));
        let port = first.split('/').nth(4).expect("a TCP multiaddress has a port");
        let prefix = self.options.mesh_listen.trim_end_matches('0').to_owned();
        self.options.mesh_listen = format!("{prefix}{port}");
    }

    /// More flags of its next `griot up`, instead of those that it had.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// Its wall clock at the next start.
    pub(crate) fn set_clock(&mut self, clock: super::Clock) {
        self.options.clock = Some(clock);
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.expect("it is Linux").trim().trim_end_matches(" kB").parse::<u64>();
        kib.expect("a number of kB") * 1024
    }

    /// Pulls the plug.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("a child of this process can be killed");
        child.wait().expect("a child of this process can be waited for");
    }

    /// Asks it to end, as a supervisor does, and waits for that.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the node runs");
        let killed =
            Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the node takes a signal");
        wait_exit(&mut child, Duration::from_secs(30)).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("{} does not end on SIGTERM: {}", self.name, self.logs())
        })
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// `host:port` of its HTTP.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The network namespace that it runs in.
    pub(crate) fn host(&self) -> Option<&str> {
        self.options.host.as_deref()
    }

    /// A URL on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its home.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn log(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("up-{}.{kind}", self.starts))
    }

    /// All that it wrote since its last start.
    pub(crate) fn logs(&self) -> String {
        let read = |kind| fs_err::read_to_string(self.log(kind)).unwrap_or_default();
        format!("{}{}", read("out"), read("err"))
    }

    /// The command with this node's home, ready for more arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean_on(self.host(), GRIOT);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("GRIOT_HOME", self.home())
            .env("GRIOT_LOG", "info,node=debug")
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "1");
        if let Some(clock) = &self.options.clock {
            clock.set(&mut command);
        }
        command.envs(self.options.environment.iter().cloned());
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), VERB)
    }

    /// Runs a verb, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn griot(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "griot {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a verb with `--json`, which must succeed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let text = self.griot(&all);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("griot {all:?} printed no JSON ({error}): {text}"))
    }

    /// Runs a verb that must fail; what it said on its standard error, and its exit code.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "griot {arguments:?} succeeded: {}", said(&output));
        let code = output.status.code().expect("the command ends by itself");
        (String::from_utf8_lossy(&output.stderr).into_owned(), code)
    }

    /// Sends a request; an answer must come.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Reply {
        request
            .send(&self.address)
            .unwrap_or_else(|| panic!("{}: no answer; {}", request.title(), self.logs()))
    }

    /// A GET without a token.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(&Request::get(path))
    }
}

/// What scripts ask a node.
impl Node {
    /// `griot status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// `griot info`; `Null` while the name is not known here.
    pub(crate) fn info(&self, format: &str, name: &str) -> Value {
        let output = self.run(&["info", name, "--format", format, "--json"]);
        if !output.status.success() {
            return Value::Null;
        }
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("griot info printed no JSON ({error}): {}", said(&output))
        })
    }

    /// One version of `griot info`; `Null` while it is not known here.
    pub(crate) fn version(&self, format: &str, name: &str, version: &str) -> Value {
        let info = self.info(format, name);
        let versions = info["versions"].as_array().cloned().unwrap_or_default();
        versions.into_iter().find(|row| row["version"] == version).unwrap_or_default()
    }

    /// Waits until every artifact of the version is held here.
    #[track_caller]
    pub(crate) fn wait_held(&self, format: &str, id: (&str, &str), limit: Duration) -> Value {
        let what = format!("{} to hold {format} {}@{}", self.name, id.0, id.1);
        wait_for(&what, limit, || {
            let row = self.version(format, id.0, id.1);
            let artifacts = row["artifacts"].as_array().cloned().unwrap_or_default();
            let held = artifacts.iter().all(|artifact| artifact["held"] == true);
            if held && !artifacts.is_empty() { Ok(row) } else { Err(row.to_string()) }
        })
    }

    /// Waits until the version is listed here, in this state.
    #[track_caller]
    pub(crate) fn wait_state(&self, format: &str, id: (&str, &str), state: &str) -> Value {
        let what = format!("{} to show {format} {}@{} as {state}", self.name, id.0, id.1);
        wait_for(&what, super::EVENTUALLY, || {
            let row = self.version(format, id.0, id.1);
            if row["state"] == state { Ok(row) } else { Err(row.to_string()) }
        })
    }

    /// A token with this scope.
    #[track_caller]
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_for(scope, None)
    }

    /// A token with this scope for one realm.
    #[track_caller]
    pub(crate) fn token_for(&self, scope: &str, realm: Option<&str>) -> String {
        let mut arguments = vec!["token", "create", "--scope", scope];
        arguments.extend(realm.iter().flat_map(|realm| ["--realm", realm]));
        text(&self.json(&arguments), "token")
    }

    /// The secret of `node.json`.
    pub(crate) fn admin_token(&self) -> String {
        let bytes = fs_err::read(self.home().join("node.json")).expect("a running node has it");
        let document: Value = serde_json::from_slice(&bytes).expect("node.json is JSON");
        text(&document, "token")
    }

    /// One line that others join by.
    #[track_caller]
    pub(crate) fn invite(&self) -> String {
        text(&self.json(&["invite"]), "invite")
    }

    /// Makes this node's site the realm of `other`.
    #[track_caller]
    pub(crate) fn join(&self, other: &Self) {
        self.json(&["join", &other.invite()]);
    }

    /// Follows the realm of `other`, which must be connected, with all that it claims.
    #[track_caller]
    pub(crate) fn follow(&self, other: &Self) {
        let realm = other.realm();
        wait_for("a realm to be shown", super::EVENTUALLY, || {
            let shown = self.griot(&["realm", "list", "--json"]);
            if shown.contains(&realm) { Ok(()) } else { Err(shown) }
        });
        self.json(&["follow", &realm, "--yes"]);
    }

    /// The key that its publications are signed with.
    #[track_caller]
    pub(crate) fn publisher(&self) -> String {
        text(&self.json(&["key", "show"]), "publisher")
    }

    /// Its libp2p peer id.
    #[track_caller]
    pub(crate) fn peer(&self) -> String {
        text(&self.json(&["key", "show"]), "peer")
    }

    /// Its own realm.
    #[track_caller]
    pub(crate) fn realm(&self) -> String {
        text(&self.json(&["realm", "show"]), "realm")
    }

    /// Where others dial it: the first TCP address of its status, with its peer id.
    #[track_caller]
    pub(crate) fn multiaddress(&self) -> String {
        let status = self.status();
        let addresses = status["mesh"].as_array().cloned().unwrap_or_default();
        let found = addresses.iter().filter_map(Value::as_str).find(|a| a.contains("/tcp/"));
        found.unwrap_or_else(|| panic!("no mesh address in {status}")).to_owned()
    }

    /// The socket that its mesh listens on.
    #[track_caller]
    pub(crate) fn mesh_socket(&self) -> std::net::SocketAddr {
        let address = self.multiaddress();
        let parts: Vec<&str> = address.split('/').collect();
        format!("{}:{}", parts[2], parts[4]).parse().expect("an IPv4 TCP multiaddress is a socket")
    }

    /// Ids of the peers that it is connected to.
    pub(crate) fn peers(&self) -> Vec<String> {
        let status = self.status();
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().map(|peer| text(peer, "id")).collect()
    }
}

/// A field that must be a text.
#[track_caller]
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}")).to_owned()
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let logs = self.logs();
            let tail: Vec<&str> = logs.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            super::client::shout(&format!("the end of {}'s log:\n{}", self.name, tail.join("\n")));
        }
    }
}
