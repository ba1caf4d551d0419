//! Blocks go in and come out again, and nothing else of a file changes.

use proptest::prelude::*;

use super::*;

const NODE: &str = "http://127.0.0.1:7878/npm/";

fn aim() -> Aim {
    Aim { registry: NODE.to_owned(), ..Aim::default() }
}

fn nothing(_: &str) -> Option<String> {
    None
}

/// In, out, and what a reader makes of it in between.
#[track_caller]
fn round(link: &Link, text: &str) -> String {
    let linked = (link.insert)(text, &aim()).unwrap();
    let read = (link.read)(link.project_files[0].file, &linked, &nothing).unwrap();
    assert_eq!(read.registry.as_deref(), Some(NODE), "{}: {linked}", link.client);
    let back = (link.remove)(&linked, &aim(), text).unwrap();
    assert_eq!(back, text, "{}: {linked}", link.client);
    assert_eq!((link.remove)(text, &aim(), text), None, "{}", link.client);
    linked
}

#[test]
fn every_file_comes_back_byte_for_byte() {
    for link in LINKS {
        round(link, "");
        round(link, "# mine\n");
        round(link, "# mine");
        round(link, "# mine\r\n# two\r\n");
        round(link, "# mine\r\n# two");
        round(link, "\n\n# mine\n\n");
    }
}

#[test]
fn new_lines_end_as_those_of_the_file() {
    for link in LINKS {
        let linked = round(link, "# mine\r\n");
        assert_eq!(linked.matches('\n').count(), linked.matches("\r\n").count(), "{linked}");
    }
}

#[test]
fn an_earlier_registry_stays_and_does_not_count() {
    let npmrc = "registry=https://packages.test/npm/\n; note\nsave-exact=true\n[other]\na=b\n";
    let linked = round(&NPM, npmrc);
    assert!(linked.contains("replace-registry-host=always\n"), "{linked}");
    assert!(linked.find("griot: end") < linked.find("[other]"), "{linked}");
    round(&PNPM, npmrc);
    round(&YARN, "registry \"https://packages.test/npm/\"\nlastUpdateCheck 1\n");
}

#[test]
fn yaml_keys_are_put_out_of_force_and_hosts_stay_allowed() {
    let text = "# mine\nnodeLinker: node-modules\n\
                npmRegistryServer: \"https://packages.test/npm/\"\n\
                unsafeHttpWhitelist:\n  - \"*.lan.test\"\n  # why\n  - other.test\n\nplugins: []\n";
    let linked = round(&BERRY, text);
    assert!(
        linked.contains("unsafeHttpWhitelist: [\"*.lan.test\", \"other.test\", \"127.0.0.1\"]")
    );
    assert!(linked.contains("# griot: was: berry   - other.test"), "{linked}");
    round(&BERRY, "unsafeHttpWhitelist: [\n  a.test,\n]\nnpmRegistryServer: x");
    round(&BERRY, "---\nnodeLinker: pnp\n");
    round(&BERRY, "nodeLinker: pnp\n...\n");
}

#[test]
fn yaml_that_is_not_plain_is_left_alone() {
    let odd = [
        "{npmRegistryServer: x, a: b}\n",
        "a: b\n---\nc: d\n",
        "- a\n",
        "a: [\n",
        "npmRegistryServer: x\nnpmRegistryServer: y\nb: {\n",
    ];
    for text in odd {
        assert!((BERRY.insert)(text, &aim()).is_err(), "{text}");
    }
}

#[test]
fn bunfig_has_the_registry_in_its_table_once() {
    round(&BUN, "[install]\nregistry = \"https://packages.test/\" # mine\nexact = true\n");
    round(
        &BUN,
        "[install] # mine\nexact = true\n[install.scopes]\nacme = \"https://acme.test/\"\n",
    );
    round(&BUN, "[install]\nregistry = { url = \"https://packages.test/\", token = \"$TOKEN\" }\n");
    round(&BUN, "[install]");
    round(&BUN, "telemetry = false\n[test]\ncoverage = true\n");
    let odd = [
        "install = { exact = true }\n",
        "install.exact = true\n",
        "[install.registry]\nurl = \"https://packages.test/\"\n",
        "[install\n",
    ];
    for text in odd {
        assert!((BUN.insert)(text, &aim()).is_err(), "{text}");
    }
}

