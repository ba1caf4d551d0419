//! How each format is published to and read in its own protocol: what the table of bad requests
//! needs to know of it.
//!
//! One value for each format; a test compares them with those that the node has.

use serde_json::json;

use crate::harness::Request;
use crate::harness::samples::{integrity, noise, sha256};
use crate::harness::upstream::{Crate, Distribution, tarred};

/// A format, as a client speaks to it.
#[derive(Clone, Copy)]
pub(super) struct Door {
    /// Its id, which is its mount, too.
    pub(super) format: &'static str,
    /// A name and a version that are refused whatever comes with them.
    pub(super) bad: &'static [(&'static str, &'static str)],
    /// Below the mount: where a path would go on if it could leave its place.
    pub(super) below: &'static [&'static str],
    /// The right file of a name and a version; another seed gives other bytes.
    pub(super) archive: fn(name: &str, version: &str, seed: u64) -> Vec<u8>,
    /// The request that publishes a file, without a token.
    pub(super) put: fn(name: &str, version: &str, archive: &[u8]) -> Request,
    /// The same with a checksum that is not the file's.
    pub(super) lie: fn(name: &str, version: &str, archive: &[u8]) -> Request,
    /// The path of the package's document.
    pub(super) document: fn(name: &str) -> String,
    /// The path of a file.
    pub(super) file: fn(name: &str, version: &str, archive: &[u8]) -> String,
    /// Whether the file's bytes say what it is.
    pub(super) reads_archives: bool,
}

/// All of them, in the order of the node's.
pub(super) const DOORS: [Door; 4] = [CARGO, GENERIC, NPM, PYPI];

const CARGO: Door = Door {
    format: "cargo",
    bad: &[
        ("", "2.0.0"),
        ("-tool", "2.0.0"),
        ("to.ol", "2.0.0"),
        ("to ol", "2.0.0"),
        ("../tool", "2.0.0"),
        ("to\nol", "2.0.0"),
        ("re\u{430}ct", "2.0.0"),
        ("left-shift", "one"),
        ("left-shift", "1.0"),
        ("left-shift", "01.0.0"),
        ("left-shift", "../2.0.0"),
    ],
    below: &["", "index/", "index/le/ft/", "dl/left-shift/", "api/v1/crates/left-shift/"],
    archive: |name, version, seed| {
        Crate::new(name, version).file("seed.txt", seed.to_string()).bytes()
    },
    put: |name, version, archive| cargo_request(name, version, archive, archive.len()),
    lie: |name, version, archive| cargo_request(name, version, archive, archive.len() + 1_000),
    document: |name| {
        let lower = name.to_lowercase();
        format!("/cargo/index/{}/{}/{lower}", &lower[..2], &lower[2..4])
    },
    file: |name, version, archive| {
        format!("/cargo/dl/{name}/{version}/{}/{name}-{version}.crate", sha256(archive))
    },
    reads_archives: true,
};

const GENERIC: Door = Door {
    format: "generic",
    bad: &[
        ("Tool", "2.0.0"),
        ("-tool", "2.0.0"),
        ("to..ol", "2.0.0"),
        ("con", "2.0.0"),
        ("re%D0%B0ct", "2.0.0"),
        ("", "2.0.0"),
        ("tool", "%20"),
        ("tool", ""),
    ],
    below: &["", "left-shift/", "left-shift/2.0.0/"],
    archive: |_, _, seed| noise(seed, 1_000),
    put: |name, version, archive| {
        Request::put(&format!("/generic/{name}/{version}/tool.bin"), archive)
    },
    lie: |name, version, archive| {
        Request::put(&format!("/generic/{name}/{version}/tool.bin"), archive)
            .header("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")
    },
    document: |name| format!("/generic/{name}"),
    file: |name, version, _| format!("/generic/{name}/{version}/tool.bin"),
    reads_archives: false,
};

