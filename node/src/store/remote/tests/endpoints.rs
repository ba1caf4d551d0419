//! A server that is silent, slow or unwilling: each is a sentence, in bounded time.

use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::super::super::Error;
use super::super::connection::Patience;
use super::server::{Mood, Server};
use super::*;

/// Waits that a test can sit out.
const SHORT: Patience = Patience {
    connect: Duration::from_millis(200),
    answer: Duration::from_millis(300),
    upload: Duration::from_millis(300),
    silence: Duration::from_millis(300),
    retry_within: Duration::from_millis(500),
};
/// Far longer than anything here takes, and far shorter than for ever.
const LONG: Duration = Duration::from_secs(20);

fn of(environment: &[(String, String)], patience: Patience) -> Bucket {
    Bucket::s3_with(("s3://blobs/village", ROOM), environment, patience).unwrap()
}

/// Why a copy did not come.
async fn not_fetched(store: &Store, info: &BlobInfo) -> String {
    ask_again(store);
    match store.open_blob(&info.digest).await {
        Err(Error::NotFetched { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_refusal_is_a_sentence_that_quotes_no_server_and_harms_nothing() {
    let (home, server) = (tempdir().unwrap(), Server::start().await);
    let store = open(home.path(), &of(&server.environment(), SHORT));
    let (here, there) = (stored(&store, b"here").await, stored(&store, b"there").await);
    drop_copy(&store, &there);
    for (status, code, told) in [
        (403, "InvalidAccessKeyId", "it denies access (InvalidAccessKeyId)"),
        (403, "SignatureDoesNotMatch", "it denies access (SignatureDoesNotMatch)"),
        (404, "NoSuchBucket", "there is no such bucket or object (NoSuchBucket)"),
        (500, "InternalError", "it refused (InternalError)"),
        (503, "SlowDown", "it refused (SlowDown)"),
    ] {
        server.mood(Mood::Refuses(status, code));
        assert_eq!(not_fetched(&store, &there).await, told);
        ask_again(&store);
        let refused = store.commit(staged(&store, b"new").await.unwrap()).await.unwrap_err();
        assert!(matches!(&refused, Error::NotSent { .. }), "{refused}");
        assert!(!refused.to_string().contains("AKIA"), "{refused}");
        assert_eq!(content(&store, &here).await, b"here");
    }
    server.mood(Mood::Well);
    ask_again(&store);
    assert_eq!(content(&store, &there).await, b"there");
}

#[tokio::test]
async fn a_server_that_fails_is_asked_three_times_and_no_more() {
    let (home, server) = (tempdir().unwrap(), Server::start().await);
    let patience = Patience { retry_within: LONG, ..SHORT };
    let store = open(home.path(), &of(&server.environment(), patience));
    let info = stored(&store, b"there").await;
    drop_copy(&store, &info);
    server.mood(Mood::Refuses(500, "InternalError"));
    not_fetched(&store, &info).await;
    let key = format!("GET /blobs/village/{}", &info.digest.to_hex()[..2]);
    assert_eq!(server.count(&key), 3);
    assert!(store.open_blob(&info.digest).await.is_err());
    assert_eq!(server.count(&key), 3, "it is left alone for a while");
}

#[tokio::test]
async fn a_black_hole_does_not_hold_up_a_start_nor_a_copy_and_a_miss_says_so_in_time() {
    let (home, server) = (tempdir().unwrap(), Server::start().await);
    let bucket = of(&server.environment(), SHORT);
    let store = open(home.path(), &bucket);
    let (here, there) = (stored(&store, b"here").await, stored(&store, b"there").await);
    drop_copy(&store, &there);
    drop(store);
    server.mood(Mood::Hole);
    let begun = Instant::now();
    let store = open(home.path(), &bucket);
    assert_eq!(content(&store, &here).await, b"here");
    assert_eq!(not_fetched(&store, &there).await, "it does not answer");
    let refused = store.commit(staged(&store, b"new").await.unwrap()).await.unwrap_err();
    assert!(refused.to_string().ends_with("it does not answer"), "{refused}");
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_address_that_swallows_packets_says_the_same() {
    // Kept for documentation: no machine has it.
    let mut environment = Server::start().await.environment();
    environment[0].1 = "http://192.0.2.1:9".to_owned();
    let home = tempdir().unwrap();
    let store = open(home.path(), &of(&environment, SHORT));
    let begun = Instant::now();
    let refused = store.commit(staged(&store, b"new").await.unwrap()).await.unwrap_err();
    assert!(matches!(refused, Error::NotSent { .. }), "{refused}");
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_slow_server_is_waited_for_and_one_that_stops_in_the_middle_is_not() {
    let (home, server) = (tempdir().unwrap(), Server::start().await);
    let store = open(home.path(), &of(&server.environment(), SHORT));
    let info = stored(&store, &noise(300_000)).await;
    drop_copy(&store, &info);
    server.mood(Mood::Pauses(100_000));
    assert!(!not_fetched(&store, &info).await.is_empty());
    assert!(!copied(&store, &info));
    let patience = Patience { answer: LONG, silence: LONG, ..SHORT };
    let store = {
        drop(store);
        open(home.path(), &of(&server.environment(), patience))
    };
    server.mood(Mood::Late(Duration::from_millis(700)));
    assert_eq!(content(&store, &info).await, noise(300_000));
}

#[tokio::test]
async fn a_bucket_that_takes_no_more_is_read_all_the_same() {
    let (home, server) = (tempdir().unwrap(), Server::start().await);
    let store = open(home.path(), &of(&server.environment(), SHORT));
    let info = stored(&store, b"there").await;
    drop_copy(&store, &info);
    server.mood(Mood::ReadOnly);
    let refused = store.commit(staged(&store, b"new").await.unwrap()).await.unwrap_err();
    assert!(refused.to_string().ends_with("it denies access (AccessDenied)"), "{refused}");
    ask_again(&store);
    assert_eq!(content(&store, &info).await, b"there");
}

#[test]
fn an_authority_that_is_no_certificate_is_refused_with_its_name() {
    let home = tempdir().unwrap();
    let file = home.path().join("authority.pem");
    let named = vec![("AWS_CA_BUNDLE".to_owned(), file.display().to_string())];
    let refusal = || Bucket::s3_in("s3://blobs", 1, &named).unwrap_err().to_string();
    assert!(refusal().contains("AWS_CA_BUNDLE"), "{}", refusal());
    fs_err::write(&file, "no certificate").unwrap();
    assert!(refusal().contains("no certificate in PEM form"), "{}", refusal());
}
