//! Blocks go in and come out again, and nothing else of a file changes.

use proptest::prelude::*;

use super::*;
use crate::formats::Answer;

const NODE: &str = "http://127.0.0.1:7878/pypi/";
const SIMPLE: &str = "http://127.0.0.1:7878/pypi/simple/";

/// Every file that is written, with its client.
fn files() -> Vec<(Link, &'static str)> {
    vec![
        (PIP, "pip.conf"),
        (UV, "uv.toml"),
        (UV, "pyproject.toml"),
        (POETRY, "poetry.toml"),
        (TWINE, ".pypirc"),
    ]
}

fn aim(file: &str) -> Aim {
    let token = (file == ".pypirc").then(|| "griot_t0ken".to_owned());
    Aim { registry: NODE.to_owned(), token, file: file.to_owned(), ..Aim::default() }
}

fn nothing(_: &str) -> Option<String> {
    None
}

/// In, out, and what a reader makes of it in between.
#[track_caller]
fn round((link, file): &(Link, &str), text: &str) -> String {
    let aim = aim(file);
    let linked = (link.insert)(text, &aim).unwrap_or_else(|why| panic!("{file}: {why}\n{text}"));
    if link.only_publishes {
        assert!(linked.contains("repository = http://127.0.0.1:7878/pypi/legacy/"), "{linked}");
    } else if *file == "pyproject.toml" {
        assert_eq!(uv::read_file(file, &linked).unwrap().registry.as_deref(), Some(SIMPLE));
    } else {
        let read = (link.read)(file, &linked, &nothing).unwrap();
        assert_eq!(read.registry.as_deref(), Some(SIMPLE), "{file}: {linked}");
    }
    let back = (link.remove)(&linked, &aim, text).unwrap();
    assert_eq!(back, text, "{file}: {linked}");
    assert_eq!((link.remove)(text, &aim, text), None, "{file}");
    linked
}

#[test]
fn every_file_comes_back_byte_for_byte_and_its_lines_end_as_before() {
    for it in &files() {
        for text in ["", "# mine\n", "# mine", "# mine\r\n# two", "\n\n# mine\n\n"] {
            round(it, text);
        }
        let linked = round(it, "# mine\r\n# two\r\n");
        assert_eq!(linked.matches('\n').count(), linked.matches("\r\n").count(), "{linked}");
    }
}

#[test]
fn pip_has_the_index_once_in_the_section_that_is_there() {
    let it = (PIP, "pip.conf");
    let text = "; mine\n[install]\nindex_url: https://a.test/simple/\nno-binary = :all:\n\n\
                [global]\nindex-url =\n    https://packages.test/simple/\ntimeout = 60\n";
    let linked = round(&it, text);
    assert!(linked.contains("[global]\n# griot: begin pip\nindex-url = http"), "{linked}");
    assert!(linked.contains("# griot: was: pip     https://packages.test"), "{linked}");
    assert!(linked.contains("# griot: was: pip index_url: https://a.test"), "{linked}");
    assert!(linked.contains("\ntimeout = 60\n"), "{linked}");
    assert_eq!(linked.matches("[global]").count(), 1);
    round(&it, "[global]");
    round(&it, "[install]\nfind-links = /opt/wheels\n    /opt/more");
}

#[test]
fn what_pip_has_rewritten_is_mended_without_its_marks() {
    let former = "[global]\nindex-url = https://packages.test/simple/\n";
    let aim = aim("pip.conf");
    let rewritten = format!("[global]\nindex-url = {SIMPLE}\ntimeout = 9\n\n");
    let back = (PIP.remove)(&rewritten, &aim, former).unwrap();
    assert_eq!(back, format!("{former}timeout = 9\n\n"));
    let back = (PIP.remove)(&rewritten, &aim, "").unwrap();
    assert_eq!(back, "[global]\ntimeout = 9\n\n");
    let theirs = rewritten.replace(SIMPLE, "https://other.test/");
    assert_eq!((PIP.remove)(&theirs, &aim, former), None);
}

