//! Python's side of the stub: wheels and sdists that a test makes, and their simple index.
//!
//! The index is `simple/` below the base URL: JSON and HTML by `Accept`, with `core-metadata` and
//! hashes; beside it is `pypi/`, the older JSON. Crippled it is a company's re-server: HTML alone,
//! no `core-metadata`. Where the files are follows `Switches::tarballs`.
//!
//! Source: formats/pypi.md; PEP 427, 503, 592, 658, 691, 700, 714.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::{Value, json};
use sha2::Digest as _;
use zip::write::SimpleFileOptions;

use super::documents::{Found, dates};
use super::packing::{hex, tarred};
use super::{Shared, State, Switches, Tarballs};

/// The media type of a page in JSON.
pub(crate) const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";
/// The media type of a page in HTML.
pub(crate) const SIMPLE_HTML: &str = "application/vnd.pypi.simple.v1+html";

/// The build backend of an sdist, in the sdist itself: installing it needs nothing else.
const BACKEND: &str = r#"import pathlib, shutil, zipfile

def _wheel(folder):
    root = pathlib.Path(__file__).parent
    name = (root / "WHEEL-NAME").read_text().strip()
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        for file in sorted((root / "wheel").rglob("*")):
            if file.is_file():
                wheel.write(file, file.relative_to(root / "wheel").as_posix())
    return name

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory)

def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
"#;
const PYPROJECT: &str = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\n\
                         backend-path = [\".\"]\n";

/// A wheel or an sdist in the making; methods chain.
#[derive(Debug, Clone)]
pub(crate) struct Distribution {
    name: String,
    version: String,
    /// The tags of a wheel; `None`: an sdist.
    tags: Option<String>,
    requires_python: Option<String>,
    requires: Vec<String>,
    /// More lines of METADATA.
    fields: Vec<String>,
    says: String,
    files: Vec<(String, Vec<u8>)>,
    yanked: Option<String>,
    /// What the page says of its sha256, where that is not the truth; empty: nothing.
    claimed: Option<String>,
}

impl Distribution {
    /// A wheel for every platform, with one module that has `SAYS = 'name-version'`.
    pub(crate) fn wheel(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            tags: Some("py3-none-any".to_owned()),
            requires_python: None,
            requires: Vec::new(),
            fields: Vec::new(),
            says: format!("{name}-{version}"),
            files: Vec::new(),
            yanked: None,
            claimed: None,
        }
    }

    /// A source archive that builds the same wheel, and needs nothing to build it.
    pub(crate) fn sdist(name: &str, version: &str) -> Self {
        Self { tags: None, ..Self::wheel(name, version) }
    }

    /// With other tags, such as `cp311-cp311-win_amd64`.
    pub(crate) fn tags(self, tags: &str) -> Self {
        Self { tags: Some(tags.to_owned()), ..self }
    }

    /// With one more dependency, such as `pad>=1`.
    pub(crate) fn requires(mut self, what: &str) -> Self {
        self.requires.push(what.to_owned());
        self
    }

    /// For these interpreters alone, such as `>=3.8`.
    pub(crate) fn requires_python(self, range: &str) -> Self {
        Self { requires_python: Some(range.to_owned()), ..self }
    }

    /// With one more line of METADATA, such as `Keywords: pad`.
    pub(crate) fn field(mut self, line: &str) -> Self {
        self.fields.push(line.to_owned());
        self
    }

    /// What the module's `SAYS` is.
    pub(crate) fn says(self, says: &str) -> Self {
        Self { says: says.to_owned(), ..self }
    }

    /// With one more file in the wheel.
    pub(crate) fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), bytes.into()));
        self
    }

    /// Yanked at the index from the start; the reason may be empty.
    pub(crate) fn yanked(self, why: &str) -> Self {
        Self { yanked: Some(why.to_owned()), ..self }
    }

    /// What the page claims of its sha256: another one, or nothing where it is empty.
    pub(crate) fn claims(self, sha256: &str) -> Self {
        Self { claimed: Some(sha256.to_owned()), ..self }
    }

    /// `acme_demo`: the name as file names and modules have it.
    pub(crate) fn stem(&self) -> String {
        normal(&self.name).replace('-', "_")
    }

    /// Its file's name.
    pub(crate) fn filename(&self) -> String {
        match &self.tags {
            Some(tags) => format!("{}-{}-{tags}.whl", self.stem(), self.version),
            None => format!("{}-{}.tar.gz", self.stem(), self.version),
        }
    }

    /// Its METADATA, or PKG-INFO.
    pub(crate) fn metadata(&self) -> String {
        let mut lines = vec![
            "Metadata-Version: 2.1".to_owned(),
            format!("Name: {}", self.name),
            format!("Version: {}", self.version),
            "Summary: made by a test".to_owned(),
            "License: MIT".to_owned(),
        ];
        lines.extend(self.requires_python.iter().map(|range| format!("Requires-Python: {range}")));
        lines.extend(self.requires.iter().map(|what| format!("Requires-Dist: {what}")));
        lines.extend(self.fields.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// Its bytes, the same at every call.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.tags {
            Some(_) => zipped(&self.wheel_files()),
            None => self.source(),
        }
    }

    /// What the wheel holds, RECORD at its end.
    fn wheel_files(&self) -> Vec<(String, Vec<u8>)> {
        let info = format!("{}-{}.dist-info", self.stem(), self.version);
        let module = format!("SAYS = {:?}\n", self.says);
        let tags = self.tags.as_deref().unwrap_or("py3-none-any");
        let wheel =
            format!("Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: {tags}\n");
        let mut files = vec![(format!("{}.py", self.stem()), module.into_bytes())];
        files.extend(self.files.iter().cloned());
        files.push((format!("{info}/METADATA"), self.metadata().into_bytes()));
        files.push((format!("{info}/WHEEL"), wheel.into_bytes()));
        let record: Vec<String> = files.iter().map(|(name, bytes)| recorded(name, bytes)).collect();
        let record = format!("{}\n{info}/RECORD,,\n", record.join("\n"));
        files.push((format!("{info}/RECORD"), record.into_bytes()));
        files
    }

    fn source(&self) -> Vec<u8> {
        let wheel = Self { tags: Some("py3-none-any".to_owned()), ..self.clone() };
        let mut files = vec![
            ("PKG-INFO".to_owned(), self.metadata().into_bytes()),
            ("pyproject.toml".to_owned(), PYPROJECT.into()),
            ("backend.py".to_owned(), BACKEND.into()),
            ("WHEEL-NAME".to_owned(), wheel.filename().into_bytes()),
        ];
        let inner = wheel.wheel_files();
        files.extend(inner.into_iter().map(|(name, bytes)| (format!("wheel/{name}"), bytes)));
        tarred(&format!("{}-{}", self.stem(), self.version), &files)
    }

    /// Writes it into a folder; where it is.
    pub(crate) fn write(&self, folder: &std::path::Path) -> std::path::PathBuf {
        let path = folder.join(self.filename());
        fs_err::write(&path, self.bytes()).expect("a file can be written in the test's folder");
        path
    }
}

