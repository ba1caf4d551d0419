//! `griot upstream`, `link` and `unlink` with the real clients: each is asked itself what it uses.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::node::text;
use crate::harness::samples::{module_text, npm_package};
use crate::harness::wait::{run, said};
use crate::harness::{Client, EVENTUALLY, Node, World, wait_for};

/// An upstream that nobody asks in these tests.
const ELSEWHERE: &str = "https://packages.test/npm/";
const MANIFEST: &str = r#"{"name":"project","version":"1.0.0","private":true}"#;

/// A node, a home, a project, and one client.
struct Setting {
    client: Client,
    node: Node,
    home: PathBuf,
    project: PathBuf,
    world: World,
}

impl Setting {
    /// Skips without the client.
    fn new(client: Client) -> Option<Self> {
        if !client.is_there() {
            return None;
        }
        let world = World::new();
        let node = world.node("a");
        let home = world.folder("home");
        let project = world.folder("home/project");
        fs_err::write(project.join("package.json"), MANIFEST).expect("a manifest can be written");
        Some(Self { client, node, home, project, world })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command(arguments);
        command.envs(self.client.variables(&self.home)).current_dir(&self.project);
        command
    }

    /// Runs the command in the project, by the home's settings.
    #[track_caller]
    fn griot(&self, arguments: &[&str]) -> Value {
        let output = run(self.command(arguments).arg("--json"), EVENTUALLY);
        assert!(output.status.success(), "griot {arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).expect("griot prints JSON")
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> (String, i32) {
        let output = run(&mut self.command(arguments), EVENTUALLY);
        assert!(!output.status.success(), "griot {arguments:?} succeeded: {}", said(&output));
        (said(&output), output.status.code().expect("the command ends by itself"))
    }

    /// What `griot link` calls the client.
    fn word(&self) -> &'static str {
        match self.client {
            Client::Npm8 | Client::Npm10 | Client::Npm11 | Client::Npm12 => "npm",
            Client::Pnpm => "pnpm",
            Client::Yarn1 => "yarn",
            Client::Berry => "berry",
            Client::Bun => "bun",
        }
    }

    fn link(&self) -> Value {
        self.griot(&["link", self.word()])[0].clone()
    }

    fn unlink(&self) -> Value {
        self.griot(&["unlink", self.word()])[0].clone()
    }

    /// What the client itself says that it uses.
    fn registry(&self) -> String {
        let key = if self.client == Client::Berry { "npmRegistryServer" } else { "registry" };
        self.client.ok(&self.home, &self.project, &["config", "get", key])
    }

    /// The user's file that is written.
    fn user_file(&self) -> PathBuf {
        self.home.join(match self.client {
            Client::Yarn1 => ".yarnrc",
            Client::Berry => ".yarnrc.yml",
            Client::Bun => ".config/.bunfig.toml",
            _ => ".npmrc",
        })
    }

    /// Settings of a person who uses a registry, in the client's own way.
    fn former(&self) -> &'static str {
        match self.client {
            Client::Yarn1 => "# mine\nregistry \"https://packages.test/npm/\"\nlast 1",
            Client::Berry => {
                "# mine\nnpmRegistryServer: \"https://packages.test/npm/\"\n\
                 unsafeHttpWhitelist:\n  - lan.test\nnodeLinker: node-modules\n"
            }
            Client::Bun => {
                "# mine\n[install]\nregistry = \"https://packages.test/npm/\"\nexact = true\n"
            }
            _ => "; mine\nregistry=https://packages.test/npm/\nsave-exact=true",
        }
    }

    fn write_former(&self, bytes: &str) {
        let file = self.user_file();
        let folder = file.parent().expect("it lies in the home");
        fs_err::create_dir_all(folder).expect("a folder can be made");
        fs_err::write(file, bytes).expect("settings can be written");
    }

    fn file(&self) -> String {
        fs_err::read_to_string(self.user_file()).expect("the settings are there")
    }

