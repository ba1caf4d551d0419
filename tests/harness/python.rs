//! Python's clients, each shut off from this machine's own configuration.
//!
//! `tests/run` installs pip, uv, poetry, twine and build into one environment below
//! `target/tools/python`; they are only read. A [`Python`] has one home: the settings, caches and
//! virtual environments of its clients lie in it and nowhere else, at the places where the clients
//! look by default, so that a test may write them as a person would. Of the machine's own only
//! `/etc/pip.conf` is still read, below the test's settings: pip has no variable for that alone.
//!
//! Wheels and sdists to install or publish are made by `upstream::Distribution`, without network.
//! A client that is not installed makes its test skip: see `client`.

#![allow(dead_code, reason = "the tests of each format use a part")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::client::{clean_on, skip};
use super::node::Node;
use super::wait::{run, run_ok, said};
use super::world::World;

/// An install of thirty wheels on a busy machine; pip that retries for a minute has failed.
const LIMIT: Duration = Duration::from_secs(300);
/// What sits in `target/tools/python`.
const PROGRAMS: [&str; 5] = ["python", "pip", "uv", "poetry", "twine"];

/// Where the user's settings of pip are in a home.
const PIP_CONF: &str = ".config/pip/pip.conf";
/// Where those of uv are.
const UV_TOML: &str = ".config/uv/uv.toml";

/// Python's clients with one home.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    home: PathBuf,
    host: Option<String>,
    /// `griot`, and the home of the node, where `griot run --` stands before each command.
    run: Option<(PathBuf, PathBuf)>,
}

impl Python {
    /// With an empty home and no settings. Skips without the clients.
    pub(crate) fn new(world: &World, name: &str) -> Option<Self> {
        let home = || world.folder(&format!("python-{name}"));
        Self::is_there().then(|| Self { home: home(), host: None, run: None })
    }

    /// Whether the clients are installed; skips the running test if not.
    pub(crate) fn is_there() -> bool {
        let lacking = PROGRAMS.iter().find(|name| !Self::folder().join(name).exists());
        if let Some(program) = lacking {
            skip(&format!("needs {program} in target/tools/python: tests/run installs it"));
        }
        lacking.is_none()
    }

    /// With settings of pip and uv that name the node as their one index.
    pub(crate) fn of(world: &World, name: &str, node: &Node) -> Option<Self> {
        let mut python = Self::new(world, name)?;
        python.host = node.host().map(str::to_owned);
        python.configure(&node.url("/pypi/simple/"));
        Some(python)
    }

    /// The same home, and `griot run` of this node before each command.
    pub(crate) fn by_way_of(&self, node: &Node) -> Self {
        let griot = node.command(&[]).get_program().into();
        Self { run: Some((griot, node.home())), ..self.clone() }
    }

    /// Where the clients' programs are.
    pub(crate) fn folder() -> PathBuf {
        let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
        cli.parent().expect("the crate lies in the tree").join("target/tools/python/bin")
    }

    /// The home.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The user's file of pip's settings.
    pub(crate) fn pip_conf(&self) -> PathBuf {
        self.home.join(PIP_CONF)
    }

    /// The user's file of uv's settings.
    pub(crate) fn uv_toml(&self) -> PathBuf {
        self.home.join(UV_TOML)
    }

    /// Makes an index the one that pip and uv ask, by their users' files.
    pub(crate) fn configure(&self, index: &str) {
        Self::configure_at(&self.home, index);
    }

    /// The same in any home.
    pub(crate) fn configure_at(home: &Path, index: &str) {
        let uv = format!("[[index]]\nurl = {index:?}\ndefault = true\n");
        let pip = format!("[global]\nindex-url = {index}\n");
        for (file, text) in [(home.join(PIP_CONF), pip), (home.join(UV_TOML), uv)] {
            let folder = file.parent().expect("a file lies in a folder");
            fs_err::create_dir_all(folder).expect("a folder can be made in the test's folder");
            fs_err::write(file, text).expect("settings can be written");
        }
    }

