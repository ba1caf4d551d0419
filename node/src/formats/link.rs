//! How a client is pointed at this node, and back: data and pure functions.
//!
//! A format lists its clients (`Format::links`). What moves is not here: the command asks the
//! client, writes the file and keeps its former bytes. The marks of what was written are in
//! `block.rs`.
//!
//! Source: formats/README.md section 6.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a client is pointed at this node, and back.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// As `griot link` takes it.
    pub client: &'static str,
    /// The program that is asked.
    pub program: &'static str,
    /// Whether the program of this version is this client: two may share a name.
    pub speaks: fn(version: &str) -> bool,
    /// Arguments by which it tells its settings; none if it cannot be asked.
    pub ask: &'static [&'static str],
    /// Reads what it told.
    pub answer: fn(&str) -> Answer,
    /// How it tells the registry that it uses when no setting names one.
    pub builtin: Option<Builtin>,
    /// The user's settings that are written, by the variables of the environment.
    pub user_file: fn(Variables<'_>) -> Option<PathBuf>,
    /// The same of a project: the first one whose marker is there. None where it has no settings
    /// of projects.
    pub project_files: &'static [ProjectFile],
    /// The name of former days of either file: where one is, the client reads and this writes it.
    pub older_name: Option<&'static str>,
    /// What is written, and what `griot run` answers an upstream's base URL with: the path below
    /// the format's mount, empty or with a slash at its end. The first client's is that of all.
    pub below: &'static str,
    /// Whether it reads the project file of every folder above a project, too.
    pub parents: bool,
    /// More files that it reads, in the folder of the user's file.
    pub beside_user_file: &'static [&'static str],
    /// Other files of user and project that it reads, weaker than the written one.
    pub also_reads: &'static [&'static str],
    /// Files of a project that are no settings, but may name other places to ask.
    pub also_says: &'static [&'static str],
    /// Variables that name its registry before every file, the strongest first.
    pub variables: &'static [&'static str],
    /// Variables that name further places, which are asked beside the registry.
    pub beside_variables: &'static [&'static str],
    /// Whether it only publishes: then there is nothing to adopt.
    pub only_publishes: bool,
    /// Whether its settings hold a token.
    pub token: TokenUse,
    /// Reads a file of settings, by its name.
    pub read: fn(file: &str, text: &str, Variables<'_>) -> Result<Settings, String>,
    /// Settles what follows only from what all files say together, once they are read.
    pub settle: fn(&mut Settings),
    /// Adds a marked block that points at the node; an error says why the file must be edited by
    /// hand.
    pub insert: fn(text: &str, &Aim) -> Result<String, String>,
    /// Takes the block out again, and nothing else; `None` if nothing of it is there. The former
    /// text helps where the client has rewritten the file without its comments.
    pub remove: fn(text: &str, &Aim, former: &str) -> Option<String>,
    /// What goes past the node all the same, in a sentence.
    pub note: Option<&'static str>,
}

impl Link {
    /// A client of which nothing is known: what a recipe does not say is as here.
    pub const PLAIN: Self = Self {
        client: "",
        program: "",
        speaks: |_| true,
        ask: &[],
        answer: |_| Answer::default(),
        builtin: None,
        user_file: |_| None,
        project_files: &[],
        older_name: None,
        below: "",
        parents: false,
        beside_user_file: &[],
        also_reads: &[],
        also_says: &[],
        variables: &[],
        beside_variables: &[],
        only_publishes: false,
        token: TokenUse::Asked,
        read: |_, _, _| Ok(Settings::default()),
        settle: |_| {},
        insert: |_, _| Err("it has no settings".to_owned()),
        remove: |_, _, _| None,
        note: None,
    };
}

/// How a program tells the registry that is built into it.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its arguments.
    pub ask: &'static [&'static str],
    /// Finds the URL in what it printed.
    pub read: fn(&str) -> Option<String>,
}

/// A file of a project that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectFile {
    /// What must be there, from the folder; empty: it is written in any case.
    pub marker: &'static str,
    /// The file, from the folder.
    pub file: &'static str,
    /// The variable that names the folder, if it is not the project's own.
    pub folder: Option<&'static str>,
    /// The program that reads it, from the folder; empty: the one on the path.
    pub program: &'static str,
}

impl ProjectFile {
    /// One that is written in any project.
    #[must_use]
    pub const fn always(file: &'static str) -> Self {
        Self { marker: "", file, folder: None, program: "" }
    }
}

/// Whether a client's settings hold a token for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    /// Its settings have no place for one, or it only reads.
    Never,
    /// If the person wants to publish with it.
    Asked,
    /// It does nothing without one.
    Always,
}

/// Looks a variable of the environment up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a client told of its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The registry that it uses.
    pub registry: Option<String>,
    /// Registries of scopes, such as `@acme`.
    pub scopes: BTreeMap<String, String>,
    /// The file with the user's settings, where it says so.
    pub user_file: Option<PathBuf>,
    /// More files that it reads, weaker than the user's.
    pub files: Vec<PathBuf>,
    /// What it asks beside its registry: the setting's name, and the place.
    pub beside: Vec<(String, String)>,
}

/// What a file of settings says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The registry.
    pub registry: Option<String>,
    /// Registries of scopes, such as `@acme`.
    pub scopes: BTreeMap<String, String>,
    /// Start of a URL without its scheme (`//host/path/`) and the value of `Authorization` for it.
    pub credentials: BTreeMap<String, String>,
    /// What is asked beside the registry: the setting's name, and the place.
    pub beside: Vec<(String, String)>,
    /// Whatever else [`Link::settle`] needs: of equal keys that of the strongest file.
    pub keys: BTreeMap<String, String>,
    /// Where it takes packages from, if that is no registry that can be adopted: behind "it takes
    /// packages from".
    pub unfit: Option<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("registry", &self.registry)
            .field("scopes", &self.scopes)
            .field("credentials", &self.credentials.len())
            .finish_non_exhaustive()
    }
}

/// Where a client is pointed.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Aim {
    /// URL of the node's door, with the slash at its end.
    pub registry: String,
    /// Lets the client publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Scopes with a registry of their own, which the node asks now.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Name of the file that is written: some clients have several kinds.
    #[serde(default)]
    pub file: String,
}

impl std::fmt::Debug for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aim").field("registry", &self.registry).finish_non_exhaustive()
    }
}
