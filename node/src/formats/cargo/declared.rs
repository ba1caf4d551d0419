//! How the line of an upstream's index differs from what the crate's own manifest says: pure.
//!
//! Both are JSON of an index line. Compared is what a resolution hangs on: name, version, what is
//! needed for a build, features, the linked library. Not compared is what an index works out by
//! itself or learned to say late: dependencies of tests, where a dependency comes from, the least
//! compiler, dates. Notation does not count: an order, `1.0` for `^1.0`, blanks in a platform.
//!
//! Source: formats/README.md section 1; doc.rust-lang.org/cargo/reference/registry-index.

use std::collections::{BTreeMap, BTreeSet};

use semver::VersionReq;
use serde::Deserialize;
use serde_json::Value;

use super::version;

/// Of a line, what is compared. What it lacks has cargo's default.
#[derive(Deserialize)]
#[serde(default)]
struct Line {
    name: String,
    vers: String,
    deps: Vec<Dependency>,
    features: Option<Features>,
    features2: Option<Features>,
    links: Option<String>,
}

type Features = BTreeMap<String, Vec<String>>;

impl Default for Line {
    fn default() -> Self {
        let (name, vers) = Default::default();
        Self { name, vers, deps: Vec::new(), features: None, features2: None, links: None }
    }
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    optional: Option<bool>,
    #[serde(default)]
    default_features: Option<bool>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    kind: Option<Value>,
    #[serde(default)]
    package: Option<String>,
}

/// Name in the code, name of the crate, platform, and whether the build script needs it.
type Key = (String, String, Option<String>, bool);
/// Range, whether it is optional, whether it has its default features, and others.
type Need = (String, bool, bool, BTreeSet<String>);

impl Dependency {
    fn kind(&self) -> &str {
        self.kind.as_ref().and_then(Value::as_str).unwrap_or("normal")
    }

    fn key(&self) -> Key {
        let plain = |target: &String| target.split_whitespace().collect::<String>();
        let package = self.package.as_ref().unwrap_or(&self.name).clone();
        let target = self.target.as_ref().map(plain).filter(|target| !target.is_empty());
        (self.name.clone(), package, target, self.kind() == "build")
    }

    fn need(&self) -> Need {
        let range = VersionReq::parse(&self.req);
        let range = range.map_or_else(|_| self.req.trim().to_owned(), |range| range.to_string());
        let features = self.features.iter().flatten().filter(|name| !name.is_empty()).cloned();
        let (optional, default) = (self.optional, self.default_features);
        (range, optional.unwrap_or(false), default.unwrap_or(true), features.collect())
    }
}

impl Line {
    fn needs(&self) -> BTreeMap<Key, Vec<Need>> {
        let mut all: BTreeMap<Key, Vec<Need>> = BTreeMap::new();
        for dependency in self.deps.iter().filter(|dependency| dependency.kind() != "dev") {
            all.entry(dependency.key()).or_default().push(dependency.need());
        }
        all.values_mut().for_each(|needs| needs.sort());
        all
    }

    fn all_features(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, values) in self.features.iter().chain(&self.features2).flatten() {
            all.entry(name).or_default().extend(values.iter().map(String::as_str));
        }
        all
    }
}

/// What a build would do otherwise by the line than by the crate, in words.
pub(super) fn differs(declared: &[u8], meta: &[u8]) -> Option<String> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Line>(bytes.trim_ascii()).ok();
    let (Some(declared), Some(meta)) = (parse(declared), parse(meta)) else {
        return Some("one of them is no line of an index".to_owned());
    };
    if declared.name != meta.name {
        return Some("the name is another one".to_owned());
    }
    if version::canonical(&declared.vers) != version::canonical(&meta.vers) {
        return Some("the version is another one".to_owned());
    }
    let (needs, needed) = (declared.needs(), meta.needs());
    let other = |key: &&Key| needs.get(*key) != needed.get(*key);
    if let Some((name, ..)) = needs.keys().chain(needed.keys()).find(other) {
        return Some(format!("the dependency {name:.80} is not the same in both"));
    }
    let (said, says) = (declared.all_features(), meta.all_features());
    let other = |name: &&&str| said.get(**name) != says.get(**name);
    if let Some(name) = said.keys().chain(says.keys()).find(other) {
        return Some(format!("the feature {name:.80} is not the same in both"));
    }
    let links = declared.links.zip(meta.links);
    let other = links.filter(|(one, another)| one != another);
    other.map(|_| "the library that is linked is another one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line() -> Value {
        json!({
            "name": "Pad", "vers": "1.0.0+b1", "cksum": "00", "yanked": false, "v": 2,
            "deps": [
                { "name": "old", "package": "left-pad", "req": "^1.0", "features": ["b", "a"],
                  "optional": true, "default_features": false, "target": "cfg(unix)",
                  "kind": "normal", "registry": null },
                { "name": "cc", "req": "^1", "features": [], "optional": false,
                  "default_features": true, "target": null, "kind": "build" },
                { "name": "proptest", "req": "^1", "features": [], "optional": false,
                  "default_features": true, "target": null, "kind": "dev" },
            ],
            "features": { "default": ["std"], "std": [] },
            "features2": { "old": ["dep:old"] }, "links": "pad", "rust_version": "1.70",
        })
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut meta = line();
        change(&mut meta);
        differs(line().to_string().as_bytes(), meta.to_string().as_bytes())
    }

    #[test]
    fn notation_and_what_an_index_adds_itself_are_no_difference() {
        assert_eq!(changed(|_| {}), None);
        assert_eq!(
            changed(|meta| {
                meta["vers"] = json!("1.0.0");
                meta["deps"][0]["req"] = json!("1.0");
                meta["deps"][0]["features"] = json!(["a", "b"]);
                meta["deps"][0]["target"] = json!("cfg( unix )");
                meta["deps"][0]["registry"] = json!("https://packages.test/index");
                meta["deps"].as_array_mut().unwrap().swap(0, 1);
                meta["deps"].as_array_mut().unwrap().pop();
                meta["features"]["old"] = json!(["dep:old"]);
                let fields = meta.as_object_mut().unwrap();
                for gone in ["features2", "links", "rust_version", "yanked", "v"] {
                    fields.remove(gone);
                }
            }),
            None
        );
    }

    #[test]
    fn what_changes_a_build_is_a_difference_with_its_name() {
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 10] = [
            (|m| m["name"] = json!("pad"), "name"),
            (|m| m["vers"] = json!("1.0.1"), "version"),
            (|m| m["deps"][0]["req"] = json!("^1.1"), "old"),
            (|m| m["deps"][0]["package"] = json!("evil"), "old"),
            (|m| m["deps"][0]["optional"] = json!(false), "old"),
            (|m| m["deps"][1]["kind"] = json!("normal"), "cc"),
            (|m| m["deps"] = json!([]), "cc"),
            (|m| m["features"]["default"] = json!(["std", "net"]), "default"),
            (|m| m["features2"]["more"] = json!([]), "more"),
            (|m| m["links"] = json!("other"), "linked"),
        ];
        for (change, word) in changes {
            let found = changed(change).expect(word);
            assert!(found.contains(word), "{found}");
        }
        assert!(differs(b"", line().to_string().as_bytes()).is_some());
        assert!(differs(b"{}", b"7").is_some());
    }
}