#[test]
fn what_a_person_wrote_around_and_after_the_block_stays() {
    for link in [&NPM, &PNPM, &YARN] {
        let linked = (link.insert)("# before", &aim()).unwrap();
        let edited = format!("# top\n{linked}# after\n");
        let back = (link.remove)(&edited, &aim(), "# before").unwrap();
        assert_eq!(back, "# top\n# before\n# after\n", "{}", link.client);
    }
}

#[test]
fn two_clients_share_a_file() {
    let text = "save-exact=true\n";
    let npm = (NPM.insert)(text, &aim()).unwrap();
    let both = (PNPM.insert)(&npm, &aim()).unwrap();
    let pnpm = (NPM.remove)(&both, &aim(), text).unwrap();
    assert_eq!(pnpm, (PNPM.insert)(text, &aim()).unwrap());
    assert_eq!((NPM.remove)(&pnpm, &aim(), text), None);
    assert_eq!((PNPM.remove)(&pnpm, &aim(), &npm).unwrap(), text);
}

#[test]
fn a_block_is_found_by_what_it_says_after_npm_has_rewritten_the_file() {
    let former = "registry=https://packages.test/npm/\n; note\nsave-exact=true\n";
    let rewritten =
        format!("registry={NODE}\nsave-exact=true\nreplace-registry-host=always\nnew=1\n");
    let back = (NPM.remove)(&rewritten, &aim(), former).unwrap();
    assert_eq!(back, "registry=https://packages.test/npm/\nsave-exact=true\nnew=1\n");
    let other = "registry=https://elsewhere.test/\n";
    assert_eq!((NPM.remove)(other, &aim(), former), None, "another registry is the person's own");
}

#[test]
fn a_block_without_an_end_takes_nothing_with_it() {
    let cut = "a=b\n# griot: begin npm\nregistry=x\nc=d\n";
    assert_eq!(block::remove(cut, "npm"), None);
}

#[test]
fn scopes_and_token_are_in_the_block() {
    let aim = Aim {
        token: Some("griot_abc".to_owned()),
        scopes: vec!["@acme".to_owned()],
        registry: NODE.to_owned(),
        ..Aim::default()
    };
    for link in [&NPM, &PNPM, &YARN] {
        let before = "@acme:registry=https://acme.test/\n";
        let before = if link.client == "yarn" { "" } else { before };
        let linked = (link.insert)(before, &aim).unwrap();
        let read = (link.read)(link.project_files[0].file, &linked, &nothing).unwrap();
        assert_eq!(read.scopes["@acme"], NODE, "{}", link.client);
        assert_eq!(read.credentials["//127.0.0.1:7878/npm/"], "Bearer griot_abc");
        assert!(!format!("{read:?}").contains("griot_abc"));
    }
    for link in [&BERRY, &BUN] {
        let linked = (link.insert)("", &aim).unwrap();
        let read = (link.read)(link.project_files[0].file, &linked, &nothing).unwrap();
        assert_eq!(read.credentials["//127.0.0.1:7878/npm/"], "Bearer griot_abc");
        assert_eq!((link.remove)(&linked, &aim, "").unwrap(), "");
    }
}

#[test]
fn credentials_are_read_as_npm_writes_them() {
    let text = "//a.test/:_authToken=${TOKEN}\n//b.test/npm/:_auth=bWU6cHc=\n\
                //c.test/:username=me\n//c.test/:_password=cHc=\n//d.test/:_authToken=${NONE}\n\
                @acme:registry = \"https://a.test/npm/\"\nregistry='https://b.test/'\n";
    let variable = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
    let read = ini::read(text, &variable);
    assert_eq!(read.credentials["//a.test/"], "Bearer s3cret");
    assert_eq!(read.credentials["//b.test/npm/"], "Basic bWU6cHc=");
    assert_eq!(read.credentials["//c.test/"], "Basic bWU6cHc=");
    assert_eq!(read.credentials["//d.test/"], "Bearer ${NONE}");
    assert_eq!(read.registry.as_deref(), Some("https://b.test/"));
    assert_eq!(read.scopes["@acme"], "https://a.test/npm/");
}

