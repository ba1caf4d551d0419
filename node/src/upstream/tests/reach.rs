//! Down, up, slow and silent; how long a person waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Ask, Reach, Upstream};
use super::{Answer, Error, Progress, SOON, World, body, endpoint};

/// What a person gets: the answer, or `None` when it is time to say that the upstream is away.
async fn wait(world: &World, ask: &Ask) -> Option<Result<Answer, Error>> {
    tokio::select! {
        answer = world.get(ask) => Some(answer),
        () = world.upstream.patience(&world.endpoint, &ask.progress) => None,
    }
}

fn reach(world: &World) -> Reach {
    world.upstream.reach(&world.endpoint.origin)
}

#[tokio::test]
async fn a_closed_port_is_known_at_once_and_its_return_soon() {
    let world = World::new();
    body(world.get(&world.ask("left-pad")).await);
    world.stub.down();
    let answer = world.get(&world.ask("left-pad")).await;
    assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
    assert_eq!(reach(&world), Reach::Down);
    assert!(world.upstream.away(&world.endpoint.origin).is_some());
    world.stub.forget_requests();
    world.stub.up();
    let begun = Instant::now();
    for _ in 0..100 {
        let answer = world.get(&world.ask("left-pad")).await;
        let Err(Error::Unreachable { why, .. }) = answer else { panic!("{answer:?}") };
        assert!(why.contains("refused"), "the cause is remembered: {why}");
    }
    // While it is taken for down, nobody waits and nothing goes out.
    if begun.elapsed() < Duration::from_secs(4) {
        assert!(world.stub.requests().is_empty());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    while reach(&world) == Reach::Down {
        assert!(begun.elapsed() < SOON, "it was never asked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = world.get(&world.ask("left-pad")).await;
    }
    body(world.get(&world.ask("left-pad")).await);
}

#[tokio::test]
async fn a_black_hole_is_borne_for_a_moment_and_then_not_at_all() {
    let world = World::new();
    world.stub.switch(|s| s.black_hole = true);
    let begun = Instant::now();
    assert!(wait(&world, &world.ask("left-pad")).await.is_none());
    let first = begun.elapsed();
    assert!(first >= Duration::from_millis(1100), "{first:?}");
    assert!(first < Duration::from_secs(4), "{first:?}");
    assert_eq!(reach(&world), Reach::Down);
    let probes = world.stub.requests().iter().filter(|it| it.method == "HEAD").count();
    assert!((1..=2).contains(&probes), "{probes} probes");
    let begun = Instant::now();
    assert!(wait(&world, &world.ask("other")).await.is_none_or(|answer| answer.is_err()));
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.stub.count("/other"), 0);
}

#[tokio::test]
async fn a_flight_that_goes_on_behind_brings_the_origin_back() {
    let world = World::new();
    world.stub.switch(|s| s.slow = Some((String::new(), Duration::from_secs(2))));
    let ask = world.ask("left-pad");
    let flight = world.get(&ask);
    tokio::pin!(flight);
    tokio::select! {
        _ = &mut flight => panic!("it came before anybody lost patience"),
        () = world.upstream.patience(&world.endpoint, &ask.progress) => {}
    }
    assert_eq!(reach(&world), Reach::Down);
    body(flight.await);
    assert_eq!(reach(&world), Reach::Up);
}

#[tokio::test]
async fn a_server_that_is_slow_on_one_document_is_waited_for() {
    let world = World::new();
    world.stub.switch(|s| s.slow = Some(("left-pad".to_owned(), Duration::from_millis(3500))));
    let answer = wait(&world, &world.ask("left-pad")).await.expect("it showed life by its probes");
    body(answer);
    let seen = world.stub.requests();
    assert!(seen.iter().any(|it| it.method == "HEAD" && it.path == "/"), "{seen:?}");
    assert_eq!(reach(&world), Reach::Up);
}

#[tokio::test]
async fn bytes_of_another_host_are_waited_for_while_the_upstream_itself_is_silent() {
    let (world, files) = (World::new(), World::new());
    world.stub.switch(|s| s.black_hole = true);
    files.stub.switch(|s| s.slow = Some(("left-pad".to_owned(), Duration::from_millis(3500))));
    let ask = Ask { url: format!("{}left-pad", files.stub.url()), ..world.ask("left-pad") };
    body(wait(&world, &ask).await.expect("the host of the files showed life"));
    files.stub.switch(|s| (s.slow, s.black_hole) = (None, true));
    assert!(wait(&world, &ask).await.is_none(), "and when it does not, nobody waits for ever");
}

#[tokio::test]
async fn the_work_of_this_machine_is_nobodys_silence() {
    let world = World::new();
    world.stub.switch(|s| s.black_hole = true);
    let line = world.upstream.inner.client.lines.line(&world.endpoint.origin);
    let url = Arc::new(url::Url::parse(&world.endpoint.url).expect("the stub has a URL"));
    let (worked_on, waiting) = (Progress::default(), Progress::default());
    drop(worked_on.asked(&line, &url));
    // For a turn that others have who work on what came.
    let _queued = waiting.queued(&line, &url);
    for progress in [&worked_on, &waiting] {
        let patience = world.upstream.patience(&world.endpoint, progress);
        let end = tokio::time::timeout(Duration::from_secs(3), patience).await;
        assert!(end.is_err(), "it gave up while {progress:?}");
    }
    assert_eq!(reach(&world), Reach::Unknown);
    // Now somebody waits for a byte, and who waits for a turn waits for that.
    let _asked = worked_on.asked(&line, &url);
    let patience = world.upstream.patience(&world.endpoint, &waiting);
    tokio::time::timeout(SOON, patience).await.expect("it is silent now");
    assert_eq!(reach(&world), Reach::Down);
}

#[tokio::test]
async fn refusals_are_life_and_never_down() {
    let world = World::new();
    for status in [401, 404, 429, 500, 503] {
        world.stub.switch(|s| s.status = Some(status));
        let _ = world.get(&world.ask("left-pad")).await;
        assert_eq!(reach(&world), Reach::Up, "{status}");
    }
}

#[tokio::test]
async fn one_dead_upstream_delays_no_other() {
    let world = World::new();
    let dead = World::new();
    dead.stub.switch(|s| s.black_hole = true);
    let asks: Vec<_> = (0..40).map(|n| dead.ask(&format!("p{n}"))).collect();
    let stuck = asks.iter().map(|ask| world.upstream.get(&dead.endpoint, ask));
    let stuck = futures::future::join_all(stuck);
    let lively = async {
        for _ in 0..20 {
            body(world.get(&world.ask("left-pad")).await);
        }
    };
    tokio::select! {
        _ = stuck => panic!("a black hole answered"),
        done = tokio::time::timeout(SOON, lively) => done.expect("the other upstream is free"),
    }
    // At most sixteen at once: the others wait for their turn.
    assert!(dead.stub.requests().len() <= 16);
}

#[tokio::test]
async fn offline_nobody_is_asked_and_nobody_waits() {
    let world = World::new();
    let offline = Upstream::new(world.store.clone(), true).unwrap();
    let answer = offline.get(&world.endpoint, &world.ask("left-pad")).await;
    assert!(matches!(answer, Err(Error::Offline)));
    offline.patience(&world.endpoint, &Progress::default()).await;
    assert_eq!(offline.reach(&world.endpoint.origin), Reach::Down);
    assert!(world.stub.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_no_resolver_knows_is_unreachable() {
    let world = World::new();
    let nowhere = endpoint("http://packages.invalid/");
    let ask = Ask { url: "http://packages.invalid/left-pad".to_owned(), ..world.ask("left-pad") };
    let answer = world.upstream.get(&nowhere, &ask).await;
    assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
    assert_eq!(world.upstream.reach(&nowhere.origin), Reach::Down);
    assert_eq!(reach(&world), Reach::Unknown);
}
