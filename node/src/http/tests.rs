//! Paths, origins, ranges, tokens, digests and connections, as facts.

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::auth::{TokenScope, Tokens};
use super::error::Error;
use super::idle::Watched;
use super::path::{self, PathQuery};
use super::{origin, server, token, upload};

mod blobs;
use crate::registry::{Outcome, Scope};
use crate::store::Store;

fn parse(target: &str) -> Result<PathQuery, path::Error> {
    PathQuery::parse(&target.parse::<Uri>().unwrap())
}

#[test]
fn an_escaped_slash_stays_inside_its_segment() {
    for escape in ["%2f", "%2F"] {
        let path = parse(&format!("/npm/@acme{escape}ui")).unwrap();
        assert_eq!(path.segments, ["npm", "@acme/ui"]);
    }
    assert_eq!(parse("/npm/@acme/ui").unwrap().segments, ["npm", "@acme", "ui"]);
}

#[test]
fn a_path_is_decoded_once_and_never_twice() {
    assert_eq!(parse("/a/%252e%252e/b").unwrap().segments, ["a", "%2e%2e", "b"]);
    assert_eq!(parse("/caf%C3%A9").unwrap().segments, ["café"]);
}

#[test]
fn a_slash_at_the_end_makes_a_folder() {
    assert!(parse("/generic/app/").unwrap().folder);
    assert!(!parse("/generic/app").unwrap().folder);
    let root = parse("/").unwrap();
    assert!(root.folder && root.segments.is_empty());
}

#[test]
fn hostile_paths_are_refused() {
    let cases = [
        ("/a//b", path::Error::EmptySegment),
        ("//a", path::Error::EmptySegment),
        ("/a/../b", path::Error::DotSegment),
        ("/a/%2e%2e/b", path::Error::DotSegment),
        ("/a/%2E./b", path::Error::DotSegment),
        ("/a/./b", path::Error::DotSegment),
        ("/a/..%2fb", path::Error::DotSegment),
        ("/a/x%2f..%2f..%2fetc", path::Error::DotSegment),
        ("/a/x%2f", path::Error::EmptySegment),
        ("/a/%5c", path::Error::BadCharacter),
        ("/a/x%00y", path::Error::BadCharacter),
        ("/a/x%0ay", path::Error::BadCharacter),
        ("/a/%1b%5b2J", path::Error::BadCharacter),
        ("/a/%c2%9b", path::Error::BadCharacter),
        ("/a/%ff", path::Error::NotUtf8),
        ("/a/%c0%ae%c0%ae", path::Error::NotUtf8),
        ("/a/%zz", path::Error::BadEscape),
        ("/a/%2", path::Error::BadEscape),
    ];
    for (target, error) in cases {
        assert_eq!(parse(target), Err(error), "{target}");
    }
    let longest = format!("/{}", "a".repeat(path::PATH_MAX_BYTES - 1));
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&format!("{longest}a")), Err(path::Error::TooLong));
}

