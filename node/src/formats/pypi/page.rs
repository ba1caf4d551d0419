//! The page of a project, and of all projects: one model, two forms with the same content. Pure.
//!
//! HTML carries what PEP 503, 592, 629, 658 and 714 ask for, JSON what PEP 691, 700, 740 and 792
//! do. Both say the highest version of the interface that their content keeps: without the size of
//! every file it is 1.0. Every text is escaped; names of files are quoted in URLs where they are
//! made, not here.
//!
//! Source: packaging.python.org "Simple repository API"; formats/pypi.md sections 3 and 8.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{dist, version};

/// The interface that is kept where every file has its size.
const API: &str = "1.4";
/// That of a page which lacks what later ones ask for.
const API_POOR: &str = "1.0";

/// A project, as clients read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// In its normal form.
    pub(super) name: Cow<'a, str>,
    /// In the order in which they are shown.
    pub(super) files: Vec<PageFile<'a>>,
    /// Normal or written versions, also those without files; empty: those of the files.
    pub(super) versions: Vec<Cow<'a, str>>,
    /// State (`archived`, `quarantined` …) and the reason for it, if somebody gave one.
    pub(super) status: Option<(Cow<'a, str>, Option<Cow<'a, str>>)>,
}

/// One file of a [`Page`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PageFile<'a> {
    /// As it is downloaded.
    pub(super) filename: Cow<'a, str>,
    /// Relative to the page, or absolute; without a fragment.
    pub(super) url: Cow<'a, str>,
    /// In hexadecimal.
    pub(super) sha256: Option<String>,
    /// Bytes.
    pub(super) size: Option<u64>,
    /// RFC 3339 in UTC, with `Z`.
    pub(super) upload_time: Option<Cow<'a, str>>,
    /// A specifier, not escaped.
    pub(super) requires_python: Option<Cow<'a, str>>,
    /// The reason, empty where none was given; `None`: not yanked.
    pub(super) yanked: Option<Cow<'a, str>>,
    /// Whether its METADATA can be had beside it.
    pub(super) core_metadata: CoreMetadata,
    /// URL of what was attested of it.
    pub(super) provenance: Option<Cow<'a, str>>,
    /// Whether a signature lies beside it, where that is said.
    pub(super) gpg_sig: Option<bool>,
    /// Names and values that nobody here knows, of a page in the other form.
    pub(super) more: Vec<(String, String)>,
}

/// Before the name of what an attribute of HTML has said: members with an underscore are an index's
/// own, and mean nothing to anybody else.
pub(super) const FROM_HTML: &str = "_data-";

/// What is said of a `.metadata` beside a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum CoreMetadata {
    /// There is none.
    #[default]
    No,
    /// There is one, without a checksum.
    Yes,
    /// Its SHA-256 in hexadecimal.
    Sha256(String),
}

impl Page<'_> {
    /// The interface that all of it keeps.
    fn api(&self) -> &'static str {
        if self.files.iter().all(|file| file.size.is_some()) { API } else { API_POOR }
    }

    /// What it lists, by PEP 440, lowest first.
    fn versions(&self) -> Vec<String> {
        let of_file = |file: &PageFile<'_>| Some(dist::parse(&self.name, &file.filename)?.version);
        let mut all: Vec<String> = match self.versions.as_slice() {
            [] => self.files.iter().filter_map(of_file).collect(),
            given => given.iter().map(ToString::to_string).collect(),
        };
        all.sort_by(|a, b| version::compare(a, b));
        all.dedup();
        all
    }
}

/// The page in HTML.
pub(super) fn html(page: &Page<'_>) -> Vec<u8> {
    let name = escaped(&page.name);
    let mut out = String::with_capacity(256 + page.files.len() * 400);
    let mut head = String::new();
    if let Some((state, reason)) = &page.status {
        // Writing into a string does not fail, here and below.
        let _ = write!(head, "{}", meta("pypi:project-status", state));
        if let Some(reason) = reason {
            let _ = write!(head, "{}", meta("pypi:project-status-reason", reason));
        }
    }
    html_head(&mut out, page.api(), &format!("Links for {name}"), &head);
    for file in &page.files {
        link(&mut out, file);
    }
    out.push_str(HTML_END);
    out.into_bytes()
}

/// What ends every page in HTML.
pub(super) const HTML_END: &str = "</body>\n</html>\n";

fn meta(name: &str, content: &str) -> String {
    format!("<meta name=\"{name}\" content=\"{}\">\n", escaped(content))
}

