//! Pages of upstreams: full ones, poor ones, hostile ones.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use serde_json::json;
use url::Url;

use super::mode::Mode;
use super::outline::{self, Entry, Said, Seen, UNVERSIONED};
use super::page::{self, Page, PageFile};
use super::upstream_page::{Look, Reach, spliced};
use super::upstream_places::{Places, scan};
use crate::formats::splice::{Segment, Span};
use crate::registry::{OutlineFile, OutlineVersion};

/// Gives its bytes in pieces of some length: what is read must not hang on where a buffer ends.
struct Pieces<'b>(&'b [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let many = self.1.min(out.len()).min(self.0.len());
        out[..many].copy_from_slice(&self.0[..many]);
        self.0 = &self.0[many..];
        Ok(many)
    }
}

fn entries(project: &str, page: &str) -> Result<Vec<Entry>, String> {
    let read = |piece: usize| {
        let mut input = BufReader::with_capacity(64.max(piece), Pieces(page.as_bytes(), piece));
        let mut all = Vec::new();
        outline::read(project, &mut input, &mut |entry, seen| {
            if seen == Seen::First {
                all.push(entry);
            }
            Ok(())
        })?;
        Ok::<_, String>(all)
    };
    let whole = read(1 << 20);
    for piece in [1, 7, 64] {
        let in_pieces = read(piece);
        assert_eq!(format!("{in_pieces:?}"), format!("{whole:?}"), "in pieces of {piece}");
    }
    whole
}

fn one(page: &str) -> Entry {
    let all = entries("pad", page).unwrap();
    let [entry] = all.try_into().unwrap_or_else(|all| panic!("{page}: {all:?}"));
    entry
}

fn at(page: &str, span: Span) -> &str {
    &page[span.start as usize..span.end as usize]
}

const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const WHEEL: &str = "pad-1.0-py3-none-any.whl";

#[test]
fn a_link_is_read_as_browsers_read_it_and_its_places_are_those_of_its_bytes() {
    let url = format!("../../packages/{WHEEL}");
    for (tag, href) in [
        (format!("<a href=\"{url}\">pad</a>"), url.clone()),
        (format!("<A HREF='{url}'>pad</A>"), url.clone()),
        (format!("<a\r\n class=x\r\n href = {url} >pad</a>"), url.clone()),
        (format!("<a href={url}>pad</a>"), url.clone()),
        (format!("<a href={url}/>pad</a>"), format!("{url}/")),
        (format!("<a x=\"a&amp;b\" href=\" {url} \" href=\"other.whl\">pad</a>"), url.clone()),
        (format!("<a data-x href=\"{url}?a=1&amp;b=2&c\">pad</a>"), format!("{url}?a=1&b=2&c")),
        (format!("<a href=\"{url}?é&eacute;&#x41;\" >pad</a>"), format!("{url}?ééA")),
    ] {
        let page = format!(
            "<!DOCTYPE html>\r\n<html><h1>Links for pad</h1>\r\n\u{e9}<!-- <a href=\"x.whl\"> -->\n\
             <script>'<a href=\"y.whl\">'</script>\r{tag}<br/>\n</html>"
        );
        if href.ends_with('/') {
            assert!(entries("pad", &page).unwrap().is_empty(), "a folder is no file: {tag}");
            continue;
        }
        let entry = one(&page);
        assert_eq!((entry.url.as_str(), entry.filename.as_str()), (href.as_str(), WHEEL), "{tag}");
        assert_eq!(at(&page, entry.place), format!("{tag}<br/>"));
        let written = at(&page, entry.url_place);
        let before = &page[..entry.url_place.start as usize];
        assert!(tag.contains(written) && written.contains(&url), "{written:?}");
        assert!(before.ends_with(['"', '\'', '=', ' ']), "{before:?}");
        let inside = &page[entry.place.start as usize..entry.inside as usize];
        assert!(inside.eq_ignore_ascii_case("<a"), "{inside:?}");
    }
}

