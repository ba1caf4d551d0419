//! Where a request may be led, and what travels with it.

use super::super::body::PORTAL;
use super::{Answer, Endpoint, FILE, World, body, wrong};
use crate::stub::{Raw, Tarballs};

#[tokio::test]
async fn the_credential_goes_to_the_upstreams_own_host_alone() {
    let mut world = World::new();
    let credential = Some("Bearer secret".to_owned());
    world.endpoint = Endpoint { credential, ..world.endpoint };
    world.stub.switch(|s| s.tarballs = Tarballs::OtherHost);
    let there = format!("{}files/{FILE}", world.stub.other_url());
    world.stub.raw("/moved", Raw::redirect(302, "/again"));
    world.stub.raw("/again", Raw::redirect(307, &there));
    let moved = body(world.get(&world.ask("moved")).await);
    // Asked for directly there, too.
    let direct = super::Ask { url: there, ..world.ask(FILE) };
    assert_eq!(body(world.get(&direct).await), moved);
    let seen: Vec<_> = world
        .stub
        .requests()
        .into_iter()
        .map(|it| (it.other_host, it.header("authorization").map(str::to_owned)))
        .collect();
    let secret = Some("Bearer secret".to_owned());
    assert_eq!(seen, [(false, secret.clone()), (false, secret), (true, None), (true, None)]);
    assert!(!format!("{:?}", world.endpoint).contains("secret"));
}

#[tokio::test]
async fn a_token_that_is_needed_is_sent() {
    let mut world = World::new();
    world.stub.switch(|s| s.require_token = Some("secret".to_owned()));
    let refused = world.get(&world.ask("left-pad")).await;
    assert!(matches!(refused, Err(super::Error::Status { status: 401, .. })), "{refused:?}");
    world.endpoint.credential = Some("Bearer secret".to_owned());
    body(world.get(&world.ask("left-pad")).await);
}

#[tokio::test]
async fn redirects_end() {
    let world = World::new();
    world.stub.raw("/round", Raw::redirect(301, "/round"));
    assert!(wrong(world.get(&world.ask("round")).await).contains("more than 5 times"));
    assert_eq!(world.stub.count("/round"), 6);
    for location in ["ftp://packages.test/", "http://", "file:///etc/passwd"] {
        world.stub.raw("/odd", Raw::redirect(302, location));
        wrong(world.get(&world.ask("odd")).await);
    }
}

#[tokio::test]
async fn a_redirect_to_the_web_page_of_another_host_is_a_portal_whatever_was_asked() {
    let world = World::new();
    let login = format!("{}login", world.stub.other_url());
    world.stub.raw("/left-pad", Raw::redirect(302, &login.replace("127.0.0.1", "localhost")));
    for status in [200, 404] {
        world.stub.raw("/login", Raw { status, ..Raw::ok("text/html", "<p>log in") });
        let ask = super::Ask { never_html: false, ..world.ask("left-pad") };
        assert_eq!(wrong(world.get(&ask).await), PORTAL);
    }
    world.check_nothing_kept();
    world.stub.raw("/login", Raw { status: 404, ..Raw::ok("application/json", "{}") });
    assert!(matches!(world.get(&world.ask("left-pad")).await, Ok(Answer::Absent)));
}
