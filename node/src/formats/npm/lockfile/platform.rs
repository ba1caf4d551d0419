//! Which systems a package is for, by what its lockfile repeats of its `os` and `cpu`.
//!
//! Source: npm's documentation of package.json, `os` and `cpu`.

use serde_json::Value;

use crate::formats::platform::Platform;
use crate::registry::Locked;

/// What a lockfile says of a package, a word each: `os=linux`, `cpu=!arm64`.
pub(super) fn systems(os: Option<&Value>, cpu: Option<&Value>) -> Vec<String> {
    let words = |key: &str, said: Option<&Value>| match said {
        Some(Value::String(one)) => vec![format!("{key}={one}")],
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).map(|one| format!("{key}={one}")).collect()
        }
        _ => Vec::new(),
    };
    [words("os", os), words("cpu", cpu)].concat()
}

/// Whether npm would install it on the platform.
pub(super) fn installs(locked: &Locked, on: &Platform) -> bool {
    let os = match on.os {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let cpu = match on.cpu {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        "ppc64le" => "ppc64",
        other => other,
    };
    allows(locked, "os=", os) && allows(locked, "cpu=", cpu)
}

/// One of those that are named, if any are, and none of those that are excluded.
fn allows(locked: &Locked, key: &str, is: &str) -> bool {
    let said = || locked.systems.iter().filter_map(|word| word.strip_prefix(key));
    let excluded = said().filter_map(|word| word.strip_prefix('!')).any(|word| word == is);
    let mut named = said().filter(|word| !word.starts_with('!')).peekable();
    !excluded && (named.peek().is_none() || named.any(|word| word == is || word == "any"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_package_is_for_those_that_it_names_and_does_not_exclude() {
        for (os, cpu, on, installed) in [
            (json!(["linux"]), json!(["x64"]), "linux-x86_64", true),
            (json!(["linux"]), json!(["x64"]), "linux-aarch64", false),
            (json!("darwin"), json!(null), "macos-arm64", true),
            (json!(["!win32"]), json!(null), "windows-x86_64", false),
            (json!(["!win32"]), json!(null), "linux-x86_64", true),
            (json!(["any"]), json!(["arm64"]), "windows-arm64", true),
            (json!([7, {}]), json!(true), "linux-x86_64", true),
        ] {
            let systems = systems(Some(&os), Some(&cpu));
            let locked = Locked { systems, ..Locked::default() };
            let on = Platform::parse(on).unwrap();
            assert_eq!(installs(&locked, &on), installed, "{os} {cpu} {}", on.name);
        }
    }
}
