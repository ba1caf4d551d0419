//! The variables that the child gets, and nobody else.
//!
//! Each client reads other ones; the table of what was seen with real clients is in
//! docs/guide/run.md. Nothing that names a registry is among them: a client must believe that it
//! speaks to its own upstream, or its lockfile would show that it did not.
//!
//! Pure: what was set before comes as an argument.
//!
//! Source: formats/README.md section 3.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hyper_util::client::proxy::matcher::Matcher;
use node::formats::Proxied;

use super::scope::Scope;

/// Where every program looks; what clients of one format alone read, that format says.
const COMMON: Proxied = Proxied {
    https: &["HTTPS_PROXY", "https_proxy"],
    http: &["HTTP_PROXY", "http_proxy"],
    straight: &["NO_PROXY", "no_proxy"],
    // OpenSSL, and many others; curl.
    trust: &["SSL_CERT_FILE", "CURL_CA_BUNDLE"],
    ..Proxied::NONE
};
/// This machine, which needs no proxy.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A list of variables of every program and of every format's clients.
fn all(of: fn(&Proxied) -> &'static [&'static str]) -> Vec<&'static str> {
    let formats = node::formats::ALL.iter().map(|format| &format.through.variables);
    std::iter::once(&COMMON).chain(formats).flat_map(of).copied().collect()
}

/// Bundles that the variables named before.
pub(crate) fn former_bundles(former: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let names = all(|known| known.trust).into_iter();
    let mut found: Vec<PathBuf> = names.filter_map(former).map(PathBuf::from).collect();
    found.sort();
    found.dedup();
    found
}

/// What is set for the child, over what it inherits.
pub(crate) fn of_child(
    scope: &Scope,
    proxy: &str,
    bundle: &Path,
    former: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let mut set = Vec::new();
    let mut to = |names: Vec<&'static str>, value: OsString| {
        set.extend(names.into_iter().map(|name| (name, value.clone())));
    };
    to(all(|known| known.https), proxy.into());
    if scope.sites().iter().any(|site| !site.tls) {
        to(all(|known| known.http), proxy.into());
    }
    to(all(|known| known.trust), bundle.into());
    let names = all(|known| known.straight);
    let before = names.iter().filter_map(|name| former(name)?.into_string().ok());
    let straight = straight(scope, &before.collect::<Vec<_>>().join(","));
    to(names, straight.into());
    let mut off = all(|known| known.off);
    off.retain(|name| former(name).is_some());
    to(off, OsString::new());
    set
}

/// What was exempt before, and this machine; but no host that is opened.
fn straight(scope: &Scope, before: &str) -> String {
    let mut entries: Vec<&str> = Vec::new();
    for entry in before.split([',', ' ']).map(str::trim).chain(LOOPBACK) {
        if !entry.is_empty() && !entries.contains(&entry) && !exempts_an_opened_host(scope, entry) {
            entries.push(entry);
        }
    }
    entries.join(",")
}

/// Clients differ in what an entry covers, so the widest reading counts.
fn exempts_an_opened_host(scope: &Scope, entry: &str) -> bool {
    let name = entry.trim_start_matches("*.").trim_start_matches('.');
    let without_port = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
        _ => name,
    };
    let matcher = Matcher::builder().all("http://proxy.invalid").no(without_port).build();
    scope.sites().iter().any(|site| {
        let host = site.url().parse().ok();
        host.is_none_or(|host| matcher.intercept(&host).is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::registry::UpstreamRow;

    fn scope(url: &str) -> Scope {
        let row = serde_json::json!({
            "of": "own", "format": "npm", "url": url, "origin": "00".repeat(32), "default": true,
            "site": false, "patterns": [], "same_as": [], "credential": false, "reachable": true,
        });
        Scope::new(&[serde_json::from_value::<UpstreamRow>(row).unwrap()])
    }

    fn set(scope: &Scope, before: &'static [(&str, &str)]) -> Vec<(&'static str, String)> {
        let former = |name: &str| {
            before.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let all = of_child(scope, "http://griot:s@127.0.0.1:1", Path::new("/b.pem"), former);
        all.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    fn value(set: &[(&'static str, String)], name: &str) -> Option<String> {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn an_exemption_stays_unless_it_covers_an_opened_host() {
        let scope = scope("https://packages.village.test/npm/");
        for (before, after) in [
            ("", "localhost,127.0.0.1,::1"),
            ("intra.test, 10.0.0.0/8", "intra.test,10.0.0.0/8,localhost,127.0.0.1,::1"),
            (".village.test,x.test", "x.test,localhost,127.0.0.1,::1"),
            ("*.village.test", "localhost,127.0.0.1,::1"),
            ("packages.village.test:443", "localhost,127.0.0.1,::1"),
            ("*", "localhost,127.0.0.1,::1"),
            ("other.village.test", "other.village.test,localhost,127.0.0.1,::1"),
            ("localhost,::1", "localhost,::1,127.0.0.1"),
        ] {
            assert_eq!(straight(&scope, before), after, "{before}");
        }
    }

    #[test]
    fn an_adopted_host_on_this_machine_is_not_exempt_either() {
        assert_eq!(straight(&scope("https://localhost:4873/"), ""), "127.0.0.1,::1");
        assert_eq!(straight(&scope("http://127.0.0.1:4873/"), "127.0.0.0/8"), "localhost,::1");
        assert_eq!(straight(&scope("http://[::1]:4873/"), "::1"), "localhost,127.0.0.1");
    }

    #[test]
    fn plain_http_goes_through_the_proxy_only_where_such_an_upstream_is_adopted() {
        let tls = set(&scope("https://packages.test/"), &[]);
        assert_eq!(value(&tls, "HTTPS_PROXY").as_deref(), Some("http://griot:s@127.0.0.1:1"));
        assert_eq!(value(&tls, "HTTP_PROXY"), None);
        assert_eq!(value(&tls, "NODE_EXTRA_CA_CERTS").as_deref(), Some("/b.pem"));
        let open = set(&scope("http://packages.test/"), &[("no_proxy", "a.test")]);
        assert_eq!(value(&open, "http_proxy").as_deref(), Some("http://griot:s@127.0.0.1:1"));
        assert_eq!(value(&open, "NO_PROXY").as_deref(), Some("a.test,localhost,127.0.0.1,::1"));
    }

    #[test]
    fn nothing_tells_a_client_of_another_registry() {
        let all = set(&scope("https://packages.test/"), &[]);
        assert!(all.iter().all(|(name, _)| !name.to_lowercase().contains("registry")), "{all:?}");
    }

    #[test]
    fn pips_own_proxy_is_out_of_force_where_it_is_set() {
        let one = scope("https://packages.test/");
        assert_eq!(value(&set(&one, &[]), "PIP_PROXY"), None);
        let all = set(&one, &[("PIP_PROXY", "http://proxy.test:3128")]);
        assert_eq!(value(&all, "PIP_PROXY").as_deref(), Some(""));
        assert!(all.iter().all(|(name, _)| !name.contains("INDEX")), "{all:?}");
    }

    #[test]
    fn every_former_bundle_is_read_once() {
        let former = |name: &str| match name {
            "SSL_CERT_FILE" | "PIP_CERT" => Some("/a.pem".into()),
            "NODE_EXTRA_CA_CERTS" => Some("/b.pem".into()),
            _ => None,
        };
        assert_eq!(former_bundles(former), [PathBuf::from("/a.pem"), PathBuf::from("/b.pem")]);
    }
}