#[test]
fn what_stands_at_a_link_is_read_with_its_entities_and_may_be_empty() {
    for (more, check) in [
        ("", (None, None, None)),
        (" data-yanked", (None, Some(""), None)),
        (" data-yanked=\"\"", (None, Some(""), None)),
        (
            " data-yanked=\"it &lt;breaks&gt;\n&quot;all&quot;\"",
            (None, Some("it <breaks>\n\"all\""), None),
        ),
        (" data-requires-python=\"&gt;=3.8,!=3.9.*\"", (Some(">=3.8,!=3.9.*"), None, None)),
        (" data-requires-python='>=3.8'", (Some(">=3.8"), None, None)),
        (" data-core-metadata=true", (None, None, Some(Said::Yes))),
        (" data-dist-info-metadata=\"true\"", (None, None, Some(Said::Yes))),
        (" data-core-metadata=\"false\"", (None, None, Some(Said::No))),
        (" data-core-metadata=false data-dist-info-metadata=true", (None, None, Some(Said::No))),
        (" data-core-metadata=\"sha256=nonsense\"", (None, None, Some(Said::Yes))),
    ] {
        let entry = one(&format!("<h1>Links for pad</h1><a href=\"{WHEEL}\"{more}>pad</a>"));
        let found = (entry.requires_python.as_deref(), entry.yanked.as_deref(), entry.metadata);
        assert_eq!(found, check, "{more}");
    }
    let sum = outline::checksum(SUM).unwrap();
    for name in ["data-core-metadata", "data-dist-info-metadata"] {
        let entry = one(&format!("<a href=\"{WHEEL}#sha256={SUM}\" {name}=\"sha256={SUM}\">x</a>"));
        assert_eq!(entry.metadata, Some(Said::Sha256(sum)));
        assert_eq!((entry.declared.sha256, entry.url.as_str()), (Some(sum), WHEEL));
    }
}

#[test]
fn json_says_the_same_in_its_own_types() {
    let sum = outline::checksum(SUM).unwrap();
    for (more, check) in [
        (json!({}), (None, None, None)),
        (json!({ "yanked": false, "requires-python": null }), (None, None, None)),
        (json!({ "yanked": true }), (None, Some(""), None)),
        (json!({ "yanked": "it <breaks>\n" }), (None, Some("it <breaks>\n"), None)),
        (json!({ "yanked": "" }), (None, Some(""), None)),
        (json!({ "requires-python": ">=3.8" }), (Some(">=3.8"), None, None)),
        (json!({ "core-metadata": true }), (None, None, Some(Said::Yes))),
        (json!({ "core-metadata": false }), (None, None, Some(Said::No))),
        (json!({ "core-metadata": { "sha256": SUM } }), (None, None, Some(Said::Sha256(sum)))),
        (json!({ "core-metadata": {} }), (None, None, Some(Said::Yes))),
        (json!({ "dist-info-metadata": { "sha256": SUM } }), (None, None, Some(Said::Sha256(sum)))),
        (
            json!({ "core-metadata": false, "dist-info-metadata": true }),
            (None, None, Some(Said::No)),
        ),
    ] {
        let mut file = json!({
            "filename": WHEEL, "url": format!("https://files.test/{WHEEL}#frag"), "size": 1234,
            "upload-time": "2026-01-02T03:04:05.678Z", "hashes": { "sha256": SUM.to_uppercase() },
            "unknown": [1.0e5, { "url": "no" }],
        });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let page = json!({ "meta": { "api-version": "1.1" }, "name": "Pad", "files": [file] });
        let page = page.to_string();
        let entry = one(&page);
        let found = (entry.requires_python.as_deref(), entry.yanked.as_deref(), entry.metadata);
        assert_eq!(found, check, "{more}");
        assert_eq!((entry.size, entry.declared.sha256), (Some(1234), Some(sum)));
        assert_eq!(entry.upload_time.as_deref(), Some("2026-01-02T03:04:05.678Z"));
        assert_eq!(entry.url, format!("https://files.test/{WHEEL}"));
        assert_eq!(at(&page, entry.place), file.to_string());
        assert_eq!(at(&page, entry.url_place), file["url"].to_string());
    }
}

fn files(project: &str, page: &str) -> BTreeMap<String, Vec<OutlineFile>> {
    let outline = outline::outline(project, &mut page.as_bytes()).unwrap();
    outline.versions.into_iter().map(|version| (version.version, version.files)).collect()
}

