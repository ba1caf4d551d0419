//! How npm, pnpm, both yarns and bun are pointed at the node, and back.
//!
//! Each has one file that is written: a marked block is added to it, taken out again, and nothing
//! else of it changes. `ini.rs` knows `.npmrc` and `.yarnrc`, `yaml.rs` `.yarnrc.yml`, `toml.rs`
//! `bunfig.toml`; the marks are `formats::block`'s. Nothing here touches a disk or runs a client.
//!
//! npm is always given `replace-registry-host=always`: without it, it fetches the tarballs of an
//! upstream past the node.
//!
//! Source: formats/npm.md sections 3 and 6, formats/README.md section 6.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::formats::{Aim, Answer, Link, ProjectFile, Settings, Variables, block};

mod ini;
#[cfg(test)]
mod tests;
mod toml;
mod yaml;

/// The clients of npm's registry.
pub(super) const LINKS: &[Link] = &[NPM, PNPM, YARN, BERRY, BUN];

const NPM: Link = Link {
    client: "npm",
    program: "npm",
    ask: &["config", "list", "--json"],
    answer: |text| object(serde_json::from_str(text).ok()),
    user_file: npmrc,
    project_files: &[ProjectFile::always(".npmrc")],
    variables: &["npm_config_registry", "NPM_CONFIG_REGISTRY"],
    read,
    insert: |text, aim| ini::insert(text, "npm", &npm_lines(aim)),
    remove: |text, aim, former| ini::remove(text, "npm", &npm_lines(aim), former),
    ..Link::PLAIN
};

const PNPM: Link = Link {
    client: "pnpm",
    program: "pnpm",
    insert: |text, aim| ini::insert(text, "pnpm", &npmrc_lines(aim)),
    remove: |text, aim, former| ini::remove(text, "pnpm", &npmrc_lines(aim), former),
    ..NPM
};

const YARN: Link = Link {
    client: "yarn",
    program: "yarn",
    speaks: |version| major(version) == Some(1),
    answer: yarn_answer,
    user_file: |variable| in_home(variable, ".yarnrc"),
    project_files: &[ProjectFile::always(".yarnrc")],
    also_reads: &[".npmrc"],
    variables: &["npm_config_registry", "NPM_CONFIG_REGISTRY", "YARN_REGISTRY"],
    insert: |text, aim| ini::insert(text, "yarn", &yarn_lines(aim)),
    remove: |text, aim, former| ini::remove(text, "yarn", &yarn_lines(aim), former),
    note: Some(
        "yarn 1 fetches what yarn.lock names from where yarn.lock says, past every setting: \
         griot run -- yarn install",
    ),
    ..NPM
};

const BERRY: Link = Link {
    client: "berry",
    program: "yarn",
    speaks: |version| major(version).is_some_and(|major| major >= 2),
    ask: &["config", "--json"],
    answer: berry_answer,
    user_file: |variable| in_home(variable, ".yarnrc.yml"),
    project_files: &[ProjectFile::always(".yarnrc.yml")],
    variables: &["YARN_NPM_REGISTRY_SERVER"],
    insert: yaml::insert,
    remove: |text, _, _| yaml::remove(text),
    also_reads: &[],
    note: Some(
        "yarn passes over releases of the last day or so (npmMinimalAgeGate), also over those of \
         your own realm; npmPreapprovedPackages names exceptions",
    ),
    ..NPM
};

const BUN: Link = Link {
    client: "bun",
    program: "bun",
    ask: &[],
    answer: |_| Answer::default(),
    user_file: |variable| match variable("XDG_CONFIG_HOME") {
        Some(folder) => Some(PathBuf::from(folder).join(".bunfig.toml")),
        None => in_home(variable, ".bunfig.toml"),
    },
    project_files: &[ProjectFile::always("bunfig.toml")],
    also_reads: &[".npmrc"],
    variables: &["BUN_CONFIG_REGISTRY", "NPM_CONFIG_REGISTRY", "npm_config_registry"],
    insert: toml::insert,
    remove: |text, _, _| block::remove(text, "bun"),
    ..NPM
};

fn npmrc(variable: Variables<'_>) -> Option<PathBuf> {
    let named = ["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"];
    let named = named.into_iter().find_map(variable).map(PathBuf::from);
    named.or_else(|| in_home(variable, ".npmrc"))
}

fn in_home(variable: Variables<'_>, name: &str) -> Option<PathBuf> {
    variable("HOME").map(|home| PathBuf::from(home).join(name))
}

fn major(version: &str) -> Option<u64> {
    version.trim().split('.').next()?.parse().ok()
}

fn read(file: &str, text: &str, variable: Variables<'_>) -> Result<Settings, String> {
    if file.ends_with(".yml") {
        yaml::read(text, variable)
    } else if file.ends_with(".toml") {
        toml::read(text, variable)
    } else if file.ends_with(".yarnrc") {
        Ok(ini::read_yarnrc(text))
    } else {
        Ok(ini::read(text, variable))
    }
}

/// The registry's URL as npm's keys have it: without its scheme.
fn keyed(registry: &str) -> &str {
    registry.split_once(':').map_or(registry, |(_, rest)| rest)
}

fn npmrc_lines(aim: &Aim) -> Vec<String> {
    let registry = &aim.registry;
    let mut lines = vec![format!("registry={registry}")];
    lines.extend(aim.scopes.iter().map(|scope| format!("{scope}:registry={registry}")));
    let token = aim.token.as_ref();
    lines.extend(token.map(|token| format!("{}:_authToken={token}", keyed(registry))));
    lines
}

fn npm_lines(aim: &Aim) -> Vec<String> {
    let mut lines = npmrc_lines(aim);
    lines.insert(1, "replace-registry-host=always".to_owned());
    lines
}

fn yarn_lines(aim: &Aim) -> Vec<String> {
    let registry = &aim.registry;
    let mut lines = vec![format!("registry {registry:?}")];
    lines.extend(aim.scopes.iter().map(|scope| format!("\"{scope}:registry\" {registry:?}")));
    let token = aim.token.as_ref();
    lines.extend(token.map(|token| format!("\"{}:_authToken\" {token:?}", keyed(registry))));
    lines
}

/// Settings as one JSON object of npm's keys.
fn object(value: Option<Value>) -> Answer {
    let Some(Value::Object(all)) = value else { return Answer::default() };
    let text = |key: &str| all.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut scopes = BTreeMap::new();
    for (key, value) in &all {
        if let (Some(scope), Some(url)) = (key.strip_suffix(":registry"), value.as_str())
            && scope.starts_with('@')
        {
            scopes.insert(scope.to_owned(), url.to_owned());
        }
    }
    Answer {
        registry: text("registry"),
        scopes,
        user_file: text("userconfig").map(PathBuf::from),
        files: text("globalconfig").map(PathBuf::from).into_iter().collect(),
        ..Answer::default()
    }
}

/// Two objects, a line each: yarn's own settings, then those of `.npmrc`, which it takes first.
fn yarn_answer(text: &str) -> Answer {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut inspected = lines.filter(|line| line["type"] == "inspect");
    let mut own = object(inspected.next().map(|mut line| line["data"].take()));
    let npm = object(inspected.next().map(|mut line| line["data"].take()));
    own.registry = npm.registry.or(own.registry);
    own.scopes.extend(npm.scopes);
    own
}

/// An object a setting, each on its line. Registries of scopes are not told.
fn berry_answer(text: &str) -> Answer {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut server = lines.filter(|line| line["key"] == "npmRegistryServer");
    let registry = server.next().and_then(|line| line["effective"].as_str().map(str::to_owned));
    Answer { registry, ..Answer::default() }
}
