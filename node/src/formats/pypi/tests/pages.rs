//! Which form of a page, and what is in it.

use serde_json::{Value, json};

use crate::formats::pypi::accept::{Form, form};
use crate::formats::pypi::page::{self, CoreMetadata, Page, PageFile, list};
use crate::formats::pypi::project_json::{self, Release, Shown};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";

#[test]
fn accept_q_values_and_format_choose_the_form() {
    use Form::{Html, Json, PlainHtml};
    let pip = format!("{JSON}, {HTML}; q=0.1, text/html; q=0.01");
    let uv = format!("{JSON}, {HTML};q=0.2, text/html;q=0.01");
    let poetry = format!("{JSON}, */*;q=0.1");
    for (accept, expected) in [
        (None, Some(PlainHtml)),
        (Some(""), Some(PlainHtml)),
        (Some("*/*"), Some(PlainHtml)),
        (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(PlainHtml)),
        (Some("text/*"), Some(PlainHtml)),
        (Some("application/*"), Some(Json)),
        (Some(&*pip), Some(Json)),
        (Some(&*uv), Some(Json)),
        (Some(&*poetry), Some(Json)),
        (Some(HTML), Some(Html)),
        (Some("application/vnd.pypi.simple.latest+json"), Some(Json)),
        (Some("APPLICATION/VND.PYPI.SIMPLE.V1+HTML"), Some(Html)),
        (Some("application/vnd.pypi.simple.v1+json;q=0, */*"), Some(PlainHtml)),
        (Some("application/vnd.pypi.simple.v1+json;q=0.2, text/html;q=0.3"), Some(PlainHtml)),
        (Some("text/html, application/vnd.pypi.simple.v1+json"), Some(Json)),
        (Some("*/*;q=0"), None),
        (Some("application/json"), None),
        (Some("application/vnd.pypi.simple.v2+json"), None),
        (Some("text/html;q=nonsense"), None),
        (Some(";;,,"), None),
    ] {
        assert_eq!(form(accept, None), expected, "{accept:?}");
    }
    for (format, expected) in [
        (JSON, Some(Json)),
        ("application/vnd.pypi.simple.v1 json", Some(Json)),
        ("application/vnd.pypi.simple.latest+html", Some(Html)),
        ("text/html", Some(PlainHtml)),
        ("json", None),
        ("", None),
    ] {
        assert_eq!(form(Some(JSON), Some(format)), expected, "{format:?}");
    }
}

fn sample() -> Page<'static> {
    let file = |name: &'static str| PageFile {
        filename: name.into(),
        url: format!("../../files/acme/ab/{}", name.replace('+', "%2B")).into(),
        sha256: Some("ab".into()),
        size: Some(7),
        ..PageFile::default()
    };
    let wheel = PageFile {
        requires_python: Some(">=3.8,<4".into()),
        yanked: Some("it \"breaks\"\n<b>&".into()),
        core_metadata: CoreMetadata::Sha256("cd".into()),
        provenance: Some("https://example.test/p".into()),
        upload_time: Some("2026-01-02T03:04:05.000000Z".into()),
        gpg_sig: Some(false),
        ..file("acme-1.0+cu12-py3-none-any.whl")
    };
    let yanked = PageFile {
        yanked: Some("".into()),
        core_metadata: CoreMetadata::Yes,
        ..file("acme-0.9.tar.gz")
    };
    Page {
        name: "acme".into(),
        files: vec![wheel, yanked, file("acme-1!0.1.tar.gz")],
        versions: Vec::new(),
        status: Some(("archived".into(), Some("no time & money".into()))),
    }
}

