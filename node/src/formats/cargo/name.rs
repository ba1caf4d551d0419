//! What a crate may be called, and where its index file lies.
//!
//! cargo compares names without regard to case and takes `-` and `_` for one letter; so the normal
//! form is in lower case, and the twin with the other sign is refused when a new crate comes. How
//! the name was written is in the meta: index lines and the folder in the archive have it.
//!
//! Source: cargo's `registry-index.md`; formats/cargo.md sections 2 and 8.

use crate::formats::text;

const NAME_MAX_BYTES: usize = 64;
/// Of a new crate: every one of them doubles its twins.
const SIGNS_MAX: usize = 8;
/// What comes with the compiler, and words that no path in a program can start with.
const RESERVED: [&str; 8] =
    ["alloc", "core", "crate", "proc-macro", "self", "std", "super", "test"];

/// Normal form of a name, or why it is not one.
pub(super) fn canonical(name: &str) -> Result<String, String> {
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len());
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte));
    if !fits || !plain || name.starts_with('-') {
        let shown: String = name.chars().take(NAME_MAX_BYTES).collect();
        return Err(format!(
            "{shown:?} is not the name of a crate: 1 to {NAME_MAX_BYTES} letters, digits, - and _"
        ));
    }
    Ok(name.to_ascii_lowercase())
}

/// Why a crate of this normal name may not be published, if so.
pub(super) fn publishable(name: &str) -> Result<(), String> {
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!("{name:?} does not start with a letter, as crates must"));
    }
    if name.bytes().filter(|byte| is_sign(*byte)).count() > SIGNS_MAX {
        return Err(format!("{name:?} has more than {SIGNS_MAX} signs in it"));
    }
    if text::is_device(name) {
        return Err(format!("{name:?} is the name of a device on some systems"));
    }
    if RESERVED.contains(&name.replace('_', "-").as_str()) {
        return Err(format!("{name:?} means something else in every program"));
    }
    Ok(())
}

/// The other names that cargo cannot tell from this one.
pub(super) fn twins(name: &str) -> Vec<String> {
    let signs: Vec<usize> =
        name.bytes().enumerate().filter(|(_, byte)| is_sign(*byte)).map(|(at, _)| at).collect();
    if signs.len() > SIGNS_MAX {
        // Nobody publishes it; the two plain forms are told from it all the same.
        let plain = [name.replace('_', "-"), name.replace('-', "_")];
        return plain.into_iter().filter(|twin| twin != name).collect();
    }
    let twin = |choice: u32| {
        let mut bytes = name.as_bytes().to_vec();
        for (bit, at) in signs.iter().enumerate() {
            bytes[*at] = if choice >> bit & 1 == 0 { b'-' } else { b'_' };
        }
        String::from_utf8(bytes).expect("one ASCII sign takes the place of another")
    };
    (0..1_u32 << signs.len()).map(twin).filter(|twin| twin != name).collect()
}

const fn is_sign(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

/// The folders before a normal name in an index: `1`, `2`, `3/s`, `se/rd`.
pub(super) fn prefix(name: &str) -> String {
    match name.len() {
        0..=2 => name.len().to_string(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The path of a crate's file in an index, by its normal name: `3/s/syn`, `se/rd/serde`.
pub(super) fn index_path(name: &str) -> String {
    format!("{}/{name}", prefix(name))
}

/// The one file name that a version may have.
pub(super) fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.crate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_make_no_other_crate() {
        assert_eq!(canonical("Acme_Demo-2").unwrap(), "acme_demo-2");
        for bad in ["", "-a", "a b", "é", "a/b", "a.b", "~hosted", &"x".repeat(65)] {
            assert!(canonical(bad).is_err(), "{bad:?}");
        }
        // An upstream may have such a one; nobody publishes it here.
        assert!(canonical("_x").is_ok() && publishable("_x").is_err());
    }

    #[test]
    fn reserved_names_and_devices_are_not_published() {
        let devices = ["nul", "con", "com1", "aux"];
        for name in RESERVED.iter().chain(&devices).chain(&["proc_macro", "1a", "-x"]) {
            assert!(publishable(name).is_err(), "{name}");
        }
        assert!(publishable("a-b-c-d-e-f-g-h-i-j").is_err());
        for name in ["a", "serde", "std-like", "testing", "a-b-c-d-e-f-g-h-i"] {
            assert!(publishable(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn every_mixture_of_the_two_signs_is_a_twin() {
        assert!(twins("serde").is_empty());
        assert_eq!(twins("a-b"), ["a_b"]);
        let mut all = twins("a-b_c");
        all.sort();
        assert_eq!(all, ["a-b-c", "a_b-c", "a_b_c"]);
        assert_eq!(twins("a-b-c-d-e-f-g-h-i").len(), 255);
        assert_eq!(twins(&"a-".repeat(32)), ["a_".repeat(32)]);
    }

    #[test]
    fn names_of_one_two_and_three_letters_have_their_own_prefixes() {
        let paths = ["a", "ab", "syn", "serde"].map(index_path);
        assert_eq!(paths, ["1/a", "2/ab", "3/s/syn", "se/rd/serde"]);
    }
}
