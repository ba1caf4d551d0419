//! How pip, uv, poetry and twine are pointed at the node, and back.
//!
//! Each has one file that is written: marked blocks are added to it, taken out again, and nothing
//! else of it changes. `conf.rs` knows `pip.conf` and `.pypirc`, `toml.rs` `uv.toml`,
//! `pyproject.toml` and poetry's files, `says.rs` what clients print, and files of requirements.
//! Nothing here touches a disk or runs a client.
//!
//! The registry that is built into a client is told by its own help: no host stands here. uv and
//! poetry write the registry into their lockfiles, so the lockfile of a linked project is another
//! one; `griot run` is for those. A token goes only where the client keeps tokens itself.
//!
//! Source: formats/pypi.md section 5; the clients' documentation of their settings.

use std::path::PathBuf;

use crate::formats::{Aim, Builtin, Link, ProjectFile, Settings, TokenUse, Variables};

mod conf;
mod pip;
mod poetry;
mod pypirc;
mod says;
#[cfg(test)]
mod tests;
mod toml;
mod uv;

/// The clients of Python's registry.
pub(super) const LINKS: &[Link] = &[PIP, UV, POETRY, TWINE];

/// The name under which a client publishes to the node.
const NAME: &str = "griot";
/// The user of a token.
const USER: &str = "__token__";

/// Where clients ask for packages, below the mount.
const SIMPLE: &str = "simple/";
/// Where they publish.
const LEGACY: &str = "legacy/";

const PIP: Link = Link {
    client: "pip",
    program: "pip",
    ask: &["config", "debug"],
    answer: says::pip,
    builtin: Some(Builtin { ask: &["install", "--help"], read: says::builtin }),
    user_file: |variable| config(variable, "PIP_CONFIG_FILE", "pip/pip.conf"),
    project_files: &[
        ProjectFile { program: "bin/pip", ..venv("pyvenv.cfg", "pip.conf") },
        ProjectFile { program: ".venv/bin/pip", ..venv(".venv/pyvenv.cfg", ".venv/pip.conf") },
        ProjectFile { program: "venv/bin/pip", ..venv("venv/pyvenv.cfg", "venv/pip.conf") },
        ProjectFile {
            program: "bin/pip",
            folder: Some("VIRTUAL_ENV"),
            ..venv("pyvenv.cfg", "pip.conf")
        },
    ],
    below: SIMPLE,
    also_reads: &[".netrc"],
    also_says: &["requirements.txt", "requirements.in", "constraints.txt"],
    variables: &["PIP_INDEX_URL"],
    beside_variables: &["PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"],
    token: TokenUse::Never,
    read: read_pip,
    insert: pip::insert,
    remove: pip::remove,
    ..Link::PLAIN
};

const UV: Link = Link {
    client: "uv",
    program: "uv",
    builtin: Some(Builtin { ask: &["pip", "install", "--help"], read: says::builtin }),
    user_file: |variable| config(variable, "UV_CONFIG_FILE", "uv/uv.toml"),
    project_files: &[
        venv("uv.toml", "uv.toml"),
        venv("pyproject.toml", "pyproject.toml"),
        ProjectFile::always("uv.toml"),
    ],
    below: SIMPLE,
    also_reads: &[".netrc"],
    also_says: &["requirements.txt", "requirements.in", "constraints.txt"],
    variables: &["UV_DEFAULT_INDEX", "UV_INDEX_URL"],
    beside_variables: &["UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"],
    token: TokenUse::Never,
    read: read_uv,
    insert: uv::insert,
    remove: |text, _, _| crate::formats::block::remove(text, "uv"),
    note: Some(
        "uv.lock names the registry and the URL of each file: griot run -- uv lock writes it as \
         without a node. To publish: uv publish --index griot --token …",
    ),
    ..Link::PLAIN
};

const POETRY: Link = Link {
    client: "poetry",
    program: "poetry",
    user_file: |variable| config(variable, "POETRY_CONFIG_DIR", "pypoetry/config.toml"),
    project_files: &[ProjectFile::always("poetry.toml")],
    below: SIMPLE,
    also_reads: &[".netrc"],
    also_says: &["pyproject.toml"],
    variables: &["POETRY_PYPI_MIRROR_URL"],
    read: read_poetry,
    insert: poetry::insert,
    remove: poetry::remove,
    note: Some(
        "poetry installs from another registry only with its plugin poetry-plugin-pypi-mirror; \
         without it, and with the same lockfile: griot run -- poetry install. A \
         [[tool.poetry.source]] would stand in poetry.lock. To publish: poetry publish -r griot",
    ),
    ..Link::PLAIN
};

const TWINE: Link = Link {
    client: "twine",
    program: "twine",
    user_file: |variable| Some(PathBuf::from(variable("HOME")?).join(".pypirc")),
    below: LEGACY,
    variables: &["TWINE_REPOSITORY_URL"],
    only_publishes: true,
    token: TokenUse::Always,
    insert: pypirc::insert,
    remove: pypirc::remove,
    note: Some("it publishes here by name: twine upload -r griot dist/*"),
    ..Link::PLAIN
};

const fn venv(marker: &'static str, file: &'static str) -> ProjectFile {
    ProjectFile { marker, ..ProjectFile::always(file) }
}

/// A file below the folder of settings, unless a variable names it or its folder.
fn config(variable: Variables<'_>, named: &str, file: &str) -> Option<PathBuf> {
    let is_file = named.ends_with("_FILE");
    if let Some(named) = variable(named).map(PathBuf::from).filter(|named| !is_nothing(named)) {
        return Some(if is_file { named } else { named.join(name_of(file)) });
    }
    let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
    Some(folder.join(file))
}

/// The file by which a client is told to read none.
fn is_nothing(file: &std::path::Path) -> bool {
    file == std::path::Path::new("/dev/null")
}

fn name_of(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}

/// Files that every client of these reads, or that may name other places.
fn common(name: &str, text: &str) -> Option<Settings> {
    let lists = name.starts_with("requirements") || name == "constraints.txt";
    if lists {
        return Some(says::requirements(text));
    }
    (name == ".netrc").then(|| says::netrc(text))
}

fn read_pip(file: &str, text: &str, _: Variables<'_>) -> Result<Settings, String> {
    Ok(common(name_of(file), text).unwrap_or_else(|| pip::read(text)))
}

fn read_uv(file: &str, text: &str, _: Variables<'_>) -> Result<Settings, String> {
    let name = name_of(file);
    common(name, text).map_or_else(|| uv::read_file(name, text), Ok)
}

fn read_poetry(file: &str, text: &str, _: Variables<'_>) -> Result<Settings, String> {
    match name_of(file) {
        "pyproject.toml" => poetry::sources(text),
        name => common(name, text).map_or_else(|| poetry::read(text), Ok),
    }
}

/// URL of what clients ask for packages.
fn simple(aim: &Aim) -> String {
    format!("{}{SIMPLE}", mount(aim))
}

/// URL of what they publish to.
fn legacy(aim: &Aim) -> String {
    format!("{}{LEGACY}", mount(aim))
}

fn mount(aim: &Aim) -> &str {
    let url = aim.registry.as_str();
    [SIMPLE, LEGACY].into_iter().find_map(|below| url.strip_suffix(below)).unwrap_or(url)
}