    /// Installs a package that the node hosts, by the client's settings alone.
    #[track_caller]
    fn installs(&self) {
        let source = npm_package(&self.world.folder("sources"), "left-shift", "1.0.0", "one");
        self.node.griot(&["publish", &source.display().to_string()]);
        let add = if self.word() == "npm" { "install" } else { "add" };
        if self.client == Client::Berry {
            fs_err::write(self.project.join("yarn.lock"), "").expect("a file can be written");
        }
        self.client.ok(&self.home, &self.project, &[add, "left-shift@1.0.0"]);
        let module = self.project.join("node_modules/left-shift/index.js");
        assert_eq!(fs_err::read_to_string(module).expect("it is installed"), module_text("one"));
    }

    fn upstreams(&self) -> Vec<Value> {
        self.node.json(&["upstream", "list"]).as_array().cloned().expect("a list of upstreams")
    }
}

/// Link, the client's own word, an install, unlink: nothing of it stays.
#[track_caller]
fn there_and_back(client: Client) {
    let Some(it) = Setting::new(client) else { return };
    let node = it.node.url("/npm/");
    it.write_former(it.former());
    let linked = it.link();
    assert_eq!(linked["registry"], node.as_str(), "{linked}");
    assert_eq!(linked["changed"], true);
    if client == Client::Bun {
        assert_eq!(linked["proved"], Value::Null, "bun cannot be asked");
    } else {
        assert_eq!(linked["proved"], true, "{linked}");
        assert_eq!(it.registry(), node);
    }
    let upstreams = it.upstreams();
    assert_eq!(upstreams.len(), 1, "{upstreams:?}");
    assert_eq!((&upstreams[0]["url"], &upstreams[0]["default"]), (&json!(ELSEWHERE), &json!(true)));

    let written = it.file();
    let again = it.link();
    assert_eq!((&again["changed"], &again["adopted"]), (&json!(false), &json!([])), "{again}");
    assert_eq!(it.file(), written, "linked twice is linked once");
    assert_eq!(it.upstreams().len(), 1);
    it.installs();

    assert_eq!(it.unlink()["state"], "restored");
    assert_eq!(it.file(), it.former(), "the bytes are the former ones");
    assert_eq!(it.unlink()["state"], "not-linked");
}

#[test]
fn npm_8_goes_there_and_back() {
    there_and_back(Client::Npm8);
}

#[test]
fn npm_11_goes_there_and_back() {
    there_and_back(Client::Npm11);
}

#[test]
fn npm_12_goes_there_and_back() {
    there_and_back(Client::Npm12);
}

#[test]
fn pnpm_goes_there_and_back() {
    there_and_back(Client::Pnpm);
}

#[test]
fn yarn_1_goes_there_and_back() {
    there_and_back(Client::Yarn1);
}

#[test]
fn berry_goes_there_and_back() {
    there_and_back(Client::Berry);
}

#[test]
fn bun_goes_there_and_back() {
    there_and_back(Client::Bun);
}

/// What a person adds in between stays, for each kind of file.
#[test]
fn edits_in_between_stay_and_only_the_block_goes() {
    for client in [Client::Npm11, Client::Yarn1, Client::Berry, Client::Bun] {
        let Some(it) = Setting::new(client) else { return };
        let former = format!("{}\n", it.former().trim_end());
        it.write_former(&former);
        it.link();
        it.write_former(&format!("# above\n{}# below\n", it.file()));
        assert_eq!(it.unlink()["state"], "edited", "{}", client.name());
        assert_eq!(it.file(), format!("# above\n{former}# below\n"), "{}", client.name());
    }
}

#[test]
fn a_file_that_npm_has_rewritten_is_mended_without_its_marks() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former("registry=https://packages.test/npm/\n");
    it.link();
    it.client.ok(&it.home, &it.project, &["config", "set", "save-exact=true"]);
    assert!(!it.file().contains("griot"), "npm keeps no comments: {}", it.file());
    assert_eq!(it.registry(), it.node.url("/npm/"));
    assert_eq!(it.unlink()["state"], "edited");
    assert_eq!(it.registry(), ELSEWHERE);
    assert_eq!(it.client.ok(&it.home, &it.project, &["config", "get", "save-exact"]), "true");
}

