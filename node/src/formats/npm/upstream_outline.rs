//! An upstream's packument in one pass: what resolving needs, and where in the bytes it stands.
//!
//! Both come out of the same walk, so that what is decided (the outline) and what is rendered (the
//! table of spans) cannot contradict each other. The last of several equal keys counts, as in
//! `JSON.parse`; names such as `__proto__` are ordinary keys. Versions that are no semantic
//! versions stay in the document and are left out of the outline. What the document says of a
//! version is kept only as far as it is used; the sum of that is bounded.
//!
//! Does not judge: everything in here is the upstream's word.
//!
//! Source: formats/npm.md section 1; npm's `package-metadata.md`.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;

use super::dist::Dist;
use super::metadata::INSTALL_FIELDS;
use super::spans::{Entry, List, Table, Time};
use super::{name, version};
use crate::formats::json::{Error, Json, Key};
use crate::formats::splice::Span;
use crate::registry::{Outline, OutlineVersion};

/// The largest document that is read.
pub(super) const DOCUMENT_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Versions and tags, each.
const ENTRIES_MAX: usize = 65_536;
/// What is kept of one document, in all.
const KEPT_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Anything that is kept of one version.
pub(super) const TEXT_MAX_BYTES: usize = 4096;
/// Members of an abbreviated document, and `time`, which some upstreams add to it.
const SHORT_MEMBERS: [&str; 5] = ["name", "modified", "dist-tags", "versions", "time"];
const INSTALL_SCRIPTS: [&str; 3] = ["preinstall", "install", "postinstall"];

/// What resolving and fetching need of a document of either form.
pub(super) fn outline(_: &str, input: &mut dyn BufRead) -> Result<Outline, String> {
    scan(input).map(|(outline, _)| outline)
}

/// The outline together with the places.
pub(super) fn scan(input: &mut dyn BufRead) -> Result<(Outline, Table), String> {
    let mut json = Json::new(input);
    let mut reader = Reader::default();
    let read = json.object(&mut |json, key| reader.member(json, key)).and_then(|()| json.end());
    read.map_err(|error| format!("the packument cannot be used: {error}"))?;
    reader.table.size = json.at();
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    name: String,
    tags: BTreeMap<String, String>,
    versions: Vec<OutlineVersion>,
    /// Normal version → its place in `versions`.
    places: BTreeMap<String, usize>,
    table: Table,
    kept: usize,
}

/// What is read of one version beside its key.
#[derive(Default)]
struct Said {
    deprecated: Option<String>,
    dist: Dist,
    fields: Vec<Span>,
    /// Whether the member before was one of `fields`.
    adjacent: bool,
    runs_scripts: bool,
    says_scripts: bool,
}

impl Reader {
    fn member(&mut self, json: &mut Json<'_>, key: Key) -> Result<(), Error> {
        let first = json.peek()?;
        let start = json.at();
        self.table.first.get_or_insert(span(key.at..key.at)?);
        self.table.full |= !SHORT_MEMBERS.contains(&key.text.as_str());
        self.forget(&key.text);
        match (key.text.as_str(), first) {
            ("name", b'"') => {
                self.name = json.text(TEXT_MAX_BYTES)?.unwrap_or_default();
                self.table.name = Some(span(start..json.at())?);
            }
            ("modified", b'"') => self.table.modified = Some(span(json.skip()?)?),
            ("dist-tags", b'{') => {
                json.object(&mut |json, key| self.tag(json, key))?;
                self.table.tags = Some(span(start..json.at())?);
            }
            ("versions", b'{') => {
                json.object(&mut |json, key| self.version(json, &key))?;
                self.table.versions.place = Some(span(start..json.at())?);
            }
            ("time", b'{') => {
                json.object(&mut |json, key| self.time(json, &key))?;
                self.table.times.place = Some(span(start..json.at())?);
            }
            _ => json.pass()?,
        }
        Ok(())
    }

    /// An earlier member of the same name does not count.
    fn forget(&mut self, member: &str) {
        match member {
            "name" => (self.name, self.table.name) = (String::new(), None),
            "modified" => self.table.modified = None,
            "dist-tags" => (self.tags, self.table.tags) = (BTreeMap::new(), None),
            "versions" => {
                self.versions.clear();
                self.places.clear();
                self.table.fields.clear();
                self.table.versions = List::default();
            }
            "time" => (self.table.times, self.table.time_modified) = (List::default(), None),
            _ => {}
        }
    }

    fn tag(&mut self, json: &mut Json<'_>, key: Key) -> Result<(), Error> {
        if json.peek()? != b'"' {
            json.skip()?;
            self.tags.remove(&key.text);
            return Ok(());
        }
        let target = json.text(TEXT_MAX_BYTES)?.unwrap_or_default();
        match version::canonical(&target) {
            Ok(target) => {
                self.keep(self.tags.len(), key.text.len() + target.len())?;
                self.tags.insert(key.text, target);
            }
            Err(_) => drop(self.tags.remove(&key.text)),
        }
        Ok(())
    }

    fn time(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        let value = json.skip()?;
        if key.text == "modified" {
            self.table.time_modified = Some(span(value.clone())?);
        }
        self.keep(self.table.times.entries.len(), key.text.len())?;
        let member = span(key.at..value.end)?;
        let normal = version::canonical(&key.text).ok().map(String::into_boxed_str);
        self.table.times.entries.push(Time { normal, member });
        Ok(())
    }

