//! Which files of a folder go into its package: npm's rules, without running anything.
//!
//! `package.json`, readmes, licences and what `main` and `bin` name are always in; `node_modules`,
//! version control, lockfiles, npm's own configuration and editors' leftovers never. In between:
//! the list `files`, if there is one, else everything that the nearest `.npmignore` (or, where
//! there is none, `.gitignore`) does not leave out. Links are passed over.
//!
//! Source: the documentation of `npm pack` and of `files` in package.json.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Map, Value};

/// More files than this are no package but a mistake.
const FILES_MAX: usize = 100_000;
/// Deeper folders are passed over by no one: they are an error.
const DEPTH_MAX: usize = 60;

/// Never packed, at any depth.
const NEVER: [&str; 13] = [
    ".git",
    ".svn",
    ".hg",
    "CVS",
    "node_modules",
    ".npmrc",
    ".DS_Store",
    ".npmignore",
    ".gitignore",
    ".lock-wscript",
    "npm-debug.log",
    "config.gypi",
    ".gitattributes",
];
/// Never packed at the top.
const NEVER_AT_TOP: [&str; 6] = [
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "archived-packages",
];

/// Paths of the files to pack, relative to `root`, parts joined by `/`, sorted.
pub(super) fn list(root: &Path, manifest: &Map<String, Value>) -> Result<Vec<String>, String> {
    let always = named_files(manifest);
    let chosen = chosen(root, manifest)?;
    let mut walk = Walk { root, always, chosen, rules: Vec::new(), out: BTreeSet::new() };
    walk.folder("", 0)?;
    Ok(walk.out.into_iter().collect())
}

/// Files that the manifest names in `main` and `bin`.
fn named_files(manifest: &Map<String, Value>) -> BTreeSet<String> {
    let plain = |path: &str| path.trim_start_matches("./").trim_start_matches('/').to_owned();
    let main = manifest.get("main").and_then(Value::as_str).map(plain);
    main.into_iter()
        .flat_map(|main| [format!("{main}.js"), main])
        .chain(bin_files(manifest).into_iter().map(|path| plain(&path)))
        .collect()
}

/// What `bin` names, as written.
pub(super) fn bin_files(manifest: &Map<String, Value>) -> Vec<String> {
    match manifest.get("bin") {
        Some(Value::String(path)) => vec![path.clone()],
        Some(Value::Object(bins)) => {
            bins.values().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The list `files` as a matcher: every pattern starts at the top and means all below it.
fn chosen(root: &Path, manifest: &Map<String, Value>) -> Result<Option<Gitignore>, String> {
    let Some(Value::Array(patterns)) = manifest.get("files") else { return Ok(None) };
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns.iter().filter_map(Value::as_str) {
        let (not, plain) = match pattern.strip_prefix('!') {
            Some(plain) => ("!", plain),
            None => ("", pattern),
        };
        let plain = plain.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
        let line = if matches!(plain, "" | "." | "*") { "/**" } else { &format!("/{plain}") };
        builder
            .add_line(None, &format!("{not}{line}"))
            .map_err(|error| format!("`files` in package.json: {error}"))?;
    }
    builder.build().map(Some).map_err(|error| format!("`files` in package.json: {error}"))
}

struct Walk<'r> {
    root: &'r Path,
    always: BTreeSet<String>,
    chosen: Option<Gitignore>,
    /// The ignore files of the folders above, outermost first.
    rules: Vec<Gitignore>,
    out: BTreeSet<String>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("{folder} lies too deep to be packed"));
        }
        let path = self.root.join(folder);
        // With a list `files`, the ignore file at the top means nothing.
        let rules = if depth > 0 || self.chosen.is_none() { ignore_file(&path)? } else { None };
        let pushed = rules.is_some();
        self.rules.extend(rules);
        for entry in fs_err::read_dir(&path).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let kind = entry.file_type().map_err(|error| error.to_string())?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| format!("{name:?} is not UTF-8"))?;
            if never(name, depth) {
                continue;
            }
            let below =
                if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if kind.is_dir() {
                self.visit_folder(&below, depth)?;
            } else if kind.is_file() && self.takes(&below, name, depth) {
                self.out.insert(below);
            }
            if self.out.len() > FILES_MAX {
                return Err(format!("more than {FILES_MAX} files would be packed"));
            }
        }
        if pushed {
            self.rules.pop();
        }
        Ok(())
    }

    fn visit_folder(&mut self, folder: &str, depth: usize) -> Result<(), String> {
        let above = |file: &String| file.starts_with(&format!("{folder}/"));
        if self.ignored(folder, true) && !self.always.iter().any(above) {
            return Ok(());
        }
        self.folder(folder, depth + 1)
    }

    fn takes(&self, path: &str, name: &str, depth: usize) -> bool {
        if self.always.contains(path) || depth == 0 && always_at_top(name) {
            return true;
        }
        let full = self.root.join(path);
        let chosen =
            |chosen: &Gitignore| chosen.matched_path_or_any_parents(&full, false).is_ignore();
        self.chosen.as_ref().is_none_or(chosen) && !self.ignored(path, false)
    }

    /// The innermost rule that says something decides; a folder left out takes all below along.
    fn ignored(&self, path: &str, is_folder: bool) -> bool {
        let full = self.root.join(path);
        for rules in self.rules.iter().rev() {
            match rules.matched_path_or_any_parents(&full, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

/// The `.npmignore` of a folder, else its `.gitignore`.
fn ignore_file(folder: &Path) -> Result<Option<Gitignore>, String> {
    let names = [".npmignore", ".gitignore"];
    let found: Option<PathBuf> =
        names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let Some(found) = found else { return Ok(None) };
    let mut builder = GitignoreBuilder::new(folder);
    if let Some(error) = builder.add(&found) {
        return Err(error.to_string());
    }
    builder.build().map(Some).map_err(|error| error.to_string())
}

fn never(name: &str, depth: usize) -> bool {
    NEVER.contains(&name)
        || depth == 0 && NEVER_AT_TOP.contains(&name)
        || name.starts_with("._")
        || name.ends_with(".orig")
        || name.starts_with(".wafpickle-")
        || name.starts_with('.') && name.ends_with(".swp")
}

fn always_at_top(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    lower == "package.json" || matches!(stem, "readme" | "license" | "licence")
}