#[test]
fn a_file_that_was_made_goes_again_unless_something_else_is_in_it() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    fs_err::write(it.home.join("npmrc-global"), format!("registry={ELSEWHERE}\n"))
        .expect("settings can be written");
    it.link();
    assert_eq!(it.upstreams()[0]["url"], ELSEWHERE, "npm itself said so");
    assert_eq!(it.unlink()["state"], "restored");
    assert!(!it.user_file().exists());

    it.link();
    it.write_former(&format!("{}save-exact=true\n", it.file()));
    it.unlink();
    assert_eq!(it.file(), "save-exact=true\n");
}

#[cfg(unix)]
#[test]
fn mode_line_endings_and_symbolic_links_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(it) = Setting::new(Client::Npm11) else { return };
    let former = "registry=https://packages.test/npm/\r\nsave-exact=true\r\n";
    let real = it.world.folder("dotfiles").join("npmrc");
    fs_err::write(&real, former).expect("settings can be written");
    fs_err::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).expect("a mode is set");
    std::os::unix::fs::symlink(&real, it.user_file()).expect("a link can be made");
    let mode = || fs_err::metadata(&real).expect("it is there").permissions().mode() & 0o777;
    it.link();
    assert_eq!(it.registry(), it.node.url("/npm/"));
    let linked = it.file();
    assert_eq!(linked.matches('\n').count(), linked.matches("\r\n").count(), "{linked:?}");
    assert_eq!(mode(), 0o640);
    it.unlink();
    assert_eq!((it.file().as_str(), mode()), (former, 0o640));
    assert!(fs_err::symlink_metadata(it.user_file()).expect("it is there").is_symlink());
    let saved = fs_err::metadata(it.node.home().join("links")).expect("records lie there");
    assert_eq!(saved.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_project_is_linked_alone() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    let linked = it.griot(&["link", "npm", "--project"]);
    let file = it.project.join(".npmrc");
    assert_eq!(Path::new(&text(&linked[0], "file")), file.canonicalize().expect("it is there"));
    assert_eq!(it.registry(), it.node.url("/npm/"));
    assert_eq!(it.file(), it.former(), "the user's settings are as they were");
    let elsewhere = it.client.ok(&it.home, &it.home, &["config", "get", "registry"]);
    assert_eq!(elsewhere, ELSEWHERE);
    assert_eq!(it.unlink()["state"], "not-linked", "for the user it is not");
    let unlinked = it.griot(&["unlink", "npm", "--project"]);
    assert_eq!(unlinked[0]["state"], "restored");
    assert!(!file.exists());
}

#[test]
fn scopes_and_their_tokens_are_adopted_and_no_token_is_told() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former(
        "registry=https://packages.test/npm/\n//packages.test/npm/:_authToken=s3cret-one\n\
         @acme:registry=https://acme.test/npm/\n//acme.test/npm/:_authToken=s3cret-two\n",
    );
    let linked = it.link();
    assert_eq!(linked["past"], json!([]), "{linked}");
    assert!(!linked.to_string().contains("s3cret"));
    let scoped = it.client.ok(&it.home, &it.project, &["config", "get", "@acme:registry"]);
    assert_eq!(scoped, it.node.url("/npm/"));
    let upstreams = it.upstreams();
    let row = |url: &str| upstreams.iter().find(|row| row["url"] == url).expect("it is adopted");
    assert_eq!(row("https://acme.test/npm/")["patterns"], json!(["@acme/*"]));
    assert_eq!(row("https://acme.test/npm/")["default"], false);
    assert!(upstreams.iter().all(|row| row["credential"] == true), "{upstreams:?}");
    let routes = it.node.griot(&["route", "list"]);
    assert!(routes.contains("npm:@acme/* → https://acme.test/npm/"), "{routes}");
    assert!(!it.file().contains(&format!("//{}/npm/:_authToken", it.node.address())));
    assert!(!it.node.logs().contains("s3cret"));
}

#[test]
fn a_scope_of_a_project_goes_past_a_link_of_the_user_and_is_told() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    fs_err::write(it.project.join(".npmrc"), "registry=https://project.test/\n")
        .expect("settings can be written");
    let linked = it.link();
    let past = linked["past"].to_string();
    assert!(past.contains("project.test") && past.contains("--project"), "{linked}");
}

