//! A tiny S3 server of a test's own, which answers as it is told: with an error, late, or never.
//!
//! It knows what a node asks for: an object by its key, its head, a new object, a list. Whether a
//! request is signed is all that it looks at; a real server is in the end-to-end tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How it feels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// Every answer is this status, with this code.
    Refuses(u16, &'static str),
    /// It takes requests and never answers.
    Hole,
    /// A body stands still after so many bytes, until the mood is another.
    Pauses(usize),
    /// It answers so much later.
    Late(Duration),
    /// It takes no bytes, and gives those that it has.
    ReadOnly,
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Seen {
    objects: Mutex<BTreeMap<String, Bytes>>,
    mood: watch::Sender<Mood>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    /// On a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = watch::Sender::new(Mood::Well);
        let (objects, asked) = (Mutex::default(), Mutex::default());
        let seen = Arc::new(Seen { objects, mood, asked });
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, seen, _tasks: tasks }
    }

    /// Changes how it feels.
    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.mood.send_replace(mood);
    }

    /// What a node is started with.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let url = format!("http://127.0.0.1:{}", self.port);
        let named = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "griot-tests"),
            ("AWS_SECRET_ACCESS_KEY", "a-secret-that-nothing-may-show"),
        ];
        named.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// How many requests begin so, as `GET /blobs/…`.
    pub(crate) fn count(&self, start: &str) -> usize {
        let asked = self.seen.asked.lock().unwrap();
        asked.iter().filter(|line| line.starts_with(start)).count()
    }

    /// Changes the bytes of every blob.
    pub(crate) fn spoil(&self, change: impl Fn(&mut Vec<u8>)) {
        for (key, bytes) in self.seen.objects.lock().unwrap().iter_mut() {
            if key.rsplit('/').next().is_some_and(|name| name.len() == 64) {
                let mut changed = bytes.to_vec();
                change(&mut changed);
                *bytes = changed.into();
            }
        }
    }
}

async fn answer(State(seen): State<Arc<Seen>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    seen.asked.lock().unwrap().push(format!("{} {path}", head.method));
    let bytes = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
    let (mood, brings) = (seen.mood.borrow().clone(), head.method == Method::PUT);
    match mood {
        Mood::Hole => std::future::pending().await,
        Mood::Late(time) => tokio::time::sleep(time).await,
        Mood::Refuses(status, code) => return refusal(status, code),
        Mood::ReadOnly if brings => return refusal(403, "AccessDenied"),
        Mood::Well | Mood::ReadOnly | Mood::Pauses(_) => {}
    }
    if !head.headers.contains_key(header::AUTHORIZATION) {
        return refusal(403, "AccessDenied");
    }
    let listed = head.uri.query().is_some_and(|query| query.contains("list-type=2"));
    match head.method {
        Method::PUT => {
            seen.objects.lock().unwrap().insert(path, bytes);
            described(StatusCode::OK, Body::empty())
        }
        Method::GET if listed => {
            let none = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
            described(StatusCode::OK, Body::from(none))
        }
        _ => object(&seen, &path, head.method == Method::HEAD),
    }
}

fn object(seen: &Seen, path: &str, is_head: bool) -> Response<Body> {
    let Some(bytes) = seen.objects.lock().unwrap().get(path).cloned() else {
        return refusal(404, "NoSuchKey");
    };
    let (length, mood) = (bytes.len(), seen.mood.borrow().clone());
    let body = match mood {
        _ if is_head => Body::empty(),
        Mood::Pauses(after) if after < length => {
            let (first, rest, mut mood) =
                (bytes.slice(..after), bytes.slice(after..), seen.mood.subscribe());
            let rest = futures::stream::once(async move {
                let _ = mood.wait_for(|mood| !matches!(mood, Mood::Pauses(_))).await;
                rest
            });
            let pieces = futures::stream::iter([first]).chain(rest);
            Body::from_stream(pieces.map(Ok::<_, std::io::Error>))
        }
        _ => Body::from(bytes),
    };
    let mut answer = described(StatusCode::OK, body);
    answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    answer
}

fn described(status: StatusCode, body: Body) -> Response<Body> {
    let answer = Response::builder().status(status);
    let answer = answer.header(header::LAST_MODIFIED, "Mon, 05 Jan 2026 10:00:00 GMT");
    answer.header(header::ETAG, "\"tag\"").body(body).unwrap()
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let body = format!("<Error><Code>{code}</Code><Message>AKIA griot-tests</Message></Error>");
    Response::builder().status(status).body(Body::from(body)).unwrap()
}
