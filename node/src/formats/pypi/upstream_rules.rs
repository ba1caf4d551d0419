//! How an upstream of PyPI is asked, and how its word is compared with the bytes: pure.
//!
//! Its base URL is that of the simple index, and there is one document for a project, asked for in
//! JSON and taken in HTML. It may say of a wheel what it requires of Python, and a checksum of its
//! METADATA; both stand in the wheel as well. What a page leaves out contradicts nothing.
//!
//! Source: PEP 503, 658, 691; formats/pypi.md sections 1 to 3.

use crdt::digest::to_hex;
use sha2::{Digest as _, Sha256};

use super::outline::{self, DOCUMENT_MAX_BYTES, Entry, Said};
use super::{html, upstream_json};
use crate::formats::url_segment;
use crate::registry::{UpstreamRules, Variant};

/// The one form that is asked for.
pub(super) const SIMPLE: &str = "simple";

/// What the registry must know.
pub(super) const RULES: UpstreamRules = UpstreamRules {
    variants: &[Variant {
        name: SIMPLE,
        accept: "application/vnd.pypi.simple.v1+json, \
                 application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
    }],
    document: |name| format!("{}/", url_segment(name)),
    file: |name, file| format!("{}/{}", url_segment(name), url_segment(file)),
    locate: None,
    version_of: |name, file| Some(outline::version_of(name, file)),
    outline: outline::outline,
    document_bytes_max: DOCUMENT_MAX_BYTES,
    token_scheme: Some("Bearer"),
    signatures: None,
    differs,
};

/// What an install would do otherwise by the page than by the wheel: its declaration in the page,
/// and its METADATA.
fn differs(declared: &[u8], metadata: &[u8]) -> Option<String> {
    let entry = entry(declared)?;
    if let Some(Said::Sha256(sum)) = entry.metadata {
        let held: [u8; 32] = Sha256::digest(metadata).into();
        if held != sum {
            let (sum, held) = (to_hex(&sum), to_hex(&held));
            let file = &entry.filename;
            return Some(format!("the METADATA of {file} is {held}, and {sum} is declared"));
        }
    }
    let said = entry.requires_python.as_deref().map(specifiers).filter(|all| !all.is_empty())?;
    let held = header(metadata, "requires-python").unwrap_or_default();
    (specifiers(&held) != said).then(|| {
        let (file, said) = (&entry.filename, said.join(","));
        let held = if held.is_empty() { "nothing".to_owned() } else { held };
        format!("{file} requires {held} of Python, and {said} is declared")
    })
}

/// The parts of a specifier, whatever their order and the blanks in it.
fn specifiers(text: &str) -> Vec<String> {
    let part = |part: &str| part.split_whitespace().collect::<String>();
    let mut parts: Vec<String> = text.split(',').map(part).filter(|p| !p.is_empty()).collect();
    parts.sort();
    parts.dedup();
    parts
}

/// A field of METADATA, by its name in lower case.
fn header(metadata: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// A file's own piece of a page, read alone.
fn entry(declared: &[u8]) -> Option<Entry> {
    let mut found = None;
    let mut visit = |entry: Entry| {
        found = Some(entry);
        Ok(())
    };
    // A piece is not a whole page: what is said of the rest is no matter here.
    let _ = if declared.starts_with(b"{") {
        let page = [br#"{"files":["#.as_slice(), declared, b"]}"].concat();
        upstream_json::read(&mut page.as_slice(), &mut visit)
    } else {
        let mut piece = declared;
        html::read("", &mut piece, &mut visit)
    };
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &[u8] = b"Metadata-Version: 2.1\nName: pad\nVersion: 1.0\n\
                              Requires-Python: >=3.8, <4\n\nRequires-Python: of the text\n";

    fn json(more: &str) -> String {
        format!(r#"{{"filename":"pad-1.0-py3-none-any.whl","url":"pad.whl"{more}}}"#)
    }

    fn anchor(more: &str) -> String {
        format!(r#"<a href="pad-1.0-py3-none-any.whl"{more}>pad</a>"#)
    }

    #[test]
    fn what_a_page_says_of_a_wheel_is_what_the_wheel_says_or_differs() {
        let sum = to_hex(&<[u8; 32]>::from(Sha256::digest(METADATA)));
        for (said, word) in [
            (json(""), None),
            (json(r#","requires-python":"<4,>=3.8""#), None),
            (json(r#","requires-python":null,"core-metadata":true"#), None),
            (json(r#","requires-python":">=3.9""#), Some("of Python")),
            (json(&format!(r#","core-metadata":{{"sha256":"{sum}"}}"#)), None),
            (json(&format!(r#","dist-info-metadata":{{"sha256":"{sum}"}}"#)), None),
            (
                json(&format!(r#","core-metadata":{{"sha256":"{}"}}"#, "0".repeat(64))),
                Some("METADATA"),
            ),
            (anchor(""), None),
            (anchor(r#" data-requires-python="&gt;=3.8, &lt;4""#), None),
            (anchor(r#" data-requires-python="&gt;=2""#), Some("of Python")),
            (anchor(&format!(" data-core-metadata=\"sha256={sum}\"")), None),
            (anchor(&format!(" data-core-metadata='sha256={}'", "1".repeat(64))), Some("METADATA")),
        ] {
            let found = differs(said.as_bytes(), METADATA);
            match word {
                None => assert_eq!(found, None, "{said}"),
                Some(word) => assert!(found.as_deref().is_some_and(|f| f.contains(word)), "{said}"),
            }
        }
    }
}
