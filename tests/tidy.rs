//! Rules about the source itself, so that a review need not look for them.
//!
//! Style is a test: headers, sizes, the layers of `node`, marks of unfinished work, and that no
//! host of a public registry is written down anywhere. The hosts are not written down here either:
//! the clients that are installed say where they point when nobody has configured them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::client::{clean, find, shout};
use crate::harness::wait::{run, run_ok};

/// Longest line of code.
const COLUMNS_MAX: usize = 100;
/// Lines of a file: from here on a look whether it is still one thing.
const LINES_LOOK: usize = 600;
/// Lines of a file: no more than this.
const LINES_MAX: usize = 800;
/// From left to right; a module of `node` may use those to its right.
const LAYERS: [&[&str]; 7] = [
    &["daemon"],
    &["formats"],
    &["http"],
    &["registry"],
    &["mesh", "upstream"],
    &["store"],
    &["crdt"],
];
const LIMIT: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    cli.parent().expect("the crate lies in the tree").to_path_buf()
}

/// Files of the tree that git tracks or would track.
fn tracked() -> Vec<PathBuf> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let text = run_ok(Command::new("git").args(list).current_dir(root()), LIMIT);
    let files = text.lines().map(|line| root().join(line)).filter(|path| path.is_file());
    files.collect()
}

fn sources() -> Vec<(String, String)> {
    let rust = tracked().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| {
        let text = fs_err::read_to_string(&path).expect("source is UTF-8");
        let name = path.strip_prefix(root()).expect("it lies in the tree").to_owned();
        (name.to_string_lossy().into_owned(), text)
    })
    .collect()
}

/// Fails with all that was found, one a line.
#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_source_file_starts_with_what_it_is() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.contains("to be written") {
            found.push(name);
        }
    }
    none("files without a header", &found);
}

#[test]
fn lines_and_files_keep_their_size() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                found.push(format!("{name}:{}: over {COLUMNS_MAX} columns", number + 1));
            }
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{name}: {lines} lines, over {LINES_MAX}"));
        } else if lines > LINES_LOOK {
            shout(&format!("{name} has {lines} lines: is it still one thing?"));
        }
    }
    none("too large", &found);
}

#[test]
fn nothing_is_left_unfinished() {
    // Spelled in two parts, or this file would find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[", "ignore"),
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("unfinished", &found);
}

/// Targets of the links in a text, without what follows a `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.split('#').next().unwrap_or_default())
}

#[test]
fn what_a_text_links_to_is_there() {
    let texts = tracked().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    let (mut found, mut looked) = (Vec::new(), 0);
    for path in texts {
        let text = fs_err::read_to_string(&path).expect("a text is UTF-8");
        let folder = path.parent().expect("a file lies in a folder");
        for target in links(&text).filter(|target| !target.is_empty() && !target.contains("://")) {
            looked += 1;
            if !folder.join(target).exists() {
                found.push(format!("{}: {target}", path.display()));
            }
        }
    }
    none("links to nothing", &found);
    assert!(looked > 20, "the links of the texts are not found");
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that a source names by `crate::`, also in a list over several lines.
fn named(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    let code = code.join("\n");
    code.split("crate::").skip(1).flat_map(first_words).collect()
}

/// The word after `crate::`, or those at the top of the list in braces that follows it.
fn first_words(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let text = text.trim_start();
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let Some(list) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let mut words = vec![word(list)];
    let mut depth = 0_u32;
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => words.push(word(&list[at + 1..])),
            _ => {}
        }
    }
    words
}

#[test]
fn the_layer_rule_sees_lists_over_several_lines() {
    let text =
        "use crate::{\n    mesh::{self, Mesh},\n    store::Store,\n};\nlet x = crate::http::y;";
    assert_eq!(named(text), ["mesh", "store", "", "http"]);
    assert!(named("// crate::daemon is not named here").is_empty());
}

#[test]
fn modules_of_the_node_use_only_the_layers_below_them() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let Some(inner) = name.strip_prefix("node/src/") else { continue };
        let module = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(own) = layer_of(module) else { continue };
        for other in named(&text) {
            let Some(layer) = layer_of(&other) else { continue };
            // A format sees the registry and HTTP alone, so it cannot forget replication.
            let hidden = module == "formats" && layer > own + 2;
            if layer < own || (layer == own && other != module) || hidden {
                found.push(format!("{name}: {module} uses {other}"));
            }
        }
    }
    none("against the layers", &found);
}

#[test]
fn formats_never_use_each_other() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let Some(inner) = name.strip_prefix("node/src/formats/") else { continue };
        let Some((own, _)) = inner.split_once('/') else { continue };
        for rest in text.split("crate::formats::").skip(1) {
            for other in first_words(rest).into_iter().filter(|other| !other.is_empty()) {
                let folder = root().join("node/src/formats").join(&other);
                if other != own && folder.is_dir() {
                    found.push(format!("{name}: uses {other}"));
                }
            }
        }
    }
    none("formats that use each other", &found);
}

