//! A big file is passed on while it arrives, and never completed if it is wrong.

use super::stub::{Asker, Mood, Stub, line, sha512, tiny};
use super::*;

const SIZE: usize = 4 * 1024 * 1024;

fn big() -> String {
    "pad 1.0.0 0123456789abcdef\n".repeat(SIZE / 27)
}

async fn arriving(node: &Asker) -> Arriving {
    let file = "pad-1.0.0.txt";
    let got = node.registry.obtain(Door::Virtual, &tiny("pad"), "1.0.0", file).await.unwrap();
    match got {
        Obtained::Arriving(arriving) => *arriving,
        Obtained::Held(held) => panic!("it was waited for: {held:?}"),
    }
}

fn offer(stub: &Stub, declared: &str, sent: &str) {
    let declared = line(&stub.url, "pad", "1.0.0", &sha512(declared));
    stub.put("pad", &format!("name pad\ntag latest 1.0.0\n{declared}"));
    stub.put("files/pad-1.0.0.txt", sent);
    stub.mood(Mood::Halfway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_get_the_first_half_before_the_second_is_sent() {
    let stub = Stub::start().await;
    let node = Asker::of(&stub).await;
    offer(&stub, &big(), &big());
    let (mut one, mut two) = (arriving(&node).await, arriving(&node).await);
    assert_eq!(one.size, big().len() as u64);
    let first = one.next().await.unwrap().unwrap();
    assert!(!first.is_empty());
    stub.mood(Mood::Well);
    let mut got = first.to_vec();
    while let Some(piece) = one.next().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == big().into_bytes());
    let mut length = 0;
    while let Some(piece) = two.next().await.unwrap() {
        length += piece.len();
    }
    assert_eq!(length, big().len());
    assert_eq!(stub.asked("files/pad-1.0.0.txt"), 1);
    let pinned = node.registry.store().pinned_source(&tiny("pad")).unwrap();
    assert_eq!(pinned, Some(Source::Upstream { origin: None }));
    let file = "pad-1.0.0.txt";
    let held = node.registry.obtain(Door::Virtual, &tiny("pad"), "1.0.0", file).await.unwrap();
    assert!(matches!(held, Obtained::Held(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_one_breaks_off_before_its_last_byte() {
    let stub = Stub::start().await;
    let node = Asker::of(&stub).await;
    offer(&stub, "something else", &big());
    let mut file = arriving(&node).await;
    stub.mood(Mood::Well);
    let end = loop {
        match file.next().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().outcome, Outcome::Corrupt);
    assert!(file.sent < file.size, "{}", file.sent);
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::Corrupt);
    assert_eq!(node.registry.store().pinned_source(&tiny("pad")).unwrap(), None);
}