#[test]
fn files_are_put_to_their_versions_and_junk_is_not_lost() {
    let names = [
        "foo_bar-1.0-py3-none-any.whl",
        "Foo.Bar-1.0.tar.gz",
        "foo-bar-2.0%2Bcu12.zip",
        "foo.bar-1%213.0.post1.tar.gz",
        "foo_bar-1.0-py2.7.egg",
        "README.txt",
        "foo-bar-doc.tar.gz",
    ];
    let page: String =
        names.iter().map(|name| format!("<a href=\"x/{name}\">{name}</a><br>")).collect();
    let found = files("foo-bar", &page);
    let of = |version: &str| -> Vec<&str> {
        found[version].iter().map(|file| file.file.as_str()).collect()
    };
    assert_eq!(of("1.0"), [names[0], names[1], names[4]]);
    assert_eq!(of("2.0+cu12"), ["foo-bar-2.0+cu12.zip"]);
    assert_eq!(of("1!3.0.post1"), ["foo.bar-1!3.0.post1.tar.gz"]);
    assert_eq!(of(UNVERSIONED), ["README.txt", "foo-bar-doc.tar.gz"]);
    for (version, files) in &found {
        for file in files {
            assert_eq!(&outline::version_of("foo-bar", &file.file), version);
        }
    }
    assert!(super::version::canonical(UNVERSIONED).is_ok_and(|normal| normal == UNVERSIONED));
}

#[test]
fn what_is_advertised_beside_a_file_is_a_file_too() {
    let page = format!(
        "<a href=\"f/{WHEEL}?token=1#sha256={SUM}\" data-core-metadata=\"sha256={SUM}\"></a>\
         <a href=\"pad-1.0.tar.gz\" data-gpg-sig=\"true\" data-core-metadata=\"false\"></a>"
    );
    let found = files("pad", &page);
    let all: Vec<_> = found["1.0"].iter().map(|f| (f.file.as_str(), f.url.as_str())).collect();
    let beside = format!("{WHEEL}.metadata");
    assert_eq!(
        all,
        [
            (beside.as_str(), format!("f/{WHEEL}.metadata?token=1").as_str()),
            (WHEEL, format!("f/{WHEEL}?token=1").as_str()),
            ("pad-1.0.tar.gz.asc", "pad-1.0.tar.gz.asc"),
            ("pad-1.0.tar.gz", "pad-1.0.tar.gz"),
        ]
    );
    assert_eq!(found["1.0"][0].declared.sha256, outline::checksum(SUM));
    assert!(!found["1.0"][1].place.is_empty(), "a wheel is compared with its METADATA");
    assert!(found["1.0"][3].place.is_empty() && found["1.0"][0].place.is_empty());
}

#[test]
fn a_version_is_yanked_when_all_of_its_files_are() {
    let file = |name: &str, yanked: &str| format!("<a href=\"{name}\"{yanked}>x</a>");
    let page = [
        file("pad-1.0.tar.gz", " data-yanked=\"\""),
        file("pad-1.0-py3-none-any.whl", " data-yanked=\"broken\""),
        file("pad-2.0.tar.gz", " data-yanked"),
        file("pad-2.0-py3-none-any.whl", ""),
        file("pad-3.0.tar.gz", ""),
    ];
    let outline = outline::outline("pad", &mut page.concat().as_bytes()).unwrap();
    let yanked = |v: &OutlineVersion| (v.version.clone(), v.yanked.clone());
    let found: Vec<_> = outline.versions.iter().map(yanked).collect();
    let said =
        |version: &str, yanked: Option<&str>| (version.to_owned(), yanked.map(ToOwned::to_owned));
    assert_eq!(found, [said("1.0", Some("broken")), said("2.0", None), said("3.0", None)]);
}