    fn version(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        self.keep(self.table.versions.entries.len(), 2 * key.text.len())?;
        let is_object = json.peek()? == b'{';
        let start = json.at();
        let mut said = Said::default();
        if is_object {
            json.object(&mut |json, field| said.field(json, &field))?;
        } else {
            json.skip()?;
        }
        let value = start..json.at();
        let normal = version::canonical(&key.text).ok().filter(|_| is_object);
        let fields = self.table.add_fields(&said.fields);
        let tarball = said.dist.tarball.clone();
        self.table.versions.entries.push(Entry {
            written: key.text.clone().into_boxed_str(),
            normal: normal.clone().map(String::into_boxed_str),
            member: span(key.at..value.end)?,
            value: span(value.clone())?,
            tarball: tarball.map(|(url, place)| (url.into_boxed_str(), place)),
            fields: fields.filter(|_| is_object),
            adds_scripts: said.runs_scripts && !said.says_scripts,
        });
        match normal {
            Some(normal) => {
                self.keep(0, said.size())?;
                self.outlined(normal, key, said, value);
            }
            // A later value of another type takes the place of an object.
            None => self.unlisted(&key.text),
        }
        Ok(())
    }

    /// The last of equal keys wins; of several spellings of one version the normal one does.
    fn outlined(&mut self, normal: String, key: &Key, said: Said, declared: Range<u64>) {
        let made = OutlineVersion {
            version: normal.clone(),
            written: key.text.clone(),
            yanked: said.deprecated,
            files: said.dist.tarball.iter().filter_map(|(url, _)| said.dist.file(url)).collect(),
            signatures: said.dist.signatures,
            declared,
        };
        match self.places.get(&normal) {
            Some(place) if self.versions[*place].written == normal && made.written != normal => {}
            Some(place) => self.versions[*place] = made,
            None => {
                self.places.insert(normal, self.versions.len());
                self.versions.push(made);
            }
        }
    }

    /// Rare, and only for a key that stands there twice.
    fn unlisted(&mut self, written: &str) {
        let Some(place) = version::canonical(written).ok().and_then(|v| self.places.remove(&v))
        else {
            return;
        };
        if self.versions[place].written == written {
            self.versions[place].version.clear();
        } else {
            self.places.insert(self.versions[place].version.clone(), place);
        }
    }

    /// Counts what is kept.
    fn keep(&mut self, entries: usize, bytes: usize) -> Result<(), Error> {
        if entries >= ENTRIES_MAX {
            return Err(Error::Refused("it has more versions, times or tags than are read"));
        }
        self.kept += bytes;
        if self.kept > KEPT_MAX_BYTES {
            return Err(Error::Refused("what it says of its versions is longer than is kept"));
        }
        Ok(())
    }

    fn finish(mut self) -> (Outline, Table) {
        self.versions.retain(|version| !version.version.is_empty());
        // The file's name needs the package's, which may stand behind the versions.
        for version in &mut self.versions {
            for file in &mut version.files {
                file.file = name::file_name(&self.name, &version.version);
            }
        }
        self.table.written = self.name.clone().into_boxed_str();
        self.table.versions.entries.shrink_to_fit();
        self.table.times.entries.shrink_to_fit();
        self.table.fields.shrink_to_fit();
        (Outline { name: self.name, tags: self.tags, versions: self.versions }, self.table)
    }
}

impl Said {
    fn field(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        match (key.text.as_str(), json.peek()?) {
            ("deprecated", _) => self.deprecated = deprecated(json)?,
            ("dist", first) => {
                self.dist = Dist::default();
                if first == b'{' {
                    json.object(&mut |json, key| self.dist.field(json, &key))?;
                } else {
                    json.skip()?;
                }
            }
            ("scripts", b'{') => {
                self.runs_scripts = false;
                json.object(&mut |json, key| {
                    self.runs_scripts |= INSTALL_SCRIPTS.contains(&key.text.as_str());
                    json.pass()
                })?;
            }
            _ => json.pass()?,
        }
        self.says_scripts |= key.text == "hasInstallScript";
        let kept = INSTALL_FIELDS.contains(&key.text.as_str());
        if kept {
            let place = span(key.at..json.at())?;
            match self.fields.last_mut().filter(|_| self.adjacent) {
                Some(run) => run.end = place.end,
                None => self.fields.push(place),
            }
        }
        self.adjacent = kept;
        Ok(())
    }

    fn size(&self) -> usize {
        let signatures = self.dist.signatures.iter().map(|(id, sig)| id.len() + sig.len());
        let url = self.dist.tarball.as_ref().map_or(0, |(url, _)| url.len());
        256 + 2 * url + self.deprecated.as_ref().map_or(0, String::len) + signatures.sum::<usize>()
    }
}

/// A text, or `true` from old clients; an empty text means that it is not deprecated.
fn deprecated(json: &mut Json<'_>) -> Result<Option<String>, Error> {
    match json.peek()? {
        b'"' => {
            let reason = json.text(TEXT_MAX_BYTES)?;
            let reason = reason.unwrap_or_else(|| "deprecated, with a very long reason".to_owned());
            Ok(Some(reason).filter(|reason| !reason.is_empty()))
        }
        b't' => json.skip().map(|_| Some("deprecated".to_owned())),
        _ => json.skip().map(|_| None),
    }
}

pub(super) fn span(range: Range<u64>) -> Result<Span, Error> {
    let place = |at: u64| u32::try_from(at).map_err(|_| Error::Refused("it is larger than 4 GiB"));
    Ok(Span { start: place(range.start)?, end: place(range.end)? })
}
