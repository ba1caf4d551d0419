//! `.pypirc`: the servers that twine publishes to, by name. The node is added as one of them.
//!
//! Nothing else changes: what is published without `-r griot` goes where it went before, or a
//! private package would reach another registry by a slip, or the other way round.
//!
//! Source: packaging.python.org, "The .pypirc file".

use super::conf::{self, Section};
use super::{NAME, USER, legacy};
use crate::formats::Aim;

const CLIENT: &str = "twine";
const LIST: &str = "index-servers";
/// Sections that twine reads when the file lists none.
const UNLISTED: [&str; 2] = ["pypi", "testpypi"];

pub(super) fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let all = conf::entries(text);
    let listed = all.iter().find(|entry| entry.section == "distutils" && entry.key == LIST);
    let mut servers: Vec<String> = match listed {
        Some(entry) => {
            entry.value.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
        }
        None => UNLISTED.map(str::to_owned).into(),
    };
    servers.retain(|server| server != NAME);
    servers.push(NAME.to_owned());
    conf::insert(text, CLIENT, &sections(aim, servers), |entry| {
        entry.section == NAME || entry.section == "distutils" && entry.key == LIST
    })
}

pub(super) fn remove(text: &str, aim: &Aim, former: &str) -> Option<String> {
    // twine writes no file, so the list of servers is never needed.
    conf::remove(text, CLIENT, &sections(aim, Vec::new()), former)
}

fn sections(aim: &Aim, servers: Vec<String>) -> [Section; 2] {
    let mut keys = vec![("repository", vec![legacy(aim)]), ("username", vec![USER.to_owned()])];
    keys.extend(aim.token.iter().map(|token| ("password", vec![token.clone()])));
    [Section { name: "distutils", keys: vec![(LIST, servers)] }, Section { name: NAME, keys }]
}
