//! What goes from a shared bucket, and what must not: two nodes and what they tell each other.

use std::time::Duration;

use tempfile::{TempDir, tempdir};

use super::super::super::{Error, Hashes, Swept};
use super::super::sweep::SweepOrder;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two nodes in front of one bucket.
struct Two {
    homes: [TempDir; 2],
    a: Store,
    b: Store,
    objects: Arc<Faulty>,
}

impl Two {
    fn new() -> Self {
        let homes = [tempdir().unwrap(), tempdir().unwrap()];
        let (bucket, objects) = bucket(ROOM);
        let [a, b] = [0, 1].map(|side| open(homes[side].path(), &bucket));
        Self { homes, a, b, objects }
    }

    fn age(&self, info: &BlobInfo, days: u32) {
        self.objects.age(&key(info), DAY * days);
    }

    async fn is_there(&self, info: &BlobInfo) -> bool {
        self.objects.object(&key(info)).await.is_some()
    }
}

async fn sweep(store: &Store) -> Swept {
    store.sweep_bucket(&SweepOrder::default(), None).await.unwrap()
}

#[tokio::test]
async fn what_b_names_survives_the_sweep_of_a_and_what_nobody_names_goes_after_the_grace() {
    let two = Two::new();
    let (of_a, of_b) = (stored(&two.a, b"of a").await, stored(&two.b, b"of b").await);
    let of_both = stored(&two.a, b"of both").await;
    stored(&two.b, b"of both").await;
    let nobody = stored(&two.a, b"of nobody").await;
    for gone in [&nobody, &of_both] {
        two.a.remove_blob(&gone.digest).await.unwrap();
    }
    two.b.write_names(true).await.unwrap();
    let all = [&of_a, &of_b, &of_both, &nobody];
    assert_eq!(sweep(&two.a).await.removed.count, 0, "all are young");
    all.iter().for_each(|info| two.age(info, 2));
    let trial = SweepOrder { dry_run: true, ..SweepOrder::default() };
    let told = two.a.sweep_bucket(&trial, None).await.unwrap();
    assert_eq!((told.removed.count, told.removed.bytes, told.nodes.len()), (1, 9, 2));
    assert!(two.is_there(&nobody).await, "it was only said");
    assert_eq!(sweep(&two.a).await.removed.count, 1);
    let there = [&of_a, &of_b, &of_both].map(|info| two.is_there(info));
    assert_eq!(futures::future::join_all(there).await, [true; 3]);
    assert!(!two.is_there(&nobody).await);
    let left = two.objects.keys().await;
    assert!(!left.iter().any(|key| key.contains("sweeps/")), "it is over: {left:?}");
}

#[tokio::test]
async fn a_longer_grace_is_kept_and_a_shorter_one_is_a_day() {
    let two = Two::new();
    let nobody = stored(&two.a, b"of nobody").await;
    two.a.remove_blob(&nobody.digest).await.unwrap();
    let order = |days: u64| SweepOrder { grace: days * DAY.as_secs(), ..SweepOrder::default() };
    two.objects.age(&key(&nobody), DAY / 2);
    assert_eq!(two.a.sweep_bucket(&order(0), None).await.unwrap().young.count, 1);
    two.age(&nobody, 3);
    assert_eq!(two.a.sweep_bucket(&order(5), None).await.unwrap().removed.count, 0);
    assert_eq!(two.a.sweep_bucket(&order(2), None).await.unwrap().removed.count, 1);
}

#[tokio::test]
async fn a_silent_node_holds_back_what_came_since_its_list_until_it_is_forgotten() {
    let two = Two::new();
    stored(&two.b, b"of b").await;
    two.b.write_names(true).await.unwrap();
    let b = two.b.bucket().unwrap().node;
    let nobody = stored(&two.a, b"of nobody").await;
    two.a.remove_blob(&nobody.digest).await.unwrap();
    two.age(&nobody, 30);
    let forget = SweepOrder { forget: vec![b.clone()], ..SweepOrder::default() };
    let refused = two.a.sweep_bucket(&forget, None).await;
    assert!(matches!(&refused, Err(Error::NotSwept { why }) if why.contains("it is not gone")));
    two.objects.age(&format!("griot/nodes/{b}/names"), DAY * 40);
    let swept = sweep(&two.a).await;
    let silent = swept.nodes.iter().find(|node| node.node == b).unwrap();
    assert_eq!((swept.removed.count, silent.names, silent.silent / DAY.as_secs()), (0, 1, 40));
    let swept = two.a.sweep_bucket(&forget, None).await.unwrap();
    assert_eq!((swept.removed.count, swept.forgotten), (1, vec![b]));
    assert_eq!(swept.nodes.len(), 1);
}

