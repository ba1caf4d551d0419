//! How an upstream of cargo is asked, and how its word is compared with the bytes: pure.
//!
//! The base URL is that of the sparse index, without `sparse+`. Where crates are says its
//! `config.json`: `dl` with markers or without, as cargo itself reads it.
//!
//! Source: formats/cargo.md sections 1 and 4; doc.rust-lang.org/cargo/reference/registry-index.

use serde::Deserialize;

use super::{declared, name, outline, version};
use crate::registry::{LocateRules, Located, OutlineFile, OutlineVersion, UpstreamRules, Variant};

/// The one form of an index file.
pub(super) const INDEX: &str = "index";

/// The document of the whole registry: where its crates are, and its API.
pub(super) const CONFIG: &str = "config.json";
/// Of that document.
pub(super) const CONFIG_MAX_BYTES: u64 = 64 * 1024;

/// What the registry must know.
pub(super) const RULES: UpstreamRules = UpstreamRules {
    variants: &[Variant { name: INDEX, accept: "text/plain, */*" }],
    document: name::index_path,
    file,
    locate: Some(LocateRules { document: CONFIG, bytes_max: CONFIG_MAX_BYTES, url: locate }),
    version_of,
    outline: outline::outline,
    document_bytes_max: outline::DOCUMENT_MAX_BYTES,
    // As cargo itself sends it.
    token_scheme: None,
    signatures: None,
    differs: declared::differs,
};

#[derive(Deserialize)]
struct Config {
    dl: String,
}

/// Without a word of the upstream there is no such place; this is where most have it.
fn file(package: &str, file: &str) -> String {
    let version = version_of(package, file).unwrap_or_default();
    format!("{package}/{version}/download")
}

fn version_of(package: &str, file: &str) -> Option<String> {
    version::canonical(outline::version_in(package, file)?).ok()
}

/// The URL of a crate by `dl`, for a name as the index writes it.
fn locate(config: &[u8], written: &str, of: &OutlineVersion, file: &OutlineFile) -> Located {
    let read = serde_json::from_slice::<Config>(config);
    let dl = read.map_err(|_| "does not say where crates are (`dl`)".to_owned())?.dl;
    let package = written.to_lowercase();
    let checksum = file.declared.sha256.unwrap_or_default();
    let url = fill(
        &dl,
        Place {
            name: written,
            version: outline::written(&package, of, &file.file),
            checksum: &crdt::digest::to_hex(&checksum),
        },
    );
    let parsed = url::Url::parse(&url).ok();
    let sound = parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https"));
    if sound { Ok(url) } else { Err("says no URL of the web in `dl`".to_owned()) }
}

/// What the markers of `dl` stand for.
struct Place<'a> {
    name: &'a str,
    version: &'a str,
    checksum: &'a str,
}

fn fill(dl: &str, place: Place<'_>) -> String {
    const MARKERS: [&str; 5] =
        ["{crate}", "{version}", "{prefix}", "{lowerprefix}", "{sha256-checksum}"];
    let prefix = name::prefix(place.name);
    let lower = prefix.to_lowercase();
    if !MARKERS.iter().any(|marker| dl.contains(marker)) {
        return format!("{dl}/{}/{}/download", place.name, place.version);
    }
    let values = [place.name, place.version, &prefix, &lower, place.checksum];
    let fill = |dl: String, (marker, value): (&str, &str)| dl.replace(marker, value);
    MARKERS.into_iter().zip(values).fold(dl.to_owned(), fill)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Declared;

    fn of(dl: &str, name: &str, version: &str) -> Located {
        let config = serde_json::json!({ "dl": dl, "api": "https://packages.test" }).to_string();
        let of = OutlineVersion {
            version: version::canonical(version).unwrap(),
            written: version.to_owned(),
            ..OutlineVersion::default()
        };
        let declared = Declared { sha256: Some([0xab; 32]), ..Declared::default() };
        let file = name::file_name(&name.to_lowercase(), &of.version);
        let file = OutlineFile { file, declared, ..OutlineFile::default() };
        locate(config.as_bytes(), name, &of, &file)
    }

    #[test]
    fn a_crate_is_where_the_upstream_says_with_markers_or_without() {
        let sum = "ab".repeat(32);
        for (dl, url) in [
            ("http://h.test:81/a/b", "http://h.test:81/a/b/Inflector/0.11.4/download".to_owned()),
            (
                "https://h.test/{prefix}/{lowerprefix}/{crate}-{version}.crate",
                "https://h.test/In/fl/in/fl/Inflector-0.11.4.crate".to_owned(),
            ),
            ("https://h.test/{sha256-checksum}", format!("https://h.test/{sum}")),
            ("https://h.test/{crate}", "https://h.test/Inflector".to_owned()),
        ] {
            assert_eq!(of(dl, "Inflector", "0.11.4"), Ok(url), "{dl}");
        }
        let url = of("https://h.test/{prefix}/{version}", "Ab", "1.0.0+b.1").unwrap();
        assert_eq!(url, "https://h.test/2/1.0.0+b.1", "build metadata as it is written");
    }

    #[test]
    fn what_says_no_place_is_refused_in_words() {
        for dl in ["file:///etc", "relative/path", "", "javascript:{crate}"] {
            assert!(of(dl, "a", "1.0.0").unwrap_err().contains("dl"), "{dl}");
        }
        let none = OutlineVersion::default();
        for config in ["", "[]", "{}", "{\"dl\":7}", "<html>"] {
            let found = locate(config.as_bytes(), "a", &none, &OutlineFile::default());
            assert!(found.unwrap_err().contains("dl"), "{config}");
        }
    }

    #[test]
    fn an_index_file_has_the_path_of_the_lowercased_name() {
        for (name, path) in [
            ("a", "1/a"),
            ("ab", "2/ab"),
            ("syn", "3/s/syn"),
            ("serde", "se/rd/serde"),
            ("serde_json", "se/rd/serde_json"),
        ] {
            assert_eq!((RULES.document)(name), path);
        }
    }

    #[test]
    fn a_file_name_tells_its_version() {
        for (package, file, version) in [
            ("serde", "serde-1.0.0.crate", Some("1.0.0")),
            ("serde", "Serde-1.0.0-rc.1.crate", Some("1.0.0-rc.1")),
            ("openssl-src", "openssl-src-300.0.1+3.0.1.crate", Some("300.0.1")),
            ("serde", "serde_json-1.0.0.crate", None),
            ("serde", "serde-1.0.crate", None),
            ("serde", "serde-1.0.0.tgz", None),
        ] {
            assert_eq!(version_of(package, file).as_deref(), version, "{file}");
        }
    }
}