#[test]
fn a_variable_that_comes_before_every_file_is_a_failure_that_names_it() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former("save-exact=true\n");
    let mut command = it.command(&["link", "npm"]);
    command.env("npm_config_registry", ELSEWHERE);
    let output = run(&mut command, EVENTUALLY);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("unset npm_config_registry"), "{}", said(&output));
    it.unlink();
    assert_eq!(it.file(), "save-exact=true\n");
}

#[test]
fn linked_to_publish_npm_publishes_and_unlinked_its_token_is_no_good() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    it.griot(&["link", "npm", "--publish"]);
    let source = npm_package(&it.world.folder("sources"), "left-shift", "1.0.0", "one");
    it.client.ok(&it.home, &source, &["publish"]);
    assert_eq!(it.node.version("npm", "left-shift", "1.0.0")["state"], "ok");
    assert_eq!(it.node.json(&["token", "list"]).as_array().map(Vec::len), Some(1));
    it.unlink();
    assert_eq!(it.node.json(&["token", "list"]), json!([]));
    assert_eq!(it.file(), it.former());
}

#[test]
fn without_a_node_nothing_is_written_and_unlink_still_works() {
    let Some(mut it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    it.link();
    it.node.kill9();
    let (told, code) = it.refused(&["link", "npm", "--project"]);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("griot up"), "{told}");
    assert!(!it.project.join(".npmrc").exists());
    assert_eq!(it.unlink()["state"], "restored");
    assert_eq!(it.file(), it.former());
}

#[test]
fn a_node_that_moved_to_another_port_is_linked_anew_and_is_no_upstream_of_itself() {
    let Some(mut it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    it.link();
    it.node.kill9();
    it.node.up();
    let linked = it.link();
    assert_eq!((&linked["changed"], &linked["adopted"]), (&json!(true), &json!([])), "{linked}");
    assert_eq!(it.registry(), it.node.url("/npm/"));
    assert_eq!(it.upstreams().len(), 1);
    let (told, code) = it.refused(&["upstream", "add", "npm", &it.node.url("/npm/")]);
    assert!(code == 2 && told.contains("this node itself"), "{code} {told}");
    assert_eq!(it.unlink()["state"], "restored");
    assert_eq!(it.file(), it.former());
}

#[test]
fn link_alone_lists_and_an_unknown_client_is_wrong_use() {
    let Some(it) = Setting::new(Client::Npm11) else { return };
    it.write_former(it.former());
    let names = |rows: &Value| -> Vec<String> {
        rows.as_array().expect("a list").iter().map(|row| text(row, "client")).collect()
    };
    let rows = it.griot(&["link"]);
    let all = ["cargo", "npm", "pnpm", "yarn", "berry", "bun", "pip", "uv", "poetry", "twine"];
    assert_eq!(names(&rows), all);
    assert!(rows.as_array().expect("a list").iter().all(|row| row["links"] == json!([])));
    it.link();
    let rows = it.griot(&["link"]);
    assert_eq!(rows[1]["links"][0]["registry"], it.node.url("/npm/").as_str());
    assert_eq!(rows[1]["links"][0]["unchanged"], true);
    let (told, code) = it.refused(&["link", "nosuch"]);
    assert!(code == 2 && told.contains("berry"), "{code} {told}");
}

#[test]
fn who_joins_takes_the_sites_upstream_and_copies_nothing() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let url = "http://127.0.0.1:9/npm/";
    let alone = a.json(&["upstream", "add", "npm", url]);
    assert_eq!((&alone["told"], &alone["default"]), (&json!("this-machine"), &json!(true)));
    let told = a.json(&["upstream", "add", "npm", url, "--site"]);
    assert_eq!(told["told"], "signed");
    assert_eq!(a.json(&["upstream", "add", "npm", url, "--site"])["told"], "before");
    let acme = "https://acme.test/npm";
    let scoped = a.json(&["upstream", "add", "npm", acme, "--names", "@acme/*"]);
    assert_eq!((&scoped["told"], &scoped["default"]), (&json!("signed"), &json!(false)));
    assert_eq!(b.json(&["upstream", "list"]), json!([]));

    b.join(&a);
    let rows = wait_for("the site's upstreams", EVENTUALLY, || {
        let rows = b.json(&["upstream", "list"]);
        let all = rows.as_array().cloned().unwrap_or_default();
        if all.len() == 2 { Ok(all) } else { Err(rows.to_string()) }
    });
    assert!(rows.iter().all(|row| row["of"] == "site"), "{rows:?}");
    let default = rows.iter().find(|row| row["default"] == true).expect("one is the default");
    assert_eq!((&default["url"], &default["patterns"]), (&json!(url), &json!(["*"])));
    let routed = rows.iter().find(|row| row["url"] == "https://acme.test/npm/").expect("adopted");
    assert_eq!(routed["patterns"], json!(["@acme/*"]));

    let (told, code) = b.refused(&["upstream", "add", "npm", ELSEWHERE, "--default", "--site"]);
    assert!(code == 5 && told.contains("joined a site"), "{code} {told}");
    let own = b.json(&["upstream", "add", "npm", ELSEWHERE, "--default"]);
    assert_eq!((&own["told"], &own["default"]), (&json!("other-site"), &json!(true)));
    let gone = b.griot(&["upstream", "remove", "npm", ELSEWHERE]);
    assert!(gone.contains("by the site's route"), "{gone}");
}