#[test]
fn html_escapes_requires_python_and_yanks_and_quotes_local_versions() {
    let html = String::from_utf8(page::html(&sample())).unwrap();
    for part in [
        "<meta name=\"pypi:repository-version\" content=\"1.4\">",
        "<meta name=\"pypi:project-status\" content=\"archived\">",
        "<meta name=\"pypi:project-status-reason\" content=\"no time &amp; money\">",
        "<a href=\"../../files/acme/ab/acme-1.0%2Bcu12-py3-none-any.whl#sha256=ab\"",
        " data-requires-python=\"&gt;=3.8,&lt;4\"",
        " data-yanked=\"it &quot;breaks&quot;\n&lt;b&gt;&amp;\"",
        " data-core-metadata=\"sha256=cd\" data-dist-info-metadata=\"sha256=cd\"",
        " data-provenance=\"https://example.test/p\" data-gpg-sig=\"false\"",
        ">acme-1.0+cu12-py3-none-any.whl</a>",
        " data-yanked=\"\" data-core-metadata=\"true\" data-dist-info-metadata=\"true\">acme-0.9",
        "#sha256=ab\">acme-1!0.1.tar.gz</a>",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    let hostile = Page { name: "<script>".into(), ..Page::default() };
    assert!(!String::from_utf8(page::html(&hostile)).unwrap().contains("<script>"));
}

#[test]
fn json_says_the_same_with_sizes_times_and_versions() {
    let document: Value = serde_json::from_slice(&page::json(&sample())).unwrap();
    assert_eq!(document["meta"], json!({ "api-version": "1.4" }));
    assert_eq!(document["name"], "acme");
    assert_eq!(document["versions"], json!(["0.9", "1.0+cu12", "1!0.1"]));
    let status = json!({ "status": "archived", "reason": "no time & money" });
    assert_eq!(document["project-status"], status);
    assert_eq!(
        document["files"][0],
        json!({
            "filename": "acme-1.0+cu12-py3-none-any.whl",
            "url": "../../files/acme/ab/acme-1.0%2Bcu12-py3-none-any.whl",
            "hashes": { "sha256": "ab" }, "requires-python": ">=3.8,<4", "size": 7,
            "upload-time": "2026-01-02T03:04:05.000000Z", "yanked": "it \"breaks\"\n<b>&",
            "core-metadata": { "sha256": "cd" }, "dist-info-metadata": { "sha256": "cd" },
            "provenance": "https://example.test/p", "gpg-sig": false,
        })
    );
    let (second, third) = (&document["files"][1], &document["files"][2]);
    assert_eq!((&second["yanked"], &third["yanked"]), (&json!(true), &json!(false)));
    assert_eq!((&second["core-metadata"], &third["core-metadata"]), (&json!(true), &json!(false)));
    assert!(third.get("requires-python").is_none() && third.get("provenance").is_none());
}

#[test]
fn a_page_that_lacks_sizes_says_the_older_interface_in_both_forms() {
    let mut page = sample();
    page.files[0].size = None;
    let document: Value = serde_json::from_slice(&page::json(&page)).unwrap();
    assert_eq!(document["meta"]["api-version"], "1.0");
    assert!(document["files"][0].get("size").is_none());
    let html = String::from_utf8(page::html(&page)).unwrap();
    assert!(html.contains("repository-version\" content=\"1.0\""));
}

#[test]
fn the_list_of_names_is_whole_in_both_forms() {
    let whole = |in_json| {
        let mut out = list::begin(in_json);
        for (index, name) in ["a", "b<"].iter().enumerate() {
            out += &list::project(in_json, index == 0, name);
        }
        out + list::end(in_json)
    };
    let document: Value = serde_json::from_str(&whole(true)).unwrap();
    assert_eq!(document["projects"], json!([{ "name": "a" }, { "name": "b<" }]));
    assert!(whole(false).contains("<a href=\"a/\">a</a><br>\n<a href=\"b&lt;/\">b&lt;</a>"));
    assert!(whole(false).ends_with("</html>\n"));
}

/// A page of `acme` with these files, each with the reason of its yank.
fn listing<'a>(files: &[(&'a str, Option<&'a str>)]) -> Page<'a> {
    let file = |(name, yanked): &(&'a str, Option<&'a str>)| PageFile {
        filename: (*name).into(),
        sha256: Some("ab".into()),
        yanked: yanked.map(Into::into),
        ..PageFile::default()
    };
    Page { name: "acme".into(), files: files.iter().map(file).collect(), ..Page::default() }
}

fn older(releases: &[Release<'_>], release: &Release<'_>, meta: Option<&[u8]>) -> Value {
    let releases = Some(releases);
    project_json::document(&Shown { name: "acme", release, meta, told: None, releases })
}

#[test]
fn the_latest_is_final_and_not_yanked_if_any_is() {
    let plain = ("acme-1.0.zip", None);
    let (gone, early) = (("acme-2.0.zip", Some("")), ("acme-3.0rc1.zip", None));
    for (files, latest) in [
        (vec![plain, gone, early, ("acme-junk", None)], Some("1.0")),
        (vec![gone, early], Some("3.0rc1")),
        (vec![gone], Some("2.0")),
        (vec![gone, ("acme-2.0-py3-none-any.whl", None), plain], Some("2.0")),
        (vec![("other-9.zip", None)], None),
    ] {
        let page = listing(&files);
        let releases = project_json::releases(&page);
        let found = project_json::latest(&releases).map(|found| found.version.as_str());
        assert_eq!(found, latest, "{files:?}");
    }
}

#[test]
fn the_older_json_groups_files_by_version_and_says_null_of_what_nobody_knows() {
    let yanked = Some("why");
    let mut page = listing(&[
        ("acme-1.0.tar.gz", yanked),
        ("acme-1.0.0-1-cp311-cp311-win_amd64.whl", yanked),
        ("acme-0.9.win32.exe", None),
        ("acme-0.9-py2.7.egg", None),
        ("acme-0.8.zip", None),
    ]);
    page.files[0].upload_time = Some("2026-01-02T03:04:05.000006Z".into());
    page.files[1].requires_python = Some(">=3.8".into());
    page.files[4].sha256 = None;
    let releases = project_json::releases(&page);
    let release = releases.last().unwrap();
    let unknown = older(&releases, release, None);
    assert_eq!(unknown["info"]["requires_dist"], Value::Null);
    assert_eq!(
        (&unknown["info"]["name"], &unknown["info"]["requires_python"]),
        (&json!("acme"), &json!(">=3.8"))
    );
    assert_eq!(
        (&unknown["info"]["yanked"], &unknown["info"]["yanked_reason"]),
        (&json!(true), &json!("why"))
    );
    let kinds = |document: &Value, version: &str| -> Vec<(String, String)> {
        let all = document["releases"][version].as_array().unwrap().iter();
        let text = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
        all.map(|file| (text(file, "packagetype"), text(file, "python_version"))).collect()
    };
    let owned = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let version = release.version.as_str();
    assert_eq!(kinds(&unknown, version), owned(&[("sdist", "source"), ("bdist_wheel", "cp311")]));
    assert_eq!(kinds(&unknown, "0.9"), owned(&[("bdist_wininst", "any"), ("bdist_egg", "any")]));
    assert_eq!(kinds(&unknown, "0.8"), owned(&[]), "poetry cannot read one without a checksum");
    assert_eq!(unknown["urls"][0]["upload_time"], "2026-01-02T03:04:05");
    let known = older(&releases, release, Some(b"Name: Acme\nSummary: s\n\nRequires-Dist: text"));
    assert_eq!(
        (&known["info"]["requires_dist"], &known["info"]["name"]),
        (&json!([]), &json!("Acme"))
    );
}

#[test]
fn an_sdist_is_believed_where_it_says_that_its_wheels_will_say_the_same() {
    for (meta, settled) in [
        ("Metadata-Version: 2.2\nRequires-Dist: pad\n", true),
        ("Metadata-Version: 2.10\n", true),
        ("Metadata-Version: 2.2\nDynamic: requires-dist\n", false),
        ("Metadata-Version: 2.2\nDynamic: Summary\n", true),
        ("Metadata-Version: 2.1\nRequires-Dist: pad\n", false),
        ("Metadata-Version: two\n", false),
        ("", false),
        ("\u{1}", false),
    ] {
        assert_eq!(project_json::is_settled(meta.as_bytes()), settled, "{meta:?}");
    }
}
