//! What is recognised, and what is left to others.

use super::*;

/// Reads `NAME VERSION` as an archive's content.
fn plain(file: &mut std::fs::File, name: &str) -> Result<crate::registry::Extracted, String> {
    let mut text = String::new();
    std::io::Read::read_to_string(file, &mut text).map_err(|error| error.to_string())?;
    let (project, version) = text.trim().split_once(' ').ok_or(format!("{name} is no archive"))?;
    let (name, version) = (project.to_owned(), version.to_owned());
    Ok(crate::registry::Extracted {
        name,
        version,
        meta: Vec::new(),
        extractor_version: 1,
        readme: None,
    })
}

#[test]
fn a_folder_is_a_project_if_something_says_how_it_is_built() {
    for text in [
        "[build-system]\nrequires = []\n",
        "[project]\nname = \"a\"\n",
        "[tool.poetry]\nname = \"a\"\n",
        "[broken\n",
    ] {
        assert!(folder::says_how(text), "{text}");
    }
    assert!(!folder::says_how("[tool.ruff]\nline-length = 100\n"));
    let empty = tempfile::tempdir().unwrap();
    assert!(!folder::is_buildable(empty.path()));
    fs_err::write(empty.path().join("setup.py"), "").unwrap();
    assert!(folder::is_buildable(empty.path()));
}

#[test]
fn what_no_python_tool_wrote_is_left_to_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["notes.txt", "sources.tar.gz", "all.zip"] {
        let path = folder.path().join(name);
        fs_err::write(&path, "nothing").unwrap();
        assert!(pack(&path).is_none(), "{name}");
    }
    assert!(pack(folder.path()).is_none());
}

#[cfg(unix)]
#[test]
fn a_build_gives_all_its_files_under_one_release() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join(".venv/bin");
    fs_err::create_dir_all(&bin).unwrap();
    let script = "#!/bin/sh\n[ \"$3\" = --version ] && exit 0\n\
                  printf 'acme 1.0' >\"$4/acme-1.0.tar.gz\"\n\
                  printf 'acme 1.0' >\"$4/acme-1.0-py3-none-any.whl\"\n: >\"$4/notes\"\n";
    let write = |text: &str| {
        fs_err::write(bin.join("python"), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(bin.join("python"), mode).unwrap();
    };
    write(script);
    let packed = build::build(folder.path(), plain).unwrap();
    assert_eq!((packed.name.as_str(), packed.version.as_str()), ("acme", "1.0"));
    assert_eq!(packed.filename, "acme-1.0-py3-none-any.whl");
    let PackedBytes::Several(files) = packed.archive else { panic!("several files") };
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["acme-1.0-py3-none-any.whl", "acme-1.0.tar.gz"]);

    write(&script.replace("acme 1.0' >\"$4/acme-1.0.tar.gz", "acme 2.0' >\"$4/acme-1.0.tar.gz"));
    assert!(build::build(folder.path(), plain).unwrap_err().contains("several releases"));
    write("#!/bin/sh\n[ \"$3\" = --version ] && exit 0\necho it is wrong >&2\nexit 3\n");
    let why = build::build(folder.path(), plain).unwrap_err();
    assert!(why.contains("it is wrong") && why.contains('3'), "{why}");
    write("#!/bin/sh\nexit 0\n");
    assert!(build::build(folder.path(), plain).unwrap_err().contains("no wheel"));
}
