//! The real tools, each shut off from this machine's own configuration.
//!
//! A tool that is not there makes its test skip: loudly, on the terminal past the capture of the
//! test runner, and counted in the file that `GRIOT_TEST_SKIPS` names, which `tests/run` compares
//! with `tests/skips.txt`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::clients::Client;
use super::node::Node;
use super::wait::{run, said};
use super::world::World;

/// npm takes seconds to start on a busy machine; one that retries for a minute has failed.
const LIMIT: Duration = Duration::from_secs(150);
/// Which npm stands for all where nothing hangs on its version.
const NPM: Client = Client::Npm11;

/// The name of the running test, which is the name of its thread.
pub(crate) fn test_name() -> String {
    std::thread::current().name().unwrap_or("main").to_owned()
}

/// Prints on the terminal, past the capture of the test runner.
pub(crate) fn shout(text: &str) {
    let line = format!("{}: {text}\n", test_name());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says that the running test is skipped, and counts it.
pub(crate) fn skip(why: &str) {
    shout(&format!("SKIPPED: {why}"));
    let Some(list) = std::env::var_os("GRIOT_TEST_SKIPS") else { return };
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(PathBuf::from(list))
        .expect("the list of skips can be written");
    let line = format!("{}: {why}\n", test_name());
    file.write_all(line.as_bytes()).expect("the list of skips can be written");
}

/// Where a tool is, if it is on the path.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// A command that sees of this machine only where programs are.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "TMPDIR", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A command on a host of a test's own network, or on this machine.
pub(crate) fn clean_on(host: Option<&str>, program: impl AsRef<OsStr>) -> Command {
    let Some(host) = host else { return clean(program) };
    let mut command = clean("ip");
    command.args(["netns", "exec", host]).arg(program);
    command
}

/// npm with an empty home, an empty cache and no configuration but the test's.
#[derive(Debug)]
pub(crate) struct Npm {
    home: PathBuf,
    registry: String,
    host: Option<String>,
}

impl Npm {
    /// npm that uses `node` as its registry, with `token` if there is one. Skips without npm.
    pub(crate) fn new(world: &World, name: &str, node: &Node, token: Option<&str>) -> Option<Self> {
        if !NPM.is_there() {
            return None;
        }
        let home = world.folder(&format!("npm-{name}"));
        let registry = node.url("/npm/");
        NPM.configure(&home, &registry, token);
        Some(Self { home, registry, host: node.host().map(str::to_owned) })
    }

    /// An empty project to install into.
    pub(crate) fn project(&self) -> PathBuf {
        let folder = self.home.join("project");
        fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
        let manifest = r#"{"name":"project","version":"1.0.0","private":true}"#;
        fs_err::write(folder.join("package.json"), manifest).expect("a manifest can be written");
        folder
    }

    /// Runs npm in `folder`.
    pub(crate) fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = NPM.command_on(self.host.as_deref(), &self.home);
        command.current_dir(folder).args(arguments).args(["--registry", &self.registry]);
        run(&mut command, LIMIT)
    }

    /// Runs npm, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(folder, arguments);
        assert!(output.status.success(), "npm {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs npm, which must fail, and returns all that it said.
    #[track_caller]
    pub(crate) fn refused(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(folder, arguments);
        assert!(!output.status.success(), "npm {arguments:?} succeeded: {}", said(&output));
        said(&output)
    }
}

/// curl without a configuration file.
#[derive(Debug)]
pub(crate) struct Curl {
    host: Option<String>,
}

impl Curl {
    /// curl on this machine. Skips without it.
    pub(crate) fn new() -> Option<Self> {
        if find("curl").is_none() {
            skip("needs curl");
            return None;
        }
        Some(Self { host: None })
    }

    /// The command, to be run or to be started beside the test.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean_on(self.host.as_deref(), "curl");
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*"]).args(arguments);
        command
    }

    /// Runs curl to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), LIMIT)
    }

    /// Runs curl and returns the status of the answer; the body goes where `arguments` say.
    #[track_caller]
    pub(crate) fn status(&self, arguments: &[&str]) -> u16 {
        let mut all = vec!["--write-out", "%{http_code}"];
        all.extend_from_slice(arguments);
        let output = self.run(&all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits = text.get(text.len().saturating_sub(3)..).unwrap_or_default();
        digits.parse().unwrap_or_else(|_| panic!("curl {arguments:?}: {}", said(&output)))
    }

    /// Uploads a file with a token; the status of the answer.
    #[track_caller]
    pub(crate) fn upload(&self, file: &Path, url: &str, token: &str) -> u16 {
        let header = format!("Authorization: Bearer {token}");
        let file = file.to_str().expect("paths of tests are UTF-8");
        self.status(&["--upload-file", file, "--header", &header, url])
    }

    /// Downloads to a file; the status of the answer.
    #[track_caller]
    pub(crate) fn download(&self, url: &str, file: &Path) -> u16 {
        let file = file.to_str().expect("paths of tests are UTF-8");
        self.status(&["--output", file, url])
    }
}
