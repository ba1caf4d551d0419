//! The same questions to Python's own `packaging`, as pip carries it: where it is, it is the judge.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::formats::pypi::version::{self, canonical, compare, resolve};

/// Reads lists of versions and clauses; writes normal forms, an order, and what fits what.
const JUDGE: &str = r#"
import functools, json, sys
from pip._vendor.packaging.specifiers import Specifier
from pip._vendor.packaging.version import Version
asked = json.load(sys.stdin)
def normal(text):
    try:
        return str(Version(text))
    except ValueError:
        return None
versions = asked["versions"]
normals = [normal(text) for text in versions]
good = [Version(text) for text in normals if text is not None]
order = [[(a > b) - (a < b) for b in good] for a in good]
fits = []
for clause in asked["clauses"]:
    spec = Specifier(clause)
    fits.append([spec.contains(v, prereleases=True) for v in good])
json.dump({"normals": normals, "order": order, "fits": fits}, sys.stdout)
"#;

/// A Python with the rules as they are read today: older ones differ on bounds with suffixes.
fn python() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/python");
    let known = [tools, PathBuf::from("python3")];
    known.into_iter().find(|python| {
        let mut command = Command::new(python);
        command.args(["-c", "import pip._vendor.packaging.ranges"]);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })
}

fn judge(asked: &Value) -> Option<Value> {
    let mut command = Command::new(python()?);
    command.args(["-W", "ignore", "-c", JUDGE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Many versions from few parts, good and bad, always the same ones.
fn versions() -> Vec<String> {
    let parts: [&[&str]; 6] = [
        &["", "", "1!", "v"],
        &["1", "1.0", "1.1", "1.0.0", "0.9", "1.10", "01.2"],
        &["", "", "a1", "-b.2", "rc", "_preview-3", ".c0", "x", "a-"],
        &["", "", ".post1", "-1", "r2", "-rev", "--1"],
        &["", "", ".dev1", "DEV", "-dev-3"],
        &["", "", "+cu12", "+5", "+Ubuntu_1", "+", "+a..b"],
    ];
    let mut state = 1_u64;
    let mut pick = |choices: &[&str]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        choices[usize::try_from(state >> 33).unwrap() % choices.len()].to_owned()
    };
    (0..400).map(|_| parts.iter().map(|part| pick(part)).collect()).collect()
}

#[test]
fn versions_and_specifiers_mean_what_they_mean_to_pip() {
    let versions = versions();
    let bounds = ["1", "1.0", "1.1", "1.0a1", "1.0.post1", "1.0.dev1", "1!1.0", "1.0rc3.dev3"];
    let mut clauses: Vec<String> = [
        "==1.0.*",
        "!=1.0.*",
        "==1.*",
        "~=1.0",
        "~=1.0.0",
        "~=1.0rc1",
        "==1.0+cu12",
        "!=1.0+cu12",
        "~=1!1.0",
        "==1!1.*",
    ]
    .map(str::to_owned)
    .into();
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        clauses.extend(bounds.iter().map(|bound| format!("{operator}{bound}")));
    }
    let asked = json!({ "versions": versions, "clauses": clauses });
    let Some(word) = judge(&asked) else {
        eprintln!("SKIPPED: there is no python3 with pip to compare with");
        return;
    };
    let mut good = Vec::new();
    for (text, normal) in versions.iter().zip(word["normals"].as_array().unwrap()) {
        assert_eq!(canonical(text).ok().as_deref(), normal.as_str(), "{text}");
        good.extend(canonical(text));
    }
    assert!(good.len() > 100, "too few of them are versions: {}", good.len());
    let parsed: Vec<_> = good.iter().map(|text| version::Version::parse(text).unwrap()).collect();
    for (i, a) in parsed.iter().enumerate() {
        for (j, b) in parsed.iter().enumerate() {
            let theirs = word["order"][i][j].as_i64().unwrap();
            assert_eq!(a.order(b) as i64, theirs, "{a} {b}");
            assert!(theirs == 0 || compare(&good[i], &good[j]) as i64 == theirs);
        }
    }
    for (clause, theirs) in clauses.iter().zip(word["fits"].as_array().unwrap()) {
        for (version, theirs) in good.iter().zip(theirs.as_array().unwrap()) {
            let ours = resolve(clause, std::slice::from_ref(version)).unwrap().is_some();
            assert_eq!(ours, theirs.as_bool().unwrap(), "{version} {clause}");
        }
    }
}
