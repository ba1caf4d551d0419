//! What `griot link cargo` takes over from cargo's own settings: the end of a chain of sources, and
//! the token of a private registry, which goes to no other host.

use serde_json::json;

use crate::cargo_upstream::{NEEDS, griot, mirror};
use crate::harness::node::text;
use crate::harness::upstream::{Stub, Tarballs};
use crate::harness::wait::{run, said};
use crate::harness::{Cargo, EVENTUALLY, World};

#[test]
fn a_link_is_undone_to_the_byte_for_the_user_and_for_a_project() {
    let world = World::new();
    let stub = mirror();
    let node = world.node("a");
    let Some(cargo) = Cargo::new(&world, "c") else { return };
    let former = format!(
        "# mine\r\n[source.crates-io]\r\nreplace-with = \"work\" # at work\r\n\r\n\
         [source.work]\r\nregistry = \"sparse+{}\"\r\n[term]\r\nquiet = true",
        stub.index_url()
    );
    cargo.set(&former);
    let app = cargo.app("app", &[("syn", "1")]);
    let linked = griot(&node, &cargo, (&app, &["link", "cargo"]));
    assert_eq!(linked[0]["registry"], node.url("/cargo/~upstream/index/").as_str());
    assert_eq!(cargo.says(&app), "syn-1.0.0");
    assert_eq!(griot(&node, &cargo, (&app, &["link", "cargo"]))[0]["changed"], false);
    let unlinked = griot(&node, &cargo, (&app, &["unlink", "cargo"]));
    assert_eq!(unlinked[0]["state"], "restored");
    assert_eq!(fs_err::read_to_string(cargo.config()).expect("it is there"), former);

    let place = ["link", "cargo", "--project", "."];
    griot(&node, &cargo, (&app, &place));
    let file = app.join(".cargo/config.toml");
    assert!(fs_err::read_to_string(&file).expect("it was written").contains("~hosted/index/"));
    assert_eq!(cargo.says(&app), "syn-1.0.0");
    griot(&node, &cargo, (&app, &["unlink", "cargo", "--project", "."]));
    assert!(!file.exists(), "there was none before");
}

#[test]
fn the_upstream_is_the_end_of_the_chain_in_the_folders_above_a_project() {
    let world = World::new();
    let stub = mirror();
    let node = world.node("a");
    let Some(cargo) = Cargo::new(&world, "c") else { return };
    let app = cargo.app("deep/er/app", &[("syn", "1")]);
    let settings = |folder: &str, name: &str, text: &str| {
        let folder = cargo.home().join(folder).join(".cargo");
        fs_err::create_dir_all(&folder).expect("a folder can be made");
        fs_err::write(folder.join(name), text).expect("settings can be written");
    };
    // cargo wants a place for every source, used or not.
    let unused = "registry = \"sparse+https://packages.test/unused/\"";
    cargo.set(&format!("[source.far]\n{unused}\nreplace-with = \"end\"\n"));
    let index = stub.index_url();
    settings("deep", "config", &format!("[source.end]\nregistry = \"sparse+{index}\"\n"));
    settings("deep/er", "config.toml", "[source.crates-io]\nreplace-with = \"far\"\n");
    let linked = griot(&node, &cargo, (&app, &["link", "cargo", "--project", "."]));
    let adopted = text(&linked[0]["adopted"][0], "url");
    assert_eq!(adopted.trim_end_matches('/'), index.trim_end_matches('/'));
    assert_eq!(cargo.says(&app), "syn-1.0.0");
    assert!(stub.count("config.json") <= 1, "cargo asks the node");
}

/// A stub that wants a token for everything of its own host, with its crates at the other one.
fn private_mirror(tarballs: Tarballs) -> Stub {
    let stub = mirror();
    stub.switch(|s| {
        s.require_token = Some("w0rd".to_owned());
        s.tarballs = tarballs;
    });
    stub
}

/// What came with a credential: (requests of the registry's own host, of the other one).
fn with_credential(stub: &Stub) -> (Vec<String>, Vec<String>) {
    let all = stub.requests().into_iter().filter(|seen| seen.header("authorization").is_some());
    let (other, own): (Vec<_>, Vec<_>) = all.partition(|seen| seen.other_host);
    let paths = |all: Vec<crate::harness::upstream::Seen>| {
        all.into_iter().map(|seen| seen.path).collect::<Vec<_>>()
    };
    (paths(own), paths(other))
}

