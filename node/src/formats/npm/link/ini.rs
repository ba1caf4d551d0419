//! `.npmrc` and `.yarnrc`: lines of a key and its value, of which the last one counts.
//!
//! So the block stands at the end, or before the first `[section]`, whose keys are others. npm
//! itself rewrites `.npmrc` without comments when it sets a key: then the block's lines are found
//! by what they say.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::formats::{Settings, Variables, block};

pub(super) fn insert(text: &str, client: &str, lines: &[String]) -> Result<String, String> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            break;
        }
        at += line.len();
    }
    Ok(block::insert(text, at, client, lines))
}

pub(super) fn remove(text: &str, client: &str, lines: &[String], former: &str) -> Option<String> {
    block::remove(text, client).or_else(|| without_marks(text, lines, former))
}

/// Takes lines out that say exactly what the block said; a key that the former text had comes back
/// as its last line there.
fn without_marks(text: &str, lines: &[String], former: &str) -> Option<String> {
    if text.contains("# griot: ") {
        // Comments are still there, so whoever took the block out did it on purpose.
        return None;
    }
    let mut found = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.is_empty() || !lines.iter().any(|ours| same(ours, bare)) {
            out.push_str(line);
            continue;
        }
        found = true;
        let key = key_of(bare);
        if let Some(was) = former.lines().rev().find(|was| key_of(was.trim()) == key) {
            out.push_str(was.trim_end_matches('\r'));
            out.push_str(&line[line.trim_end_matches(['\r', '\n']).len()..]);
        }
    }
    found.then_some(out)
}

fn same(ours: &str, line: &str) -> bool {
    let parts = |text: &str| pair(text).map(|(key, value)| (key.to_owned(), value));
    ours == line || parts(ours).is_some_and(|parts_of| Some(parts_of) == parts(line))
}

fn key_of(line: &str) -> Option<&str> {
    pair(line).map(|(key, _)| key)
}

/// Key and value of a line of `.npmrc`.
fn pair(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';', '[']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
    Some((key.trim(), quoted.unwrap_or(value).to_owned()))
}

/// What an `.npmrc` says, sections left out.
pub(super) fn read(text: &str, variable: Variables<'_>) -> Settings {
    let mut settings = Settings::default();
    let mut users = Vec::new();
    let lines = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    for (key, value) in lines.filter_map(pair) {
        let value = expand(&value, variable);
        if key == "registry" {
            settings.registry = Some(value);
        } else if let Some(scope) = key.strip_suffix(":registry") {
            if scope.starts_with('@') {
                settings.scopes.insert(scope.to_owned(), value);
            }
        } else if let Some((place, kind)) = key.rsplit_once(':')
            && place.starts_with("//")
        {
            match kind {
                "_authToken" => {
                    settings.credentials.insert(place.to_owned(), format!("Bearer {value}"));
                }
                "_auth" => {
                    settings.credentials.insert(place.to_owned(), format!("Basic {value}"));
                }
                "username" | "_password" => {
                    users.push((place.to_owned(), kind == "username", value))
                }
                _ => {}
            }
        }
    }
    for (place, user) in users.iter().filter(|(_, is_name, _)| *is_name).map(|(p, _, u)| (p, u)) {
        let password = users.iter().rev().find(|(of, is_name, _)| of == place && !is_name);
        let password = password.and_then(|(_, _, word)| BASE64_STANDARD.decode(word).ok());
        let Some(Ok(password)) = password.map(String::from_utf8) else { continue };
        let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
        settings.credentials.entry(place.clone()).or_insert(format!("Basic {both}"));
    }
    settings
}

/// What a `.yarnrc` says: a key, a blank, and a value, each perhaps in quotes.
pub(super) fn read_yarnrc(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#'])) {
        let Some((key, rest)) = word(line) else { continue };
        let Some((value, _)) = word(rest.trim_start().trim_start_matches(':')) else { continue };
        if key == "registry" {
            settings.registry = Some(value);
        } else if let Some(scope) = key.strip_suffix(":registry")
            && scope.starts_with('@')
        {
            settings.scopes.insert(scope.to_owned(), value);
        } else if let Some(place) = key.strip_suffix(":_authToken")
            && place.starts_with("//")
        {
            settings.credentials.insert(place.to_owned(), format!("Bearer {value}"));
        }
    }
    settings
}

/// The first word of a line, in quotes or not, and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('"') {
        let (inside, after) = rest.split_once('"')?;
        return Some((inside.to_owned(), after));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// `${NAME}` by the environment; one that is not set stays as it is, as npm leaves it.
pub(super) fn expand(value: &str, variable: Variables<'_>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}').map(|end| at + end) else { break };
        out.push_str(&rest[..at]);
        let name = rest[at + 2..end].trim_end_matches('?');
        let name = name.split(":-").next().unwrap_or(name);
        match variable(name) {
            Some(found) => out.push_str(&found),
            None => out.push_str(&rest[at..=end]),
        }
        rest = &rest[end + 1..];
    }
    out + rest
}