/// What begins every page in HTML; title and head are escaped already.
fn html_head(out: &mut String, api: &str, title: &str, head: &str) {
    let api = meta("pypi:repository-version", api);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n{api}{head}\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
}

fn link(out: &mut String, file: &PageFile<'_>) {
    let url = escaped(&file.url);
    let fragment = file.sha256.as_ref().map(|sha256| format!("#sha256={sha256}"));
    let _ = write!(out, "<a href=\"{url}{}\"", fragment.unwrap_or_default());
    let mut attribute = |name: &str, value: &str| {
        let _ = write!(out, " {name}=\"{}\"", escaped(value));
    };
    if let Some(specifier) = &file.requires_python {
        attribute("data-requires-python", specifier);
    }
    if let Some(reason) = &file.yanked {
        attribute("data-yanked", reason);
    }
    let metadata = match &file.core_metadata {
        CoreMetadata::No => None,
        CoreMetadata::Yes => Some("true".to_owned()),
        CoreMetadata::Sha256(sha256) => Some(format!("sha256={sha256}")),
    };
    if let Some(metadata) = metadata {
        // The second is how the first was misspelt once; old clients read it alone.
        attribute("data-core-metadata", &metadata);
        attribute("data-dist-info-metadata", &metadata);
    }
    if let Some(provenance) = &file.provenance {
        attribute("data-provenance", provenance);
    }
    if let Some(signed) = file.gpg_sig {
        attribute("data-gpg-sig", if signed { "true" } else { "false" });
    }
    for (name, value) in &file.more {
        attribute(&format!("data-{name}"), value);
    }
    let _ = writeln!(out, ">{}</a><br>", escaped(&file.filename));
}

/// The page in JSON.
pub(super) fn json(page: &Page<'_>) -> Vec<u8> {
    let files: Vec<Value> = page.files.iter().map(file_json).collect();
    let mut document = json!({
        "meta": { "api-version": page.api() },
        "name": page.name,
        "versions": page.versions(),
        "files": files,
    });
    if let Some((state, reason)) = &page.status {
        let mut status = json!({ "status": state });
        if let Some(reason) = reason {
            status["reason"] = json!(reason);
        }
        document["project-status"] = status;
    }
    document.to_string().into_bytes()
}

fn file_json(file: &PageFile<'_>) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("filename", json!(file.filename));
    put("url", json!(file.url));
    let sha256 = file.sha256.as_ref().map(|sha256| ("sha256".to_owned(), json!(sha256)));
    put("hashes", Value::Object(sha256.into_iter().collect()));
    if let Some(specifier) = &file.requires_python {
        put("requires-python", json!(specifier));
    }
    if let Some(size) = file.size {
        put("size", json!(size));
    }
    if let Some(time) = &file.upload_time {
        put("upload-time", json!(time));
    }
    put(
        "yanked",
        match &file.yanked {
            None => json!(false),
            Some(reason) if reason.is_empty() => json!(true),
            Some(reason) => json!(reason),
        },
    );
    let metadata = match &file.core_metadata {
        CoreMetadata::No => json!(false),
        CoreMetadata::Yes => json!(true),
        CoreMetadata::Sha256(sha256) => json!({ "sha256": sha256 }),
    };
    put("core-metadata", metadata.clone());
    put("dist-info-metadata", metadata);
    if let Some(provenance) = &file.provenance {
        put("provenance", json!(provenance));
    }
    if let Some(signed) = file.gpg_sig {
        put("gpg-sig", json!(signed));
    }
    for (name, value) in &file.more {
        put(&format!("{FROM_HTML}{name}"), json!(value));
    }
    Value::Object(out)
}

/// The page of all projects, piece by piece: its beginning, one project, its end.
pub(super) mod list {
    use super::{API, HTML_END, escaped, html_head, json};

    /// Before the first project.
    pub(in super::super) fn begin(in_json: bool) -> String {
        if in_json {
            return format!("{{\"meta\":{{\"api-version\":\"{API}\"}},\"projects\":[");
        }
        let mut out = String::new();
        html_head(&mut out, API, "Simple index", "");
        out
    }

    /// One project; in JSON all but the first have a comma before them.
    pub(in super::super) fn project(in_json: bool, first: bool, name: &str) -> String {
        if !in_json {
            let name = escaped(name);
            return format!("<a href=\"{name}/\">{name}</a><br>\n");
        }
        format!("{}{}", if first { "" } else { "," }, json!({ "name": name }))
    }

    /// After the last.
    pub(in super::super) const fn end(in_json: bool) -> &'static str {
        if in_json { "]}" } else { HTML_END }
    }
}

/// Text for HTML, in an element and in an attribute between double quotes.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}