#[test]
fn places_beside_the_registry_are_told() {
    let read = |link: &Link, file: &str, text: &str| {
        let settings = (link.read)(file, text, &nothing).unwrap();
        settings.beside.into_iter().map(|(what, place)| format!("{what} {place}")).collect()
    };
    let conf = "[global]\nextra-index-url =\n  https://a.test/\n  https://b.test/\nfind-links=/w\n";
    let told: Vec<String> = read(&PIP, "/etc/pip.conf", conf);
    let all = ["extra-index-url https://a.test/", "extra-index-url https://b.test/"];
    assert_eq!(told, [all[0], all[1], "find-links /w"]);
    let list = "-i https://a.test/\n--extra-index-url=https://b.test/ # why\nsix==1.17.0\n-f ./w\n";
    let told: Vec<String> = read(&PIP, "x/requirements.txt", list);
    let all = ["--index-url https://a.test/", "--extra-index-url https://b.test/"];
    assert_eq!(told, [all[0], all[1], "--find-links ./w"]);
    let uv = "find-links = [\"/w\"]\n[[index]]\nname = \"torch\"\nurl = \"https://t.test/\"\n\
              explicit = true\n[pip]\nindex-url = \"https://p.test/\"\n";
    let told: Vec<String> = read(&UV, "uv.toml", uv);
    assert_eq!(
        told,
        ["index torch https://t.test/", "pip.index-url https://p.test/", "find-links /w"]
    );
    let manifest = "[[tool.poetry.source]]\nname = \"own\"\nurl = \"https://own.test/\"\n";
    let told: Vec<String> = read(&POETRY, "pyproject.toml", manifest);
    assert_eq!(told, ["source own https://own.test/"]);
}

#[test]
fn uv_has_one_default_index_and_the_former_one_is_out_of_force() {
    let text = "# mine\nindex-url = \"https://old.test/simple\" # older\nnative-tls = true\n\n\
                [[index]]\n# the house\nname = \"house\"\nurl = \"https://packages.test/simple\"\n\
                default = true\n\n[[index]]\nname = \"torch\"\nurl = \"https://torch.test/\"\n\n\
                [pip]\nindex-url = \"https://pip.test/\"\nno-build = true\n";
    let linked = round(&(UV, "uv.toml"), text);
    assert!(linked.contains("# griot: was: uv # the house\n"), "{linked}");
    assert!(linked.contains("\n[[index]]\nname = \"torch\"\n"), "{linked}");
    let inside = text.replace("[[index]]", "[[tool.uv.index]]").replace("[pip]", "[tool.uv.pip]");
    let inside = inside.replace("# mine\n", "[project]\nname = \"shop\"\n[tool.uv]\n");
    let linked = round(&(UV, "pyproject.toml"), &inside);
    assert!(linked.contains("[[tool.uv.index]]\nname = \"griot\"\n"), "{linked}");
}

#[test]
fn toml_that_is_not_plain_is_left_alone() {
    for text in ["index = [{ url = \"https://a.test/\", default = true }]\n", "[index\n", "a = \n"]
    {
        assert!((UV.insert)(text, &aim("uv.toml")).is_err(), "{text}");
    }
    for text in ["tool = { uv = { } }\n", "[tool]\nuv = { index = [] }\n"] {
        assert!((UV.insert)(text, &aim("pyproject.toml")).is_err(), "{text}");
    }
    assert!((POETRY.insert)("plugins = { }\n", &aim("poetry.toml")).is_err());
}

#[test]
fn poetry_publishes_by_name_and_keeps_its_other_tables() {
    let it = (POETRY, "poetry.toml");
    let text = "[virtualenvs]\nin-project = true\n[plugins.pypi_mirror]\n\
                url = \"https://packages.test/simple/\"\n[repositories.own]\n\
                url = \"https://o.test/\"";
    let linked = round(&it, text);
    assert!(linked.contains("# griot: was: poetry url = \"https://packages.test"), "{linked}");
    let aim = Aim { token: Some("griot_t0ken".into()), ..aim("poetry.toml") };
    let with_token = (POETRY.insert)(text, &aim).unwrap();
    assert!(with_token.contains("[http-basic.griot]\nusername = \"__token__\"\n"), "{with_token}");
}

