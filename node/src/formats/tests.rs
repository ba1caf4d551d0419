//! What holds for all formats, and the archives that are refused. Every archive is made here.

use std::io::{Seek as _, SeekFrom, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::archive::{self, Entry, Error};
use super::{ALL, url_segment};

#[test]
fn formats_are_sorted_and_consistent() {
    assert!(ALL.is_sorted_by(|a, b| a.id < b.id));
    for format in ALL {
        assert_eq!(format.id, format.rules.format);
        assert!(format.readme.starts_with("# "), "{}", format.id);
        assert!(!format.mount.contains('/') && format.mount != super::native::MOUNT);
    }
}

#[test]
fn hostile_names_are_refused_by_every_format() {
    let names =
        ["", ".", "..", "a/../b", "/a", "a//b", "a\\b", "a\0b", "a\nb", "~hosted", "a/", " a"];
    for format in ALL {
        for name in names.iter().chain(&[&*"x".repeat(300), "a\u{202e}b", "a\u{1b}[2J"]) {
            assert!((format.rules.canonical_name)(name).is_err(), "{} {name:?}", format.id);
        }
        for version in ["", "..", "1/2", "1\\2", "1\n", &"1".repeat(300)] {
            assert!(
                (format.rules.canonical_version)(version).is_err(),
                "{} {version:?}",
                format.id
            );
        }
    }
}

#[test]
fn a_url_segment_reads_back_as_it_was() {
    for text in ["plain-1.0_x~y", "@acme/ui", "a b", "50%", "é?#"] {
        let uri = format!("/x/{}/y", url_segment(text)).parse().unwrap();
        assert_eq!(crate::http::path::PathQuery::parse(&uri).unwrap().segments[1], text);
    }
}

/// A `.tgz` as it is being made.
struct Maker {
    tar: tar::Builder<GzEncoder<std::fs::File>>,
}

impl Maker {
    fn new() -> Self {
        let file = tempfile::tempfile().unwrap();
        Self { tar: tar::Builder::new(GzEncoder::new(file, Compression::best())) }
    }

    /// Writes the path into the header as it is: the library would refuse the hostile ones.
    fn add(mut self, kind: EntryType, path: &str, link: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.tar.append(&header, bytes).unwrap();
        self
    }

    fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.add(EntryType::Regular, path, "", bytes)
    }

    fn finish(self) -> std::fs::File {
        let mut file = self.tar.into_inner().unwrap().finish().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let digits = if rest.len() + 2 < 100 { 2 } else { 3 };
        out.extend_from_slice(format!("{}{rest}", rest.len() + digits).as_bytes());
    }
    out
}

fn walk(mut file: std::fs::File) -> Result<Vec<Entry>, Error> {
    let mut seen = Vec::new();
    archive::walk(&mut file, &mut |entry, bytes| {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        assert_eq!(content.len() as u64, entry.size);
        seen.push(entry.clone());
        Ok(())
    })?;
    Ok(seen)
}

#[test]
fn a_sound_archive_is_read_through() {
    let long = format!("package/{}.js", "x".repeat(150));
    let archive = Maker::new()
        .add(EntryType::Directory, "./package/", "", b"")
        .file("package/package.json", b"{}")
        .add(EntryType::GNULongName, "././@LongLink", "", format!("{long}\0").as_bytes())
        .file("package/cut", b"long")
        .add(EntryType::XHeader, "PaxHeader", "", &pax(&[("path", "package/é.txt"), ("size", "3")]))
        .file("package/cut", b"abc")
        .add(EntryType::XGlobalHeader, "pax_global_header", "", &pax(&[("comment", "abc")]))
        .add(EntryType::Symlink, "package/link", "package.json", b"")
        .add(EntryType::Link, "package/hard", "package/package.json", b"")
        .file("package/empty", b"");
    let seen: Vec<_> = walk(archive.finish()).unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(seen, ["package/package.json", &long, "package/é.txt", "package/empty"]);
}

