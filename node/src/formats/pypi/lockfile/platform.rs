//! Which systems a wheel is for, by the tags in its file name. An sdist is for all.
//!
//! Source: PEP 425, 600, 656; formats/pypi.md section 4.

use crate::formats::platform::Platform;
use crate::registry::Locked;

/// Whether a locked file can be of use on the platform.
pub(super) fn installs(locked: &Locked, on: &Platform) -> bool {
    let stem = locked.file.as_deref().and_then(|file| file.strip_suffix(".whl"));
    let tags = stem.and_then(|stem| stem.rsplit('-').next());
    tags.is_none_or(|tags| tags.split('.').any(|tag| fits(&tag.to_ascii_lowercase(), on)))
}

fn fits(tag: &str, on: &Platform) -> bool {
    let ends = |cpu: &str| tag.strip_suffix(cpu).is_some_and(|rest| rest.ends_with('_'));
    let starts = |words: &[&str]| words.iter().any(|word| tag.starts_with(word));
    match on.os {
        _ if tag == "any" => true,
        "linux" => starts(&["manylinux", "musllinux", "linux_"]) && ends(on.cpu),
        "macos" if on.cpu == "aarch64" => {
            starts(&["macosx_"]) && (ends("arm64") || ends("universal2"))
        }
        "macos" => {
            let both = ["x86_64", "universal2", "universal", "intel", "fat64"];
            starts(&["macosx_"]) && both.into_iter().any(ends)
        }
        "windows" if on.cpu == "aarch64" => tag == "win_arm64",
        "windows" => tag == "win_amd64",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_is_for_the_systems_of_its_tags_and_an_sdist_for_all() {
        let linux = ["linux-x86_64"].as_slice();
        let all = ["linux-x86_64", "linux-aarch64", "macos-x86_64", "macos-arm64"];
        let all = [all.as_slice(), &["windows-x86_64", "windows-arm64"]].concat();
        for (file, platforms) in [
            ("a-1-py3-none-any.whl", all.as_slice()),
            ("a-1.tar.gz", &all),
            ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", linux),
            ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", linux),
            ("a-1-cp311-cp311-manylinux2014_aarch64.whl", &["linux-aarch64"]),
            ("a-1-cp311-cp311-macosx_11_0_arm64.whl", &["macos-arm64"]),
            ("a-1-cp311-cp311-macosx_10_9_universal2.whl", &["macos-x86_64", "macos-arm64"]),
            ("a-1-cp311-cp311-win_amd64.whl", &["windows-x86_64"]),
            ("a-1-cp311-cp311-win_arm64.whl", &["windows-arm64"]),
            ("a-1-cp311-cp311-manylinux2014_i686.whl", &[]),
            ("a-1-cp39-cp39-win32.whl", &[]),
        ] {
            let locked = Locked { file: Some(file.to_owned()), ..Locked::default() };
            let found: Vec<&str> = all
                .iter()
                .copied()
                .filter(|name| installs(&locked, &Platform::parse(name).unwrap()))
                .collect();
            assert_eq!(found, platforms, "{file}");
        }
        assert!(installs(&Locked::default(), &Platform::parse("macos-arm64").unwrap()));
    }
}