#[test]
fn a_query_is_decoded_and_bounded() {
    let path = parse("/s?q=a+b%20c&empty&x=1=2").unwrap();
    assert_eq!(path.parameter("q"), Some("a b c"));
    assert_eq!(path.parameter("empty"), Some(""));
    assert_eq!(path.parameter("x"), Some("1=2"));
    let most = vec!["a=1"; path::PARAMETERS_MAX].join("&");
    assert!(parse(&format!("/s?{most}")).is_ok());
    assert_eq!(parse(&format!("/s?{most}&a=1")), Err(path::Error::TooLong));
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn checked(method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    let hosts: Vec<String> =
        ["127.0.0.1:7878", "localhost:7878", "[::1]:7878"].map(Into::into).into();
    let answer = origin::check(&hosts, &request(method, target, headers));
    answer.map_or_else(|response| response.status().as_u16(), |()| 200)
}

#[test]
fn only_our_own_names_are_answered() {
    let host = |host| checked("GET", "/npm/x", &[("host", host)]);
    assert_eq!(host("127.0.0.1:7878"), 200);
    assert_eq!(host("LOCALHOST:7878"), 200);
    assert_eq!(host("[::1]:7878"), 200);
    for foreign in ["evil.test", "127.0.0.1", "localhost:80", "127.0.0.1:7878.evil.test"] {
        assert_eq!(host(foreign), 421, "{foreign}");
    }
    assert_eq!(checked("GET", "/", &[]), 421);
    assert_eq!(checked("GET", "/", &[("host", "localhost:7878"), ("host", "evil.test")]), 400);
    let ours = [("host", "localhost:7878")];
    assert_eq!(checked("GET", "http://evil.test/npm/x", &ours), 421);
    assert_eq!(checked("GET", "http://localhost:7878/npm/x", &ours), 200);
    assert_eq!(checked("GET", "http://localhost:7878/x", &[("host", "evil.test")]), 421);
}

#[test]
fn pages_of_other_origins_are_refused_on_every_method() {
    let with =
        |method, name, value| checked(method, "/x", &[("host", "localhost:7878"), (name, value)]);
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert_eq!(with(method, "origin", "null"), 403);
        assert_eq!(with(method, "origin", "http://evil.test"), 403);
        assert_eq!(with(method, "origin", "http://localhost:1"), 403);
        assert_eq!(with(method, "origin", "https://localhost:7878"), 403);
        assert_eq!(with(method, "origin", "http://localhost:7878"), 200);
        assert_eq!(with(method, "sec-fetch-site", "cross-site"), 403);
        assert_eq!(with(method, "sec-fetch-site", "same-site"), 403);
        assert_eq!(with(method, "sec-fetch-site", "none"), 200);
        assert_eq!(with(method, "sec-fetch-site", "same-origin"), 200);
    }
    assert_eq!(checked("OPTIONS", "/x", &[("host", "localhost:7878")]), 403);
}

#[test]
fn a_token_reads_back_and_every_typing_error_shows() {
    for secret in [[0; 32], [255; 32], std::array::from_fn(|i| u8::try_from(i * 7).unwrap())] {
        let text = token::write(&secret);
        assert!(text.starts_with("griot_") && text.len() == 6 + 43 + 6, "{text}");
        assert_eq!(*token::read(&text).unwrap(), secret);
        for at in 6..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            assert!(token::read(std::str::from_utf8(&wrong).unwrap()).is_none(), "digit {at}");
        }
    }
    for wrong in ["", "griot_", "griot_é", "npm_abc", &format!("griot_{}", "z".repeat(49))] {
        assert!(token::read(wrong).is_none());
    }
}

fn scope(scopes: &[Scope], hours: Option<u64>) -> TokenScope {
    TokenScope {
        scopes: scopes.to_vec(),
        realm: None,
        patterns: Vec::new(),
        expires_hours: hours,
        name: "ci".to_owned(),
    }
}

fn authorized(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers
}

#[tokio::test]
async fn a_token_is_known_in_every_dialect_and_after_a_restart() {
    use base64::Engine as _;
    let home = tempfile::tempdir().unwrap();
    let made = {
        let tokens =
            Tokens::open(Store::open(home.path()).unwrap(), "admin-secret".into()).unwrap();
        tokens.create(scope(&[Scope::Publish], None)).await.unwrap()
    };
    let tokens = Tokens::open(Store::open(home.path()).unwrap(), "admin-secret".into()).unwrap();
    let basic =
        |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let token = made.token;
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        token.clone(),
        basic(format!("__token__:{token}")),
        basic(format!("{token}:")),
    ] {
        let who = tokens.principal(&authorized(&value)).unwrap();
        assert_eq!((who.name.as_str(), who.scopes.as_slice()), ("ci", &[Scope::Publish][..]));
    }
    let admin = tokens.principal(&authorized("Bearer admin-secret")).unwrap();
    assert!(admin.may(Scope::Admin));
    assert!(tokens.principal(&HeaderMap::new()).unwrap().is_anonymous());
    assert_eq!(tokens.list().unwrap()[0].0, made.id);
    let stored = format!("{:?}", tokens.list().unwrap());
    assert!(!stored.contains(&token) && !format!("{tokens:?}").contains("admin-secret"));
}