    /// All variables of a command but the test's own, `PATH` among them.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        Self::variables_at(&self.home)
    }

    /// The variables of any home.
    pub(crate) fn variables_at(home: &Path) -> Vec<(&'static str, OsString)> {
        let at = |name: &str| home.join(name).into_os_string();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(Self::folder()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).expect("no folder has a colon in its name");
        vec![
            ("PATH", path),
            ("HOME", home.into()),
            ("XDG_CONFIG_HOME", at(".config")),
            ("XDG_CONFIG_DIRS", at("xdg")),
            ("XDG_CACHE_HOME", at(".cache")),
            ("XDG_DATA_HOME", at(".local/share")),
            ("XDG_STATE_HOME", at(".local/state")),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
            ("PIP_NO_INPUT", "1".into()),
            ("PIP_ROOT_USER_ACTION", "ignore".into()),
            ("PIP_PROGRESS_BAR", "off".into()),
            ("UV_PYTHON", Self::folder().join("python").into()),
            ("UV_PYTHON_DOWNLOADS", "never".into()),
            ("UV_NO_PROGRESS", "1".into()),
            ("POETRY_VIRTUALENVS_IN_PROJECT", "true".into()),
            ("POETRY_NO_INTERACTION", "1".into()),
            ("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring".into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
            ("NO_COLOR", "1".into()),
            // twine and others break their sentences at the width of a terminal.
            ("COLUMNS", "1000".into()),
        ]
    }

    /// A client with this home, ready for arguments and a folder to run in.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = Self::folder().join(program);
        let mut command = match &self.run {
            None => clean_on(self.host.as_deref(), program),
            Some((griot, home)) => {
                let mut command = clean_on(self.host.as_deref(), griot);
                command.env("GRIOT_HOME", home).args(["run", "--"]).arg(program);
                command
            }
        };
        command.envs(self.variables()).current_dir(&self.home);
        command
    }

    /// An empty environment of this home, made if it is not there: where pip and uv install.
    pub(crate) fn environment(&self, name: &str) -> PathBuf {
        let folder = self.home.join(name);
        if !folder.join("bin/python").exists() {
            let mut python = Command::new(Self::folder().join("python"));
            python.args(["-m", "venv", "--without-pip"]).arg(&folder);
            run_ok(&mut python, LIMIT);
        }
        folder
    }

    /// An empty folder for a project, outside the caches.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        let folder = self.home.join(name);
        fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
        folder
    }
}

/// Running them.
impl Python {
    /// Runs a client in a folder, with more variables.
    pub(crate) fn run(
        &self,
        program: &str,
        (folder, arguments): (&Path, &[&str]),
        variables: &[(String, String)],
    ) -> Output {
        let mut command = self.command(program);
        command.current_dir(folder).args(arguments).envs(variables.iter().cloned());
        run(&mut command, LIMIT)
    }

    /// Runs a client, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, program: &str, folder: &Path, arguments: &[&str]) -> String {
        succeeded((program, arguments), &self.run(program, (folder, arguments), &[]))
    }

    /// Runs a client, which must fail, and returns all that it said.
    #[track_caller]
    pub(crate) fn refused(&self, program: &str, folder: &Path, arguments: &[&str]) -> String {
        failed((program, arguments), &self.run(program, (folder, arguments), &[]))
    }

    /// The command `pip …` upon the environment `venv` of this home.
    pub(crate) fn pip_command(&self, arguments: &[&str]) -> Command {
        let environment = self.environment("venv");
        let mut command = self.command("pip");
        command.arg("--python").arg(environment).args(arguments);
        command
    }

    /// `pip …` upon the environment `venv` of this home; it must succeed. What it printed.
    #[track_caller]
    pub(crate) fn pip(&self, arguments: &[&str]) -> String {
        succeeded(("pip", arguments), &run(&mut self.pip_command(arguments), LIMIT))
    }

    /// The same, and it must fail; all that it said.
    #[track_caller]
    pub(crate) fn pip_refused(&self, arguments: &[&str]) -> String {
        failed(("pip", arguments), &run(&mut self.pip_command(arguments), LIMIT))
    }

    /// The command `uv pip VERB …` upon the same environment.
    pub(crate) fn uv_pip_command(&self, verb: &str, arguments: &[&str]) -> Command {
        let environment = self.environment("venv");
        let mut command = self.command("uv");
        command.args(["pip", verb, "--python"]).arg(environment.join("bin/python"));
        command.args(arguments);
        command
    }

    /// `uv pip VERB …` upon the same environment; it must succeed. What it printed.
    #[track_caller]
    pub(crate) fn uv_pip(&self, verb: &str, arguments: &[&str]) -> String {
        let output = run(&mut self.uv_pip_command(verb, arguments), LIMIT);
        succeeded(("uv pip", arguments), &output)
    }

    /// The same, and it must fail; all that it said.
    #[track_caller]
    pub(crate) fn uv_pip_refused(&self, verb: &str, arguments: &[&str]) -> String {
        let output = run(&mut self.uv_pip_command(verb, arguments), LIMIT);
        failed(("uv pip", arguments), &output)
    }

    /// What an installed module of `upstream::Distribution` says.
    #[track_caller]
    pub(crate) fn says(&self, module: &str) -> String {
        let mut python = clean_on(None, self.environment("venv").join("bin/python"));
        let code = format!("import {module}; print({module}.SAYS)");
        python.args(["-c", &code]).env("PYTHONDONTWRITEBYTECODE", "1");
        run_ok(&mut python, LIMIT).trim().to_owned()
    }

    /// Uploads files to a node with twine; what it said, whether or not it succeeded.
    pub(crate) fn twine(&self, node: &Node, token: &str, files: &[&Path]) -> Output {
        let mut command = self.command("twine");
        command.args(["upload", "--non-interactive", "--disable-progress-bar"]);
        command.args(["--repository-url", &node.url("/pypi/legacy/")]);
        command.args(["--username", "__token__", "--password", token]).args(files);
        run(&mut command, LIMIT)
    }
}

#[track_caller]
fn succeeded((program, arguments): (&str, &[&str]), output: &Output) -> String {
    assert!(output.status.success(), "{program} {arguments:?}: {}", said(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn failed((program, arguments): (&str, &[&str]), output: &Output) -> String {
    assert!(!output.status.success(), "{program} {arguments:?} succeeded: {}", said(output));
    said(output)
}
