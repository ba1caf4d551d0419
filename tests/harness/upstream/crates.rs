//! Cargo's side of the stub: crates that a test makes, and their sparse index.
//!
//! The index is `index/` below the base URL. Its `config.json` says where the crates are, by
//! `Switches::tarballs`: a bare URL as usual, a template with all its markers in another folder, or
//! a deep path on another port, as behind a company's mirror.
//!
//! Source: formats/cargo.md; the registry index and source replacement of the cargo book.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::documents::Found;
use super::packing::{hex, tarred};
use super::{Shared, State, Switches, Tarballs};

/// A crate in the making; methods chain.
#[derive(Debug, Clone)]
pub(crate) struct Crate {
    name: String,
    version: String,
    /// (the key in Cargo.toml, the crate, what is required)
    dependencies: Vec<(String, String, String)>,
    says: String,
    files: Vec<(String, Vec<u8>)>,
    /// Fields of its line in the index, over the usual ones.
    line: Map<String, Value>,
}

impl Crate {
    /// A library with `pub const SAYS: &str = "name-version"`.
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            dependencies: Vec::new(),
            says: format!("{name}-{version}"),
            files: Vec::new(),
            line: Map::new(),
        }
    }

    /// With one more dependency of the same registry.
    pub(crate) fn dependency(self, name: &str, range: &str) -> Self {
        self.renamed(name, name, range)
    }

    /// With a dependency under another name.
    pub(crate) fn renamed(mut self, alias: &str, name: &str, range: &str) -> Self {
        self.dependencies.push((alias.to_owned(), name.to_owned(), range.to_owned()));
        self
    }

    /// What `SAYS` is.
    pub(crate) fn says(self, says: &str) -> Self {
        Self { says: says.to_owned(), ..self }
    }

    /// With one more file.
    pub(crate) fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), bytes.into()));
        self
    }

    /// With a field of its line in the index: a new one, or another value than the true one.
    pub(crate) fn line(mut self, field: &str, value: Value) -> Self {
        self.line.insert(field.to_owned(), value);
        self
    }

    /// Its `Cargo.toml`.
    pub(crate) fn manifest(&self) -> String {
        let Self { name, version, .. } = self;
        let mut text = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
             description = \"made by a test\"\nlicense = \"MIT\"\n"
        );
        for (alias, name, range) in &self.dependencies {
            text.push_str(&format!("\n[dependencies.{alias}]\nversion = \"{range}\"\n"));
            if alias != name {
                text.push_str(&format!("package = \"{name}\"\n"));
            }
        }
        text
    }

    fn sources(&self) -> Vec<(String, Vec<u8>)> {
        let code = format!("//! Made by a test.\n\npub const SAYS: &str = {:?};\n", self.says);
        let mut files = vec![
            ("Cargo.toml".to_owned(), self.manifest().into_bytes()),
            ("src/lib.rs".to_owned(), code.into_bytes()),
        ];
        files.extend(self.files.iter().cloned());
        files
    }

    /// Its name as files have it: `NAME-VERSION.crate`.
    pub(crate) fn filename(&self) -> String {
        format!("{}-{}.crate", self.name, self.version)
    }

    /// Its bytes, the same at every call.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        tarred(&format!("{}-{}", self.name, self.version), &self.sources())
    }

    /// Writes its sources into a folder below `parent`, to be published; where they are.
    pub(crate) fn write_sources(&self, parent: &std::path::Path) -> std::path::PathBuf {
        let folder = parent.join(format!("{}-{}", self.name, self.version));
        for (path, bytes) in self.sources() {
            let file = folder.join(path);
            let above = file.parent().expect("a file lies in a folder");
            fs_err::create_dir_all(above).expect("a folder can be made in the test's folder");
            fs_err::write(file, bytes).expect("a file can be written in the test's folder");
        }
        folder
    }
}

/// A crate as the index keeps it.
#[derive(Debug)]
pub(super) struct Kept {
    about: Crate,
    bytes: Vec<u8>,
    order: u64,
}

impl Kept {
    /// The how many-eth publish it is.
    pub(super) fn new(about: Crate, order: u64) -> Self {
        Self { bytes: about.bytes(), about, order }
    }

