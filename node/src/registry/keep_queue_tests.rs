//! A stretch of the queue is bounded, fair, and comes to everything in the end.

use tempfile::tempdir;

use super::*;

fn signer(number: u8) -> PublicKey {
    crdt::SecretKey::from_seed(&[number; 32]).public()
}

fn entry(by: u8, number: u64, size: u64) -> Entry {
    let digest = Digest::of(&[&[by], number.to_le_bytes().as_slice()].concat());
    let package = PackageId::new("generic", "x");
    let release = StatementId(Digest::of(&number.to_le_bytes()));
    (digest, Lacking { package, release, signer: signer(by), size, attached: false })
}

async fn queue(store: &Store, entries: &[Entry]) {
    let row = |(digest, row): &Entry| (row.key(digest), serde_json::to_vec(row).unwrap());
    store.put_rows(KEEP, entries.iter().map(row).collect()).await.unwrap();
}

/// Entries of one signer.
fn many(by: u8, count: u64) -> Vec<Entry> {
    (0..count).map(|number| entry(by, number, 1)).collect()
}

/// A pass in which all that is chosen is tried; what that was.
fn pass(store: &Store, places: &mut Places) -> (Vec<Entry>, bool) {
    let stretch = Stretch::read(store, places).unwrap();
    let chosen = stretch.choose(Vec::new(), u64::MAX);
    let digests: Vec<Digest> = chosen.iter().map(|(digest, _)| *digest).collect();
    stretch.had_turns(places, &digests, digests.len());
    (chosen, stretch.more)
}

#[tokio::test]
async fn a_long_queue_is_read_in_stretches_until_all_had_their_turn() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let all = many(1, 3_000);
    queue(&store, &all).await;
    let (mut places, mut seen) = (Places::default(), BTreeSet::new());
    for round in 0..3 {
        let (chosen, more) = pass(&store, &mut places);
        assert_eq!(chosen.len(), ROUND_FILES_MAX, "round {round}");
        assert!(more);
        seen.extend(chosen.into_iter().map(|(digest, _)| digest));
    }
    assert_eq!(seen.len(), all.len(), "nothing twice before everything once");
}

#[tokio::test]
async fn who_has_little_comes_in_every_pass_beside_who_has_much() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let few = many(2, 3);
    queue(&store, &many(1, 2_500)).await;
    queue(&store, &few).await;
    let mut places = Places::default();
    for _ in 0..4 {
        let (chosen, more) = pass(&store, &mut places);
        let of_few = chosen.iter().filter(|(_, row)| row.signer == signer(2)).count();
        assert!(of_few == few.len() && more);
        assert_eq!(chosen[1].1.signer, chosen[3].1.signer, "in turns");
        assert_ne!(chosen[0].1.signer, chosen[1].1.signer, "in turns");
    }
}

#[tokio::test]
async fn of_more_signers_than_a_pass_takes_all_come_in_the_end() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let keys: BTreeSet<PublicKey> = (0..3_u8).map(signer).collect();
    for by in 0..3 {
        queue(&store, &many(by, 2)).await;
    }
    let (found, all) = signers(&store, "").unwrap();
    let expected: BTreeSet<String> = keys.iter().map(ToString::to_string).collect();
    assert!(all && found.iter().eq(&expected));
    // Behind the second one, and round.
    let (round, all) = signers(&store, &found[1]).unwrap();
    assert!(all);
    assert_eq!(round, [found[2].clone(), found[0].clone(), found[1].clone()]);
    // Behind one that is gone.
    assert_eq!(signers(&store, &format!("{}f", found[0])).unwrap().0[0], found[1]);
}

#[tokio::test]
async fn what_has_no_room_holds_up_nothing_that_has() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let large: Vec<Entry> = (0..2_000).map(|number| entry(1, number, 1 << 20)).collect();
    let small = entry(1, 99_999, 5);
    queue(&store, &large).await;
    queue(&store, std::slice::from_ref(&small)).await;
    let mut places = Places::default();
    let found = (0..3).any(|_| {
        let stretch = Stretch::read(&store, &mut places).unwrap();
        let chosen = stretch.choose(Vec::new(), 100);
        let digests: Vec<Digest> = chosen.iter().map(|(digest, _)| *digest).collect();
        stretch.had_turns(&mut places, &digests, digests.len());
        digests == [small.0]
    });
    assert!(found);
}

#[tokio::test]
async fn what_was_not_tried_comes_first_in_the_next_pass() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    queue(&store, &many(1, 10)).await;
    let mut places = Places::default();
    let stretch = Stretch::read(&store, &mut places).unwrap();
    assert!(!stretch.more);
    let chosen = stretch.choose(vec![entry(3, 1, 1)], u64::MAX);
    let digests: Vec<Digest> = chosen.iter().map(|(digest, _)| *digest).collect();
    assert_eq!((digests.len(), digests[0]), (11, entry(3, 1, 1).0), "what is fresh is first");
    stretch.had_turns(&mut places, &digests, 4);
    let next = Stretch::read(&store, &mut places).unwrap();
    let next: Vec<Digest> = next.entries.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(next, [&digests[4..], &digests[1..4]].concat());
}
