//! `.yarnrc.yml`: keys at the left margin. The file is spliced, never written anew.
//!
//! A key that the block has, too, is put out of force: a key twice is no YAML. Hosts that plain
//! HTTP was allowed for stay allowed. What comes out is read again and compared: the other keys
//! must say what they said.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, Yaml};

use super::ini;
use crate::formats::{Aim, Settings, Variables, block};

const CLIENT: &str = "berry";
const SERVER: &str = "npmRegistryServer";
const PLAIN: &str = "unsafeHttpWhitelist";
const TOKEN: &str = "npmAuthToken";
const BY_HAND: &str = "the file is not plain enough to be changed by a program";

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let before = keys(text)?;
    let host = host_of(&aim.registry);
    let mut allowed = before.get(PLAIN).map(|hosts| strings(hosts)).unwrap_or_default();
    if !allowed.contains(&host) {
        allowed.push(host);
    }
    let allowed: Vec<String> = allowed.iter().map(|host| format!("{host:?}")).collect();
    let mut lines =
        vec![format!("{SERVER}: {:?}", aim.registry), format!("{PLAIN}: [{}]", allowed.join(", "))];
    lines.extend(aim.token.as_ref().map(|token| format!("{TOKEN}: {token:?}")));
    let ours: Vec<&str> = lines.iter().filter_map(|line| line.split(':').next()).collect();
    let mut out = text.to_owned();
    for key in &ours {
        if before.contains_key(*key) {
            let lines = lines_of(&out, key).ok_or(BY_HAND)?;
            out = block::put_out(&out, CLIENT, lines);
        }
    }
    let at = end_of_document(&out);
    let out = block::insert(&out, at, CLIENT, &lines);
    if says(&out, aim, before, &ours)? { Ok(out) } else { Err(BY_HAND.to_owned()) }
}

/// Whether the text points at the node, and says of all other keys what they said before.
fn says(
    text: &str,
    aim: &Aim,
    mut before: BTreeMap<String, Yaml<'_>>,
    ours: &[&str],
) -> Result<bool, String> {
    let mut after = keys(text)?;
    let server = after.get(SERVER).and_then(Yaml::as_str);
    let points = server == Some(aim.registry.as_str());
    before.retain(|key, _| !ours.contains(&key.as_str()));
    after.retain(|key, _| !ours.contains(&key.as_str()));
    let same = before.len() == after.len()
        && before.iter().all(|(key, value)| after.get(key).is_some_and(|now| now == value));
    Ok(points && same)
}

pub(super) fn remove(text: &str) -> Option<String> {
    block::remove(text, CLIENT)
}

/// The top of the document: empty for an empty file.
fn keys(text: &str) -> Result<BTreeMap<String, Yaml<'_>>, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| format!("it is no YAML: {error}"))?;
    let mut documents = documents.into_iter();
    let top = match (documents.next(), documents.next()) {
        (None, _) => return Ok(BTreeMap::new()),
        (Some(top), None) => top,
        _ => return Err(BY_HAND.to_owned()),
    };
    if top.is_null() {
        return Ok(BTreeMap::new());
    }
    let Yaml::Mapping(mapping) = top else { return Err(BY_HAND.to_owned()) };
    let named = |(key, value): (Yaml<'_>, _)| key.as_str().map(|key| (key.to_owned(), value));
    Ok(mapping.into_iter().filter_map(named).collect())
}

fn strings(list: &Yaml<'_>) -> Vec<String> {
    match list {
        Yaml::Sequence(items) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        one => one.as_str().map(str::to_owned).into_iter().collect(),
    }
}

/// The lines of a key at the left margin, with its value.
fn lines_of(text: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let mut start = None;
    let mut end = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inside = line.starts_with([' ', '\t', '-', ']', '}']);
        let blank = line.trim().is_empty() || line.starts_with('#');
        match start {
            None if names(line, key) => (start, end) = (Some(at), at + line.len()),
            Some(_) if inside && !blank => end = at + line.len(),
            Some(_) if !blank => break,
            _ => {}
        }
        at += line.len();
    }
    start.map(|start| start..end)
}

fn names(line: &str, key: &str) -> bool {
    let quoted = line.strip_prefix(['"', '\'']);
    let rest = quoted.unwrap_or(line).strip_prefix(key);
    let rest =
        rest.map(|rest| if quoted.is_some() { rest.trim_start_matches(['"', '\'']) } else { rest });
    rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// Where a line can be added at the left margin: before the mark that ends the document.
fn end_of_document(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "..." {
            return at;
        }
        at += line.len();
    }
    at
}

fn host_of(registry: &str) -> String {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}

pub(super) fn read(text: &str, variable: Variables<'_>) -> Result<Settings, String> {
    let all = keys(text)?;
    let value = |yaml: Option<&Yaml<'_>>| yaml?.as_str().map(|text| ini::expand(text, variable));
    let mut settings = Settings { registry: value(all.get(SERVER)), ..Settings::default() };
    if let (Some(registry), Some(token)) = (&settings.registry, value(all.get(TOKEN))) {
        let place = super::keyed(registry).to_owned();
        settings.credentials.insert(place, format!("Bearer {token}"));
    }
    for (scope, of) in entries(all.get("npmScopes")) {
        let Some(url) = value(of.as_mapping_get(SERVER)) else { continue };
        if let Some(token) = value(of.as_mapping_get(TOKEN)) {
            let place = super::keyed(&url).to_owned();
            settings.credentials.insert(place, format!("Bearer {token}"));
        }
        settings.scopes.insert(format!("@{scope}"), url);
    }
    for (place, of) in entries(all.get("npmRegistries")) {
        if let Some(token) = value(of.as_mapping_get(TOKEN)) {
            let place = place.find("//").map_or(place.as_str(), |at| &place[at..]);
            settings.credentials.insert(place.to_owned(), format!("Bearer {token}"));
        }
    }
    Ok(settings)
}

fn entries<'a>(yaml: Option<&'a Yaml<'a>>) -> Vec<(String, &'a Yaml<'a>)> {
    let Some(Yaml::Mapping(mapping)) = yaml else { return Vec::new() };
    let named = mapping.iter().filter_map(|(key, of)| Some((key.as_str()?.to_owned(), of)));
    named.collect()
}