#[test]
fn a_base_in_the_page_moves_its_urls() {
    for (base, url) in [
        ("https://files.test/a/b", format!("https://files.test/a/{WHEEL}")),
        ("../files/", format!("../files/{WHEEL}")),
        ("/files/x?y", format!("/files/{WHEEL}")),
    ] {
        let page = format!("<base href=\"{base}\"><a href=\"{WHEEL}\">x</a>");
        assert_eq!(one(&page).url, url, "{base}");
    }
    let page = format!("<base href=\"../files/\"><a href=\"https://x.test/{WHEEL}\">x</a>");
    assert_eq!(one(&page).url, format!("https://x.test/{WHEEL}"));
}

#[test]
fn what_is_no_page_of_a_project_is_refused_and_an_empty_page_is_one() {
    let refused = [
        "",
        "   ",
        "not a page",
        "<html><h1>Welcome to the village Wi-Fi</h1><a href=\"/login.php\">x</a></html>",
        "{}",
        "{\"error\":\"no\"}",
        "{\"files\":{}}",
        "{\"files\":[]",
        "{\"name\":\"pad\",\"files\":[],\"files\":[]}",
        "{\"name\":\"pad\",\"files\":[]} x",
    ];
    for page in refused {
        assert!(entries("pad", page).is_err(), "{page}");
    }
    for page in [
        "<h1>Links for pad</h1>",
        "<title> Links for Pad</title>",
        "<meta name=\"pypi:repository-version\" content=\"1.0\">",
        "{\"name\":\"pad\",\"files\":[]}",
        " \n {\"files\":[1,null,{\"url\":\"x\"},{\"filename\":\"../x\",\"url\":\"x\"},\
         {\"filename\":\"a\\u0000\",\"url\":\"x\"},{\"filename\":7,\"url\":\"x\"}]}",
        "<h1>Links for pad</h1><a href=\"%2e%2e\"></a><a href=\"a%2fb\"></a><a href=\"%ff\"></a>",
    ] {
        assert!(entries("pad", page).is_ok_and(|all| all.is_empty()), "{page}");
    }
}

#[test]
fn hostile_pages_take_bounded_memory_and_end() {
    let long = "x".repeat(3 << 20);
    let page = format!(
        "<h1>Links for pad{long}</h1><!--{long}--><!DOCTYPE {long}><{long} {long}={long}>{long}\
         <a href=\"{long}\">x</a><a {long}=\"{long}\" href=\"{WHEEL}\">x</a>\
         <a href=\"&{long};\"></a><a title=\"{}\" href=\"pad-2.0.zip\"></a></{long}><a href=\"",
        "&amp;".repeat(100_000)
    );
    let mut found = Vec::new();
    let mut visit = |entry: Entry, _| {
        found.push(entry);
        Ok(())
    };
    outline::read("pad", &mut page.as_bytes(), &mut visit).unwrap();
    let names: Vec<&str> = found.iter().map(|entry| entry.filename.as_str()).collect();
    assert_eq!(names, [WHEEL, "pad-2.0.zip"]);
    let many: String = (0..70_000).map(|n| format!("<a href=\"pad-{n}.zip\">")).collect();
    assert!(outline::outline("pad", &mut many.as_bytes()).unwrap_err().contains("more files"));
    let wordy = format!(" data-yanked=\"{}\"", "y".repeat(8000));
    let wordy: String = (0..9000).map(|n| format!("<a href=\"pad-{n}.zip\"{wordy}>")).collect();
    assert!(outline::outline("pad", &mut wordy.as_bytes()).unwrap_err().contains("longer"));
    let deep = format!("{{\"files\":[],\"x\":{}", "[".repeat(100_000));
    assert!(outline::outline("pad", &mut deep.as_bytes()).is_err());
}

#[test]
fn of_two_files_with_one_name_the_first_counts() {
    let page = format!("<a href=\"a/{WHEEL}\"></a><a href=\"b/{WHEEL}#sha256={SUM}\"></a>");
    let found = files("pad", &page);
    assert_eq!(found["1.0"].len(), 1);
    assert_eq!(found["1.0"][0].url, format!("a/{WHEEL}"));
}

/// The page as a client gets it in the form that it has.
fn rendered(page: &str, mode: Mode, files: Option<&[(&str, &str)]>, held: &[(&str, u8)]) -> String {
    let places = scan("pad", &mut page.as_bytes()).unwrap();
    let files = files.map(|files| {
        files.iter().map(|(version, file)| ((*version).to_owned(), (*file).to_owned())).collect()
    });
    let look = Look { project: "pad", mode, reach: Reach(files.as_ref()), moved: None };
    made(&places, page, &look, held)
}

