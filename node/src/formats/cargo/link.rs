//! How cargo is pointed at the node, and back: the source replacement is the upstream's door, what
//! is hosted is a registry of its own.
//!
//! A replacement must serve exactly the crates of what it replaces, so it never goes by the virtual
//! door. A marked block is added to `config.toml` and taken out again, and nothing else of it
//! changes: the places come from a parser of TOML, and what comes out is read again. Nothing here
//! touches a disk.
//!
//! cargo tells its settings to nobody: what stands for its default source follows from all its
//! files together, along the chain of `replace-with`.
//!
//! Source: formats/cargo.md section 5; doc.rust-lang.org/cargo/reference/source-replacement.

use std::path::PathBuf;

use toml_edit::{Document, Item, TableLike};

use crate::formats::{Aim, Link, ProjectFile, Settings, Variables, block};

const CLIENT: &str = "cargo";
/// The name of the source and of the registry.
const OURS: &str = "griot";
/// What cargo calls its default source.
const DEFAULT: &str = "crates-io";
/// Replacements of replacements that are followed.
const HOPS_MAX: usize = 32;
const SPARSE: &str = "sparse+";
/// Keys of a source or a registry that count here.
const KEYS: [&str; 7] =
    ["replace-with", "registry", "index", "token", "git", "directory", "local-registry"];
const BY_HAND: &str = "the file is not plain enough to be changed by a program";

/// The one client.
pub(super) const LINKS: &[Link] = &[Link {
    client: CLIENT,
    program: CLIENT,
    user_file,
    project_files: &[ProjectFile::always(".cargo/config.toml")],
    older_name: Some("config"),
    below: "~upstream/index/",
    parents: true,
    beside_user_file: &["credentials", "credentials.toml"],
    read,
    settle,
    insert,
    remove: |text, _, _| block::remove(text, CLIENT),
    note: Some(
        "crates of your realm: registry = \"griot\" in a dependency, cargo publish --registry \
         griot; what goes to the public registry itself needs --registry crates-io now",
    ),
    ..Link::PLAIN
}];

fn user_file(variable: Variables<'_>) -> Option<PathBuf> {
    let home = variable("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.map(|home| home.join("config.toml"))
}

fn parse(text: &str) -> Result<Document<&str>, String> {
    Document::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))
}

/// A key of all files together.
fn key(table: &str, name: &str, key: &str) -> String {
    format!("{table}\n{name}\n{key}")
}

fn read(_: &str, text: &str, variable: Variables<'_>) -> Result<Settings, String> {
    let document = parse(text)?;
    let mut settings = Settings::default();
    for table in ["source", "registries"] {
        let all = document.get(table).and_then(Item::as_table_like);
        for (name, item) in all.iter().flat_map(|all| all.iter()) {
            for said in KEYS {
                let value = item.as_table_like().and_then(|of| of.get(said));
                if let Some(value) = value.and_then(Item::as_str) {
                    settings.keys.insert(key(table, name, said), value.to_owned());
                }
            }
            let token = variable(&token_variable(name)).filter(|_| table == "registries");
            settings.keys.extend(token.map(|token| (key(table, name, "token"), token)));
        }
    }
    Ok(settings)
}

/// The variable with the token of a registry: it outranks all files.
fn token_variable(registry: &str) -> String {
    format!("CARGO_REGISTRIES_{}_TOKEN", registry.to_uppercase().replace('-', "_"))
}

/// The sparse index that stands for the default source, and the token that goes with it.
fn settle(settings: &mut Settings) {
    let get = |table: &str, name: &str, of: &str| settings.keys.get(&key(table, name, of));
    let mut name = DEFAULT;
    let mut hops = 0;
    while let Some(next) = get("source", name, "replace-with") {
        name = next;
        hops += 1;
        if hops > HOPS_MAX {
            return;
        }
    }
    let index = get("source", name, "registry").or_else(|| get("registries", name, "index"));
    let Some(url) = index.and_then(|index| index.strip_prefix(SPARSE)) else {
        let place = |what: &str| Some((what.to_owned(), get("source", name, what)?.clone()));
        let others = ["git", "directory", "local-registry"];
        let git = index.map(|url| ("git index".to_owned(), url.clone()));
        let found = git.or_else(|| others.into_iter().find_map(place));
        settings.unfit = found.map(|(what, place)| unfit(&what, &place));
        return;
    };
    let same = |found: &String| found.strip_prefix(SPARSE) == Some(url);
    let named = |of: &str| of == name || get("registries", of, "index").is_some_and(same);
    let token = settings.keys.iter().find_map(|(key, token)| {
        let of = key.strip_prefix("registries\n")?.strip_suffix("\ntoken")?;
        named(of).then_some(token)
    });
    let place = url.split_once(':').map(|(_, place)| place.to_owned());
    let credential = place.zip(token.cloned());
    settings.registry = Some(url.to_owned());
    settings.credentials.extend(credential);
}

