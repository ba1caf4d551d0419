//! Cargo, shut off from this machine's own configuration.
//!
//! It is the cargo that built this test, called by its path: the one on `PATH` may be a launcher
//! that looks into the real home. A [`Cargo`] has one home with its `config.toml`, its credentials
//! and its caches. Cargo also reads `.cargo/config.toml` of every folder above a project; those of
//! tests lie in the system's temporary folder, above which there is none.
//!
//! Crates to build or publish are made by `upstream::Crate`, without network.

#![allow(dead_code, reason = "the tests of each format use a part")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::client::{clean_on, find, skip};
use super::node::Node;
use super::wait::{run, said};
use super::world::World;

/// After a publish cargo looks for the version for a minute before it gives up.
const LIMIT: Duration = Duration::from_secs(200);

/// Cargo with one home.
#[derive(Debug, Clone)]
pub(crate) struct Cargo {
    home: PathBuf,
    host: Option<String>,
    /// `griot`, and the home of the node, where `griot run --` stands before each command.
    run: Option<(PathBuf, PathBuf)>,
}

impl Cargo {
    /// With an empty home and no settings. Skips without cargo.
    pub(crate) fn new(world: &World, name: &str) -> Option<Self> {
        let home = || world.folder(&format!("cargo-{name}"));
        Self::is_there().then(|| Self { home: home(), host: None, run: None })
    }

    /// Whether there is a cargo; skips the running test if not.
    pub(crate) fn is_there() -> bool {
        let there = program().is_some();
        if !there {
            skip("needs cargo");
        }
        there
    }

    /// With settings that name the node: its hosted crates are the registry `griot`, and in place
    /// of cargo's default registry it asks what the node has of the upstream.
    pub(crate) fn of(world: &World, name: &str, node: &Node) -> Option<Self> {
        let mut cargo = Self::new(world, name)?;
        cargo.host = node.host().map(str::to_owned);
        cargo.set(&format!("{}{}", hosted(node), replaced(&node.url("/cargo/~upstream/index/"))));
        Some(cargo)
    }

    /// With settings that put a sparse index in place of cargo's default registry.
    pub(crate) fn at(world: &World, name: &str, index: &str) -> Option<Self> {
        let cargo = Self::new(world, name)?;
        cargo.set(&replaced(index));
        Some(cargo)
    }

    /// The same home, and `griot run` of this node before each command.
    pub(crate) fn by_way_of(&self, node: &Node) -> Self {
        let griot = node.command(&[]).get_program().into();
        Self { run: Some((griot, node.home())), ..self.clone() }
    }

    /// The home; `CARGO_HOME` is `.cargo` in it.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The user's settings.
    pub(crate) fn config(&self) -> PathBuf {
        self.home.join(".cargo/config.toml")
    }

    /// Replaces the user's settings.
    pub(crate) fn set(&self, text: &str) {
        Self::set_at(&self.home, text);
    }

    /// Puts a sparse index in place of the default registry, by the settings of any home.
    pub(crate) fn configure_at(home: &Path, index: &str) {
        Self::set_at(home, &replaced(index));
    }

    fn set_at(home: &Path, text: &str) {
        let folder = home.join(".cargo");
        fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
        fs_err::write(folder.join("config.toml"), text).expect("settings can be written");
    }

    /// Gives the registry `griot` of the settings a token.
    pub(crate) fn login(&self, token: &str) {
        let text = format!("[registries.griot]\ntoken = {token:?}\n");
        fs_err::write(self.home.join(".cargo/credentials.toml"), text).expect("it can be written");
    }

    /// All variables of a command but the test's own, `PATH` among them.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        Self::variables_at(&self.home)
    }

    /// The variables of any home.
    pub(crate) fn variables_at(home: &Path) -> Vec<(&'static str, OsString)> {
        let tools = program().and_then(|program| program.parent().map(Path::to_path_buf));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = tools.into_iter().chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).expect("no folder has a colon in its name");
        vec![
            ("PATH", path),
            ("HOME", home.into()),
            ("CARGO_HOME", home.join(".cargo").into()),
            ("CARGO_TERM_COLOR", "never".into()),
            ("CARGO_NET_RETRY", "0".into()),
        ]
    }

    /// Cargo with this home, ready for arguments and a folder to run in.
    pub(crate) fn command(&self) -> Command {
        let program = program().expect("it was there when the test began");
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

    /// A binary `app` that depends on crates of the default registry (`("pad", "1")`), and prints
    /// what the first of them says.
    pub(crate) fn app(&self, name: &str, needs: &[(&str, &str)]) -> PathBuf {
        let folder = self.home.join(name);
        fs_err::create_dir_all(folder.join("src")).expect("a folder can be made");
        let mut manifest =
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n".to_owned();
        manifest.push_str("\n[dependencies]\n");
        for (name, range) in needs {
            manifest.push_str(&format!("{name} = \"{range}\"\n"));
        }
        let first = needs.first().map_or("\"nothing\"".to_owned(), |(name, _)| {
            format!("{}::SAYS", name.replace('-', "_"))
        });
        let main = format!("fn main() {{\n    println!(\"{{}}\", {first});\n}}\n");
        fs_err::write(folder.join("Cargo.toml"), manifest).expect("a manifest can be written");
        fs_err::write(folder.join("src/main.rs"), main).expect("a source can be written");
        folder
    }
}

/// Running it.
impl Cargo {
    /// Runs cargo in a folder, with more variables.
    pub(crate) fn run(
        &self,
        (folder, arguments): (&Path, &[&str]),
        variables: &[(String, String)],
    ) -> Output {
        let mut command = self.command();
        command.current_dir(folder).args(arguments).envs(variables.iter().cloned());
        run(&mut command, LIMIT)
    }

    /// Runs cargo, which must succeed; all that it said.
    #[track_caller]
    pub(crate) fn ok(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run((folder, arguments), &[]);
        assert!(output.status.success(), "cargo {arguments:?}: {}", said(&output));
        said(&output)
    }

    /// Runs cargo, which must fail; all that it said.
    #[track_caller]
    pub(crate) fn refused(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run((folder, arguments), &[]);
        assert!(!output.status.success(), "cargo {arguments:?} succeeded: {}", said(&output));
        said(&output)
    }

    /// Publishes a folder to the registry `griot`, as it is, without building it first.
    pub(crate) fn publish(&self, folder: &Path) -> Output {
        let arguments = ["publish", "--registry", "griot", "--allow-dirty", "--no-verify"];
        self.run((folder, &arguments), &[])
    }

    /// Builds and runs the binary of a folder; what it printed.
    #[track_caller]
    pub(crate) fn says(&self, folder: &Path) -> String {
        let output = self.run((folder, &["run", "--quiet"]), &[]);
        assert!(output.status.success(), "cargo run: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The cargo that built this test, or the one on the path.
fn program() -> Option<PathBuf> {
    Some(PathBuf::from(env!("CARGO"))).filter(|path| path.is_file()).or_else(|| find("cargo"))
}

/// Settings by which the node's hosted crates are the registry `griot`.
fn hosted(node: &Node) -> String {
    let index = node.url("/cargo/~hosted/index/");
    format!("[registries.griot]\nindex = \"sparse+{index}\"\n\n")
}

/// Settings that put a sparse index in place of the default registry.
fn replaced(index: &str) -> String {
    format!(
        "[source.crates-io]\nreplace-with = \"there\"\n\n\
         [source.there]\nregistry = \"sparse+{index}\"\n"
    )
}
