//! What the stub answers to a path while nothing is wrong: of npm packuments, tarballs, keys and
//! search; what is Python's and cargo's is asked of `python` and `crates`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::packing::{Packed, hex};
use super::{Shared, State, Switches, Tarballs};

/// The media type of the abbreviated packument.
pub(super) const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";
/// What an abbreviated version keeps of its manifest.
const ABBREVIATED_FIELDS: [&str; 16] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "engines",
    "os",
    "cpu",
    "libc",
    "hasInstallScript",
];

/// A package: versions and tags.
#[derive(Debug, Default)]
pub(super) struct Package {
    pub(super) versions: BTreeMap<String, Packed>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Package {
    /// Takes a version; the newest publish is `latest`.
    pub(super) fn add(&mut self, mut release: Packed, order: u64) {
        release.order = order;
        let version = release.text("version").to_owned();
        self.tags.insert("latest".to_owned(), version.clone());
        self.versions.insert(version, release);
    }

    pub(super) fn deprecate(&mut self, version: &str, why: &str) {
        let release = self.versions.get_mut(version).expect("the version was published before");
        release.manifest.insert("deprecated".to_owned(), json!(why));
    }

    /// Tags that pointed at it go to the newest publish that is left.
    pub(super) fn remove(&mut self, version: &str) {
        self.versions.remove(version).expect("the version was published before");
        let newest = self.versions.values().max_by_key(|release| release.order);
        let newest = newest.map(|release| release.text("version").to_owned());
        self.tags.retain(|tag, to| to != version || tag == "latest");
        match newest {
            Some(newest) if self.tags.get("latest").is_some_and(|to| to == version) => {
                self.tags.insert("latest".to_owned(), newest);
            }
            Some(_) => {}
            None => self.tags.clear(),
        }
    }

    fn changed(&self) -> u64 {
        self.versions.values().map(|release| release.order).max().unwrap_or_default()
    }
}

/// Signs `name@version:integrity` as registries do: ECDSA P-256, SHA-256, DER.
#[derive(Debug)]
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// With a new key.
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let secret = EcdsaKeyPair::generate_pkcs8(way, &random).expect("there is randomness");
        let pair = EcdsaKeyPair::from_pkcs8(way, secret.as_ref(), &random)
            .expect("a generated key can be read");
        Self { pair, random }
    }

    /// SubjectPublicKeyInfo, DER.
    fn public(&self) -> Vec<u8> {
        let mut key = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08".to_vec();
        key.extend(b"\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00");
        key.extend(self.pair.public_key().as_ref());
        key
    }

    fn id(&self) -> String {
        format!("SHA256:{}", STANDARD.encode(sha2::Sha256::digest(self.public())))
    }

    fn sign(&self, text: &str) -> Value {
        let signature = self.pair.sign(&self.random, text.as_bytes()).expect("there is randomness");
        json!({ "keyid": self.id(), "sig": STANDARD.encode(signature) })
    }

    fn keys(&self) -> Value {
        json!({ "keys": [{
            "expires": null,
            "keyid": self.id(),
            "keytype": "ecdsa-sha2-nistp256",
            "scheme": "ecdsa-sha2-nistp256",
            "key": STANDARD.encode(self.public()),
        }]})
    }
}

/// An answer before anything goes wrong with it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Whether it is a file: those have ranges.
    pub(super) file: bool,
    /// The how many-eth publish it came with: its date.
    pub(super) changed: u64,
}

/// A date for the how many-eth publish, as JSON has it and as HTTP has it.
pub(super) fn dates(order: u64) -> (String, String) {
    let (minute, second) = (order / 60 % 60, order % 60);
    let json = format!("2020-01-01T10:{minute:02}:{second:02}.000Z");
    (json, format!("Wed, 01 Jan 2020 10:{minute:02}:{second:02} GMT"))
}

/// What is at a path, as it is on the wire.
pub(super) fn find(
    state: &State,
    switches: &Switches,
    shared: &Shared,
    path: &str,
    accept: &str,
) -> Option<Found> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = decode(path.trim_start_matches('/'))?;
    let view = View { state, switches, shared };
    match path.as_str() {
        "" | "-/ping" => Some(view.json(&json!({}))),
        "-/npm/v1/keys" => Some(view.json(&shared.signer.keys())),
        "-/v1/search" => Some(view.search(query)),
        _ => match path.strip_prefix("-/npm/v1/attestations/") {
            Some(release) => view.attestations(release),
            None => super::python::find(state, (switches, shared), &path, accept)
                .or_else(|| super::crates::find(state, (switches, shared), &path))
                .or_else(|| view.file(&path).or_else(|| view.package(&path, accept))),
        },
    }
}

struct View<'a> {
    state: &'a State,
    switches: &'a Switches,
    shared: &'a Shared,
}