fn made(places: &Places, page: &str, look: &Look<'_>, held: &[(&str, u8)]) -> String {
    let added = held.iter().map(|(file, sum)| ((*file).to_owned(), [*sum; 32])).collect();
    let mut out = Vec::new();
    for segment in spliced(places, look, &added) {
        match segment {
            Segment::Range(range) => {
                out.extend(&page.as_bytes()[range.start as usize..range.end as usize]);
            }
            Segment::Literal(bytes) => out.extend(&bytes),
        }
    }
    String::from_utf8(out).unwrap()
}

const OTHER: &str = "pad-2.0.tar.gz";

fn full_page() -> String {
    format!(
        "{{ \"files\" : [\r\n 7, {{\"x\":1E+2, \"url\":\"https:\\/\\/f.test/{WHEEL}\", \
         \"hashes\":{{\"sha256\":\"{SUM}\"}},\"filename\":\"{WHEEL}\"}} ,\
         {{\"filename\":\"{OTHER}\",\"url\":\"{OTHER}\",\"core-metadata\":false}}, null],\
         \"versions\":[\"1.0\", \"2\"], \"name\":\"pad\", \"tail\":[0.10, \"\\u00e9\"]}}"
    )
}

#[test]
fn of_a_page_in_json_nothing_changes_but_its_urls() {
    let page = full_page();
    let own = rendered(&page, Mode::Own, None, &[]);
    let wheel = format!("\"../../files/pad/{SUM}/{WHEEL}\"");
    let expected = page.replace(&format!("\"https:\\/\\/f.test/{WHEEL}\""), &wheel).replace(
        &format!("\"url\":\"{OTHER}\""),
        &format!("\"url\":\"../../files/pad/-/{OTHER}\""),
    );
    assert_eq!(own, expected);
    assert_eq!(rendered(&page, Mode::Canonical, None, &[]), page);
}

#[test]
fn metadata_is_added_where_the_page_is_silent_alone() {
    let sum = "07".repeat(32);
    let held = [(WHEEL, 7)];
    let json: serde_json::Value =
        serde_json::from_str(&rendered(&full_page(), Mode::Own, None, &held)).unwrap();
    assert_eq!(json["files"][1]["core-metadata"]["sha256"], sum);
    assert_eq!(json["files"][2]["core-metadata"], false);
    let page = format!("<a\nhref={WHEEL}>x</a>");
    let html = rendered(&page, Mode::Own, None, &held);
    let added =
        format!("<a data-core-metadata=\"sha256={sum}\"\nhref=../../files/pad/-/{WHEEL}>x</a>");
    assert_eq!(html, added);
}

#[test]
fn what_is_out_of_reach_is_left_out_and_the_rest_stays_json() {
    let page = full_page();
    for (files, left, versions) in [
        (vec![("1.0", WHEEL)], vec![WHEEL], vec!["1.0"]),
        (vec![("2.0", OTHER)], vec![OTHER], vec![]),
        (vec![("2", OTHER)], vec![], vec!["2"]),
        (vec![], vec![], vec![]),
    ] {
        for mode in [Mode::Own, Mode::Canonical] {
            let text = rendered(&page, mode, Some(&files), &[]);
            let json: serde_json::Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let all = json["files"].as_array().unwrap().iter();
            let names: Vec<&str> = all.map(|file| file["filename"].as_str().unwrap()).collect();
            assert_eq!((names, &json["versions"]), (left.clone(), &json!(versions)), "{text}");
        }
    }
}