#[tokio::test]
async fn a_wrong_or_revoked_token_is_refused_rather_than_taken_for_none() {
    let home = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(Store::open(home.path()).unwrap(), "admin-secret".into()).unwrap();
    let made = tokens.create(scope(&[Scope::Read], None)).await.unwrap();
    let other = token::write(&[9; 32]);
    let mut twice = authorized(&format!("Bearer {}", made.token));
    twice.append(header::AUTHORIZATION, "Bearer x".parse().unwrap());
    for headers in [
        authorized("Bearer wrong"),
        authorized("Bearer admin-secre"),
        authorized(&format!("Bearer {other}")),
        authorized("Basic %%%"),
        authorized("Digest abc"),
        authorized(""),
        twice,
    ] {
        let refused = tokens.principal(&headers).unwrap_err();
        assert_eq!(refused.outcome, Outcome::Unauthenticated, "{headers:?}");
    }
    let who = tokens.principal(&authorized(&made.token)).unwrap();
    let refused = who.require(Scope::Publish).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Forbidden);
    assert!(refused.message.contains("publish"));
    assert_eq!(refused.hint.as_deref(), Some("griot token create --scope publish"));
    assert!(tokens.revoke(&made.id).await.unwrap());
    assert!(tokens.principal(&authorized(&made.token)).is_err());
    assert!(tokens.create(scope(&[], None)).await.is_err());
}

#[tokio::test]
async fn a_token_with_the_scope_admin_takes_no_bounds() {
    let home = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(Store::open(home.path()).unwrap(), "admin".to_owned()).unwrap();
    let pattern = crdt::statement::Pattern::parse("ui").unwrap();
    let bound =
        TokenScope { patterns: vec![("npm".to_owned(), pattern)], ..scope(&[Scope::Admin], None) };
    assert_eq!(tokens.create(bound).await.unwrap_err().outcome, Outcome::Invalid);
    assert!(tokens.list().unwrap().is_empty());
    tokens.create(scope(&[Scope::Admin], None)).await.unwrap();
}

#[tokio::test]
async fn a_token_ages_by_running_hours_alone() {
    let home = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(Store::open(home.path()).unwrap(), "a".into()).unwrap();
    let made = tokens.create(scope(&[Scope::Read], Some(2))).await.unwrap();
    assert_eq!(made.expires, Some(2));
    tokens.tick_hour().await.unwrap();
    assert_eq!(tokens.list().unwrap()[0].1.expires_hours, Some(1));
    drop(tokens);
    let tokens = Tokens::open(Store::open(home.path()).unwrap(), "a".into()).unwrap();
    assert!(tokens.principal(&authorized(&made.token)).is_ok());
    tokens.tick_hour().await.unwrap();
    let refused = tokens.principal(&authorized(&made.token)).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Unauthenticated);
    assert!(tokens.list().unwrap().is_empty());
}

#[test]
fn digest_headers_of_a_request_are_compared() {
    let sha256 = *blake3::hash(b"x").as_bytes();
    let checksums = crdt::Checksums { sha256, sha512: None, sha1: None, md5: None };
    let base64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let verify = |name: &'static str, value: String| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        upload::verify(&headers, &checksums).map_err(|error| error.status)
    };
    let (right, wrong) = (base64(&sha256), base64(&[0; 32]));
    let refused = Err(StatusCode::BAD_REQUEST);
    assert_eq!(verify("content-digest", format!("sha-256=:{right}:")), Ok(()));
    assert_eq!(verify("repr-digest", format!("md5=:AAAA:, sha-256=:{right}:")), Ok(()));
    assert_eq!(verify("digest", format!("SHA-256={right}")), Ok(()));
    assert_eq!(verify("content-digest", format!("sha-256=:{wrong}:")), refused);
    assert_eq!(verify("digest", format!("sha-256={wrong}")), refused);
    assert_eq!(verify("repr-digest", "sha-256=:!:".to_owned()), refused);
    assert_eq!(verify("digest", "nonsense".to_owned()), refused);
}

