//! How a bucket is reached: S3's requests are made by `object_store`, sent by the HTTP client that
//! the rest of the node uses, with the TLS roots of the system.
//!
//! Endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, …). Every wait is bounded, every failure retried twice after a random
//! while. Sentences about a failure name what it was, and never repeat what a server wrote but for
//! its code: it might quote a credential.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use url::Url;

use super::super::Error;
use super::Bucket;

/// To connect.
const CONNECT: Duration = Duration::from_secs(1);
/// From the first byte of a request to the first of its answer: a part goes up meanwhile.
const ANSWER: Duration = Duration::from_secs(60);
/// Longer than this nobody waits for a byte of an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// No retry begins later than this after the first try.
const RETRY_WITHIN: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 2;
const IDLE_MAX: usize = 16;
/// Of a cause, this much is told.
const WORDS_CHARS: usize = 200;

impl Bucket {
    /// The bucket of an address, with what the environment says of endpoint and credentials; at
    /// most `cache_bytes` of it are held in the home. Asks nobody yet.
    ///
    /// # Errors
    /// [`Error::Address`] with what is wrong with the address or the environment.
    pub fn s3(address: &str, cache_bytes: u64) -> Result<Self, Error> {
        let wrong = |why: String| Error::Address { address: address.to_owned(), why };
        let parts = Url::parse(address).ok().filter(|url| {
            let plain = url.username().is_empty() && url.port().is_none() && url.query().is_none();
            url.scheme() == "s3" && url.has_host() && plain
        });
        let url = parts.ok_or_else(|| wrong("it is not s3://BUCKET/PREFIX".to_owned()))?;
        let prefix = Path::from_url_path(url.path()).map_err(|why| wrong(why.to_string()))?;
        let builder = AmazonS3Builder::from_env();
        let setting = |key: &AmazonS3ConfigKey| builder.get_config_value(key).unwrap_or_default();
        let endpoint = setting(&AmazonS3ConfigKey::Endpoint);
        let allowed = setting(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        if endpoint.starts_with("http://") && allowed != "true" {
            let why = "AWS_ENDPOINT_URL is plain HTTP: set AWS_ALLOW_HTTP=true if that is meant";
            return Err(wrong(why.to_owned()));
        }
        let built = builder
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_http_connector(Connector)
            .with_retry(retry())
            .build();
        let objects = built.map_err(|why| wrong(explain(&why)))?;
        Ok(Self {
            url: address.trim_end_matches('/').to_owned(),
            objects: std::sync::Arc::new(objects),
            prefix,
            cache_bytes,
        })
    }
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN }
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // One for the process; if somebody was faster, theirs serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plan = || {
            reqwest::Client::builder()
                .user_agent(concat!("griot/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_gzip()
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .pool_max_idle_per_host(IDLE_MAX)
        };
        // A machine without any TLS roots still reaches what speaks plain HTTP.
        let built = plan().build().or_else(|_| plan().tls_certs_only([]).build());
        let client = built.map_err(|why| object_store::Error::Generic {
            store: "S3",
            source: Box::new(why.without_url()),
        })?;
        Ok(HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(reqwest::Client);

impl HttpService for Client {
    // As `async_trait` writes it.
    fn call<'here, 'call>(
        &'here self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'here: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string());
            let url = url.map_err(|why| HttpError::new(HttpErrorKind::Request, why))?;
            let mut sent = reqwest::Request::new(parts.method, url);
            *sent.headers_mut() = parts.headers;
            *sent.body_mut() = Some(match body.as_bytes() {
                Some(bytes) => bytes.clone().into(),
                None => reqwest::Body::wrap(body),
            });
            let answer = tokio::time::timeout(ANSWER, self.0.execute(sent)).await;
            let answer = answer.map_err(|why| HttpError::new(HttpErrorKind::Timeout, why))?;
            let answer: axum::http::Response<reqwest::Body> = answer.map_err(failed)?.into();
            let (parts, body) = answer.into_parts();
            let body = HttpResponseBody::new(body.map_err(failed));
            Ok(HttpResponse::from_parts(parts, body))
        })
    }
}

/// What may be retried is decided by the kind.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_body() || error.is_decode() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error.without_url())
}

/// What failed, for a person.
pub(super) fn explain(error: &object_store::Error) -> String {
    use object_store::Error as Why;
    let mut cause: &dyn std::error::Error = error;
    let mut code = None;
    while let Some(inner) = cause.source() {
        cause = inner;
        code = code.or_else(|| code_of(&cause.to_string()));
    }
    let said = code.map(|code| format!(" ({code})")).unwrap_or_default();
    match error {
        Why::NotFound { .. } => format!("there is no such bucket or object{said}"),
        Why::PermissionDenied { .. } => format!("it denies access{said}"),
        Why::Unauthenticated { .. } => format!("it does not accept the credentials{said}"),
        _ if !said.is_empty() => format!("it refused{said}"),
        _ => {
            let words = cause.to_string();
            let plain = words.split('<').next().unwrap_or_default();
            plain.chars().filter(|letter| !letter.is_control()).take(WORDS_CHARS).collect()
        }
    }
}

/// The code in an error document of S3.
pub(super) fn code_of(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}
