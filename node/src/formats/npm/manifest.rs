//! A tarball → its meta: `package.json`, without what decides nothing, in one canonical form.
//!
//! Runs when a release is published and again wherever its bytes arrive; both must come to the same
//! bytes, so everything here depends on the archive alone. Keys are sorted; `readme` and private
//! keys are left out; what npm itself adds when it publishes (`hasInstallScript`, `gypfile`, a
//! `bin` that was a string) is worked out from the archive, as clients read it in the packument. A
//! change of any output raises [`VERSION`].
//!
//! Source: formats/npm.md section 1; npm's `package-metadata.md`.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::{name, version};
use crate::formats::archive::{self, Entry, Error};
use crate::formats::text;
use crate::registry::Extracted;

/// Of this extractor.
const VERSION: u32 = 1;
/// The largest manifest. Source: trust.md section 13.
const MANIFEST_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The deepest nesting in it.
const DEPTH_MAX: usize = 64;
/// A longer readme is cut away whole: it decides nothing.
const README_MAX_BYTES: u64 = 256 * 1024;
/// The longest description in a list.
const DESCRIPTION_MAX_CHARS: usize = 200;

/// What a walk through the archive found below its first folder.
#[derive(Default)]
struct Found {
    /// The first folder.
    top: Option<String>,
    manifest: Option<Vec<u8>>,
    readme: Option<Vec<u8>>,
    gyp: bool,
    shrinkwrap: bool,
}

/// Reads name, version and meta.
pub(super) fn extract(file: &mut std::fs::File, _name: &str) -> Result<Extracted, String> {
    let mut found = Found::default();
    archive::walk(file, &mut |entry, bytes| found.look(entry, bytes))
        .map_err(|error| error.to_string())?;
    let manifest = found.manifest.take().ok_or("the archive holds no package.json")?;
    let mut manifest = parse(&manifest)?;
    let text = |key: &str| {
        let value = manifest.get(key).and_then(Value::as_str);
        value.map(ToOwned::to_owned).ok_or_else(|| format!("package.json has no {key}"))
    };
    let (name, version) = (text("name")?, text("version")?);
    complete(&mut manifest, &name, &version::canonical(&version)?, &found);
    let mut meta = Vec::new();
    write_sorted(&Value::Object(manifest), &mut meta);
    Ok(Extracted { name, version, meta, extractor_version: VERSION, readme: found.readme })
}

impl Found {
    fn look(&mut self, entry: &Entry, bytes: &mut dyn Read) -> Result<(), Error> {
        // npm strips the first folder whatever it is called.
        let Some((top, path)) = entry.path.split_once('/') else { return Ok(()) };
        if self.top.get_or_insert_with(|| top.to_owned()) != top {
            return Err(Error::Ambiguous("its files lie in several folders that npm would merge"));
        }
        match path {
            "package.json" if entry.size > MANIFEST_MAX_BYTES => {
                Err(Error::OverLimit { what: "bytes in package.json", limit: MANIFEST_MAX_BYTES })
            }
            "package.json" => {
                self.manifest = Some(whole(bytes)?);
                Ok(())
            }
            "binding.gyp" => {
                self.gyp = true;
                Ok(())
            }
            "npm-shrinkwrap.json" => {
                self.shrinkwrap = true;
                Ok(())
            }
            path if is_readme(path) && self.readme.is_none() && entry.size <= README_MAX_BYTES => {
                self.readme = Some(whole(bytes)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_readme(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    matches!(lower.as_str(), "readme" | "readme.md" | "readme.markdown" | "readme.txt")
}

fn whole(bytes: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    bytes.take(MANIFEST_MAX_BYTES).read_to_end(&mut out)?;
    Ok(out)
}

/// Reads a manifest: an object, not too deep, a byte order mark allowed.
pub(super) fn parse(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("package.json cannot be read: {error}"))?;
    if depth(&value) > DEPTH_MAX {
        return Err(format!("package.json is nested deeper than {DEPTH_MAX}"));
    }
    match value {
        Value::Object(manifest) => Ok(manifest),
        _ => Err("package.json is not an object".to_owned()),
    }
}

/// The parser has bounded the recursion already.
fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Leaves out what decides nothing and adds what npm adds when it publishes.
fn complete(manifest: &mut Map<String, Value>, name: &str, version: &str, found: &Found) {
    const LEFT_OUT: [&str; 6] =
        ["readme", "readmeFilename", "dist", "deprecated", "hasInstallScript", "gypfile"];
    manifest.retain(|key, _| !key.starts_with('_') && !LEFT_OUT.contains(&key.as_str()));
    manifest.insert("version".to_owned(), json!(version));
    if let Some(Value::String(path)) = manifest.get("bin") {
        let bin = json!({ name::base(name): path.trim_start_matches("./") });
        manifest.insert("bin".to_owned(), bin);
    }
    if let Some(bundled) = manifest.remove("bundledDependencies") {
        manifest.entry("bundleDependencies").or_insert(bundled);
    }
    let has = |manifest: &Map<String, Value>, script: &str| {
        manifest.get("scripts").and_then(|scripts| scripts.get(script)).is_some()
    };
    if found.gyp && !has(manifest, "install") && !has(manifest, "preinstall") {
        let scripts = manifest.entry("scripts").or_insert_with(|| json!({}));
        if let Value::Object(scripts) = scripts {
            scripts.insert("install".to_owned(), json!("node-gyp rebuild"));
        }
        manifest.insert("gypfile".to_owned(), json!(true));
    }
    if ["preinstall", "install", "postinstall"].iter().any(|script| has(manifest, script)) {
        manifest.insert("hasInstallScript".to_owned(), json!(true));
    }
    if found.shrinkwrap {
        manifest.insert("_hasShrinkwrap".to_owned(), json!(true));
    }
}

/// JSON with sorted keys and no blanks, whatever order the parser keeps.
fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<_> = fields.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write_sorted(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_sorted(item, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

/// The description as one line that no terminal can misread.
pub(super) fn describe(meta: &[u8]) -> String {
    let meta: Value = serde_json::from_slice(meta).unwrap_or_default();
    let written = meta.get("description").and_then(Value::as_str).unwrap_or_default();
    let line: String = written.chars().map(|c| if text::is_hidden(c) { ' ' } else { c }).collect();
    line.trim().chars().take(DESCRIPTION_MAX_CHARS).collect()
}
