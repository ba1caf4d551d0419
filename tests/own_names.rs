//! A name of ours that also exists upstream: pip's, uv's and cargo's own resolvers never get the
//! other one.
//!
//! Each test is an attack: somebody registers our name outside, with a version that every range
//! prefers. The stub upstream keeps every request, so "was not asked" is seen and not believed. What
//! npm does with such a name is in `confusion.rs`.

use std::path::Path;

use crate::harness::node::text;
use crate::harness::upstream::{Crate, Distribution, Stub};
use crate::harness::wait::said;
use crate::harness::{Cargo, Node, Python, SOON, World};

/// A node whose site has the stub as its upstream of Python packages and of crates.
fn with_upstream(world: &World, name: &str, stub: &Stub) -> Node {
    let node = world.node(name);
    node.json(&["upstream", "add", "pypi", &stub.simple_url(), "--site"]);
    node.json(&["upstream", "add", "cargo", &stub.index_url(), "--site"]);
    node
}

/// Uploads to a node with twine, which must succeed.
#[track_caller]
fn upload(world: &World, node: &Node, distribution: &Distribution) {
    let python = Python::new(world, "uploader").expect("the clients were there");
    let file = distribution.write(python.home());
    let output = python.twine(node, &node.token("publish"), &[&file]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_python_project_of_ours_is_never_taken_from_the_upstream_however_it_is_written() {
    let world = World::new();
    let Some(_) = Python::new(&world, "probe") else { return };
    let stub = Stub::start();
    let a = with_upstream(&world, "a", &stub);
    let b = world.node("b");
    b.json(&["join", &a.invite(), "--yes"]);
    upload(&world, &a, &Distribution::wheel("Village.Till", "1.0.0").says("ours"));
    stub.upload(Distribution::wheel("village-till", "99.0.0").says("theirs"));
    stub.upload(Distribution::wheel("left-pad", "1.0.0").requires("village_till"));
    stub.upload(Distribution::wheel("wants-theirs", "1.0.0").requires("village.till>=2"));
    b.wait_held("pypi", ("village-till", "1.0.0"), SOON);
    for (node, name) in [(&a, "a"), (&b, "b")] {
        for (at, written) in ["village-till", "Village_Till", "village.till"].iter().enumerate() {
            let python = Python::of(&world, &format!("{name}-{at}"), node).expect("it was there");
            python.pip(&["install", "--no-cache-dir", written]);
            assert_eq!(python.says("village_till"), "ours", "{written} from {name}");
        }
        // As a dependency of what does come from the upstream, and in a range of theirs.
        let python = Python::of(&world, &format!("{name}-uv"), node).expect("it was there");
        python.uv_pip("install", &["left-pad"]);
        assert_eq!(python.says("village_till"), "ours");
        let refused = python.uv_pip_refused("install", &["wants-theirs"]);
        assert!(refused.contains("village-till"), "{refused}");
        let refused = python.pip_refused(&["install", "village-till>=2"]);
        assert!(refused.contains("No matching distribution"), "{refused}");
        let page = node.get("/pypi/simple/village-till/");
        assert!(!page.text().contains("99.0.0"), "{}", page.text());
    }
    assert_eq!(stub.count("village"), 0, "the name went outside");
    assert!(stub.count("left-pad") > 0, "what is not ours came from the upstream");
}

/// A crate `app` with one dependency of the registry `griot`.
fn app(cargo: &Cargo, name: &str, range: &str) -> std::path::PathBuf {
    let app = cargo.app("app", &[]);
    let manifest = app.join("Cargo.toml");
    let mut said = fs_err::read_to_string(&manifest).expect("it was just written");
    said.push_str(&format!("{name} = {{ version = \"{range}\", registry = \"griot\" }}\n"));
    fs_err::write(manifest, said).expect("a manifest can be written");
    let main =
        format!("fn main() {{\n    println!(\"{{}}\", {}::SAYS);\n}}\n", name.replace('-', "_"));
    fs_err::write(app.join("src/main.rs"), main).expect("a source can be written");
    app
}

#[track_caller]
fn publish(cargo: &Cargo, folder: &Path) {
    let output = cargo.publish(folder);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_crate_of_ours_is_never_taken_from_the_upstream() {
    let world = World::new();
    let stub = Stub::start();
    let a = with_upstream(&world, "a", &stub);
    let Some(publisher) = Cargo::of(&world, "publisher", &a) else { return };
    let b = world.node("b");
    b.json(&["join", &a.invite(), "--yes"]);
    publisher.login(&a.token("publish"));
    let sources = world.folder("sources");
    publish(&publisher, &Crate::new("village-till", "1.0.0").says("ours").write_sources(&sources));
    stub.add_crate(Crate::new("village-till", "1.9.0").says("theirs"));
    stub.add_crate(Crate::new("village_till", "1.9.0").says("theirs, too"));
    stub.add_crate(Crate::new("pad", "1.0.0"));
    b.wait_held("cargo", ("village-till", "1.0.0"), SOON);
    stub.forget_requests();
    for (node, name) in [(&a, "a"), (&b, "b")] {
        let cargo = Cargo::of(&world, name, node).expect("cargo was there");
        assert_eq!(cargo.says(&app(&cargo, "village-till", "1")), "ours", "from {name}");
        let refused = cargo.refused(&app(&cargo, "village-till", "1.9"), &["fetch"]);
        assert!(refused.contains("village-till"), "{refused}");
        // What the upstream has comes from it, by the other name of the same node.
        assert_eq!(cargo.says(&cargo.app("other", &[("pad", "1")])), "pad-1.0.0");
        let line = node.get("/cargo/~hosted/index/vi/ll/village-till");
        assert!(!line.text().contains("1.9.0"), "{}", line.text());
    }
    assert_eq!(stub.count("village"), 0, "the name went outside");
    assert!(stub.count("3/p/pad") > 0, "what is not ours came from the upstream");
}

#[test]
fn a_name_of_the_upstream_that_was_looked_at_waits_for_a_word_before_it_is_ours() {
    let world = World::new();
    let Some(python) = Python::new(&world, "uploader") else { return };
    let stub = Stub::start();
    stub.upload(Distribution::wheel("right-pad", "1.0.0"));
    let a = with_upstream(&world, "a", &stub);
    assert_eq!(a.get("/pypi/simple/right-pad/").status, 200);
    let file = Distribution::wheel("right-pad", "9.9.9").says("ours").write(python.home());
    let output = python.twine(&a, &a.token("publish"), &[&file]);
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("griot route add pypi:right-pad"), "{}", said(&output));
    let realm = text(&a.json(&["realm", "show"]), "realm");
    a.json(&["route", "add", "pypi:right-pad", &realm]);
    let output = python.twine(&a, &a.token("publish"), &[&file]);
    assert!(output.status.success(), "{}", said(&output));
    let python = Python::of(&world, "reader", &a).expect("the clients were there");
    python.pip(&["install", "right-pad"]);
    assert_eq!(python.says("right_pad"), "ours");
}