/// A line of RECORD.
fn recorded(name: &str, bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = sha2::Sha256::digest(bytes);
    let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    format!("{name},sha256={digest},{}", bytes.len())
}

/// The same entries give the same bytes.
fn zipped(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (name, bytes) in files {
        archive.start_file(name.as_str(), options).expect("memory takes it all");
        archive.write_all(bytes).expect("memory takes it all");
    }
    archive.finish().expect("memory takes it all").into_inner()
}

/// Lower case, with one `-` for each run of `-`, `_` and `.`.
pub(super) fn normal(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

/// A file as the index keeps it.
#[derive(Debug)]
pub(super) struct Kept {
    about: Distribution,
    bytes: Vec<u8>,
    order: u64,
}

impl Kept {
    /// The how many-eth publish it is.
    pub(super) fn new(about: Distribution, order: u64) -> Self {
        Self { bytes: about.bytes(), about, order }
    }

    /// The project that it belongs to, in its normal form.
    pub(super) fn project(&self) -> String {
        normal(&self.about.name)
    }

    /// Its version as it is written.
    pub(super) fn version(&self) -> &str {
        &self.about.version
    }

    /// Yanks or, with `None`, unyanks it.
    pub(super) fn yank(&mut self, why: Option<&str>) {
        self.about.yanked = why.map(str::to_owned);
    }

    fn sha256(&self) -> Option<String> {
        let truth = || hex(&sha2::Sha256::digest(&self.bytes));
        let said = self.about.claimed.clone().unwrap_or_else(truth);
        (!said.is_empty()).then_some(said)
    }

    /// The hash of the METADATA that is served beside it: wheels only.
    fn metadata(&self, switches: &Switches) -> Option<String> {
        let served = self.about.tags.is_some() && switches.core_metadata && !switches.crippled;
        served.then(|| hex(&sha2::Sha256::digest(self.about.metadata().as_bytes())))
    }
}

/// The files of each project.
pub(super) type Projects = BTreeMap<String, Vec<Kept>>;

/// What is below `simple/`, `packages/` and, on the other port, `files/python/`.
pub(super) fn find(
    state: &State,
    (switches, shared): (&Switches, &Shared),
    path: &str,
    accept: &str,
) -> Option<Found> {
    if let Some(rest) = path.strip_prefix("simple/") {
        return page(state, (switches, shared), rest, accept);
    }
    if let Some(rest) = path.strip_prefix("pypi/").and_then(|rest| rest.strip_suffix("/json")) {
        return project_json(state, (switches, shared), rest);
    }
    let place = match &switches.tarballs {
        Tarballs::Usual => "packages".to_owned(),
        Tarballs::Folder(folder) => format!("{folder}/python"),
        Tarballs::OtherHost => "files/python".to_owned(),
    };
    let (project, file) = path.strip_prefix(&place)?.strip_prefix('/')?.split_once('/')?;
    let files = state.projects.get(project)?;
    if let Some(wheel) = file.strip_suffix(".metadata") {
        let kept = files.iter().find(|kept| kept.about.filename() == wheel)?;
        kept.metadata(switches)?;
        let body = kept.about.metadata().into_bytes();
        return Some(found("application/octet-stream", body, true, kept.order));
    }
    let kept = files.iter().find(|kept| kept.about.filename() == file)?;
    let mut body = kept.bytes.clone();
    if switches.wrong_bytes {
        body.reverse();
    }
    Some(found("application/octet-stream", body, true, kept.order))
}

const fn found(content_type: &'static str, body: Vec<u8>, file: bool, changed: u64) -> Found {
    Found { content_type, body, file, changed }
}

fn page(state: &State, around: (&Switches, &Shared), rest: &str, accept: &str) -> Option<Found> {
    let json = accept.contains(SIMPLE_JSON) && !around.0.crippled;
    let plain = if accept.contains(SIMPLE_HTML) && !around.0.crippled {
        SIMPLE_HTML
    } else {
        "text/html; charset=utf-8"
    };
    let kind = if json { SIMPLE_JSON } else { plain };
    if rest.is_empty() {
        let names: Vec<&String> = state.projects.keys().collect();
        let body = if json { list_json(&names) } else { list_html(&names) };
        return Some(found(kind, body, false, state.published));
    }
    let name = rest.strip_suffix('/')?;
    let files = state.projects.get(name)?;
    let changed = files.iter().map(|kept| kept.order).max().unwrap_or_default();
    let body = if json { page_json(name, files, around) } else { page_html(name, files, around) };
    Some(found(kind, body, false, changed))
}

/// `{name}` or `{name}/{version}`.
fn project_json(state: &State, around: (&Switches, &Shared), rest: &str) -> Option<Found> {
    let (name, version) = rest.split_once('/').map_or((rest, None), |(n, v)| (n, Some(v)));
    let files = state.projects.get(name).filter(|_| around.0.project_json && !around.0.crippled)?;
    let version = version.or_else(|| Some(files.last()?.version()))?;
    let of: Vec<&Kept> = files.iter().filter(|kept| kept.version() == version).collect();
    let about = &of.first()?.about;
    let yanked = of.iter().all(|kept| kept.about.yanked.is_some());
    let info = json!({
        "name": about.name, "version": version, "summary": "made by a test",
        "requires_python": about.requires_python,
        "requires_dist": (!about.requires.is_empty()).then_some(&about.requires),
        "yanked": yanked, "yanked_reason": about.yanked, "x-kept-by-the-stub": true,
    });
    let urls: Vec<Value> = of.iter().map(|kept| url_json(name, kept, around)).collect();
    let body = json!({ "info": info, "urls": urls, "last_serial": 17 }).to_string();
    Some(found("application/json", body.into_bytes(), false, of.first()?.order))
}

fn url_json(name: &str, kept: &Kept, around: (&Switches, &Shared)) -> Value {
    let url = url(name, kept, around);
    let absolute =
        url.strip_prefix("../..").map(|path| format!("http://{}{path}", around.1.address));
    json!({
        "filename": kept.about.filename(),
        "url": absolute.unwrap_or(url),
        "digests": { "sha256": kept.sha256(), "md5": "not looked at" },
        "size": kept.bytes.len(),
        "upload_time_iso_8601": dates(kept.order).0,
        "packagetype": if kept.about.tags.is_some() { "bdist_wheel" } else { "sdist" },
        "requires_python": kept.about.requires_python,
        "yanked": kept.about.yanked.is_some(),
        "yanked_reason": kept.about.yanked,
    })
}

fn list_json(names: &[&String]) -> Vec<u8> {
    let projects: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "meta": { "api-version": "1.1" }, "projects": projects }).to_string().into_bytes()
}