#[test]
fn routes_and_accepts_name_upstreams() {
    let world = World::new();
    let node = world.node("a");
    let (told, code) = node.refused(&["route", "add", "npm:left-*", "upstream"]);
    assert!(code == 3 && told.contains("griot upstream add npm"), "{code} {told}");
    node.json(&["upstream", "add", "npm", ELSEWHERE, "--private"]);
    node.json(&["route", "add", "npm:left-*", "upstream"]);
    node.json(&["route", "add", "npm:@acme/*", "https://acme.test/npm"]);
    let routes = node.griot(&["route", "list"]);
    assert!(routes.contains("own  npm:left-* → https://packages.test/npm/"), "{routes}");
    assert!(routes.contains("own  npm:@acme/* → https://acme.test/npm/"), "{routes}");
    let why = node.json(&["why", "left-pad", "--format", "npm"]);
    assert!(why.to_string().contains("upstream"), "{why}");

    let source = npm_package(&world.folder("sources"), "mine", "1.0.0", "one");
    node.griot(&["publish", &source.display().to_string()]);
    node.json(&["accept", "mine", "--format", "npm", "--source", "upstream"]);
    let why = node.json(&["why", "mine", "--format", "npm"]).to_string();
    assert!(why.contains("pin"), "{why}");
}

#[test]
fn an_upstream_is_added_listed_and_removed() {
    let world = World::new();
    let node = world.node("a");
    let token = world.path().join("token");
    fs_err::write(&token, "s3cret\n").expect("a file can be written");
    let token = token.display().to_string();
    let same = "https://mirror.test/npm/";
    let add = ["upstream", "add", "npm", ELSEWHERE, "--token-file", &token, "--same-as", same];
    let added = node.json(&add);
    assert_eq!((&added["credential"], &added["told"]), (&json!(true), &json!("signed")));
    assert_eq!(added["same_as"].as_array().map(Vec::len), Some(1));
    let listed = node.griot(&["upstream", "list"]);
    assert!(listed.contains("packages.test") && listed.contains("with a token"), "{listed}");
    assert!(!listed.contains("s3cret"));
    assert!(!node.json(&["realm", "show"]).to_string().contains("s3cret"));
    node.json(&["upstream", "remove", "npm", &text(&added, "origin")]);
    let (told, code) = node.refused(&["upstream", "remove", "npm", ELSEWHERE]);
    assert!(code == 3 && told.contains("upstream list"), "{code} {told}");
    for wrong in ["ftp://packages.test/", "nonsense", "https://me:pw@packages.test/"] {
        let (told, code) = node.refused(&["upstream", "add", "npm", wrong]);
        assert!(code == 2 && !told.contains("me:pw"), "{code} {told}");
    }
}
