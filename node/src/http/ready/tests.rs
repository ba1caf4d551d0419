//! Documents ready to be sent: the forms, the bound, one look-up for many, early renewal; what a
//! restart keeps.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};

use super::*;

mod stored;

const TEXT: &[u8] = b"{\"name\":\"left\",\"versions\":{\"1.0.0\":{},\"1.0.1\":{},\"1.0.2\":{}}}";

fn place(key: &str, again: &Arc<AtomicUsize>) -> Place {
    let again = Arc::clone(again);
    let package = PackageId::new("npm", key.split(' ').next().unwrap());
    let again: Again = Arc::new(move |_| {
        again.fetch_add(1, Ordering::SeqCst);
        async {}.boxed()
    });
    Place { key: key.into(), package, again: Some(again), asked: true }
}

fn made(bytes: impl Into<Bytes>) -> Made {
    let (kind, vary) = ("application/json".into(), "Accept".into());
    let label = Label { kind, etag: "\"e\"".into(), vary, hidden: 2 };
    Made { label, plain: Plain::Held(bytes.into()), read: None, lies: false }
}

fn seed() -> Seed {
    Seed::of("test 1", &[])
}

async fn document(bytes: impl Into<Bytes>) -> Arc<Document> {
    let ready = Ready::new(MEMORY_BYTES, None);
    ready.put(&place("a", &Arc::default()), seed(), made(bytes), None).await.unwrap()
}