/// What it takes crates from, where that is no sparse index.
fn unfit(what: &str, place: &str) -> String {
    let why = match what {
        "git index" => "a node speaks sparse indexes, which such a registry most likely has, too",
        _ => "that is no registry which could be asked for other crates",
    };
    format!("the {what} {place:?}: {why}")
}

/// URL of the index of what is hosted.
fn hosted(aim: &Aim) -> String {
    aim.registry.replacen("/~upstream/", "/~hosted/", 1)
}

fn replacement() -> String {
    format!("replace-with = {OURS:?}")
}

/// The two entries.
fn entries(aim: &Aim) -> Vec<String> {
    let mut lines = vec![
        format!("[source.{OURS}]"),
        format!("registry = \"{SPARSE}{}\"", aim.registry),
        format!("[registries.{OURS}]"),
        format!("index = \"{SPARSE}{}\"", hosted(aim)),
    ];
    if let Some(token) = &aim.token {
        lines.push(format!("token = {token:?}"));
        lines.push("credential-provider = \"cargo:token\"".to_owned());
    }
    lines
}

fn insert(text: &str, aim: &Aim) -> Result<String, String> {
    let document = parse(text)?;
    for table in ["source", "registries"] {
        if document.get(table).is_some_and(|all| all.get(OURS).is_some()) {
            return Err(format!("it has a [{table}.{OURS}] of its own"));
        }
    }
    let mut lines = entries(aim);
    let mut out = text.to_owned();
    match document.get("source").and_then(|all| all.get(DEFAULT)) {
        None => {
            lines.splice(0..0, [format!("[source.{DEFAULT}]"), replacement()]);
        }
        Some(Item::Table(table)) => {
            if let Some((key, value)) = table.get_key_value("replace-with") {
                let span = key.span().zip(value.span()).ok_or(BY_HAND)?;
                let span = whole_lines(text, span.0.start..span.1.end);
                out = block::put_out(&out, CLIENT, span);
            }
            let header = header(&out).ok_or(BY_HAND)?;
            out = block::insert(&out, header, CLIENT, &[replacement()]);
        }
        Some(_) => return Err(BY_HAND.to_owned()),
    }
    let out = block::insert(&out, out.len(), CLIENT, &lines);
    let after = parse(&out).map_err(|_| BY_HAND)?;
    let mut says = read("", &out, &|_| None)?;
    settle(&mut says);
    if says.registry.as_deref() != Some(&aim.registry) || others(&document) != others(&after) {
        return Err(BY_HAND.to_owned());
    }
    Ok(out)
}

fn whole_lines(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at + 1);
    start..end
}

/// Behind the line of the header of the default source.
fn header(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let begins = line.trim_start().starts_with('[');
        let alone = Some(line).filter(|_| begins).and_then(|line| parse(line).ok());
        let of = alone.as_ref().and_then(|alone| alone.get("source")?.get(DEFAULT));
        if of.is_some_and(Item::is_table) {
            return Some(at);
        }
    }
    None
}

/// Everything but what a link changes, in one form.
fn others(document: &Document<&str>) -> Vec<String> {
    let mut found = Vec::new();
    collect(document.as_table(), "", &mut found);
    let ours = [
        format!("source.{DEFAULT}.replace-with="),
        format!("source.{OURS}."),
        format!("registries.{OURS}."),
    ];
    found.retain(|line| !ours.iter().any(|start| line.starts_with(start)));
    found.sort();
    found
}

