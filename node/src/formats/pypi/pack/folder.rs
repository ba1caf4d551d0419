//! Whether a folder is a Python project, and whose Python builds it.

use std::path::{Path, PathBuf};

use toml_edit::Document;

/// The largest manifest that is looked into, in bytes.
const MANIFEST_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Where a project's own Python is.
const OWN: [&str; 4] =
    [".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe", "venv/Scripts/python.exe"];

/// Whether something says how the folder is built: many a `pyproject.toml` holds only settings of
/// tools.
pub(super) fn is_buildable(folder: &Path) -> bool {
    if folder.join("setup.py").is_file() {
        return true;
    }
    let manifest = folder.join("pyproject.toml");
    let size = std::fs::metadata(&manifest).map_or(u64::MAX, |found| found.len());
    if size > MANIFEST_MAX_BYTES {
        return false;
    }
    fs_err::read_to_string(manifest).is_ok_and(|text| says_how(&text))
}

/// A manifest that is no TOML is one all the same: who builds it will say what is wrong.
pub(super) fn says_how(text: &str) -> bool {
    let Ok(document) = Document::parse(text) else { return true };
    let poetry = document.get("tool").and_then(|tool| tool.as_table_like()?.get("poetry"));
    document.get("build-system").is_some() || document.get("project").is_some() || poetry.is_some()
}

/// Programs that may build it, the best first: a Python with the module `build`, then uv.
pub(super) fn pythons(folder: &Path) -> Vec<PathBuf> {
    let own = OWN.iter().map(|python| folder.join(python)).filter(|python| python.is_file());
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let active = active.into_iter().flat_map(|environment| {
        ["bin/python", "Scripts/python.exe"].map(|python| environment.join(python))
    });
    let common = ["python3", "python"].map(PathBuf::from);
    own.chain(active.filter(|python| python.is_file())).chain(common).collect()
}
