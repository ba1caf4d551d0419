//! A `.crate` → its meta: from the `Cargo.toml` that cargo normalised, and the `Cargo.lock` beside.
//!
//! Runs when a release is published and again wherever its bytes arrive; both must come to the same
//! bytes, so everything here depends on the archive alone. A dependency that names no registry is
//! of cargo's default one; which that is the archive says in its lockfile, and no URL of it is
//! known to this program. Old archives have no lockfile, nor a normalised manifest: they are read
//! as far as they go, since an upstream has them. A change of any output raises [`VERSION`].
//!
//! Source: cargo's `manifest.md`; formats/cargo.md section 3.

use std::collections::BTreeSet;
use std::io::Read;

use toml_edit::{DocumentMut, Item, TableLike};

use super::meta::{Dependency, Features, Meta};
use crate::formats::archive::{self, Entry, Error};
use crate::registry::Extracted;

/// Of this extractor.
const VERSION: u32 = 1;
/// The largest manifest: it is held as a tree.
const MANIFEST_MAX_BYTES: u64 = 1024 * 1024;
/// The largest lockfile; a longer one is as good as none.
const LOCKFILE_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// A longer readme is cut away whole: it decides nothing.
const README_MAX_BYTES: u64 = 256 * 1024;
/// Tables of dependencies, in both spellings, and their kinds.
const TABLES: [(&str, &str, &str); 3] = [
    ("dependencies", "dependencies", "normal"),
    ("dev-dependencies", "dev_dependencies", "dev"),
    ("build-dependencies", "build_dependencies", "build"),
];

/// What a walk through the archive found below its first folder.
#[derive(Default)]
struct Found {
    /// The first folder.
    top: Option<String>,
    manifest: Option<Vec<u8>>,
    lockfile: Option<Vec<u8>>,
    readme: Option<Vec<u8>>,
}

/// Reads name, version and meta.
pub(super) fn extract(file: &mut std::fs::File, _name: &str) -> Result<Extracted, String> {
    let mut found = Found::default();
    archive::walk(file, &mut |entry, bytes| found.look(entry, bytes))
        .map_err(|error| error.to_string())?;
    let manifest = found.manifest.as_deref().ok_or("the archive holds no Cargo.toml")?;
    let manifest = parse(manifest, "Cargo.toml")?;
    let mut meta = read(manifest.as_table())?;
    let top = format!("{}-{}", meta.name, meta.vers);
    if found.top.as_ref() != Some(&top) {
        return Err(format!("the archive does not have its files in {top}/, where cargo looks"));
    }
    place(&mut meta, found.lockfile.as_deref());
    let (name, version) = (meta.name.clone(), meta.vers.clone());
    let meta = serde_json::to_vec(&meta).expect("plain fields are JSON");
    Ok(Extracted { name, version, meta, extractor_version: VERSION, readme: found.readme })
}

impl Found {
    fn look(&mut self, entry: &Entry, bytes: &mut dyn Read) -> Result<(), Error> {
        let (top, path) = entry.path.split_once('/').unwrap_or((&entry.path, ""));
        if self.top.get_or_insert_with(|| top.to_owned()) != top {
            return Err(Error::Ambiguous("its files lie in several folders"));
        }
        match path {
            "Cargo.toml" if entry.size > MANIFEST_MAX_BYTES => {
                Err(Error::OverLimit { what: "bytes in Cargo.toml", limit: MANIFEST_MAX_BYTES })
            }
            "Cargo.toml" => keep(&mut self.manifest, bytes),
            "Cargo.lock" if entry.size <= LOCKFILE_MAX_BYTES => keep(&mut self.lockfile, bytes),
            path if is_readme(path) && self.readme.is_none() && entry.size <= README_MAX_BYTES => {
                keep(&mut self.readme, bytes)
            }
            _ => Ok(()),
        }
    }
}

/// What was looked at is no longer than may be held.
fn keep(slot: &mut Option<Vec<u8>>, bytes: &mut dyn Read) -> Result<(), Error> {
    let mut out = Vec::new();
    bytes.take(LOCKFILE_MAX_BYTES).read_to_end(&mut out)?;
    *slot = Some(out);
    Ok(())
}

fn is_readme(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    matches!(lower.as_str(), "readme" | "readme.md" | "readme.txt")
}

fn parse(bytes: &[u8], file: &str) -> Result<DocumentMut, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{file} is not UTF-8"))?;
    let parsed = text.parse::<DocumentMut>();
    parsed.map_err(|error| format!("{file} cannot be read: {}", error.message()))
}

/// Everything but the URL of the default registry.
fn read(manifest: &dyn TableLike) -> Result<Meta, String> {
    let package = table(manifest, "package").or_else(|| table(manifest, "project"));
    let package = package.ok_or("Cargo.toml has no [package]")?;
    let required = |key: &str| {
        string(package, key).ok_or_else(|| {
            let how = "an archive has it, a folder of a workspace inherits it: cargo package";
            format!("Cargo.toml has no {key} of its own ({how})")
        })
    };
    let mut meta = Meta {
        name: required("name")?,
        vers: required("version")?,
        links: string(package, "links"),
        rust_version: string(package, "rust-version"),
        description: string(package, "description"),
        deps: dependencies(manifest, None)?,
        ..Meta::default()
    };
    let targets = table(manifest, "target").into_iter().flat_map(TableLike::iter);
    for (target, of) in targets {
        let of = of.as_table_like().ok_or_else(|| format!("[target.{target}] is no table"))?;
        meta.deps.extend(dependencies(of, Some(target))?);
    }
    meta.deps.sort();
    meta.set_features(features(manifest)?);
    Ok(meta)
}