#[tokio::test]
async fn a_list_that_is_torn_or_wrong_ends_the_sweep_before_anything_goes() {
    let two = Two::new();
    let of_b = stored(&two.b, b"of b").await;
    two.b.write_names(true).await.unwrap();
    let nobody = stored(&two.a, b"of nobody").await;
    two.a.remove_blob(&nobody.digest).await.unwrap();
    [&of_b, &nobody].iter().for_each(|info| two.age(info, 2));
    let path = format!("griot/nodes/{}/names", two.b.bucket().unwrap().node);
    let list = two.objects.object(&path).await.unwrap();
    let mut wrong = list.clone();
    wrong[20] ^= 1;
    for broken in [wrong, list[..list.len() - 32].to_vec(), b"x".to_vec(), Vec::new()] {
        two.objects.replace(&path, broken).await;
        let refused = two.a.sweep_bucket(&SweepOrder::default(), None).await;
        assert!(matches!(&refused, Err(Error::NotSwept { why }) if why.contains("cannot be read")));
        assert!(two.is_there(&nobody).await && two.is_there(&of_b).await);
    }
    two.objects.replace(&path, list).await;
    assert_eq!(sweep(&two.a).await.removed.count, 1);
}

#[tokio::test]
async fn an_old_object_that_b_has_just_relied_on_survives_by_its_claim() {
    let two = Two::new();
    let info = stored(&two.a, b"published once").await;
    two.a.remove_blob(&info.digest).await.unwrap();
    two.age(&info, 9);
    two.b.write_names(true).await.unwrap();
    stored(&two.b, b"published once").await;
    let claim = format!("claim-{}", info.digest.to_hex());
    assert!(two.objects.keys().await.iter().any(|key| key.ends_with(&claim)));
    assert_eq!(sweep(&two.a).await.removed.count, 0);
    two.b.write_names(true).await.unwrap();
    assert!(!two.objects.keys().await.iter().any(|key| key.ends_with(&claim)), "it is in the list");
    assert_eq!(sweep(&two.a).await.removed.count, 0);
    assert!(two.is_there(&info).await);
}

#[tokio::test]
async fn an_old_object_that_b_recalled_stays_here_until_its_claim_is_written() {
    let two = Two::new();
    let info = stored(&two.a, &noise(5000)).await;
    two.a.remove_blob(&info.digest).await.unwrap();
    two.age(&info, 9);
    two.b.write_names(true).await.unwrap();
    assert!(two.b.recall(&info.digest, info.size, Hashes::default()).await.unwrap());
    assert_eq!(two.b.bucket().unwrap().unsent, 1, "nobody knows of it");
    // The worst case: it goes before anybody is told.
    assert_eq!(sweep(&two.a).await.removed.count, 1);
    copies::send_all(&two.b).await;
    assert!(two.is_there(&info).await, "it was sent again");
    assert_eq!(content(&two.b, &info).await, noise(5000));
    drop(two.homes);
}

#[tokio::test]
async fn who_relies_on_an_old_object_waits_for_a_sweep_that_cannot_know_it() {
    let two = Two::new();
    let info = stored(&two.a, b"published once").await;
    two.age(&info, 9);
    two.objects.replace("griot/sweeps/00000000000abc", Vec::new()).await;
    let refused = two.b.commit(staged(&two.b, b"published once").await.unwrap()).await;
    assert!(matches!(&refused, Err(Error::NotSent { why, .. }) if why.contains("is removing")));
    two.objects.age("griot/sweeps/00000000000abc", DAY);
    stored(&two.b, b"published once").await;
}

#[tokio::test]
async fn a_bucket_that_falls_silent_and_a_home_without_one_say_so() {
    let two = Two::new();
    stored(&two.a, b"of a").await;
    two.objects.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = two.a.sweep_bucket(&SweepOrder::default(), None).await.unwrap_err();
    assert!(refused.to_string().contains("connection refused"), "{refused}");
    let home = tempdir().unwrap();
    let plain = Store::open(home.path()).unwrap();
    let refused = plain.sweep_bucket(&SweepOrder::default(), None).await;
    assert!(matches!(refused, Err(Error::NotSwept { .. })), "{refused:?}");
}