impl View<'_> {
    fn json(&self, value: &Value) -> Found {
        let body = serde_json::to_vec(value).expect("a value is JSON");
        Found { content_type: "application/json", body, file: false, changed: self.state.published }
    }

    fn attestations(&self, release: &str) -> Option<Found> {
        let (name, version) = release.rsplit_once('@')?;
        let release = self.state.packages.get(name)?.versions.get(version)?;
        release.attestations.as_ref().map(|document| self.json(document))
    }

    fn search(&self, query: &str) -> Found {
        let wanted = query.split('&').find_map(|part| part.strip_prefix("text="));
        let wanted = wanted.and_then(decode).unwrap_or_default();
        let mut objects = Vec::new();
        for (name, package) in &self.state.packages {
            let Some(latest) = package.tags.get("latest") else { continue };
            let release = &package.versions[latest];
            let description = release.text("description");
            if !name.contains(&wanted) && !description.contains(&wanted) {
                continue;
            }
            let date = dates(release.order).0;
            let about = json!({ "name": name, "version": latest, "description": description,
                "keywords": [], "date": date, "links": {}, "maintainers": [] });
            objects.push(json!({ "package": about, "searchScore": 1.0, "score": {
                "final": 1.0, "detail": { "quality": 1.0, "popularity": 1.0, "maintenance": 1.0 },
            }}));
        }
        let total = objects.len();
        self.json(&json!({ "objects": objects, "total": total, "time": "" }))
    }

    fn file(&self, path: &str) -> Option<Found> {
        let path = match &self.switches.tarballs {
            Tarballs::Usual => path,
            Tarballs::Folder(folder) => path.strip_prefix(folder.as_str())?.strip_prefix('/')?,
            Tarballs::OtherHost => path.strip_prefix("files/")?,
        };
        let (name, file) = path.split_once("/-/")?;
        let versions = &self.state.packages.get(name)?.versions;
        let release = versions.values().find(|release| release.file() == file)?;
        let mut body = release.tarball.clone();
        if self.switches.wrong_bytes {
            body.reverse();
        }
        let (content_type, changed) = ("application/octet-stream", release.order);
        Some(Found { content_type, body, file: true, changed })
    }

    /// A packument, or `NAME/VERSION`.
    fn package(&self, path: &str, accept: &str) -> Option<Found> {
        if let Some(package) = self.state.packages.get(path) {
            let short = accept.contains(ABBREVIATED) && !self.switches.crippled;
            let document =
                if short { self.abbreviated(path, package) } else { self.full(path, package) };
            let content_type = if short { ABBREVIATED } else { "application/json" };
            return Some(Found { content_type, ..self.json(&document) });
        }
        let (name, version) = path.rsplit_once('/')?;
        let package = self.state.packages.get(name)?;
        let version = package.tags.get(version).map_or(version, String::as_str);
        let release = package.versions.get(version)?;
        Some(self.json(&Value::Object(self.version(release))))
    }

    fn full(&self, name: &str, package: &Package) -> Value {
        let mut time = Map::new();
        time.insert("created".to_owned(), json!(dates(0).0));
        time.insert("modified".to_owned(), json!(dates(package.changed()).0));
        let mut versions = Map::new();
        for (version, release) in &package.versions {
            time.insert(version.clone(), json!(dates(release.order).0));
            versions.insert(version.clone(), Value::Object(self.version(release)));
        }
        let latest = package.tags.get("latest").map(|latest| &package.versions[latest]);
        json!({
            "_id": name,
            "_rev": format!("{}-{}", package.changed(), hex(name.as_bytes())),
            "name": name,
            "description": latest.map(|release| release.text("description")),
            "dist-tags": self.tags(package),
            "versions": versions,
            "time": time,
            "maintainers": [{ "name": "ada", "email": "ada@example.test" }],
            "license": latest.map(|release| release.text("license")),
            "readme": format!("# {name}\n"),
            "readmeFilename": "README.md",
        })
    }

    fn abbreviated(&self, name: &str, package: &Package) -> Value {
        let mut versions = Map::new();
        for (version, release) in &package.versions {
            let mut short = self.version(release);
            let scripts = short.get("scripts").cloned().unwrap_or_default();
            short.retain(|field, _| field == "dist" || ABBREVIATED_FIELDS.contains(&&**field));
            if ["preinstall", "install", "postinstall"].iter().any(|it| scripts.get(it).is_some()) {
                short.insert("hasInstallScript".to_owned(), json!(true));
            }
            versions.insert(version.clone(), Value::Object(short));
        }
        let modified = dates(package.changed()).0;
        let tags = self.tags(package);
        json!({ "name": name, "dist-tags": tags, "versions": versions, "modified": modified })
    }

    fn tags(&self, package: &Package) -> Value {
        let mut tags = package.tags.clone();
        if self.switches.crippled {
            tags.retain(|tag, _| tag == "latest");
        }
        json!(tags)
    }

    fn version(&self, release: &Packed) -> Map<String, Value> {
        let (name, version) = (release.text("name"), release.text("version"));
        let mut dist = json!({
            "integrity": release.integrity,
            "shasum": release.shasum,
            "tarball": self.tarball_url(name, &release.file()),
            "fileCount": release.files,
            "unpackedSize": release.unpacked,
        });
        if self.switches.signed && !self.switches.strip_signatures {
            let text = format!("{name}@{version}:{}", release.integrity);
            dist["signatures"] = json!([self.shared.signer.sign(&text)]);
        }
        if release.attestations.is_some() {
            let url =
                format!("http://{}/-/npm/v1/attestations/{name}@{version}", self.shared.address);
            dist["attestations"] = json!({ "url": url,
                "provenance": { "predicateType": "https://slsa.dev/provenance/v1" } });
        }
        let mut all = release.manifest.clone();
        all.insert("_id".to_owned(), json!(format!("{name}@{version}")));
        // What the test claims of `dist` wins, field by field: a missing checksum is `null`.
        if let Some(Value::Object(claimed)) = all.remove("dist") {
            for (field, value) in claimed {
                dist[field.as_str()] = value;
            }
        }
        if let Value::Object(dist) = &mut dist {
            dist.retain(|_, value| !value.is_null());
        }
        all.insert("dist".to_owned(), dist);
        all
    }

    fn tarball_url(&self, name: &str, file: &str) -> String {
        let Shared { address, other, .. } = self.shared;
        match &self.switches.tarballs {
            Tarballs::Usual => format!("http://{address}/{name}/-/{file}"),
            Tarballs::Folder(folder) => format!("http://{address}/{folder}/{name}/-/{file}"),
            Tarballs::OtherHost => format!("http://{other}/files/{name}/-/{file}"),
        }
    }
}

/// Percent-decoded once; `None` when that gives no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