#[test]
fn of_a_page_in_html_the_urls_change_and_their_fragments_stay() {
    let page = format!(
        "<base href=\"https://f.test/a/\">\n<p>&nbsp;\n<a title=\"x\" \
         href='{WHEEL}#sha256={SUM}&amp;a=\"' data-y>pad</a><BR />\n\
         <a href={OTHER}#egg=x>y</a><!-- c --><a href=\"../\">up</a>\
         <a href=\"b/{OTHER}\">again</a>end"
    );
    let own = rendered(&page, Mode::Own, None, &[]);
    let expected = format!(
        "\n<p>&nbsp;\n<a title=\"x\" \
         href='../../files/pad/{SUM}/{WHEEL}#sha256={SUM}&amp;a=%22' data-y>pad</a><BR />\n\
         <a href=../../files/pad/-/{OTHER}#egg=x>y</a><!-- c -->\
         <a href=\"../\">up</a>end"
    );
    assert_eq!(own, expected);
    let away = rendered(&page, Mode::Own, Some(&[("2.0", OTHER)]), &[]);
    let left = format!("<a href=../../files/pad/-/{OTHER}#egg=x>y</a>");
    assert!(!away.contains(WHEEL) && away.contains(&left), "{away}");
    assert_eq!(rendered(&page, Mode::Canonical, None, &[]), page);
}

#[test]
fn words_that_nobody_here_knows_are_kept_for_the_other_form() {
    let html = format!(
        "<a href=\"{WHEEL}\" data-x.own=\"a &lt;b&gt;\" data-x.own=2 data-flag DATA-Big=c \
         data-size=7 data-url=x data-yanked class=y data-\u{e9}=z data-{}=long>",
        "n".repeat(65)
    );
    let owned = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(one(&html).more, owned(&[("x.own", "a <b>"), ("flag", ""), ("big", "c")]));
    let json = format!(
        r#"{{"files":[{{"filename":"{WHEEL}","url":"{WHEEL}","x":"w","yes":true,"no":false,"n":1,
        "o":{{}},"l":["x"],"size":"7","_data-x.own":"a","Big":"c","x":"again","nil":null}}]}}"#
    );
    let words = [("x", "w"), ("yes", "true"), ("no", "false"), ("x.own", "a")];
    assert_eq!(one(&json).more, owned(&words));
    let many: String = (0..100).map(|n| format!(" data-x{n}=y")).collect();
    assert!(one(&format!("<a href={WHEEL}{many}>")).more.len() <= 16);
    let file = PageFile { more: owned(&[("x.own", "a <b>")]), ..PageFile::default() };
    let page = Page { files: vec![file], ..Page::default() };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(text(page::html(&page)).contains(" data-x.own=\"a &lt;b&gt;\">"));
    assert!(text(page::json(&page)).contains(r#""_data-x.own":"a <b>""#));
}

#[test]
fn where_redirects_led_is_what_urls_are_relative_to() {
    let moved = Url::parse("https://far.test/deep/simple/pad/").ok();
    let look = |mode| Look { project: "pad", mode, reach: Reach(None), moved: moved.clone() };
    let json = full_page();
    let html =
        format!("<base href=\"a/\"><a href=\"{WHEEL}#x\">x</a><a href=\"//o.test/{OTHER}\">");
    for (page, url, more) in
        [(&json, OTHER.to_owned(), String::new()), (&html, format!("a/{WHEEL}"), "#x".to_owned())]
    {
        let places = scan("pad", &mut page.as_bytes()).unwrap();
        let canonical = made(&places, page, &look(Mode::Canonical), &[]);
        let absolute = format!("\"https://far.test/deep/simple/pad/{url}{more}\"");
        assert!(canonical.contains(&absolute), "{canonical}");
        let own = made(&places, page, &look(Mode::Own), &[]);
        assert!(own.contains("../../files/pad/") && !own.contains("far.test"), "{own}");
    }
    let places = scan("pad", &mut html.as_bytes()).unwrap();
    let canonical = made(&places, &html, &look(Mode::Canonical), &[]);
    assert!(canonical.contains(&format!("\"https://o.test/{OTHER}\"")), "{canonical}");
}

#[test]
fn names_that_are_odd_in_urls_are_quoted() {
    let page = "<a href=\"pad-1.0%2Bcu12.zip\">x</a><a href=\"a&quot;b%20c%3F%23.txt\">y</a>";
    let own = rendered(page, Mode::Own, None, &[]);
    assert!(own.contains("/-/pad-1.0%2Bcu12.zip\""), "{own}");
    assert!(own.contains("/-/a%22b%20c%3F%23.txt\""), "{own}");
}
