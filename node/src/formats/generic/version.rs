//! Natural order of versions that are free text: runs of digits compare as numbers.
//!
//! Source: formats/generic.md; there is no specification to follow.

use std::cmp::Ordering;

/// Digits by value, the rest by bytes; equal values with other zeros by bytes at last.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let (one, rest_one) = run(left);
        let (two, rest_two) = run(right);
        let order =
            if is_number(one) && is_number(two) { by_value(one, two) } else { one.cmp(two) };
        if order.is_ne() {
            return order;
        }
        (left, right) = (rest_one, rest_two);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The first run of digits or of anything else.
fn run(text: &str) -> (&str, &str) {
    let digits = is_number(text);
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Numbers of any length.
fn by_value(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Whether a word in the version says that it is not finished.
pub(super) fn is_prerelease(version: &str) -> bool {
    const WORDS: [&str; 7] = ["alpha", "beta", "rc", "pre", "preview", "dev", "nightly"];
    let lower = version.to_ascii_lowercase();
    lower.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WORDS.contains(&word))
}

/// `*` or nothing: the highest, finished before unfinished; `1.2.*`: the highest that starts so;
/// else exactly the one named.
pub(super) fn resolve(range: &str, versions: &[String]) -> Result<Option<String>, String> {
    let range = range.trim();
    let fits = |version: &&String| match range.strip_suffix('*') {
        Some(prefix) => version.starts_with(prefix),
        None => range.is_empty() || *version == range,
    };
    let highest =
        |all: &mut dyn Iterator<Item = &String>| all.max_by(|a, b| compare(a, b)).cloned();
    let stable = highest(&mut versions.iter().filter(fits).filter(|v| !is_prerelease(v)));
    Ok(stable.or_else(|| highest(&mut versions.iter().filter(fits))))
}
