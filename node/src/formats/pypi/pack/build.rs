//! A folder → its wheel and its sdist, by `python -m build` or `uv build`, whichever is there.
//!
//! Building runs code of the project and fetches what it is built with: it is done because a person
//! typed it, with that person's own tools and settings. The folder's `dist` is not touched: the
//! files are made in a folder for temporary files, and are gone after the publish.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{folder, said};
use crate::formats::{Packed, PackedBytes};
use crate::registry::Extract;

/// Bytes of what a tool said that are shown when it fails.
const SAID_MAX_BYTES: u64 = 2000;
/// Files of one build.
const FILES_MAX: usize = 16;

/// A program with its arguments.
type Tool = (PathBuf, Vec<&'static str>);

/// Builds the folder.
pub(super) fn build(folder: &Path, extract: Extract) -> Result<Packed, String> {
    let (program, arguments) = tool(folder).ok_or(
        "nothing here builds it: pip install build (or uv), then type it again; or publish what \
         was built elsewhere: griot publish dist/*",
    )?;
    let out = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = Command::new(&program);
    command.args(arguments).arg(out.path()).arg(folder);
    run(command)?;
    packed(out.path(), extract)
}

/// The first tool that is there.
fn tool(folder: &Path) -> Option<Tool> {
    let python = folder::pythons(folder).into_iter().find(|python| {
        let version = ["-m", "build", "--version"];
        answers(Command::new(python).args(version).current_dir(std::env::temp_dir()))
    });
    let by_python = python.map(|python| (python, vec!["-m", "build", "--outdir"]));
    by_python.or_else(|| {
        let uv = answers(Command::new("uv").arg("--version"));
        uv.then(|| (PathBuf::from("uv"), vec!["build", "--out-dir"]))
    })
}

fn answers(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs the tool; what it says goes to a file, and its end into the error.
fn run(mut command: Command) -> Result<(), String> {
    let mut log = tempfile::tempfile().map_err(|error| error.to_string())?;
    let copy = || log.try_clone().map(Stdio::from).map_err(|error| error.to_string());
    command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
    let status = command.status().map_err(|error| format!("it cannot be built: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let length = log.seek(SeekFrom::End(0)).unwrap_or_default();
    let mut said = Vec::new();
    let from = SeekFrom::Start(length.saturating_sub(SAID_MAX_BYTES));
    // Without its words the status says less, and enough.
    drop(log.seek(from).and_then(|_| log.take(SAID_MAX_BYTES).read_to_end(&mut said)));
    let said = String::from_utf8_lossy(&said);
    Err(format!("building it ended with {status}: {}", said.trim()))
}

/// Every file that was built, opened: wheels first, so that the first names the release.
fn packed(out: &Path, extract: Extract) -> Result<Packed, String> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(out).map_err(|error| error.to_string())?.take(FILES_MAX) {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.ends_with(".whl") || name.ends_with(".tar.gz") {
            let file = fs_err::File::open(&path).map_err(|error| error.to_string())?;
            files.push((name, file.into_parts().0));
        }
    }
    files.sort_by_key(|(name, _)| (!name.ends_with(".whl"), name.clone()));
    let mut all = Vec::new();
    for (name, file) in &mut files {
        let one = said(file, name, extract).map_err(|why| format!("{name}: {why}"))?;
        file.rewind().map_err(|error| error.to_string())?;
        all.push(one);
    }
    all.dedup();
    match all.as_slice() {
        [(name, version)] => Ok(Packed {
            name: name.clone(),
            version: version.clone(),
            filename: files[0].0.clone(),
            tag: None,
            archive: PackedBytes::Several(files),
        }),
        [] => Err("building it made no wheel and no sdist".to_owned()),
        _ => Err("building it made files of several releases".to_owned()),
    }
}