fn features(manifest: &dyn TableLike) -> Result<Features, String> {
    let all = table(manifest, "features").into_iter().flat_map(TableLike::iter);
    all.map(|(name, values)| {
        let values = strings(values).ok_or_else(|| format!("the feature {name} is no list"))?;
        Ok((name.to_owned(), values))
    })
    .collect()
}

/// All kinds of dependencies below the manifest or one target of it.
fn dependencies(of: &dyn TableLike, target: Option<&str>) -> Result<Vec<Dependency>, String> {
    let mut all = Vec::new();
    for (name, old, kind) in TABLES {
        let found = table(of, name).or_else(|| table(of, old));
        for (alias, item) in found.into_iter().flat_map(TableLike::iter) {
            let read = dependency(alias, item, kind)?;
            let (target, kind) = (target.map(ToOwned::to_owned), kind.to_owned());
            all.extend(read.map(|read| Dependency { target, kind, ..read }.normal()));
        }
    }
    Ok(all)
}

/// One dependency; none for one without a version that only this crate's own tests need.
fn dependency(alias: &str, item: &Item, kind: &str) -> Result<Option<Dependency>, String> {
    // Of the default registry, until the lockfile says which that is.
    let registry = Some(String::new());
    let plain = Dependency { name: alias.to_owned(), registry, ..Dependency::default() };
    if let Some(req) = item.as_str() {
        return Ok(Some(Dependency { req: req.to_owned(), default_features: true, ..plain }));
    }
    let said = item.as_table_like().ok_or_else(|| format!("{alias} is no dependency"))?;
    for unfinished in ["workspace", "registry"] {
        if said.contains_key(unfinished) {
            let why = format!("{unfinished} is said of {alias}, which only the workspace explains");
            return Err(format!("Cargo.toml is not as cargo package makes it: {why}"));
        }
    }
    let req = match string(said, "version") {
        None if kind == "dev" => return Ok(None),
        other => other.unwrap_or_else(|| "*".to_owned()),
    };
    let flag =
        |key: &str, old: &str| said.get(key).or_else(|| said.get(old)).and_then(Item::as_bool);
    Ok(Some(Dependency {
        req,
        features: said.get("features").and_then(strings).unwrap_or_default(),
        optional: flag("optional", "optional").unwrap_or(false),
        default_features: flag("default-features", "default_features").unwrap_or(true),
        registry: string(said, "registry-index").or(plain.registry),
        package: string(said, "package"),
        ..Dependency { name: plain.name, ..Dependency::default() }
    }))
}

/// Writes the URL of the default registry to the dependencies that come from there, if the lockfile
/// says which it is: the one that all of them share.
fn place(meta: &mut Meta, lockfile: Option<&[u8]>) {
    let lockfile = lockfile.and_then(|bytes| parse(bytes, "Cargo.lock").ok());
    let Some(lockfile) = lockfile else { return };
    let named: BTreeSet<&str> = meta.deps.iter().filter_map(|d| d.registry.as_deref()).collect();
    let mut shared: Option<BTreeSet<String>> = None;
    for dependency in meta.deps.iter().filter(|d| d.registry.as_deref() == Some("")) {
        let name = dependency.package.as_ref().unwrap_or(&dependency.name);
        let mut sources = sources(&lockfile, name);
        sources.retain(|url| !named.contains(url.as_str()));
        if sources.is_empty() {
            continue;
        }
        shared = Some(match shared {
            None => sources,
            Some(shared) => &shared & &sources,
        });
    }
    let shared = shared.unwrap_or_default();
    let mut shared = shared.into_iter();
    if let (Some(url), None) = (shared.next(), shared.next()) {
        for dependency in &mut meta.deps {
            if let Some(empty) = dependency.registry.as_mut().filter(|url| url.is_empty()) {
                empty.clone_from(&url);
            }
        }
    }
}

/// Indexes from which a lockfile takes versions of a crate. That of the default registry is always
/// written in this one form.
fn sources(lockfile: &DocumentMut, name: &str) -> BTreeSet<String> {
    let packages = lockfile.get("package").and_then(Item::as_array_of_tables);
    let named =
        packages.into_iter().flatten().filter(|p| string(*p, "name").as_deref() == Some(name));
    let sources = named.filter_map(|package| string(package, "source"));
    sources.filter_map(|source| Some(source.strip_prefix("registry+")?.to_owned())).collect()
}

fn table<'t>(of: &'t dyn TableLike, key: &str) -> Option<&'t dyn TableLike> {
    of.get(key)?.as_table_like()
}

fn string(of: &dyn TableLike, key: &str) -> Option<String> {
    of.get(key)?.as_str().map(ToOwned::to_owned)
}

fn strings(item: &Item) -> Option<Vec<String>> {
    item.as_array()?.iter().map(|value| value.as_str().map(ToOwned::to_owned)).collect()
}