fn collect(table: &dyn TableLike, prefix: &str, found: &mut Vec<String>) {
    for (key, item) in table.iter() {
        let name = format!("{prefix}{key}");
        match item.as_table_like() {
            Some(inner) => collect(inner, &format!("{name}."), found),
            None => found.push(format!("{name}={}", item.to_string().trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "http://127.0.0.1:7878/cargo/~upstream/index/";

    fn aim() -> Aim {
        Aim { registry: INDEX.to_owned(), ..Aim::default() }
    }

    fn says(texts: &[&str]) -> Settings {
        let mut all = Settings::default();
        for text in texts {
            all.keys.extend(read("", text, &|_| None).unwrap().keys);
        }
        settle(&mut all);
        all
    }

    #[test]
    fn the_two_entries_are_written_and_taken_out_to_the_byte() {
        let chain = "[source.crates-io] # mine\r\nreplace-with = \"mirror\" # at work\r\n\r\n\
                     [source.mirror]\r\nregistry = \"sparse+https://packages.test/index/\"\r\n";
        for text in [
            "",
            "# mine\n[build]\njobs = 2\n",
            "[net]\noffline = false",
            chain,
            "[source]\n[source.\"crates-io\"]\nreplace-with = \"a\"\n[source.a]\ngit = \"v\"\n",
            "[source.crates-io]\nregistry = \"https://packages.test/\"\n[alias]\nb = \"build\"\n",
            "[registries.acme]\nindex = \"sparse+https://packages.test/acme/\"\n",
            "[registries]\nacme = { index = \"sparse+https://packages.test/acme/\" }\n",
        ] {
            let linked = insert(text, &aim()).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(says(&[&linked]).registry.as_deref(), Some(INDEX), "{linked}");
            let hosted = "sparse+http://127.0.0.1:7878/cargo/~hosted/index/";
            assert!(linked.contains(&format!("index = {hosted:?}")), "{linked}");
            assert_eq!(block::remove(&linked, CLIENT).as_deref(), Some(text), "{linked}");
        }
        assert!(insert(chain, &aim()).unwrap().contains("# griot: was: cargo replace-with"));
    }

    #[test]
    fn what_a_person_wrote_after_the_link_stays() {
        let linked = insert("[build]\njobs = 2\n", &aim()).unwrap();
        let edited = format!("{}[term]\nquiet = true\n", linked.replace("jobs = 2", "jobs = 3"));
        let rest = block::remove(&edited, CLIENT).unwrap();
        assert_eq!(rest, "[build]\njobs = 3\n[term]\nquiet = true\n");
    }

    #[test]
    fn a_token_is_for_what_is_hosted_alone() {
        let linked = insert("", &Aim { token: Some("griot_s3cret".into()), ..aim() }).unwrap();
        let document = parse(&linked).unwrap();
        assert_eq!(document["registries"]["griot"]["token"].as_str(), Some("griot_s3cret"));
        assert!(document["source"]["griot"].get("token").is_none());
    }

    #[test]
    fn what_cannot_be_changed_safely_is_left_to_the_person() {
        for text in [
            "[source.griot]\nregistry = \"x\"\n",
            "[registries.griot]\nindex = \"x\"\n",
            "source.crates-io.replace-with = \"a\"\nsource.a.directory = \"v\"\n",
            "[source]\ncrates-io = { replace-with = \"a\" }\na = { directory = \"v\" }\n",
            "registries = { acme = { index = \"x\" } }\n",
            "[source\n",
        ] {
            assert!(insert(text, &aim()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_chain_over_several_files_ends_at_the_upstream() {
        let weak = "[source.mirror]\nreplace-with = \"far\"\n\
                    [source.far]\nregistry = \"sparse+https://packages.test/a/index/\"\n";
        let strong = "[source.crates-io]\nreplace-with = \"mirror\"\n";
        let found = says(&[weak, strong]);
        assert_eq!(found.registry.as_deref(), Some("https://packages.test/a/index/"));
        let named = "[registries.acme]\nindex = \"sparse+https://packages.test/acme/\"\n\
                     [source.crates-io]\nreplace-with = \"acme\"\n";
        let token = "[registries.acme]\ntoken = \"w0rd\"\n";
        let found = says(&[token, named]);
        assert_eq!(found.registry.as_deref(), Some("https://packages.test/acme/"));
        assert_eq!(found.credentials["//packages.test/acme/"], "w0rd");
        let set = |name: &str| (name == "CARGO_REGISTRIES_ACME_TOKEN").then(|| "set".to_owned());
        let mut found = read("", named, &set).unwrap();
        found.keys.extend(read("", token, &set).unwrap().keys);
        settle(&mut found);
        assert_eq!(found.credentials["//packages.test/acme/"], "set");
    }

    #[test]
    fn what_names_no_sparse_index_is_not_guessed() {
        let round = "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nreplace-with = \"b\"\n\
                     [source.b]\nreplace-with = \"a\"\n";
        for text in [
            "",
            round,
            "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\ndirectory = \"vendor\"\n",
            "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nregistry = \"http://p.test/\"\n",
            "[source.crates-io]\nreplace-with = \"nowhere\"\n",
            "source = 7\n[registries]\na = 1\n",
        ] {
            assert_eq!(says(&[text]).registry, None, "{text}");
        }
    }

    #[test]
    fn a_chain_to_something_else_than_a_sparse_index_is_told() {
        let chain = "[source.crates-io]\nreplace-with = \"a\"\n";
        for (end, told) in [
            ("[source.a]\nregistry = \"https://p.test/index\"\n", "git index \"https://p.test"),
            ("[registries.a]\nindex = \"ssh://git@p.test/index\"\n", "git index \"ssh://git@p"),
            ("[source.a]\ndirectory = \"vendor\"\n", "directory \"vendor\""),
            ("[source.a]\nlocal-registry = \"l\"\n", "local-registry \"l\""),
        ] {
            let unfit = says(&[chain, end]).unfit.unwrap_or_default();
            assert!(unfit.contains(told), "{unfit}");
        }
        let sparse = "[source.a]\nregistry = \"sparse+https://packages.test/\"\n";
        assert_eq!(says(&[chain, sparse]).unfit, None);
        assert_eq!(says(&[""]).unfit, None);
    }

    #[test]
    fn the_users_file_is_in_the_home_of_cargo() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        assert_eq!(user_file(&home).unwrap(), PathBuf::from("/h/.cargo/config.toml"));
        let own = |name: &str| (name == "CARGO_HOME").then(|| "/c".to_owned());
        assert_eq!(user_file(&own).unwrap(), PathBuf::from("/c/config.toml"));
        assert_eq!(user_file(&|_| None), None);
    }
}