#[test]
fn berry_and_bun_say_registries_scopes_and_tokens() {
    let text = "npmRegistryServer: https://a.test\nnpmAuthToken: one\nnpmScopes:\n  acme:\n    \
                npmRegistryServer: https://b.test\n    npmAuthToken: ${TOKEN}\nnpmRegistries:\n  \
                //c.test/npm:\n    npmAuthToken: three\n";
    let variable = |name: &str| (name == "TOKEN").then(|| "two".to_owned());
    let read = yaml::read(text, &variable).unwrap();
    assert_eq!(read.registry.as_deref(), Some("https://a.test"));
    assert_eq!(read.scopes["@acme"], "https://b.test");
    let all: Vec<_> = read.credentials.values().map(String::as_str).collect();
    assert_eq!(all, ["Bearer one", "Bearer two", "Bearer three"]);

    let text = "[install]\nregistry = { url = \"https://a.test/\", token = \"$TOKEN\" }\n\
                [install.scopes]\nacme = \"https://b.test/\"\n";
    let read = toml::read(text, &variable).unwrap();
    assert_eq!(read.registry.as_deref(), Some("https://a.test/"));
    assert_eq!(read.credentials["//a.test/"], "Bearer two");
    assert_eq!(read.scopes["@acme"], "https://b.test/");
}

#[test]
fn answers_of_clients_are_read() {
    let npm = r#"{"registry":"https://a.test/","@acme:registry":"https://b.test/",
                  "userconfig":"/home/me/.npmrc","globalconfig":"/etc/npmrc"}"#;
    let answer = (NPM.answer)(npm);
    assert_eq!(answer.registry.as_deref(), Some("https://a.test/"));
    assert_eq!(answer.scopes["@acme"], "https://b.test/");
    assert_eq!(answer.user_file, Some(PathBuf::from("/home/me/.npmrc")));
    let yarn = r#"{"type":"info","data":"yarn config"}
{"type":"inspect","data":{"registry":"https://y.test"}}
{"type":"info","data":"npm config"}
{"type":"inspect","data":{"registry":"https://n.test/","@acme:registry":"https://b.test/"}}"#;
    let answer = (YARN.answer)(yarn);
    assert_eq!(answer.registry.as_deref(), Some("https://n.test/"), "npm's settings come first");
    assert_eq!(answer.scopes.len(), 1);
    let berry = r#"{"key":"npmRegistryServer","effective":"https://y.test"}"#;
    assert_eq!((BERRY.answer)(berry).registry.as_deref(), Some("https://y.test"));
    for link in LINKS {
        assert_eq!((link.answer)("nonsense"), Answer::default());
        assert_eq!((link.answer)("[1]\n{}"), Answer::default());
    }
}

#[test]
fn yarns_are_told_apart() {
    assert!((YARN.speaks)("1.22.22") && !(YARN.speaks)("4.18.1"));
    assert!((BERRY.speaks)("4.18.1") && !(BERRY.speaks)("1.22.22") && !(BERRY.speaks)("?"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_lost_and_none_panics(text in "[ -~\\r\\n\u{e9}]{0,200}") {
        for link in LINKS {
            let _ = (link.read)(link.project_files[0].file, &text, &nothing);
            let _ = (link.answer)(&text);
            if let Ok(linked) = (link.insert)(&text, &aim()) {
                prop_assert_eq!((link.remove)(&linked, &aim(), &text).unwrap(), text.clone());
            }
        }
    }

    #[test]
    fn texts_of_settings_come_back(lines in prop::collection::vec(
        prop::sample::select(vec![
            "registry=https://a.test/", "[install]", "registry = \"x\"", "npmRegistryServer: x",
            "unsafeHttpWhitelist:", "  - a", "- b", "", "# c", "[other]", "a: b", "exact = true",
            "# griot: begin x", "# griot: end x",
        ]), 0..8), ending in prop::sample::select(vec!["\n", "\r\n"]), last in any::<bool>())
    {
        let mut text = lines.join(ending);
        if last {
            text.push_str(ending);
        }
        for link in LINKS {
            if let Ok(linked) = (link.insert)(&text, &aim()) {
                let back = (link.remove)(&linked, &aim(), &text);
                prop_assert_eq!(back.as_deref(), Some(text.as_str()), "{}", link.client);
            }
        }
    }
}
