//! What a format says to `griot run`: which requests for an upstream this node answers instead.
//!
//! The command opens the hosts of adopted upstreams for one process tree and asks here, format by
//! format, who answers. Data and pure functions; what moves is in the command.
//!
//! Source: formats/README.md section 3.

use axum::http::Method;

/// How requests for an upstream are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Through {
    /// Whether the node can answer: reading alone, and nothing of a person's account.
    pub answers: fn(&Passing<'_>) -> bool,
    /// The normal name that a path below the base is about; none if it is about all names, or
    /// nothing tells: an upstream of some names is then asked itself.
    pub name: fn(rest: &str) -> Option<String>,
    /// Where documents name files on any host.
    pub files: Option<FilesElsewhere>,
    /// The client's own variables, beside those that all programs know.
    pub variables: Proxied,
}

impl Through {
    /// What is read below the base is the node's, and the first segment is the name.
    pub const PLAIN: Self = Self {
        answers: |passing| passing.reads(),
        name: |rest| rest.split('/').next().map(ToOwned::to_owned),
        files: None,
        variables: Proxied::NONE,
    };
}

/// A request of a client, for a place below an upstream's base.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// As the client sent it.
    pub method: &'a Method,
    /// What follows the base, undecoded and without a slash in front.
    pub rest: &'a str,
    /// Undecoded, without the question mark; empty where there is none.
    pub query: &'a str,
}

impl Passing<'_> {
    /// Whether nothing is changed by it.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// Files of upstreams on hosts that only documents name. Paths are below the format's mount, with
/// a slash in front.
#[derive(Debug, Clone, Copy)]
pub struct FilesElsewhere {
    /// What the node is asked for the hosts, one after the other until one answers with some.
    pub hosts: &'static [&'static str],
    /// Where it is asked for a file, whose escaped URL follows.
    pub at: &'static str,
    /// What the node has of a path that lies beside the base (a path with a slash at its end); both
    /// are undecoded paths of the upstream's host.
    pub beside: fn(base: &str, path: &str) -> Option<Beside>,
}

/// Something of the node that lies beside an upstream's base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Where the node has it.
    pub path: String,
    /// For what only the node is asked: its path below the base, which tells the name that it is
    /// about. None for a file, of which the host is asked if the node does not know it.
    pub about: Option<String>,
}

/// Variables of the environment that clients of a format alone read.
#[derive(Debug, Clone, Copy)]
pub struct Proxied {
    /// A proxy to https hosts.
    pub https: &'static [&'static str],
    /// A proxy to plain http hosts.
    pub http: &'static [&'static str],
    /// Hosts that are asked without the proxy.
    pub straight: &'static [&'static str],
    /// A file of certificates that are trusted.
    pub trust: &'static [&'static str],
    /// Proxies that would outrank the others: they are put out of force.
    pub off: &'static [&'static str],
    /// Where a person's own settings name certificates that are trusted.
    pub settings: &'static [TrustSetting],
}

impl Proxied {
    /// Clients that read nothing of their own.
    pub const NONE: Self =
        Self { https: &[], http: &[], straight: &[], trust: &[], off: &[], settings: &[] };
}

/// A line of a person's settings that names a file of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustSetting {
    /// The file, from the person's home.
    pub file: &'static str,
    /// In front of the sign.
    pub key: &'static str,
    /// Between key and value.
    pub sign: char,
}

impl TrustSetting {
    /// A setting.
    #[must_use]
    pub const fn new(file: &'static str, key: &'static str, sign: char) -> Self {
        Self { file, key, sign }
    }
}
