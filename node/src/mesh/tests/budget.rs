//! A budget over real links: what it stops, in which order, and that it tells why.

use super::super::allowance::{Allowance, Amount, Links};
use super::super::calendar::Unit;
use super::super::lane::Lane;
use super::*;

fn month(bytes: u64) -> Allowance {
    let amount = Some(Amount { bytes, per: Unit::Month });
    Allowance { links: Links::Lan, amount, hours: None, metered: false }
}

/// A holder of a blob of so many bytes, and who may fetch it.
async fn two_nodes(length: usize) -> (Node, Node, Digest) {
    let (holder, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    holder.own(&realm).await;
    let content = bytes(length, 1);
    let release = holder.publish(&realm, "drum", &content).await;
    follower.follow(&realm, FollowKind::Followed).await;
    follower.meet(&holder).await;
    follower.gets(&release).await;
    (holder, follower, Digest::of(&content))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_waits_where_what_is_wanted_still_passes_and_both_pass_without_a_budget() {
    let (_holder, follower, digest) = two_nodes(100_000).await;
    let budget = follower.mesh.budget();
    budget.set(month(200_000)).await.expect("is set");
    let spent: u64 = budget.show().expect("reads").budgets[0].used.bytes();
    assert!(spent < 60_000, "the index alone took {spent}");
    // Bulk may use 160 kB of 200 and wanted 190: what is used already decides.
    budget.set(month((spent + 100_000) * 10 / 9)).await.expect("is set");
    let bulk = follower.mesh.fetch_in(Lane::Bulk, digest, 100_000).await;
    assert!(matches!(bulk, Err(Error::Waits(of, _)) if of == digest), "{bulk:?}");
    let waiting = budget.show().expect("reads").waiting;
    assert_eq!((waiting[0].lane, waiting[0].files, waiting[0].bytes), (Lane::Bulk, 1, 100_000));
    follower.mesh.fetch(digest, 100_000).await.expect("somebody waits for it");
    assert!(budget.show().expect("reads").waiting.is_empty(), "it waits no longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_holds_back_what_is_wanted_until_it_is_cleared_and_the_index_goes_on() {
    let (holder, follower, digest) = two_nodes(100_000).await;
    let budget = follower.mesh.budget();
    budget.set(month(50_000)).await.expect("is set");
    let wanted = follower.mesh.fetch(digest, 100_000).await;
    assert!(matches!(wanted, Err(Error::Waits(..))), "{wanted:?}");
    let realm = Realm::new("town");
    holder.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    follower.gets(&realm.genesis).await;
    budget.clear(&Links::Lan).await.expect("is cleared");
    follower.mesh.fetch(digest, 100_000).await.expect("nothing holds it back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_spent_his_budget_serves_nobody_and_is_not_punished_for_it() {
    let (holder, follower, digest) = two_nodes(100_000).await;
    let budget = holder.mesh.budget();
    budget.set(month(1)).await.expect("is set");
    let wanted = follower.mesh.fetch(digest, 100_000).await;
    assert!(matches!(wanted, Err(Error::Nowhere(_))), "{wanted:?}");
    budget.clear(&Links::Lan).await.expect("is cleared");
    follower.mesh.fetch(digest, 100_000).await.expect("nothing holds it back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_count_the_same_bytes() {
    let (holder, follower, digest) = two_nodes(300_000).await;
    follower.mesh.fetch(digest, 300_000).await.expect("is fetched");
    let of = |node: &Node, peer: PeerId| {
        let traffic = node.mesh.budget().traffic().expect("reads");
        let mut rows = traffic.into_iter().filter(|row| row.peer == peer.to_string());
        rows.find(|row| row.label.len() == "2026-11-22".len()).map(|row| row.count)
    };
    eventually("both agree", async || {
        let here = of(&holder, follower.mesh.local_peer());
        let there = of(&follower, holder.mesh.local_peer());
        let (Some(here), Some(there)) = (here, there) else { return false };
        assert!(there.received > 300_000 && here.sent > 300_000, "{here:?} {there:?}");
        (here.sent, here.received) == (there.received, there.sent)
    })
    .await;
}
