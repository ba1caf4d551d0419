//! A project and a home for its client, so that one manifest can be installed directly, through a
//! node, and with nothing to be had but from loopback.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use super::clients::Client;
use super::node::Node;
use super::tunnel::Tunnel;
use super::wait::{run, said};
use super::world::World;

/// Several hundred packages on a bad line.
const INSTALL: Duration = Duration::from_secs(400);
/// Of the certificates that this machine trusts.
const TRUST: [&str; 6] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
];
/// How a command learns of a proxy.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// The variables of this machine that say whom it trusts.
pub(crate) fn trust() -> Vec<(String, String)> {
    let set = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
    TRUST.iter().filter_map(set).collect()
}

/// All that is not on loopback is asked of the tunnel.
pub(crate) fn cut_off(tunnel: &Tunnel) -> Vec<(String, String)> {
    let mut variables = PROXIES.map(|name| (name.to_owned(), tunnel.url())).to_vec();
    for name in ["NO_PROXY", "no_proxy", "npm_config_noproxy"] {
        variables.push((name.to_owned(), "127.0.0.1".to_owned()));
    }
    variables
}

/// A project of one client.
#[derive(Debug)]
pub(crate) struct Project {
    /// Whose.
    pub(crate) client: Client,
    /// Its settings and caches.
    pub(crate) home: PathBuf,
    /// Where the manifest is.
    pub(crate) folder: PathBuf,
    /// The variables of the command that stands before each of the client's.
    run: Option<(PathBuf, PathBuf)>,
}

impl Project {
    /// Empty, and a client whose own settings name `registry`.
    pub(crate) fn new(world: &World, name: &str, client: Client, registry: &str) -> Self {
        let home = world.folder(&format!("{name}-{}-home", client.name()));
        let folder = world.folder(&format!("{name}-{}", client.name()));
        let settings = match client {
            Client::Berry => {
                // What is not there is not asked for anew by another address.
                fs_err::write(folder.join("yarn.lock"), "").expect("a file can be written");
                let plain = "unsafeHttpWhitelist: [\"127.0.0.1\"]\nnodeLinker: node-modules\n";
                (".yarnrc.yml", format!("npmRegistryServer: {registry:?}\n{plain}"))
            }
            _ => (".npmrc", format!("registry={registry}\n")),
        };
        fs_err::write(home.join(settings.0), settings.1).expect("settings can be written");
        Self { client, home, folder, run: None }
    }

    /// With a `package.json`.
    pub(crate) fn with(self, manifest: &str) -> Self {
        fs_err::write(self.folder.join("package.json"), manifest).expect("a manifest is written");
        self
    }

    /// The same project elsewhere, with an empty home.
    pub(crate) fn with_lockfile_of(self, other: &Self) -> Self {
        for file in ["package.json", self.client.lockfile()] {
            let from = other.folder.join(file);
            fs_err::copy(from, self.folder.join(file)).expect("a project can be copied");
        }
        self
    }

    /// Points the client's settings at the node, which adopts what they named before.
    pub(crate) fn link(self, node: &Node) -> Self {
        self.link_with(node, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn link_with(self, node: &Node, arguments: &[&str]) -> Self {
        let mut command = node.command(&["link", link_name(self.client), "--json"]);
        command.args(arguments).envs(self.client.variables(&self.home)).current_dir(&self.folder);
        let linked = run(&mut command, INSTALL);
        assert!(linked.status.success(), "{}", said(&linked));
        self
    }

    /// Leaves the settings, and stands `griot run` before each command.
    pub(crate) fn by_way_of(self, node: &Node) -> Self {
        let griot = node.command(&[]).get_program().into();
        Self { run: Some((griot, node.home())), ..self }
    }

    /// Runs the client, with more variables.
    pub(crate) fn run(&self, arguments: &[&str], variables: &[(String, String)]) -> Output {
        let program = self.client.folder().join(self.client.program());
        let mut command = match &self.run {
            None => super::client::clean(&program),
            Some((griot, home)) => {
                let mut command = super::client::clean(griot);
                command.env("GRIOT_HOME", home).args(["run", "--"]).arg(&program);
                command
            }
        };
        command.envs(self.client.variables(&self.home)).current_dir(&self.folder);
        run(command.args(arguments).envs(variables.iter().cloned()), INSTALL)
    }

    /// Runs it, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.ok_with(arguments, &trust())
    }

    /// With nothing to be had but from loopback: all else is asked of the black hole.
    #[track_caller]
    pub(crate) fn ok_cut_off(&self, arguments: &[&str], tunnel: &Tunnel) {
        self.ok_with(arguments, &cut_off(tunnel));
    }

    #[track_caller]
    fn ok_with(&self, arguments: &[&str], variables: &[(String, String)]) -> String {
        let output = self.run(arguments, variables);
        let name = self.client.name();
        assert!(output.status.success(), "{name} {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs it, which must fail; all that it said.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]);
        let name = self.client.name();
        assert!(!output.status.success(), "{name} {arguments:?} succeeded: {}", said(&output));
        said(&output)
    }

    /// Installs; the lockfile may be written.
    #[track_caller]
    pub(crate) fn install(&self) {
        self.ok(fresh(self.client));
    }

    /// The lockfile.
    pub(crate) fn lockfile(&self) -> String {
        fs_err::read_to_string(self.lockfile_path()).expect("a lockfile")
    }

    /// Where the lockfile is.
    pub(crate) fn lockfile_path(&self) -> PathBuf {
        self.folder.join(self.client.lockfile())
    }

    /// What an installed module says.
    #[track_caller]
    pub(crate) fn module(&self, path: &str) -> String {
        let file = self.folder.join("node_modules").join(path).join("index.js");
        fs_err::read_to_string(file).expect("the module is installed")
    }

    /// Makes a folder below the project with a manifest.
    pub(crate) fn folder(&self, path: &str, manifest: &str) -> PathBuf {
        let folder = self.folder.join(path);
        fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
        fs_err::write(folder.join("package.json"), manifest).expect("a manifest is written");
        folder
    }

    /// Whether there is such a file below the project.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.folder.join(path).is_file()
    }
}

/// What `griot link` calls the client.
pub(crate) const fn link_name(client: Client) -> &'static str {
    match client {
        Client::Berry => "berry",
        other => other.program(),
    }
}

/// The arguments of an install that may write the lockfile.
pub(crate) const fn fresh(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => {
            &["install", "--ignore-scripts", "--no-audit", "--no-fund"]
        }
        Client::Berry => &["install", "--mode=skip-build"],
        Client::Yarn1 => &["install", "--ignore-scripts", "--non-interactive"],
        Client::Pnpm | Client::Bun => &["install", "--ignore-scripts"],
    }
}

/// The arguments of one that may not.
pub(crate) const fn locked(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => {
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        }
        Client::Berry => &["install", "--immutable", "--mode=skip-build"],
        Client::Yarn1 => &["install", "--frozen-lockfile", "--ignore-scripts", "--non-interactive"],
        Client::Pnpm | Client::Bun => &["install", "--frozen-lockfile", "--ignore-scripts"],
    }
}
