//! Which upstream registry: the normalised form of its URL, and the id that receipts name it by.
//!
//! An id is not a location. Two URLs of one registry are two origins until a person says that they
//! are the same. Whether an upstream answers, and what, is not known here.
//!
//! Source: trust.md section 10.

use crate::{Digest, Error};

const CONTEXT: &str = "griot 2026 origin id v1";

/// The form of a base URL that is hashed: scheme and host in lower case, no default port, no user,
/// no query, no fragment, one slash at the end.
///
/// # Errors
/// [`Error::BadName`] when it is not an `http` or `https` URL with a host.
pub fn normalise(url: &str) -> Result<String, Error> {
    let refused = || Error::BadName("an upstream is an http or https URL with a host".to_owned());
    let (scheme, rest) = url.trim().split_once("://").ok_or_else(refused)?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(refused()),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '`');
    if host.is_empty() || host.starts_with(':') || !rest.chars().all(fits) {
        return Err(refused());
    }
    let path = path.trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(format!("{scheme}://{host}/{path}{slash}"))
}

/// The id of a normalised base URL.
#[must_use]
pub fn id(normalised: &str) -> Digest {
    Digest::from_bytes(blake3::derive_key(CONTEXT, normalised.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_are_one_origin() {
        let same = [
            "https://Packages.Test/npm",
            "HTTPS://packages.test:443/npm/",
            "https://me:secret@packages.test/npm//?x=1#top",
        ];
        for url in same {
            assert_eq!(normalise(url).unwrap(), "https://packages.test/npm/", "{url}");
        }
        assert_eq!(normalise("http://[::1]:8080").unwrap(), "http://[::1]:8080/");
        assert_ne!(id("https://packages.test/"), id("http://packages.test/"));
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        for url in ["", "packages.test", "ftp://packages.test/", "https:///npm", "http://a b/"] {
            assert!(normalise(url).is_err(), "{url}");
        }
    }
}
