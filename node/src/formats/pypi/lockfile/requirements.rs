//! `requirements.txt` whose requirements are pinned: `name==version --hash=sha256:…`.
//!
//! It names no files: the checksums say which files of the version are meant, by the page of the
//! project; without checksums all are. Files that it includes are not read here, but named.
//!
//! Source: pip's documentation, "Requirements File Format" and "Secure installs".

use super::{List, integrity};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// A line with those that it goes on in.
struct Line {
    number: usize,
    text: String,
}

/// Whether the text is such a file: every requirement of the first few is pinned.
pub(super) fn is(text: &str) -> bool {
    let lines = lines(text).into_iter().filter(|line| !line.text.starts_with('-')).take(8);
    let mut some = false;
    for line in lines {
        match requirement(&line) {
            Ok(Some(_)) => some = true,
            Ok(None) => {}
            Err(_) => return false,
        }
    }
    some
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let mut list = List::default();
    for line in lines(text) {
        if let Some(locked) = requirement(&line)? {
            list.add(locked);
        }
    }
    Ok(list.into_vec())
}

/// Files that it includes, and places that it names.
pub(super) fn notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for line in lines(text).iter().filter(|line| line.text.starts_with('-')) {
        let (option, value) = option(&line.text);
        match option {
            "-r" | "--requirement" | "-c" | "--constraint" => notes.push(format!(
                "line {}: it includes {value:.200}, which is not read here: \
                 griot prefetch {value:.200}",
                line.number
            )),
            "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" => {
                notes.push(format!(
                    "line {}: {option} names a place that pip asks past every setting",
                    line.number
                ));
            }
            _ => {}
        }
    }
    notes
}

/// Lines without comments, joined where one goes on.
fn lines(text: &str) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let bare = line.trim();
        // A comment ends what goes on, as pip has it.
        let plain = if bare.starts_with('#') { "" } else { comment_off(bare) };
        let (plain, more) = plain.strip_suffix('\\').map_or((plain, false), |rest| (rest, true));
        match all.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(plain.trim());
            }
            None if plain.is_empty() => {}
            None => all.push(Line { number: index + 1, text: plain.trim().to_owned() }),
        }
        goes_on = more;
    }
    all
}

fn comment_off(line: &str) -> &str {
    line.split(" #").next().unwrap_or(line).split("\t#").next().unwrap_or(line).trim_end()
}

fn option(line: &str) -> (&str, &str) {
    let (option, value) = line.split_once(['=', ' ']).unwrap_or((line, ""));
    (option, value.trim())
}

/// What a line locks; none for an option, and for a folder of the project.
fn requirement(line: &Line) -> Result<Option<Locked>, LockError> {
    let bad = |why: String| LockError::at(line.number, why);
    if line.text.starts_with('-') {
        let (option, value) = option(&line.text);
        let own = matches!(option, "-e" | "--editable") && !value.contains("://");
        let elsewhere = matches!(option, "-e" | "--editable") && !own;
        return Ok(elsewhere.then(|| from_elsewhere(value, value)));
    }
    let (spec, options) = split_options(&line.text);
    if let Some((name, url)) = spec.split_once('@').filter(|(_, url)| is_place(url.trim())) {
        return Ok(Some(from_elsewhere(name.trim(), url.trim())));
    }
    if is_place(spec) {
        let folder = !spec.contains("://") && !is_archive(spec);
        return Ok((!folder).then(|| from_elsewhere(spec, spec)));
    }
    let spec = spec.split(';').next().unwrap_or_default().trim();
    let unpinned =
        || bad(format!("{spec:.100?} is not pinned: a lockfile says name==version for each"));
    let (name, version) = spec.split_once("==").ok_or_else(unpinned)?;
    let version = version.trim_start_matches('=').trim();
    let name = name.split('[').next().unwrap_or_default().trim_end_matches(['(', ' ']).trim();
    let version = version.trim_end_matches(')').trim();
    let plain = |text: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+!".contains(c);
        !text.is_empty() && text.chars().all(fits)
    };
    if !plain(name) || !plain(version) {
        return Err(unpinned());
    }
    let mut sums = Vec::new();
    for hash in hashes(options) {
        sums.push(integrity(hash).map_err(&bad)?);
    }
    Ok(Some(Locked {
        name: name.to_owned(),
        version: version.to_owned(),
        integrity: (!sums.is_empty()).then(|| sums.join(" ")),
        ..Locked::default()
    }))
}

/// The requirement, and the options behind it.
fn split_options(text: &str) -> (&str, &str) {
    let at = text.find(" --").or_else(|| text.find("\t--"));
    at.map_or((text, ""), |at| (text[..at].trim(), &text[at..]))
}

fn hashes(options: &str) -> impl Iterator<Item = &str> {
    let mut words = options.split_whitespace();
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            if let Some(hash) = word.strip_prefix("--hash=") {
                return Some(hash);
            }
            if word == "--hash" {
                return words.next();
            }
        }
    })
}

/// Whether it is a URL or a path, and no name.
fn is_place(text: &str) -> bool {
    text.contains("://")
        || ["./", "../", "/", "file:"].iter().any(|start| text.starts_with(start))
        || text == "."
        || is_archive(text)
}

fn is_archive(text: &str) -> bool {
    let plain = text.split(['#', '?', ';']).next().unwrap_or_default().trim();
    [".whl", ".tar.gz", ".zip"].iter().any(|end| plain.ends_with(end))
}

fn from_elsewhere(name: &str, place: &str) -> Locked {
    let from = if ["git+", "hg+", "svn+", "bzr+"].iter().any(|start| place.starts_with(start)) {
        LockedFrom::Git
    } else if place.starts_with("http://") || place.starts_with("https://") {
        LockedFrom::Url
    } else {
        LockedFrom::File
    };
    let name = name.split('[').next().unwrap_or_default().trim();
    Locked { name: name.to_owned(), url: Some(place.to_owned()), from, ..Locked::default() }
}