#[test]
fn hostile_paths_and_links_in_archives_are_refused() {
    let file = |path| Maker::new().file(path, b"x");
    let link = |kind, path, target| Maker::new().add(kind, path, target, b"");
    let (soft, hard) = (EntryType::Symlink, EntryType::Link);
    let cases = [
        ("climbs", file("package/../../etc/passwd")),
        ("absolute", file("/etc/passwd")),
        ("drive", file("C:/windows")),
        ("drive below", file("package/c:x")),
        ("backslash", file("package\\..\\x")),
        ("control", file("package/\u{1b}[2J")),
        ("folder as file", file("package/x/")),
        (
            "deep",
            Maker::new()
                .add(EntryType::GNULongName, "L", "", format!("{}x", "a/".repeat(64)).as_bytes())
                .file("x", b""),
        ),
        ("long", Maker::new().add(EntryType::GNULongName, "L", "", &[b'a'; 1100]).file("x", b"")),
        ("symlink out", link(soft, "package/x", "../../etc")),
        ("symlink absolute", link(soft, "package/x", "/etc")),
        ("symlink empty", link(soft, "package/x", "")),
        ("hard link out", link(hard, "package/x", "../x")),
        ("through a symlink", link(soft, "package/x", "y").file("package/x/z", b"")),
        ("symlink over a folder", file("package/x/z").add(soft, "package/x", "y", b"")),
        ("link with bytes", Maker::new().add(soft, "package/x", "y", b"abc")),
        ("device", Maker::new().add(EntryType::Char, "package/x", "", b"")),
        ("fifo", Maker::new().add(EntryType::Fifo, "package/x", "", b"")),
        ("sparse", Maker::new().add(EntryType::GNUSparse, "package/x", "", b"")),
        ("twice", file("package/x").file("package/x", b"y")),
        ("twice by case", file("package/x").file("package/X", b"y")),
        ("twice by accent", file("package/\u{e9}").file("package/e\u{301}", b"y")),
        ("twice by dot", file("package/x").file("package/./x", b"y")),
        ("file below a file", file("package/x").file("package/x/y", b"y")),
        ("name for nothing", file("package/x").add(EntryType::GNULongName, "L", "", b"y")),
    ];
    for (what, maker) in cases {
        assert!(walk(maker.finish()).is_err(), "{what}");
    }
}

#[test]
fn what_two_readers_would_read_differently_is_refused() {
    let header = |records: &[(&str, &str)]| {
        Maker::new().add(EntryType::XHeader, "P", "", &pax(records)).file("package/x", b"abc")
    };
    assert!(matches!(walk(header(&[("size", "2")]).finish()), Err(Error::Ambiguous(_))));
    assert!(walk(header(&[("size", "3")]).finish()).is_ok());
    assert!(walk(header(&[("path", "../x")]).finish()).is_err());
    assert!(walk(header(&[("path", "a"), ("path", "b")]).finish()).is_err());
    assert!(walk(header(&[("GNU.sparse.major", "1")]).finish()).is_err());
    let global = Maker::new().add(EntryType::XGlobalHeader, "g", "", &pax(&[("path", "x")]));
    assert!(walk(global.file("package/x", b"").finish()).is_err());

    let sound = || Maker::new().file("package/x", b"abc").finish();
    let mut followed = sound();
    followed.seek(SeekFrom::End(0)).unwrap();
    followed.write_all(b"more").unwrap();
    followed.seek(SeekFrom::Start(0)).unwrap();
    assert!(matches!(walk(followed), Err(Error::Ambiguous(_))));
    let cut = sound();
    cut.set_len(cut.metadata().unwrap().len() - 5).unwrap();
    assert!(matches!(walk(cut), Err(Error::Unreadable(_))));
    let mut plain = tempfile::tempfile().unwrap();
    plain.write_all(b"not an archive").unwrap();
    plain.seek(SeekFrom::Start(0)).unwrap();
    assert!(matches!(walk(plain), Err(Error::Unreadable(_))));

    let mut hidden = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast());
    hidden.write_all(&[0; 1024]).unwrap();
    hidden.write_all(b"hidden").unwrap();
    let mut hidden = hidden.finish().unwrap();
    hidden.seek(SeekFrom::Start(0)).unwrap();
    assert!(matches!(walk(hidden), Err(Error::Ambiguous(_))));
}

#[test]
fn a_bomb_is_stopped_by_what_it_unpacks_to() {
    let zeros = vec![0; 40 * 1024 * 1024];
    let bomb = Maker::new().file("package/x", &zeros).finish();
    let packed = bomb.metadata().unwrap().len();
    assert!(packed * archive::RATIO_MAX < archive::RATIO_FLOOR_BYTES);
    assert!(matches!(walk(bomb), Err(Error::OverLimit { what: "bytes unpacked", .. })));
    let under = Maker::new().file("package/x", &zeros[..15 * 1024 * 1024]).finish();
    assert!(walk(under).is_ok());
}

#[test]
fn too_many_entries_are_refused() {
    let mut gzip = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_path("package/").unwrap();
    header.set_cksum();
    let block = header.as_bytes().repeat(1000);
    for _ in 0..=archive::ENTRIES_MAX / 1000 {
        gzip.write_all(&block).unwrap();
    }
    let mut file = gzip.finish().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    assert!(matches!(walk(file), Err(Error::OverLimit { .. })));
}