fn list_html(names: &[&String]) -> Vec<u8> {
    let line = |name: &&String| format!("<a href=\"{name}/\">{name}</a><br/>\n");
    let lines: String = names.iter().map(line).collect();
    format!("<!DOCTYPE html>\n<html><body>\n{lines}</body></html>\n").into_bytes()
}

fn page_json(name: &str, files: &[Kept], around: (&Switches, &Shared)) -> Vec<u8> {
    let file = |kept: &Kept| {
        let mut hashes = json!({});
        if let Some(sha256) = kept.sha256() {
            hashes["sha256"] = json!(sha256);
        }
        let metadata = kept.metadata(around.0).map(|sha256| json!({ "sha256": sha256 }));
        let yanked = kept.about.yanked.as_ref().map(|why| match why.as_str() {
            "" => json!(true),
            why => json!(why),
        });
        json!({
            "filename": kept.about.filename(),
            "url": url(name, kept, around),
            "hashes": hashes,
            "requires-python": kept.about.requires_python,
            "size": kept.bytes.len(),
            "upload-time": dates(kept.order).0,
            "yanked": yanked.unwrap_or(json!(false)),
            "core-metadata": metadata.clone().unwrap_or(json!(false)),
            "data-dist-info-metadata": metadata.unwrap_or(json!(false)),
            "x-kept-by-the-stub": true,
        })
    };
    let mut versions: Vec<&str> = Vec::new();
    for kept in files {
        if !versions.contains(&kept.version()) {
            versions.push(kept.version());
        }
    }
    let files: Vec<Value> = files.iter().map(file).collect();
    let meta = json!({ "api-version": "1.1", "_last-serial": 17 });
    json!({ "meta": meta, "name": name, "versions": versions, "files": files })
        .to_string()
        .into_bytes()
}

