//! The clients that speak to `/npm/`, each in the versions that differ, shut off from this machine.
//!
//! `tests/run` installs them below `target/tools/clients`, each in a folder of its own. A command
//! sees one home: its configuration, caches and stores lie in it and nowhere else, at the places
//! where the client looks by default, so that a test may write them as a person would.
//!
//! A client that is not installed makes its test skip: see `client`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::client::{clean_on, find, skip};
use super::wait::{run, said};

/// A client takes seconds to start on a busy machine; one that retries for a minute has failed.
const LIMIT: Duration = Duration::from_secs(150);

/// A client in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// Asks for abbreviated documents.
    Npm8,
    /// Asks for full documents.
    Npm10,
    /// As npm 10.
    Npm11,
    /// Refuses tarballs of foreign hosts.
    Npm12,
    /// Version 10.
    Pnpm,
    /// The yarn that reads `.yarnrc`.
    Yarn1,
    /// The yarn that reads `.yarnrc.yml`.
    Berry,
    /// Version 1.
    Bun,
}

impl Client {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Npm8,
        Self::Npm10,
        Self::Npm11,
        Self::Npm12,
        Self::Pnpm,
        Self::Yarn1,
        Self::Berry,
        Self::Bun,
    ];

    /// Folder below `target/tools/clients`, and name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Npm8 => "npm8",
            Self::Npm10 => "npm10",
            Self::Npm11 => "npm11",
            Self::Npm12 => "npm12",
            Self::Pnpm => "pnpm",
            Self::Yarn1 => "yarn1",
            Self::Berry => "berry",
            Self::Bun => "bun",
        }
    }

    /// The command that a person types.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Npm8 | Self::Npm10 | Self::Npm11 | Self::Npm12 => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn1 | Self::Berry => "yarn",
            Self::Bun => "bun",
        }
    }

    /// Its lockfile.
    pub(crate) const fn lockfile(self) -> &'static str {
        match self {
            Self::Npm8 | Self::Npm10 | Self::Npm11 | Self::Npm12 => "package-lock.json",
            Self::Pnpm => "pnpm-lock.yaml",
            Self::Yarn1 | Self::Berry => "yarn.lock",
            Self::Bun => "bun.lock",
        }
    }

    /// The folder with its program.
    pub(crate) fn folder(self) -> PathBuf {
        let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = cli.parent().expect("the crate lies in the tree");
        root.join("target/tools/clients").join(self.name()).join("node_modules/.bin")
    }

    /// Whether it is installed; skips the running test if not.
    pub(crate) fn is_there(self) -> bool {
        let there = self.folder().join(self.program()).is_file() && find("node").is_some();
        if !there {
            skip(&format!("needs {}: tests/run installs it", self.name()));
        }
        there
    }

    /// A `PATH` on which its program comes first.
    pub(crate) fn path(self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.folder()).chain(std::env::split_paths(&path));
        std::env::join_paths(all).expect("no folder of the tools has a colon in its name")
    }

    /// Its variables for a home, `PATH` among them.
    pub(crate) fn variables(self, home: &Path) -> Vec<(&'static str, OsString)> {
        let at = |name: &str| home.join(name).into_os_string();
        let mut all = vec![
            ("PATH", self.path()),
            ("HOME", home.into()),
            ("XDG_CONFIG_HOME", at(".config")),
            ("XDG_CACHE_HOME", at(".cache")),
            ("XDG_DATA_HOME", at(".local/share")),
            ("XDG_STATE_HOME", at(".local/state")),
            ("npm_config_userconfig", at(".npmrc")),
            ("npm_config_globalconfig", at("npmrc-global")),
            ("npm_config_cache", at(".npm")),
            ("npm_config_prefix", at("prefix")),
            ("npm_config_update_notifier", "false".into()),
            ("DO_NOT_TRACK", "1".into()),
        ];
        match self {
            Self::Npm8 | Self::Npm10 | Self::Npm11 | Self::Npm12 => {}
            Self::Pnpm => {
                all.push(("PNPM_HOME", at("pnpm")));
                all.push(("npm_config_store_dir", at("pnpm-store")));
            }
            Self::Yarn1 => all.push(("YARN_CACHE_FOLDER", at("yarn-cache"))),
            Self::Berry => {
                all.push(("YARN_GLOBAL_FOLDER", at("yarn-global")));
                all.push(("YARN_ENABLE_TELEMETRY", "0".into()));
                // It would pass over releases of the last days: those of a test are seconds old.
                all.push(("YARN_NPM_MINIMAL_AGE_GATE", "0".into()));
            }
            Self::Bun => {
                all.push(("BUN_INSTALL", at("bun")));
                all.push(("BUN_INSTALL_CACHE_DIR", at("bun-cache")));
            }
        }
        all
    }

    /// The client with `home` as its home, ready for arguments and a folder to run in.
    pub(crate) fn command(self, home: &Path) -> Command {
        self.command_on(None, home)
    }

    /// The same on a host of a test's own network.
    pub(crate) fn command_on(self, host: Option<&str>, home: &Path) -> Command {
        let mut command = clean_on(host, self.folder().join(self.program()));
        command.envs(self.variables(home));
        command
    }

    /// Runs it in `folder`.
    pub(crate) fn run(self, home: &Path, folder: &Path, arguments: &[&str]) -> Output {
        run(self.command(home).current_dir(folder).args(arguments), LIMIT)
    }

    /// Runs it, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(self, home: &Path, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(home, folder, arguments);
        assert!(output.status.success(), "{} {arguments:?}: {}", self.name(), said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs it, which must fail, and returns all that it said.
    #[track_caller]
    pub(crate) fn refused(self, home: &Path, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(home, folder, arguments);
        assert!(!output.status.success(), "{} {arguments:?} succeeded", self.name());
        said(&output)
    }

    /// Points it at a registry by the settings of `home`, as a person without `griot link` does.
    pub(crate) fn configure(self, home: &Path, registry: &str, token: Option<&str>) {
        let host = registry.strip_prefix("http:").expect("registries of tests are plain HTTP");
        let (file, settings) = match self {
            Self::Npm8 | Self::Npm10 | Self::Npm11 | Self::Npm12 => {
                (".npmrc", format!("registry={registry}\nreplace-registry-host=always\n"))
            }
            Self::Pnpm | Self::Bun | Self::Yarn1 => (".npmrc", format!("registry={registry}\n")),
            Self::Berry => (
                ".yarnrc.yml",
                format!("npmRegistryServer: {registry:?}\nunsafeHttpWhitelist: [\"127.0.0.1\"]\n"),
            ),
        };
        let token = token.map(|token| match self {
            Self::Berry => format!("npmAuthToken: {token:?}\n"),
            _ => format!("{host}:_authToken={token}\n"),
        });
        let settings = settings + &token.unwrap_or_default();
        fs_err::write(home.join(file), settings).expect("a configuration can be written");
    }
}
