//! A version that a test publishes, and its tarball: what npm would have packed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};
use sha2::Digest as _;

/// A version in the making; methods chain.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    manifest: Map<String, Value>,
    /// What the document says otherwise than the tarball's manifest.
    claims: Map<String, Value>,
    files: Vec<(String, Vec<u8>)>,
    attestations: Option<Value>,
}

impl Release {
    /// With a manifest and an `index.js`.
    pub(super) fn new(name: &str, version: &str) -> Self {
        let manifest = json!({
            "name": name,
            "version": version,
            "description": format!("{name} for tests"),
            "main": "index.js",
            "license": "MIT",
        });
        let Value::Object(manifest) = manifest else { unreachable!("it is an object") };
        let code = format!("module.exports = '{name}@{version}';\n").into_bytes();
        let files = vec![("index.js".to_owned(), code)];
        Self { manifest, claims: Map::new(), files, attestations: None }
    }

    /// With one more dependency.
    pub(crate) fn dependency(self, name: &str, range: &str) -> Self {
        let mut all = self.manifest.get("dependencies").cloned().unwrap_or_else(|| json!({}));
        all[name] = json!(range);
        self.field("dependencies", all)
    }

    /// With a warning for who installs it; only the document has it.
    pub(crate) fn deprecated(self, why: &str) -> Self {
        self.claim("deprecated", json!(why))
    }

    /// With any field of `package.json`, which the document repeats.
    pub(crate) fn field(mut self, name: &str, value: Value) -> Self {
        self.manifest.insert(name.to_owned(), value);
        self
    }

    /// With a field that the document claims and the tarball does not have, or has otherwise.
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// With one more file.
    pub(crate) fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), bytes.into()));
        self
    }

    /// With a file of so many bytes that do not compress: the tarball is at least as large.
    pub(crate) fn padding(self, size: usize) -> Self {
        let mut bytes = vec![0; size];
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        for piece in bytes.chunks_mut(8) {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
        }
        self.file("padding.bin", bytes)
    }

    /// With what `/-/npm/v1/attestations/NAME@VERSION` answers.
    pub(crate) fn attestations(mut self, document: Value) -> Self {
        self.attestations = Some(document);
        self
    }

    /// The finished version.
    pub(super) fn pack(self) -> Packed {
        let Self { mut manifest, claims, files, attestations } = self;
        let package = serde_json::to_vec_pretty(&manifest).expect("a manifest is JSON");
        let mut entries = vec![("package.json".to_owned(), package)];
        entries.extend(files);
        let unpacked = entries.iter().map(|(_, bytes)| bytes.len()).sum();
        let tarball = tarred("package", &entries);
        manifest.extend(claims);
        Packed {
            manifest,
            attestations,
            files: entries.len(),
            unpacked,
            integrity: format!("sha512-{}", STANDARD.encode(sha2::Sha512::digest(&tarball))),
            shasum: hex(&sha1::Sha1::digest(&tarball)),
            tarball,
            order: 0,
        }
    }
}

/// A version as the registry keeps it.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) manifest: Map<String, Value>,
    pub(super) attestations: Option<Value>,
    pub(super) files: usize,
    pub(super) unpacked: usize,
    pub(super) integrity: String,
    pub(super) shasum: String,
    pub(super) tarball: Vec<u8>,
    /// The how many-eth publish it was: its date.
    pub(super) order: u64,
}

impl Packed {
    /// A text field of the manifest.
    pub(super) fn text(&self, field: &str) -> &str {
        self.manifest.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The file name, as npm makes it.
    pub(super) fn file(&self) -> String {
        let base = self.text("name").rsplit('/').next().unwrap_or_default();
        format!("{base}-{}.tgz", self.text("version"))
    }
}

/// A `.tar.gz` whose entries lie below one folder; the same entries give the same bytes.
pub(crate) fn tarred(folder: &str, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(499_162_500);
        let path = format!("{folder}/{name}");
        if path.split('/').all(|part| part != "..") {
            archive.append_data(&mut header, path, bytes.as_slice()).expect("memory takes it all");
            continue;
        }
        // No honest archive has it, so the library refuses to write it.
        let place = &mut header.as_old_mut().name;
        place[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, bytes.as_slice()).expect("memory takes it all");
    }
    let gzip = archive.into_inner().expect("memory takes it all");
    gzip.finish().expect("memory takes it all")
}

/// In lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