fn asks(headers: &[(HeaderName, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

fn text(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn body(response: Response<Body>) -> Vec<u8> {
    crate::http::upload::small(&HeaderMap::new(), response.into_body(), u64::MAX).await.unwrap()
}

#[tokio::test]
async fn each_form_has_its_own_validator_and_its_exact_length() {
    let document = document([TEXT, TEXT, TEXT].concat()).await;
    for (asked, encoding, etag) in [
        ("identity", None, "\"e\""),
        ("gzip", Some("gzip"), "\"e-g\""),
        ("zstd", Some("zstd"), "\"e-z\""),
    ] {
        let headers = asks(&[(header::ACCEPT_ENCODING, asked)]);
        let head = document.answer(&Method::HEAD, &headers, Some(7)).await.unwrap();
        let whole = document.answer(&Method::GET, &headers, Some(7)).await.unwrap();
        assert_eq!(head.headers(), whole.headers());
        assert_eq!(text(&whole, header::CONTENT_ENCODING), encoding);
        assert_eq!(text(&whole, header::ETAG), Some(etag));
        assert_eq!(text(&whole, header::AGE), Some("7"));
        assert_eq!(text(&whole, HeaderName::from_static("x-griot-hidden-versions")), Some("2"));
        let length = text(&whole, header::CONTENT_LENGTH).unwrap().to_owned();
        let bytes = body(whole).await;
        assert_eq!(length, bytes.len().to_string());
        assert!(body(head).await.is_empty());
        let mut plain = Vec::new();
        match asked {
            "gzip" => drop(flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut plain)),
            "zstd" => plain = zstd::stream::decode_all(&*bytes).unwrap(),
            _ => plain = bytes,
        }
        assert_eq!(plain, [TEXT, TEXT, TEXT].concat());
    }
}

#[tokio::test]
async fn who_shows_the_validator_of_any_form_hears_that_it_is_current() {
    let document = document(TEXT.repeat(3)).await;
    for (shown, accepted, answered) in [
        ("\"e\"", "gzip", Some("\"e\"")),
        ("\"e-g\"", "gzip", Some("\"e-g\"")),
        ("\"e\", \"e-g\"", "gzip", Some("\"e-g\"")),
        ("W/\"e-z\"", "identity", Some("\"e-z\"")),
        ("*", "zstd", Some("\"e-z\"")),
        ("\"old\", \"e-b\"", "gzip", None),
    ] {
        let headers = asks(&[(header::IF_NONE_MATCH, shown), (header::ACCEPT_ENCODING, accepted)]);
        let response = document.answer(&Method::GET, &headers, None).await.unwrap();
        let known = response.status() == StatusCode::NOT_MODIFIED;
        assert_eq!(known, answered.is_some(), "{shown}");
        if let Some(answered) = answered {
            assert_eq!(text(&response, header::ETAG), Some(answered), "{shown} {accepted}");
            assert_eq!(text(&response, header::CONTENT_LENGTH), None);
            assert!(body(response).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_form_hears_so() {
    let document = document(TEXT).await;
    let headers = asks(&[(header::ACCEPT_ENCODING, "*;q=0")]);
    let refused = document.answer(&Method::GET, &headers, None).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    let headers = asks(&[(header::ACCEPT_ENCODING, "identity;q=0, gzip")]);
    let taken = document.answer(&Method::GET, &headers, None).await.unwrap();
    assert_eq!(text(&taken, header::CONTENT_ENCODING), Some("gzip"));
}

#[tokio::test]
async fn a_form_that_is_no_smaller_is_not_sent() {
    let document = document(&b"{}"[..]).await;
    let headers = asks(&[(header::ACCEPT_ENCODING, "gzip, zstd")]);
    let plain = document.answer(&Method::GET, &headers, None).await.unwrap();
    assert_eq!(text(&plain, header::CONTENT_ENCODING), None);
    assert_eq!(text(&plain, header::VARY), Some("Accept"));
}

#[tokio::test]
async fn a_large_document_is_answered_at_once_and_packed_behind() {
    let bytes = TEXT.repeat(20_000);
    let ready = Ready::new(MEMORY_BYTES, None);
    let document =
        ready.put(&place("big", &Arc::default()), seed(), made(bytes.clone()), None).await.unwrap();
    let plain = document.answer(&Method::GET, &HeaderMap::new(), None).await.unwrap();
    assert_eq!(body(plain).await, bytes);
    document.settled().await;
    let headers = asks(&[(header::ACCEPT_ENCODING, "gzip")]);
    let packed = document.answer(&Method::GET, &headers, None).await.unwrap();
    assert_eq!(text(&packed, header::CONTENT_ENCODING), Some("gzip"));
    assert!(body(packed).await.len() < bytes.len() / 10);
}

#[tokio::test]
async fn one_that_is_not_held_is_read_by_each_reader_and_its_packed_forms_are_held() {
    let bytes = Bytes::from(TEXT.repeat(20_000));
    let (ready, reads) = (Ready::new(1 << 20, None), Arc::new(AtomicUsize::new(0)));
    let (opened, shown) = (Arc::clone(&reads), bytes.clone());
    let open: Open = Arc::new(move || {
        opened.fetch_add(1, Ordering::SeqCst);
        let shown = shown.clone();
        async move { Ok(Body::from(shown)) }.boxed()
    });
    let (size, packing) = (bytes.len() as u64, bytes.clone());
    let made = Made {
        plain: Plain::Elsewhere { size, open },
        read: Some(Box::new(move |out| out.write_all(&packing))),
        ..made(Bytes::new())
    };
    let document = ready.put(&place("huge", &Arc::default()), seed(), made, None).await.unwrap();
    document.settled().await;
    let plain = document.answer(&Method::GET, &HeaderMap::new(), None).await.unwrap();
    assert_eq!(text(&plain, header::CONTENT_LENGTH), Some(&*size.to_string()));
    assert_eq!((body(plain).await.len() as u64, reads.load(Ordering::SeqCst)), (size, 1));
    let headers = asks(&[(header::ACCEPT_ENCODING, "zstd")]);
    let packed = document.answer(&Method::GET, &headers, None).await.unwrap();
    assert_eq!(zstd::stream::decode_all(&*body(packed).await).unwrap(), bytes);
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert!(ready.bytes() < 1 << 18, "{}", ready.bytes());
}

#[tokio::test]
async fn memory_stays_below_its_bound_whatever_is_asked_for() {
    let ready = Ready::new(1 << 20, None);
    let mut asked = 0;
    for number in 0_u64..3_000 {
        let key = format!("name-{} http://host-{number}", number % 700);
        let noise = blake3::hash(&number.to_le_bytes()).to_hex().repeat(number as usize % 40);
        ready.put(&place(&key, &Arc::default()), seed(), made(noise), None).await.unwrap();
        assert!(ready.bytes() <= 1 << 20, "{}", ready.bytes());
        // The first one is asked for all the time.
        asked += usize::from(ready.shelf(|shelf| shelf.get("name-0 http://host-0")).is_some());
    }
    assert_eq!(asked, 3_000, "what is asked for stays");
    assert!(ready.bytes() > 1 << 19, "the room is used: {}", ready.bytes());
}

#[tokio::test]
async fn without_memory_a_document_is_answered_all_the_same() {
    let ready = Ready::new(0, None);
    let document = ready.put(&place("a", &Arc::default()), seed(), made(TEXT), None).await.unwrap();
    assert_eq!(ready.bytes(), 0);
    let plain = document.answer(&Method::GET, &HeaderMap::new(), None).await.unwrap();
    assert_eq!(body(plain).await, TEXT);
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_look() {
    let ready = Ready::new(MEMORY_BYTES, None);
    let (looks, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let found = Found { document: document(TEXT).await, age: None, stale: false };
    let ask = |key: &str| {
        let (looks, gate, found) = (Arc::clone(&looks), Arc::clone(&gate), found.clone());
        ready.together(key.to_owned(), move || {
            async move {
                looks.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok(found)
            }
            .boxed()
        })
    };
    let first: Vec<_> = (0..64).map(|_| ask("a 1")).collect();
    let all = futures::future::join_all(first);
    let open = async { gate.notify_one() };
    let (all, ()) = futures::join!(all, open);
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(looks.load(Ordering::SeqCst), 1);
    gate.notify_one();
    assert!(ask("a 1").await.is_ok(), "what is over is not joined");
    assert_eq!(looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_was_asked_for_is_made_again_when_its_package_changes() {
    let (ready, agains) = (Ready::new(MEMORY_BYTES, None), Arc::new(AtomicUsize::new(0)));
    let wanted = place("left one", &agains);
    let early = Place { asked: false, ..place("left two", &agains) };
    let never = Place { again: None, ..place("left three", &agains) };
    for place in [&wanted, &early, &never, &place("other", &agains)] {
        ready.put(place, seed(), made(TEXT), None).await.unwrap();
    }
    let (changed, names) = broadcast::channel(8);
    changed.send(PackageId::new("npm", "left")).unwrap();
    changed.send(PackageId::new("npm", "left")).unwrap();
    changed.send(PackageId::new("npm", "unknown")).unwrap();
    drop(changed);
    ready.keep_warm(names).await;
    assert_eq!(agains.load(Ordering::SeqCst), 1);
}