#[tokio::test]
async fn a_small_gzip_body_is_unpacked_and_a_bomb_is_not() {
    use std::io::Write as _;
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    let read = |body: Vec<u8>| upload::small(&headers, Body::from(body), 1000);
    assert_eq!(read(gzip(b"{\"a\":1}")).await.unwrap(), b"{\"a\":1}");
    assert_eq!(read(gzip(&[b'x'; 1000])).await.unwrap().len(), 1000);
    assert_eq!(read(gzip(&[0; 1001])).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    let bomb = gzip(&vec![0; 50_000_000]);
    assert_eq!(read(bomb).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    let cut = gzip(b"{\"a\":1}");
    assert!(read(cut[..cut.len() - 4].to_vec()).await.is_err());
    assert!(read(b"plain".to_vec()).await.is_err());
}

/// Serves until the test ends; gives the address.
async fn echo_server(
    tasks: &mut tokio::task::JoinSet<std::io::Result<()>>,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        match upload::small(&head.headers, body, 10).await {
            Ok(bytes) => Response::new(Body::from(bytes)),
            Err(error) => Error::into_response(error),
        }
    };
    tasks.spawn(server::serve(listener, answer, std::future::pending()));
    address
}

async fn exchange(address: std::net::SocketAddr, request: &[u8], close_early: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    if close_early {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

async fn talk(address: std::net::SocketAddr, request: &str, close_early: bool) -> String {
    let answer = exchange(address, request.as_bytes(), close_early).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_answer_says_nosniff_and_expect_is_honoured() {
    let mut tasks = tokio::task::JoinSet::new();
    let address = echo_server(&mut tasks).await;
    let head = "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\n";
    let answer = talk(address, &format!("{head}content-length: 3\r\n\r\nabc"), false).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.ends_with("abc"), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    let long = format!("{head}content-length: 11\r\n\r\nabcdefghijk");
    let answer = talk(address, &long, false).await;
    assert!(answer.contains("413 Payload Too Large"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let mut tasks = tokio::task::JoinSet::new();
    let address = echo_server(&mut tasks).await;
    let request = "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc";
    let answer = talk(address, request, true).await;
    // The client has half-closed its side, so it may or may not still be told.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, "9".parse().unwrap())]);
    let refused = upload::small(&announced, Body::from("abc"), 10).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stop_finishes_what_is_at_work_and_takes_nothing_new() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, mut started) = tokio::sync::mpsc::channel::<()>(1);
    let (finish, finished) = tokio::sync::watch::channel(false);
    let answer = move |_: Request<Body>| {
        let (begun, mut finished) = (begun.clone(), finished.clone());
        async move {
            begun.send(()).await.unwrap();
            finished.wait_for(|done| *done).await.unwrap();
            Response::new(Body::from("done"))
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server::serve(listener, answer, async move {
        let _ = stopped.await;
    });
    let client = async {
        let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let working = talk(address, request, false);
        let control = async {
            started.recv().await.unwrap();
            stop.send(()).unwrap();
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            finish.send(true).unwrap();
        };
        tokio::join!(working, control).0
    };
    let (served, answer) = tokio::join!(serving, client);
    served.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_ends() {
    let (here, _there) = tokio::io::duplex(64);
    let mut watched = Watched::new(here, std::time::Duration::from_millis(20));
    let ended = watched.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut);
}