fn page_html(name: &str, files: &[Kept], around: (&Switches, &Shared)) -> Vec<u8> {
    let line = |kept: &Kept| {
        let hash = kept.sha256().map(|sha256| format!("#sha256={sha256}")).unwrap_or_default();
        let mut more = String::new();
        if let Some(range) = &kept.about.requires_python {
            more.push_str(&format!(" data-requires-python=\"{}\"", escaped(range)));
        }
        if let Some(sha256) = kept.metadata(around.0) {
            more.push_str(&format!(" data-core-metadata=\"sha256={sha256}\""));
            more.push_str(&format!(" data-dist-info-metadata=\"sha256={sha256}\""));
        }
        if let Some(why) = &kept.about.yanked {
            more.push_str(&format!(" data-yanked=\"{}\"", escaped(why)));
        }
        let (url, file) = (url(name, kept, around), kept.about.filename());
        format!("<a href=\"{url}{hash}\"{more}>{file}</a><br/>\n")
    };
    let lines: String = files.iter().map(line).collect();
    let head = "<meta name=\"pypi:repository-version\" content=\"1.0\">";
    format!(
        "<!DOCTYPE html>\n<html><head>{head}<title>Links for {name}</title></head>\n\
         <body>\n{lines}</body></html>\n"
    )
    .into_bytes()
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

fn url(name: &str, kept: &Kept, (switches, shared): (&Switches, &Shared)) -> String {
    let file = kept.about.filename().replace('+', "%2B");
    match &switches.tarballs {
        Tarballs::Usual => format!("../../packages/{name}/{file}"),
        Tarballs::Folder(folder) => {
            format!("http://{}/{folder}/python/{name}/{file}", shared.address)
        }
        Tarballs::OtherHost => format!("http://{}/files/python/{name}/{file}", shared.other),
    }
}
