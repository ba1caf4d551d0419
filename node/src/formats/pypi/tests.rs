//! The pure parts of PyPI: names, versions, file names, pages, archives. Every archive is made
//! here.

mod archives;
mod packaging;
mod pages;
mod versions;

use super::dist::{self, Kind};
use super::name;

#[test]
fn names_are_brought_into_their_normal_form() {
    for (written, normal) in [
        ("Acme.Demo", "acme-demo"),
        ("acme_demo", "acme-demo"),
        ("acme--demo", "acme-demo"),
        ("acme-_.demo", "acme-demo"),
        ("A", "a"),
        ("6", "6"),
        ("friendly-bard", "friendly-bard"),
        ("FrIeNdLy-._.-bArD", "friendly-bard"),
    ] {
        assert_eq!(name::canonical(written).as_deref(), Ok(normal));
        assert_eq!(name::canonical(normal).as_deref(), Ok(normal));
    }
    for bad in ["-a", "a-", "a.", "_a", "a b", "é", "a/b", "~a", "a+b", "", " a"] {
        assert!(name::canonical(bad).is_err(), "{bad:?}");
    }
    assert!(name::publishable("nul").is_err() && name::publishable("null").is_ok());
}

#[test]
fn legacy_sdist_names_eggs_exes_and_junk_are_read_against_the_project() {
    use Kind::{Other, Sdist, Wheel};
    for (project, file, found) in [
        ("acme-demo", "acme_demo-1.0-py3-none-any.whl", Some(("1.0", Wheel))),
        ("acme-demo", "Acme.Demo-1.0-py3-none-any.whl", Some(("1.0", Wheel))),
        ("acme-demo", "acme_demo-1.0-1b-py3-none-any.whl", Some(("1.0", Wheel))),
        (
            "acme-demo",
            "acme_demo-1.0+cu12.1-cp311-cp311-linux_x86_64.whl",
            Some(("1.0+cu12.1", Wheel)),
        ),
        ("acme-demo", "acme_demo-1.0-x-py3-none-any.whl", None),
        ("acme-demo", "acme_demo-1.0-py3-none.whl", None),
        ("acme-demo", "acme_demo-1.0-py3--any.whl", None),
        ("acme-demo", "other-1.0-py3-none-any.whl", None),
        ("acme-demo", "acme_demo-one-py3-none-any.whl", None),
        ("acme-demo", "acme_demo-1.0.tar.gz", Some(("1.0", Sdist))),
        ("foo-bar", "foo.bar-1.0.zip", Some(("1.0", Sdist))),
        ("foo-bar", "foo-bar-1.0.zip", Some(("1.0", Sdist))),
        ("foo-bar", "Foo--Bar-1.0-alpha-2.tgz", Some(("1.0a2", Sdist))),
        ("foo", "foo-bar-1.0.zip", None),
        ("foo-1", "foo-1-2.0.tar.bz2", Some(("2.0", Sdist))),
        ("foo", "foo-1-2.tar.gz", Some(("1.post2", Sdist))),
        ("foo", "foo-1.0-1.tar.gz", Some(("1.0.post1", Sdist))),
        ("foo", "foo-1!2.0+cu12.tar.gz", Some(("1!2.0+cu12", Sdist))),
        ("foo", "foo-1.0.linux-x86_64.tar.gz", Some(("1.0", Other))),
        ("foo", "foo-1.0-py2.7.egg", Some(("1.0", Other))),
        ("foo", "foo-1.0-py2.7-win32.egg", Some(("1.0", Other))),
        ("foo", "foo-1.0.win32-py2.7.exe", Some(("1.0", Other))),
        ("foo", "foo-1.0.win-amd64.msi", Some(("1.0", Other))),
        ("foo", "foo-1.0.tar.gz.asc", None),
        ("foo", "foo.tar.gz", None),
        ("foo", "index.html", None),
        ("foo", "", None),
        ("foo", ".whl", None),
        ("foo", "-1.0.tar.gz", None),
    ] {
        let read = dist::parse(project, file);
        let read = read.as_ref().map(|dist| (dist.version.as_str(), dist.kind));
        assert_eq!(read, found, "{project} {file}");
    }
    assert!(dist::parse("foo", &format!("foo-{}.tar.gz", "1.".repeat(200))).is_none());
}
