//! A board without a battery boots in 1970, another thinks that it is 2099: nothing waits for them.

use crate::harness::samples::npm_package;
use crate::harness::{Clock, Node, NodeOptions, Npm, SOON, World, wait_until};

fn node_at(world: &World, name: &str, clock: Clock) -> Node {
    Node::start(world, name, NodeOptions { clock: Some(clock), ..NodeOptions::default() })
}

#[test]
fn publish_sync_and_install_go_on_with_the_clocks_at_1970_and_2099() {
    let Some(early) = Clock::at("1970-01-02 00:00:00") else { return };
    let Some(late) = Clock::at("2099-06-01 00:00:00") else { return };
    let world = World::new();
    let a = node_at(&world, "a", early.clone());
    let mut b = node_at(&world, "b", late);
    let token = a.token("publish");
    let Some(npm_a) = Npm::new(&world, "a", &a, Some(&token)) else { return };
    a.json(&["realm", "grant", "npm:*", &b.publisher()]);
    b.join(&a);
    let (realm, key) = (a.realm(), b.publisher());
    wait_until("b to know that it may publish", SOON, || {
        b.griot(&["realm", "show", &realm, "--json"]).contains(&key)
    });
    let sources = world.folder("sources");
    npm_a.ok(&npm_package(&sources, "from-1970", "1.0.0", "x"), &["publish"]);
    let token_b = b.token_for("publish", Some(&realm));
    let npm_b = Npm::new(&world, "b", &b, Some(&token_b)).expect("npm was there a moment ago");
    npm_b.ok(&npm_package(&sources, "from-2099", "1.0.0", "x"), &["publish"]);
    let later = b.wait_held("npm", ("from-1970", "1.0.0"), SOON);
    assert!(later["published"].as_str().is_some_and(|day| day.starts_with("1970")), "{later}");
    let later = a.wait_held("npm", ("from-2099", "1.0.0"), SOON);
    assert!(later["published"].as_str().is_some_and(|day| day.starts_with("2099")), "{later}");
    npm_a.ok(&npm_a.project(), &["install", "from-1970", "from-2099"]);

    // The clock goes back by 129 years; token and packages stay good.
    b.kill9();
    b.set_clock(early);
    b.up();
    let npm_b = Npm::new(&world, "b-again", &b, Some(&token_b)).expect("npm was there");
    npm_b.ok(&npm_package(&sources, "from-2099", "1.1.0", "y"), &["publish"]);
    npm_b.ok(&npm_b.project(), &["install", "from-2099@1.1.0", "from-1970"]);
}