    /// Its name in lower case: what the index knows it by.
    pub(super) fn key(&self) -> String {
        self.about.name.to_lowercase()
    }

    /// Its version as it is written.
    pub(super) fn version(&self) -> &str {
        &self.about.version
    }

    /// Yanks or unyanks it.
    pub(super) fn yank(&mut self, yanked: bool) {
        self.about.line.insert("yanked".to_owned(), json!(yanked));
    }

    /// Its line in the index.
    fn line(&self) -> String {
        let dependency = |(alias, name, range): &(String, String, String)| {
            let mut all = json!({ "name": alias, "req": range, "features": [], "optional": false,
                "default_features": true, "target": null, "kind": "normal", "registry": null });
            if alias != name {
                all["package"] = json!(name);
            }
            all
        };
        let deps: Vec<Value> = self.about.dependencies.iter().map(dependency).collect();
        let mut line = json!({ "name": self.about.name, "vers": self.about.version, "deps": deps,
            "cksum": hex(&sha2::Sha256::digest(&self.bytes)), "features": {}, "yanked": false });
        for (field, value) in &self.about.line {
            line[field.as_str()] = value.clone();
        }
        line.to_string()
    }
}

/// The crates of each name, in the order of their publish.
pub(super) type Crates = BTreeMap<String, Vec<Kept>>;

/// `se/rd/serde`: where the index has a crate.
pub(crate) fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    format!("{}/{name}", prefix(&name))
}

fn prefix(name: &str) -> String {
    match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// What is below `index/`, and where its `config.json` says that crates are.
pub(super) fn find(
    state: &State,
    (switches, shared): (&Switches, &Shared),
    path: &str,
) -> Option<Found> {
    if path == "index/config.json" {
        let body = config(switches, shared).to_string().into_bytes();
        return Some(found("application/json", body, false, 0));
    }
    if let Some(asked) = path.strip_prefix("index/") {
        let (_, name) = asked.rsplit_once('/')?;
        let all = state.crates.get(name).filter(|_| index_path(name) == asked)?;
        let lines: Vec<String> = all.iter().map(Kept::line).collect();
        let changed = all.iter().map(|kept| kept.order).max().unwrap_or_default();
        return Some(found("text/plain", (lines.join("\n") + "\n").into_bytes(), false, changed));
    }
    let all = || state.crates.values().flatten();
    let kept = all().find(|kept| place(switches, kept) == path)?;
    let mut body = kept.bytes.clone();
    if switches.wrong_bytes {
        body.reverse();
    }
    Some(found("application/octet-stream", body, true, kept.order))
}

const fn found(content_type: &'static str, body: Vec<u8>, file: bool, changed: u64) -> Found {
    Found { content_type, body, file, changed }
}

fn config(switches: &Switches, shared: &Shared) -> Value {
    let Shared { address, other, .. } = shared;
    let dl = match &switches.tarballs {
        Tarballs::Usual => format!("http://{address}/api/v1/crates"),
        Tarballs::Folder(folder) => format!(
            "http://{address}/{folder}/{{prefix}}/{{lowerprefix}}/{{crate}}/{{version}}/\
             {{sha256-checksum}}.crate"
        ),
        Tarballs::OtherHost => format!("http://{other}/files/deep/path/v1"),
    };
    let mut config = json!({ "dl": dl, "api": format!("http://{address}") });
    if switches.require_token.is_some() {
        config["auth-required"] = json!(true);
    }
    config
}

/// The path that [`config`] makes of a crate.
fn place(switches: &Switches, kept: &Kept) -> String {
    let Crate { name, version, .. } = &kept.about;
    match &switches.tarballs {
        Tarballs::Usual => format!("api/v1/crates/{name}/{version}/download"),
        Tarballs::Folder(folder) => {
            let (exact, lower) = (prefix(name), prefix(&name.to_lowercase()));
            let sum = hex(&sha2::Sha256::digest(&kept.bytes));
            format!("{folder}/{exact}/{lower}/{name}/{version}/{sum}.crate")
        }
        Tarballs::OtherHost => format!("files/deep/path/v1/{name}/{version}/download"),
    }
}
