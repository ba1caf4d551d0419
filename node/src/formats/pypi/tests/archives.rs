//! Wheels and sdists, sound and hostile.

use std::io::{Seek as _, SeekFrom, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::formats::pypi::metadata::{describe, extract};
use crate::registry::Extracted;

const WHEEL: &str = "acme_demo-1.0-py3-none-any.whl";
const METADATA: &str = "Metadata-Version: 2.4\nName: Acme.Demo\nVersion: 1.0\n\
    Summary: shows \x1b[31mthings\nRequires-Python: >=3.8\n\nName: in the text\n";

fn zipped(files: &[(&str, &[u8])]) -> std::fs::File {
    let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
    for (path, bytes) in files {
        zip.start_file(*path, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    rewound(zip.finish().unwrap())
}

fn rewound(mut file: std::fs::File) -> std::fs::File {
    file.rewind().unwrap();
    file
}

fn bytes_of(mut file: std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    rewound(file)
}

fn wheel(metadata: &str) -> std::fs::File {
    zipped(&[
        ("acme_demo/__init__.py", b"x = 1\n"),
        ("acme_demo/_vendor/other-2.0.dist-info/METADATA", b"Name: other\n"),
        ("acme_demo-1.0.dist-info/METADATA", metadata.as_bytes()),
        ("acme_demo-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n"),
    ])
}

fn sdist(files: &[(&str, &str)]) -> std::fs::File {
    let mut tar =
        tar::Builder::new(GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    rewound(tar.into_inner().unwrap().finish().unwrap())
}

fn read(mut file: std::fs::File, name: &str) -> Result<Extracted, String> {
    extract(&mut file, name)
}

#[test]
fn the_metadata_of_wheels_and_sdists_is_taken_as_it_is() {
    let tarball = || sdist(&[("acme_demo-1.0/PKG-INFO", METADATA), ("acme_demo-1.0/x.py", "")]);
    let old = zipped(&[("Acme.Demo-1.0/PKG-INFO", METADATA.as_bytes())]);
    for (file, name) in [
        (wheel(METADATA), WHEEL),
        (tarball(), "acme_demo-1.0.tar.gz"),
        (tarball(), "Acme-Demo-1.0.tar.gz"),
        (old, "Acme.Demo-1.0.zip"),
    ] {
        let found = read(file, name).unwrap();
        assert_eq!((&*found.name, &*found.version), ("Acme.Demo", "1.0"), "{name}");
        assert_eq!(found.meta, METADATA.as_bytes());
        assert_eq!(found.extractor_version, 1);
    }
    assert_eq!(describe(METADATA.as_bytes()), "shows  [31mthings");
    let windows = METADATA.replace('\n', "\r\n");
    assert_eq!(read(wheel(&windows), WHEEL).unwrap().meta, windows.as_bytes());
}

#[test]
fn a_name_or_version_in_the_metadata_that_is_not_the_files_is_refused() {
    for (from, to) in [
        ("Version: 1.0", "Version: 1.1"),
        ("Version: 1.0", "Version: 1.0.0"),
        ("Version: 1.0", "Version: one"),
        ("Name: Acme.Demo", "Name: Other"),
        ("Name: Acme.Demo", "Name: ../x"),
        ("Name: Acme.Demo\n", ""),
        ("Version: 1.0\n", "Version: 1.0\nVersion: 2.0\n"),
        ("Version: 1.0\n", "Version: 1.0\nversion: 1.0\n"),
        ("Version: 1.0\n", "Version: 1.0\n 2.0\n"),
        ("Requires-Python: >=3.8\n", "Requires-Python: >=3.8\nRequires-Python: >=3.9\n"),
        ("Requires-Python: >=3.8\n", "Requires-Python: >=3.8\u{202e}\n"),
        ("Metadata-Version: 2.4\n", "\n"),
        ("Metadata-Version: 2.4\n", "no field\n"),
    ] {
        let text = METADATA.replacen(from, to, 1);
        assert_ne!(text, METADATA);
        assert!(read(wheel(&text), WHEEL).is_err(), "{text}");
    }
    assert!(read(wheel(METADATA), "acme_demo-1.1-py3-none-any.whl").is_err());
    assert!(read(wheel(METADATA), "other-1.0-py3-none-any.whl").is_err());
    assert!(read(wheel(METADATA), "acme_demo-1.0.tar.gz").is_err());
    assert!(read(wheel(METADATA), "acme_demo-1.0-py2.7.egg").is_err());
    assert!(read(zipped(&[("x", b"\xff")]), WHEEL).is_err());
    let latin = [&b"Name: Acme.Demo\nVersion: 1.0\nAuthor: \xe9\n"[..]].concat();
    assert!(read(zipped(&[("acme_demo-1.0.dist-info/METADATA", &latin)]), WHEEL).is_err());
}

#[test]
fn hostile_zips_are_refused() {
    let meta = METADATA.as_bytes();
    let mine = "acme_demo-1.0.dist-info/METADATA";
    for (what, files) in [
        ("two dist-infos", vec![(mine, meta), ("other-1.0.dist-info/METADATA", meta)]),
        ("two spellings", vec![(mine, meta), ("Acme.Demo-1.0.dist-info/METADATA", meta)]),
        ("climbs out", vec![(mine, meta), ("../x", b"")]),
        ("climbs out inside", vec![(mine, meta), ("a/../../x", b"")]),
        ("absolute", vec![(mine, meta), ("/etc/x", b"")]),
        ("drive", vec![(mine, meta), ("C:x", b"")]),
        ("backslash", vec![(mine, meta), ("a\\..\\x", b"")]),
        ("twice by case", vec![(mine, meta), ("acme_demo-1.0.dist-info/metadata", b"")]),
        ("file below a file", vec![(mine, meta), ("a", b""), ("a/b", b"")]),
        ("none at all", vec![("acme_demo/x.py", b"")]),
        ("in the wrong place", vec![("acme_demo/acme_demo-1.0.dist-info/METADATA", meta)]),
        ("of another version", vec![("acme_demo-1.1.dist-info/METADATA", meta)]),
    ] {
        let refused = read(zipped(&files), WHEEL).unwrap_err();
        assert!(refused.contains("archive"), "{what}: {refused}");
    }
    let huge = [meta, &vec![b'x'; 5 * 1024 * 1024]].concat();
    assert!(read(zipped(&[(mine, &huge)]), WHEEL).unwrap_err().contains("4194304"));
}

#[test]
fn a_zip_bomb_is_refused_unread() {
    let zeros = vec![0; 40 * 1024 * 1024];
    let bomb = zipped(&[("x", &zeros), ("acme_demo-1.0.dist-info/METADATA", METADATA.as_bytes())]);
    assert!(bomb.metadata().unwrap().len() * 200 < 16 * 1024 * 1024);
    assert!(read(bomb, WHEEL).unwrap_err().contains("unpacked"));
}

#[test]
fn zips_that_two_readers_would_read_differently_are_refused() {
    let sound = bytes_of(wheel(METADATA));
    let end = sound.len() - 22;
    assert_eq!(&sound[end..end + 4], b"PK\x05\x06");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        read(file_of(&bytes), WHEEL)
    };
    assert!(changed(&|_| {}).is_ok());
    for (what, change) in [
        ("bytes behind it", &(|b: &mut Vec<u8>| b.push(0)) as &dyn Fn(&mut Vec<u8>)),
        ("bytes before it", &|b| b.insert(0, b'x')),
        ("cut", &|b| b.truncate(b.len() - 1)),
        ("empty", &Vec::clear),
        ("more files than there are", &|b| {
            b[end + 8] += 1;
            b[end + 10] += 1
        }),
        ("fewer files than there are", &|b| {
            b[end + 8] -= 1;
            b[end + 10] -= 1
        }),
        ("zip64", &|b| b[end + 8..end + 12].fill(0xff)),
        ("several disks", &|b| b[end + 4] = 1),
        ("a comment", &|b| b[end + 20] = 1),
        ("directory elsewhere", &|b| b[end + 16] = b[end + 16].wrapping_add(1)),
        ("local header says another name", &|b| b[30] = b'z'),
        ("no local header", &|b| b[0] = b'z'),
    ] {
        assert!(changed(change).is_err(), "{what}");
    }
    // A second archive, hidden in front of the first one's directory.
    let mut hidden = bytes_of(zipped(&[("acme_demo-1.0.dist-info/METADATA", b"Name: other\n")]));
    hidden.extend_from_slice(&sound);
    assert!(read(file_of(&hidden), WHEEL).is_err());
}

#[test]
fn hostile_sdists_are_refused() {
    let mine = ("acme_demo-1.0/PKG-INFO", METADATA);
    for (what, files) in [
        ("two folders", vec![mine, ("other-1.0/PKG-INFO", METADATA)]),
        ("none", vec![("acme_demo-1.0/x", "")]),
        ("not at the top", vec![("acme_demo-1.0/x/PKG-INFO", METADATA)]),
        ("not in a folder", vec![("PKG-INFO", METADATA)]),
        ("twice", vec![mine, mine]),
    ] {
        assert!(read(sdist(&files), "acme_demo-1.0.tar.gz").is_err(), "{what}");
    }
    let long = format!("{METADATA}{}", "x".repeat(5 * 1024 * 1024));
    let bomb = sdist(&[("acme_demo-1.0/PKG-INFO", &long)]);
    assert!(read(bomb, "acme_demo-1.0.tar.gz").is_err());
    let mut junk = file_of(b"not an archive");
    junk.seek(SeekFrom::Start(0)).unwrap();
    assert!(read(junk, "acme_demo-1.0.tar.gz").is_err());
}
