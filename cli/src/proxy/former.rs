//! The way out for connections that are not opened: as it was before, through the user's former
//! proxy where one was set for the host, else straight.

use std::io;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Bytes of the former proxy's answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The proxy settings that this command itself was started with.
#[derive(Debug)]
pub(crate) struct Former(Matcher);

impl Former {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        Self(Matcher::from_env())
    }

    /// A connection to a host that nobody here looks into.
    ///
    /// # Errors
    /// It cannot be made in time, or the former proxy refuses it.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let made = tokio::time::timeout(CONNECT_MAX, self.connecting(host, port)).await;
        made.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {CONNECT_MAX:?}")))
        })
    }

    async fn connecting(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        // A tunnel is asked for by who speaks TLS; the rules for `https` hold.
        let target = format!("https://{host}:{port}/").parse::<Uri>().map_err(io::Error::other)?;
        let stream = match self.0.intercept(&target) {
            Some(proxy) => through(&proxy, host, port).await?,
            None => TcpStream::connect((plain(host), port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A host as the resolver takes it: an IPv6 address without brackets.
fn plain(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

async fn through(proxy: &Intercept, host: &str, port: u16) -> io::Result<TcpStream> {
    let uri = proxy.uri();
    if uri.scheme_str() != Some("http") {
        let scheme = uri.scheme_str().unwrap_or_default();
        let why = format!("the proxy of the environment is of a kind that is not known: {scheme}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let name = uri.host().ok_or_else(|| io::Error::other("the proxy has no host"))?;
    let mut stream = TcpStream::connect((plain(name), uri.port_u16().unwrap_or(80))).await?;
    let mut head =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(secret) = proxy.basic_auth() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(secret.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    let status = answer(&mut stream).await?;
    if (200..300).contains(&status) {
        return Ok(stream);
    }
    Err(io::Error::other(format!("the former proxy answered {status}")))
}

/// Status of the proxy's answer. Byte by byte: what follows the head belongs to the tunnel.
async fn answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= ANSWER_BYTES_MAX {
            return Err(io::Error::other("the former proxy's answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&head);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other("the former proxy's answer is no HTTP"))
}
