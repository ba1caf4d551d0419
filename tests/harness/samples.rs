//! Packages and files to publish, made from a seed so that a run can be repeated.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0_u8; size];
    reader.fill(&mut bytes);
    bytes
}

/// A file of noise.
pub(crate) fn noise_file(path: &Path, seed: u64, size: usize) -> PathBuf {
    fs_err::write(path, noise(seed, size)).expect("a file can be written in the test's folder");
    path.to_path_buf()
}

/// Writes a small npm package: `index.js` exports `says`. Returns its folder.
pub(crate) fn npm_package(parent: &Path, name: &str, version: &str, says: &str) -> PathBuf {
    npm_package_with(parent, &json!({ "name": name, "version": version }), says)
}

/// The same with more fields in its `package.json`.
pub(crate) fn npm_package_with(parent: &Path, manifest: &Value, says: &str) -> PathBuf {
    let name = manifest["name"].as_str().expect("a manifest has a name");
    let version = manifest["version"].as_str().expect("a manifest has a version");
    let folder = parent.join(format!("{}-{version}", name.replace('/', "+")));
    fs_err::create_dir_all(&folder).expect("a folder can be made in the test's folder");
    let mut manifest = manifest.clone();
    manifest["main"] = json!("index.js");
    manifest["license"] = json!("MIT");
    manifest["description"] = json!("made by a test");
    let text = serde_json::to_string_pretty(&manifest).expect("JSON can be written");
    fs_err::write(folder.join("package.json"), text).expect("a manifest can be written");
    fs_err::write(folder.join("index.js"), module_text(says)).expect("a module can be written");
    fs_err::write(folder.join("README.md"), format!("# {name}\n")).expect("a file can be written");
    folder
}

/// The text of `index.js` of a package that says `says`.
pub(crate) fn module_text(says: &str) -> String {
    format!("module.exports = {says:?};\n")
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    crdt::digest::to_hex(&Sha256::digest(bytes))
}

/// SHA-512 as npm writes it: `sha512-` and base64.
pub(crate) fn integrity(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = Sha512::digest(bytes);
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(digest))
}