#[test]
fn twine_learns_of_one_more_server_and_keeps_those_that_it_had() {
    let it = (TWINE, ".pypirc");
    let text = "[distutils]\nindex-servers =\n  house\n  other\n\n[house]\nusername = me\n\n\
                [griot]\nrepository = https://old.test/\n";
    let linked = round(&it, text);
    assert!(linked.contains("index-servers =\n    house\n    other\n    griot\n"), "{linked}");
    assert!(linked.contains("password = griot_t0ken\n"), "{linked}");
    assert!(linked.contains("# griot: was: twine repository = https://old.test/"), "{linked}");
    let fresh = round(&it, "[pypi]\nusername = me\n");
    assert!(fresh.contains("index-servers =\n    pypi\n    testpypi\n    griot\n"), "{fresh}");
    // A key twice is refused by the client already.
    let twice = "[distutils]\nindex-servers = a\nother = b\n[griot]\npassword = x\n";
    round(&it, twice);
}

#[test]
fn pip_tells_its_settings_by_their_strength() {
    let told = "env_var:\n  PIP_FIND_LINKS='/opt/wheels'\nenv:\nglobal:\n  \
                /etc/xdg/pip/pip.conf, exists: False\n  /etc/pip.conf, exists: True\n    \
                global.index-url: https://g.test/\n    global.extra-index-url: \n    \
                https://e.test/\nsite:\n  /venv/pip.conf, exists: True\n    global.index-url: \
                https://s.test/\nuser:\n  /home/me/.pip/pip.conf, exists: True\n  \
                /home/me/.config/pip/pip.conf, exists: False\n";
    let answer = says::pip(told);
    assert_eq!(answer.registry.as_deref(), Some("https://s.test/"));
    assert_eq!(answer.user_file, Some("/home/me/.pip/pip.conf".into()));
    assert_eq!(answer.files.len(), 4);
    assert_eq!(answer.beside, [("PIP_FIND_LINKS".to_owned(), "/opt/wheels".to_owned())]);
    let own = "user:\n  /u/pip.conf, exists: True\n    install.index-url: https://i.test/\n    \
               global.index-url: https://g.test/\n";
    assert_eq!(says::pip(own).registry.as_deref(), Some("https://i.test/"));
    let variable = format!("env_var:\n  PIP_INDEX_URL='https://v.test/'\n{own}");
    assert_eq!(says::pip(&variable).registry.as_deref(), Some("https://v.test/"));
    let named = "env:\n  /etc/my.conf, exists: False\nuser:\n  /u/pip.conf, exists: False\n";
    assert_eq!(says::pip(named).user_file, Some("/etc/my.conf".into()));
    let none = "env:\n  /dev/null, exists: True\nuser:\n  /u/pip.conf, exists: False\n";
    assert_eq!(says::pip(none).user_file, Some("/u/pip.conf".into()));
    assert_eq!(says::pip("nonsense\n: :\n"), Answer::default());
}

#[test]
fn the_registry_that_is_built_in_is_read_from_the_help() {
    let pip = "  -i, --index-url <url>  Base URL of the Package Index (default\n       \
               https://packages.test/simple). This should point to\n";
    let uv =
        "(default: 5)\n The default package index (by default: <https://packages.test/simple>)";
    for help in [pip, uv] {
        assert_eq!(says::builtin(help).as_deref(), Some("https://packages.test/simple"));
    }
    assert_eq!(says::builtin("default default: 3 (default"), None);
}

#[test]
fn a_netrc_has_credentials_by_host() {
    let text = "# mine\nmachine packages.test login me password s3cret\n\
                machine other.test\n  password alone\nmacdef x\n\
                machine no.test login a password b\n";
    let credentials = says::netrc(text).credentials;
    assert_eq!(credentials.keys().collect::<Vec<_>>(), ["//packages.test/"]);
    let settings = says::netrc(text);
    assert!(!format!("{settings:?}").contains("s3cret"));
}

proptest! {
    #[test]
    fn whatever_a_file_holds_it_comes_back_or_is_left_alone(
        lines in proptest::collection::vec("[ \\[\\]a-z=:\"#\\-]{0,18}", 0..12),
        windows in any::<bool>(),
    ) {
        let text = lines.join(if windows { "\r\n" } else { "\n" });
        for (link, file) in files() {
            let aim = aim(file);
            let _ = (link.read)(file, &text, &nothing);
            if let Ok(linked) = (link.insert)(&text, &aim) {
                prop_assert_eq!((link.remove)(&linked, &aim, &text), Some(text.clone()));
            }
        }
    }
}