#[test]
fn a_private_registry_gets_the_token_as_it_is_and_no_other_host_does() {
    let world = World::new();
    for (name, tarballs, crates) in
        [("own", Tarballs::Usual, "/api/v1/crates/"), ("other", Tarballs::OtherHost, "config.json")]
    {
        let elsewhere = tarballs == Tarballs::OtherHost;
        let stub = private_mirror(tarballs);
        let node = world.node(name);
        let file = world.path().join(format!("token-{name}"));
        fs_err::write(&file, "w0rd\n").expect("a token can be written");
        let file = file.to_str().expect("paths of tests are UTF-8");
        let url = stub.index_url();
        node.json(&["upstream", "add", "cargo", &url, "--token-file", file]);
        let Some(cargo) = Cargo::of(&world, name, &node) else { return };
        let app = cargo.app("app", &NEEDS);
        assert_eq!(cargo.says(&app), "Inflector-0.11.4", "{:?}", stub.requests());
        assert_eq!(stub.answered(401), 0, "{:?}", stub.requests());
        let (own, other) = with_credential(&stub);
        for part in ["/index/config.json", "/index/in/fl/inflector", crates] {
            assert!(own.iter().any(|path| path.contains(part)), "{part} of {own:?}");
        }
        assert_eq!(other, [""; 0]);
        let came = stub.requests().iter().any(|seen| seen.other_host);
        assert_eq!(came, elsewhere, "the crates are where config.json says");
    }
}

#[test]
fn a_link_takes_the_token_of_cargos_login_along() {
    let world = World::new();
    let stub = private_mirror(Tarballs::Usual);
    let node = world.node("a");
    let Some(cargo) = Cargo::new(&world, "c") else { return };
    cargo.set(&format!(
        "[source.crates-io]\nreplace-with = \"acme\"\n[registries.acme]\n\
         index = \"sparse+{}\"\ncredential-provider = \"cargo:token\"\n",
        stub.index_url()
    ));
    let app = cargo.app("app", &NEEDS);
    let mut command = cargo.command();
    command.args(["login", "--registry", "acme", "w0rd"]).current_dir(&app);
    let output = run(&mut command, EVENTUALLY);
    assert!(output.status.success(), "{}", said(&output));
    let linked = griot(&node, &cargo, (&app, &["link", "cargo"]));
    assert_eq!(linked[0]["adopted"][0]["credential"], true, "{linked}");
    stub.forget_requests();
    assert_eq!(cargo.says(&app), "Inflector-0.11.4");
    assert_eq!(stub.answered(401), 0, "{:?}", stub.requests());
}

#[test]
fn a_replacement_by_a_git_index_is_told_with_the_command_to_type() {
    let world = World::new();
    let stub = mirror();
    let node = world.node("a");
    let Some(cargo) = Cargo::new(&world, "c") else { return };
    cargo.set(
        "[source.crates-io]\nreplace-with = \"work\"\n\
         [source.work]\nregistry = \"https://packages.test/git/index\"\n",
    );
    let app = cargo.app("app", &[("syn", "1")]);
    let mut command = node.command(&["link", "cargo"]);
    let output = run(command.envs(cargo.variables()).current_dir(&app), EVENTUALLY);
    let told = said(&output);
    assert!(!output.status.success(), "{told}");
    for part in ["git index", "https://packages.test/git/index", "griot upstream add cargo"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Who has typed that is told what is not asked any more.
    node.json(&["upstream", "add", "cargo", &stub.index_url()]);
    let linked = griot(&node, &cargo, (&app, &["link", "cargo"]));
    assert!(text(&linked[0], "left").contains("https://packages.test/git/index"), "{linked}");
    assert_eq!(cargo.says(&app), "syn-1.0.0");
}

#[test]
fn without_a_replacement_and_an_upstream_the_command_to_type_is_said() {
    let world = World::new();
    let stub = mirror();
    let node = world.node("a");
    let Some(cargo) = Cargo::new(&world, "c") else { return };
    let app = cargo.app("app", &[("syn", "1")]);
    let mut command = node.command(&["link", "cargo"]);
    let output = run(command.envs(cargo.variables()).current_dir(&app), EVENTUALLY);
    assert!(!output.status.success() && said(&output).contains("griot upstream add cargo"));
    assert!(!cargo.config().exists(), "nothing was written");
    node.json(&["upstream", "add", "cargo", &format!("sparse+{}", stub.index_url())]);
    let linked = griot(&node, &cargo, (&app, &["link", "cargo"]));
    assert_eq!(linked[0]["adopted"], json!([]), "{linked}");
    assert_eq!(cargo.says(&app), "syn-1.0.0");
}
