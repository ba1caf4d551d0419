//! How a bucket is reached: S3's requests are made by `object_store`, sent by the HTTP client that
//! the rest of the node uses, with the TLS roots of the system.
//!
//! Endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, …), and so does the file of an authority of one's own (`AWS_CA_BUNDLE`,
//! believed beside those of the system). Every wait is bounded, every failure retried twice after a
//! random while. Sentences about a failure name what it was, and never repeat what a server wrote
//! but for its code: it might quote a credential.

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

/// How long anything is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// To connect.
    pub(super) connect: Duration,
    /// From a request that brings nothing to the first byte of its answer.
    pub(super) answer: Duration,
    /// The same for one that brings bytes: they go up meanwhile.
    pub(super) upload: Duration,
    /// For one more byte of an answer, the first one too: no less than for an upload.
    pub(super) silence: Duration,
    /// No retry begins later than this after the first try.
    pub(super) retry_within: Duration,
}

impl Patience {
    /// What a person waits for, and what a slow line needs.
    const USUAL: Self = Self {
        connect: Duration::from_secs(1),
        answer: Duration::from_secs(10),
        upload: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        retry_within: Duration::from_secs(10),
    };
}

/// The variable with the file of an authority of one's own. Source: the AWS command line's.
const AUTHORITY: &str = "AWS_CA_BUNDLE";
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
        // What is no text is no setting of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<Vec<_>>();
        Self::s3_with((address, cache_bytes), &environment, Patience::USUAL)
    }

    /// The same with another environment.
    ///
    /// # Errors
    /// As [`Bucket::s3`].
    pub fn s3_in(
        address: &str,
        cache_bytes: u64,
        environment: &[(String, String)],
    ) -> Result<Self, Error> {
        Self::s3_with((address, cache_bytes), environment, Patience::USUAL)
    }

    pub(super) fn s3_with(
        (address, cache_bytes): (&str, u64),
        environment: &[(String, String)],
        patience: Patience,
    ) -> Result<Self, Error> {
        let wrong = |why: String| Error::Address { address: address.to_owned(), why };
        let parts = Url::parse(address).ok().filter(|url| {
            let plain = url.username().is_empty() && url.port().is_none() && url.query().is_none();
            url.scheme() == "s3" && url.has_host() && plain
        });
        let url = parts.ok_or_else(|| wrong("it is not s3://BUCKET/PREFIX".to_owned()))?;
        let prefix = Path::from_url_path(url.path()).map_err(|why| wrong(why.to_string()))?;
        let builder = configured(environment);
        let setting = |key: &AmazonS3ConfigKey| builder.get_config_value(key).unwrap_or_default();
        let endpoint = setting(&AmazonS3ConfigKey::Endpoint);
        let allowed = setting(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        if endpoint.starts_with("http://") && allowed != "true" {
            let why = "AWS_ENDPOINT_URL is plain HTTP: set AWS_ALLOW_HTTP=true if that is meant";
            return Err(wrong(why.to_owned()));
        }
        let authorities = authorities(environment).map_err(wrong)?;
        let built = builder
            // One by one, as every server knows it, and each is looked at just before.
            .with_disable_bulk_delete(true)
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_http_connector(Connector { patience, authorities })
            .with_retry(retry(&patience))
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

/// What the environment says of S3, under the names that other tools use.
fn configured(environment: &[(String, String)]) -> AmazonS3Builder {
    let named = environment.iter().filter(|(name, _)| name.starts_with("AWS_"));
    let known = named.filter_map(|(name, value)| {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().ok()?;
        Some((key, value))
    });
    known.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

/// The certificates of the file that the environment names, if any.
fn authorities(environment: &[(String, String)]) -> Result<Vec<reqwest::Certificate>, String> {
    let named = environment.iter().find(|(name, value)| name == AUTHORITY && !value.is_empty());
    let Some((_, file)) = named else { return Ok(Vec::new()) };
    let bytes = fs_err::read(file).map_err(|why| format!("{AUTHORITY}: {why}"))?;
    let found = reqwest::Certificate::from_pem_bundle(&bytes).unwrap_or_default();
    if found.is_empty() {
        return Err(format!("{AUTHORITY}: {file} has no certificate in PEM form"));
    }
    Ok(found)
}

fn retry(patience: &Patience) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    };
    let retry_timeout = patience.retry_within;
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout }
}

#[derive(Debug)]
struct Connector {
    patience: Patience,
    authorities: Vec<reqwest::Certificate>,
}

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
                .connect_timeout(self.patience.connect)
                .read_timeout(self.patience.silence)
                .pool_max_idle_per_host(IDLE_MAX)
        };
        let also = || self.authorities.iter().cloned();
        // A machine without any TLS roots still reaches what speaks plain HTTP.
        let built = plan().tls_certs_merge(also()).build();
        let built = built.or_else(|_| plan().tls_certs_only(also()).build());
        let client = built.map_err(|why| object_store::Error::Generic {
            store: "S3",
            source: Box::new(why.without_url()),
        })?;
        Ok(HttpClient::new(Client { client, patience: self.patience }))
    }
}

#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    patience: Patience,
}

/// Nobody answered in time.
#[derive(Debug, thiserror::Error)]
#[error("it does not answer")]
struct Silent;

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
            let brings = matches!(*sent.method(), reqwest::Method::PUT | reqwest::Method::POST);
            let wait = if brings { self.patience.upload } else { self.patience.answer };
            let answer = tokio::time::timeout(wait, self.client.execute(sent)).await;
            let answer = answer.map_err(|_| HttpError::new(HttpErrorKind::Timeout, Silent))?;
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
    if error.is_timeout() {
        return HttpError::new(kind, Silent);
    }
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
