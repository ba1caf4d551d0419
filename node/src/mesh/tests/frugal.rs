//! What a metered link costs while there is nothing to do, and that it still tells what is new.
//!
//! Pings come sixty times as fast here as in a real node, every one or five seconds; nothing else
//! of an idle link is that frequent.

use super::super::allowance::{Allowance, Links};
use super::*;

/// How long an idle link is watched.
const WATCHED: Duration = Duration::from_secs(11);
/// How much faster pings are here.
const FASTER: u64 = 60;
/// What an hour of an idle metered link may cost. Source: product.md section 5.
const HOUR_MAX: u64 = 20_000;

fn metered() -> Allowance {
    Allowance { links: Links::Lan, amount: None, hours: None, metered: true }
}

/// Bytes of a node's links this month.
fn counted(node: &Node) -> u64 {
    let traffic = node.mesh.budget().traffic().expect("reads");
    let months = traffic.iter().filter(|row| row.label.len() == "2026-11".len());
    months.map(|row| row.count.bytes()).sum()
}

/// Bytes that pass in a while in which nothing happens.
async fn idle(node: &Node) -> u64 {
    let before = counted(node);
    sleep(WATCHED).await;
    counted(node) - before
}

async fn pair(is_metered: bool) -> (Realm, Node, Node) {
    let (one, two) = (Node::start(), Node::start());
    if is_metered {
        for node in [&one, &two] {
            node.mesh.budget().set(metered()).await.expect("is set");
        }
    }
    let realm = Realm::new("village");
    one.own(&realm).await;
    two.follow(&realm, FollowKind::Followed).await;
    two.meet(&one).await;
    two.gets(&realm.genesis).await;
    (realm, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_metered_link_stays_within_twenty_kilobytes_an_hour() {
    let ((_, dear, _keep), (_, cheap, _too)) = tokio::join!(pair(true), pair(false));
    let (paid, unpaid) = tokio::join!(idle(&dear), idle(&cheap));
    // Eleven seconds here are as many pings as eleven minutes are there.
    let hour = paid * 3_600 / WATCHED.as_secs() / FASTER;
    assert!(hour <= HOUR_MAX / 2, "{paid} bytes, {hour} an hour: half is left for the rest");
    assert!(paid * 3 < unpaid, "{paid} bytes where they are paid for, else {unpaid}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_crosses_a_metered_link_without_gossip() {
    let (realm, one, two) = pair(true).await;
    let releases = ["drum", "kora"].map(|name| realm.release(name, "1.0.0", b"boom"));
    for release in &releases {
        one.admit(release).await;
    }
    for release in &releases {
        two.gets(release).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_becomes_metered_is_made_anew_and_goes_on() {
    let (realm, one, two) = pair(false).await;
    two.mesh.budget().set(metered()).await.expect("is set");
    let release = realm.release("drum", "1.0.0", b"boom");
    one.admit(&release).await;
    two.gets(&release).await;
    assert!(two.mesh.budget().clear(&Links::Lan).await.expect("is cleared"));
    let release = realm.release("kora", "1.0.0", b"boom");
    one.admit(&release).await;
    two.gets(&release).await;
}