const NPM: Door = Door {
    format: "npm",
    bad: &[
        ("Left Shift", "2.0.0"),
        ("../tool", "2.0.0"),
        (".tool", "2.0.0"),
        ("re\u{430}ct", "2.0.0"),
        ("left-shift", "one"),
        ("left-shift", "1.0"),
        ("left-shift", "../2.0.0"),
    ],
    below: &["", "left-shift/", "left-shift/-/", "@scope/"],
    archive: |name, version, seed| {
        let manifest = json!({ "name": name, "version": version }).to_string().into_bytes();
        let seed = seed.to_string().into_bytes();
        let files = [("package.json".to_owned(), manifest), ("seed".to_owned(), seed)];
        tarred("package", &files)
    },
    put: |name, version, archive| npm_request(name, &npm_body(name, version, archive)),
    lie: |name, version, archive| {
        let body = npm_body(name, version, archive).replace("sha512-", "sha512-AAAA");
        npm_request(name, &body)
    },
    document: |name| format!("/npm/{name}"),
    file: |name, version, _| format!("/npm/{name}/-/{name}-{version}.tgz"),
    reads_archives: true,
};

const PYPI: Door = Door {
    format: "pypi",
    bad: &[
        ("", "2.0.0"),
        ("-tool", "2.0.0"),
        ("tool.", "2.0.0"),
        ("to ol", "2.0.0"),
        ("../tool", "2.0.0"),
        ("to\nol", "2.0.0"),
        ("re\u{430}ct", "2.0.0"),
        ("left-shift", "one"),
        ("left-shift", "2.0.0-and-more"),
        ("left-shift", "../2.0.0"),
    ],
    below: &["", "simple/", "files/left-shift/", "simple/left-shift/", "legacy/"],
    archive: |name, version, seed| wheel(name, version).says(&seed.to_string()).bytes(),
    put: |name, version, archive| pypi_request((name, version), archive, &sha256(archive)),
    lie: |name, version, archive| pypi_request((name, version), archive, &"00".repeat(32)),
    document: |name| format!("/pypi/simple/{name}/"),
    file: |name, version, archive| {
        let file = wheel(name, version).filename();
        format!("/pypi/files/{name}/{}/{file}", sha256(archive))
    },
    reads_archives: true,
};

/// What cargo sends to publish: two lengths, each before what it counts.
fn cargo_request(name: &str, version: &str, archive: &[u8], told: usize) -> Request {
    let about = json!({
        "name": name, "vers": version, "deps": [], "features": {}, "authors": [],
        "description": "made by a test", "license": "MIT", "keywords": [], "categories": [],
        "badges": {}, "documentation": null, "homepage": null, "readme": null,
        "readme_file": null, "license_file": null, "repository": null, "links": null,
        "rust_version": null,
    })
    .to_string();
    let length = |size: usize| u32::try_from(size).expect("a small body").to_le_bytes();
    let mut body = length(about.len()).to_vec();
    body.extend(about.into_bytes());
    body.extend(length(told));
    body.extend(archive);
    Request::put("/cargo/api/v1/crates/new", body)
}

fn npm_request(name: &str, body: &str) -> Request {
    let escaped = name.replace(' ', "%20").replace('/', "%2f").replace('\u{430}', "%D0%B0");
    Request::put(&format!("/npm/{escaped}"), body).header("content-type", "application/json")
}

/// What npm sends to publish one file, with these bytes as its archive.
pub(super) fn npm_body(name: &str, version: &str, archive: &[u8]) -> String {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(archive);
    let file = format!("{name}-{version}.tgz");
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { "latest": version },
        "versions": { version: { "name": name, "version": version, "dist": {
            "integrity": integrity(archive),
        }}},
        "_attachments": { file: {
            "content_type": "application/octet-stream", "data": data, "length": archive.len(),
        }},
    })
    .to_string()
}

fn wheel(name: &str, version: &str) -> Distribution {
    Distribution::wheel(name, version)
}

/// What twine sends: a form, the file last.
fn pypi_request((name, version): (&str, &str), archive: &[u8], sha256: &str) -> Request {
    let mut body = Vec::new();
    let fields = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("name", name),
        ("version", version),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("metadata_version", "2.1"),
        ("sha256_digest", sha256),
    ];
    for (field, value) in fields {
        let head = format!("content-disposition: form-data; name=\"{field}\"");
        body.extend(format!("--edge\r\n{head}\r\n\r\n{value}\r\n").into_bytes());
    }
    let file = wheel(name, version).filename().replace(['\n', '\r'], "%0A");
    let head = format!("content-disposition: form-data; name=\"content\"; filename=\"{file}\"");
    body.extend(format!("--edge\r\n{head}\r\n\r\n").into_bytes());
    body.extend(archive);
    body.extend(b"\r\n--edge--\r\n");
    Request::post("/pypi/legacy/", body)
        .header("content-type", "multipart/form-data; boundary=edge")
}