#[test]
fn red_18_one_file_names_automerge_and_one_reads_saved_documents() {
    let files = |what: &[&str]| {
        let program = sources().into_iter().filter(|(name, text)| {
            name.contains("/src/")
                && !name.contains("tests")
                && !name.starts_with("crdt/fuzz")
                && text.lines().any(|line| what.iter().any(|what| line.contains(what)))
        });
        program.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(files(&["use automerge", " automerge::"]), ["crdt/src/document.rs"]);
    assert_eq!(files(&["Document::load("]), ["node/src/store/documents.rs"]);
}

#[test]
fn every_format_has_its_page() {
    let folder = root().join("node/src/formats");
    let mut formats = 0;
    let mut found = Vec::new();
    for entry in fs_err::read_dir(&folder).expect("formats lie in a folder") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && path.join("mod.rs").is_file() {
            formats += 1;
            if !path.join("README.md").is_file() {
                found.push(path.display().to_string());
            }
        }
    }
    assert!(formats >= 2, "only {formats} formats");
    none("formats without a README", &found);
}

#[test]
fn files_have_names_that_say_what_they_hold() {
    let vague = ["service", "manager", "helper", "util", "common", "engine"];
    let mut found = Vec::new();
    for (name, _) in sources() {
        let words: Vec<&str> = name.split(['/', '_', '.', '-']).collect();
        if vague.iter().any(|vague| words.iter().any(|word| word.trim_end_matches('s') == *vague)) {
            found.push(name);
        }
    }
    none("names that say nothing", &found);
}

#[test]
fn every_decision_is_linked_from_another_page() {
    let pages: Vec<PathBuf> =
        tracked().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    let is_decision =
        |path: &&PathBuf| path.parent().is_some_and(|p| p.ends_with("docs/decisions"));
    let mut found = Vec::new();
    for decision in pages.iter().filter(is_decision) {
        let name = decision.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let linked = pages
            .iter()
            .filter(|page| *page != decision)
            .any(|page| fs_err::read_to_string(page).is_ok_and(|text| text.contains(&name)));
        if !linked {
            found.push(name);
        }
    }
    none("decisions that no page links", &found);
}

/// The host of a URL, without port and credentials.
fn host_of(url: &str) -> Option<String> {
    let rest = url.split("://").nth(1)?;
    let host = rest.split(['/', ',', '|', ':', '"', '<', '?']).next()?;
    (host.contains('.') && !host.starts_with("127.")).then(|| host.to_owned())
}

/// What a client says when nobody has configured it.
fn default_of(tool: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    find(tool)?;
    let output = run(clean(tool).args(arguments).envs(variables.iter().copied()), LIMIT);
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Hosts of public registries, from the defaults of the clients that are installed.
fn public_hosts() -> Vec<String> {
    let nothing = [
        ("HOME", "/nonexistent"),
        ("npm_config_userconfig", "/nonexistent/a"),
        ("npm_config_globalconfig", "/nonexistent/b"),
        ("npm_config_cache", "/tmp"),
        ("GOENV", "off"),
        ("GOFLAGS", ""),
        ("GOTOOLCHAIN", "local"),
    ];
    let index = "from pip._internal.models.index import PyPI; print(PyPI.url)";
    let maven = "import glob, zipfile
for jar in glob.glob('/usr/share/maven/lib/maven-model-builder*.jar'):
    pom = zipfile.ZipFile(jar).read('org/apache/maven/model/pom-4.0.0.xml').decode()
    print(pom.split('<url>')[1].split('</url>')[0])";
    let said = [
        default_of("npm", &["config", "get", "registry"], &nothing),
        default_of("go", &["env", "GOPROXY"], &nothing),
        default_of("python3", &["-c", index], &nothing),
        default_of("python3", &["-c", maven], &nothing),
    ];
    let mut hosts: Vec<String> =
        said.into_iter().flatten().filter_map(|url| host_of(&url)).collect();
    // The name of cargo's default registry is the last part of its index in every lockfile.
    let lock = fs_err::read_to_string(root().join("Cargo.lock")).expect("the lockfile is there");
    let index = lock.lines().find_map(|line| line.strip_prefix("source = \"registry+"));
    let index = index.and_then(|url| url.trim_end_matches('"').rsplit('/').next());
    hosts.extend(index.and_then(|name| name.strip_suffix("-index")).map(str::to_owned));
    hosts
}

#[test]
fn no_host_of_a_public_registry_is_written_down() {
    let hosts = public_hosts();
    assert!(!hosts.is_empty(), "no client told its default");
    let mut found = Vec::new();
    for path in tracked() {
        // Lockfiles name the registry that their packages come from.
        let lockfile = path.file_name().is_some_and(|name| name == "Cargo.lock");
        let Ok(bytes) = fs_err::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate().filter(|_| !lockfile) {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    none("hosts of public registries", &found);
}
