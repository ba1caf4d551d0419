//! What of a lockfile is left out because it is for other platforms than those that were named.
//!
//! The node is asked what it knows of their sizes, and asks nobody.

use std::collections::BTreeMap;

use node::registry::{Project, Report};
use serde::Serialize;

use super::lockfile::Read;
use crate::client::Node;
use crate::output::{Failure, count, plain, size};

/// Lines about single files; the rest is counted.
const LINES_MAX: usize = 20;

/// What was left out.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Skipped {
    /// The platforms that were named.
    platforms: Vec<&'static str>,
    files: Vec<SkippedFile>,
    /// Their bytes, as far as they are known and not held here.
    bytes: u64,
    /// How many of them have no known size, or are held here.
    unknown: u64,
}

#[derive(Debug, Clone, Serialize)]
struct SkippedFile {
    name: String,
    version: String,
    file: Option<String>,
    size: Option<u64>,
}

/// Asks for sizes; nothing where no platform was named.
pub(super) async fn of(node: &Node, read: &Read) -> Result<Option<Skipped>, Failure> {
    if read.platforms.is_empty() {
        return Ok(None);
    }
    let platforms = read.platforms.iter().map(|platform| platform.name).collect();
    let mut skipped = Skipped { platforms, ..Skipped::default() };
    if read.skipped.is_empty() {
        return Ok(Some(skipped));
    }
    let project = Project { locked: read.skipped.clone(), ..read.project.clone() };
    let report: Report = node.post("check", &project).await?;
    let known = report.lacks.iter().filter_map(|lack| {
        Some(((lack.name.as_str(), lack.version.as_deref()?, lack.file.as_deref()), lack.size?))
    });
    let known: BTreeMap<_, u64> = known.collect();
    for locked in &read.skipped {
        let (name, version, file) = (&*locked.name, &*locked.version, locked.file.as_deref());
        let size = known.get(&(name, version, file)).copied();
        skipped.bytes = skipped.bytes.saturating_add(size.unwrap_or(0));
        skipped.unknown += u64::from(size.is_none());
        let [name, version] = [name, version].map(ToOwned::to_owned);
        skipped.files.push(SkippedFile { name, version, file: locked.file.clone(), size });
    }
    Ok(Some(skipped))
}

/// For people: the sum, then the largest.
pub(super) fn lines(skipped: Option<&Skipped>) -> Vec<String> {
    let Some(Skipped { platforms, files, bytes, unknown }) = skipped else { return Vec::new() };
    let platforms = platforms.join(", ");
    if files.is_empty() {
        return vec![format!("all that is locked can be of use on {platforms}")];
    }
    let rest = if *unknown > 0 { format!(", {unknown} of unknown size") } else { String::new() };
    let sum = format!("({}{rest})", size(*bytes));
    let mut out = vec![format!(
        "left out: {} for none of {platforms} {sum}",
        count(files.len() as u64, "file")
    )];
    let mut files: Vec<&SkippedFile> = files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    for SkippedFile { name, version, file, size: bytes } in files.iter().take(LINES_MAX) {
        let what = file.clone().unwrap_or_else(|| format!("{name}@{version}"));
        let bytes = bytes.map_or_else(|| "size unknown".to_owned(), size);
        out.push(format!("  {}   {bytes}", plain(&what)));
    }
    if files.len() > LINES_MAX {
        out.push(format!("  and {} more", files.len() - LINES_MAX));
    }
    out
}
