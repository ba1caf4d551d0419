//! What clients print of their settings, and files that are no settings: requirements and `.netrc`.
//!
//! Source: the output of `pip config debug` and of the clients' help; pip's documentation of files
//! of requirements; the manual page of netrc.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::pip::BESIDE;
use crate::formats::{Answer, Settings};

/// What pip reads, the weakest first.
const LEVELS: [&str; 5] = ["global", "user", "site", "env", "env_var"];

/// A value that pip told: its level, its section, its key, and what it is.
struct Told {
    level: usize,
    section: String,
    key: String,
    value: String,
}

/// What `pip config debug` prints: levels, their files, and what each says.
pub(super) fn pip(text: &str) -> Answer {
    let mut answer = Answer::default();
    let mut told = Vec::new();
    let mut level = "";
    let mut user = None;
    for line in text.lines() {
        let bare = line.trim();
        if let Some(name) = bare.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            level = LEVELS.into_iter().find(|known| *known == name).unwrap_or_default();
        } else if let Some((file, exists)) = bare.rsplit_once(", exists: ") {
            let file = PathBuf::from(file);
            match level {
                // The last one is the strongest; the named one outranks it.
                "user" if user.is_none() || exists == "True" || last(&user) => {
                    let former = user.replace((file, exists == "True"));
                    answer.files.extend(former.map(|(file, _)| file));
                }
                "env" if !super::is_nothing(&file) => answer.user_file = Some(file),
                _ => answer.files.push(file),
            }
        } else {
            told.extend(value(level, bare));
        }
    }
    answer.user_file = answer.user_file.or(user.map(|(file, _)| file));
    let of = |sections: &[&str]| {
        let fits = |one: &&Told| one.key == "index-url" && sections.contains(&one.section.as_str());
        let best = told.iter().filter(fits).max_by_key(|one| one.level);
        best.map(|one| (one.level, one.value.clone()))
    };
    // A variable outranks every file, and a command's own section the general one.
    let general = of(&["global", ""]);
    let own = of(&["install"]).filter(|_| general.as_ref().is_none_or(|(level, _)| *level < 4));
    answer.registry = own.or(general).map(|(_, url)| url);
    for one in told.iter().filter(|one| BESIDE.contains(&one.key.as_str())) {
        let name = match one.level {
            4 => format!("PIP_{}", one.key.to_uppercase().replace('-', "_")),
            _ => one.key.clone(),
        };
        let places = one.value.split_whitespace();
        answer.beside.extend(places.map(|place| (name.clone(), place.to_owned())));
    }
    answer
}

/// Whether the file that was found so far does not exist: then a later one is as good.
fn last(user: &Option<(PathBuf, bool)>) -> bool {
    user.as_ref().is_some_and(|(_, exists)| !exists)
}

/// `global.index-url: URL`, or `PIP_INDEX_URL='URL'` among the variables.
fn value(level: &str, bare: &str) -> Option<Told> {
    let rank = LEVELS.iter().position(|known| *known == level)?;
    if level == "env_var" {
        let (name, value) = bare.split_once('=')?;
        let key = name.strip_prefix("PIP_")?.to_lowercase().replace('_', "-");
        let quoted = ['\'', '"'].into_iter().find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
        let value = quoted.unwrap_or(value).to_owned();
        return Some(Told { level: rank, section: String::new(), key, value });
    }
    let (name, value) = bare.split_once(": ")?;
    let (section, key) = name.split_once('.')?;
    let key = key.to_lowercase().replace('_', "-");
    Some(Told { level: rank, section: section.to_owned(), key, value: value.trim().to_owned() })
}

/// The registry that the help of an installer names as its default.
pub(super) fn builtin(help: &str) -> Option<String> {
    let mut rest = help;
    while let Some(at) = rest.find("default") {
        rest = &rest[at + "default".len()..];
        let url = rest.trim_start_matches([':', ' ', '\t', '\r', '\n', '<']);
        if url.starts_with("https://") || url.starts_with("http://") {
            let end = url.find([')', '>', ']', ' ', '\n', '\r', ',']).unwrap_or(url.len());
            return Some(url[..end].to_owned());
        }
    }
    None
}

/// Places that a file of requirements names beside the settings.
pub(super) fn requirements(text: &str) -> Settings {
    const OPTIONS: [(&str, &str); 5] = [
        ("--index-url", "--index-url"),
        ("-i", "--index-url"),
        ("--extra-index-url", "--extra-index-url"),
        ("--find-links", "--find-links"),
        ("-f", "--find-links"),
    ];
    let mut beside = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let (option, place) = line.split_once(['=', ' ']).unwrap_or((line, ""));
        let known = OPTIONS.iter().find(|(known, _)| *known == option);
        let place = place.split_whitespace().next().unwrap_or_default();
        if let (Some((_, option)), false) = (known, place.is_empty()) {
            beside.push(((*option).to_owned(), place.to_owned()));
        }
    }
    Settings { beside, ..Settings::default() }
}

/// Users and passwords by host. Macros end the reading: what follows is not ours to guess.
pub(super) fn netrc(text: &str) -> Settings {
    let mut settings = Settings::default();
    let (mut host, mut login) = (None, None);
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = words.by_ref().flat_map(str::split_whitespace);
    while let Some(word) = words.next() {
        match word {
            "machine" => (host, login) = (words.next(), None),
            "default" => (host, login) = (None, None),
            "login" => login = words.next(),
            "account" => drop(words.next()),
            "password" => {
                let password = words.next();
                let (Some(host), Some(login), Some(password)) = (host, login, password) else {
                    continue;
                };
                let both = BASE64_STANDARD.encode(format!("{login}:{password}"));
                settings.credentials.insert(format!("//{host}/"), format!("Basic {both}"));
            }
            "macdef" => break,
            _ => {}
        }
    }
    settings
}
