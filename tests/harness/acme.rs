//! An organisation of three laptops, and the ways in which tests type at one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::node::text;
use super::samples::npm_package;
use super::{Node, SOON, World, wait_for};

/// Three laptops with a root key each, connected, and a realm of theirs in which two act.
#[derive(Debug)]
pub(crate) struct Acme {
    pub(crate) world: World,
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) c: Node,
    /// Its id.
    pub(crate) realm: String,
    /// The words of its recovery key.
    pub(crate) recovery: String,
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// The public root key of a home.
pub(crate) fn root(node: &Node) -> String {
    let keys = node.json(&["key", "show"]);
    keys["roots"][0].as_str().expect("a home has a root key").to_owned()
}

pub(crate) fn dialling(world: &World, name: &str, to: &Node) -> Node {
    world.node_dialling(name, &[to.multiaddress()])
}

/// Runs a verb with something on its standard input.
pub(crate) fn fed(node: &Node, arguments: &[&str], input: &str) -> Output {
    let mut command = node.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary under test starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("the verb reads its input");
    drop(stdin);
    child.wait_with_output().expect("the verb ends")
}

/// Runs a verb with a passphrase in its environment.
pub(crate) fn with_passphrase(node: &Node, arguments: &[&str], passphrase: &str) -> Output {
    let mut command = node.command(arguments);
    command.env("GRIOT_PASSPHRASE", passphrase).stdin(Stdio::null());
    command.output().expect("the binary under test starts")
}

/// Publishes a package with these bytes in it.
pub(crate) fn publish(acme: &Acme, node: &Node, (name, version): (&str, &str), content: &str) {
    let source = npm_package(&acme.world.folder(content), name, version, content);
    node.json(&["publish", path(&source), "--realm", &acme.realm]);
}

impl Acme {
    pub(crate) fn found() -> Self {
        let world = World::new();
        let a = world.node("a");
        let (b, c) = (dialling(&world, "b", &a), dialling(&world, "c", &a));
        let (ra, rb, rc) = (root(&a), root(&b), root(&c));
        let made = a.json(&["key", "new", "--role", "recovery"]);
        let (hash, recovery) = (text(&made, "recovery_hash"), text(&made, "words"));
        let file = world.path().join("acme.griot");
        let publisher = b.publisher();
        let founded = a.json(&[
            "realm",
            "create",
            "Acme",
            "--root",
            &ra,
            "--root",
            &rb,
            "--root",
            &rc,
            "--recovery",
            &hash,
            "--publisher",
            &publisher,
            "--out",
            path(&file),
        ]);
        assert_eq!(founded["complete"], false, "{founded}");
        let realm = text(&founded, "realm");
        let (refused, _) = c.refused(&["realm", "post", path(&file)]);
        assert!(refused.contains("too few of its roots"), "{refused}");
        let signed = b.json(&["realm", "sign", path(&file), "--yes"]);
        assert_eq!((&signed["complete"], &signed["posted"]), (&true.into(), &true.into()));
        for node in [&a, &c] {
            assert_eq!(node.json(&["realm", "post", path(&file)])["posted"], true);
        }
        Self { world, a, b, c, realm, recovery }
    }

    pub(crate) fn show(&self, node: &Node) -> Value {
        node.json(&["realm", "show", &self.realm])
    }

    /// Waits until a node is at an epoch.
    #[track_caller]
    pub(crate) fn wait_epoch(&self, node: &Node, epoch: u64) -> Value {
        wait_for("a node to be at an epoch", SOON, || {
            let info = self.show(node);
            if info["epoch"] == epoch { Ok(info) } else { Err(info.to_string()) }
        })
    }

    /// Waits until something waits for signatures on a node; its id.
    #[track_caller]
    pub(crate) fn wait_pending(&self, node: &Node, kind: &str) -> String {
        wait_for("a statement to wait for signatures", SOON, || {
            let all = node.json(&["realm", "pending", &self.realm]);
            let rows = all.as_array().expect("a list");
            let found = rows.iter().find(|row| row["kind"] == kind);
            found.map(|row| text(row, "id")).ok_or_else(|| all.to_string())
        })
    }
}
