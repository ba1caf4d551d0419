//! `dist` of one version: where its tarball is, and what is declared of the bytes.
//!
//! Source: npm's `package-metadata.md`; W3C Subresource Integrity.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::upstream_outline::{TEXT_MAX_BYTES, span};
use crate::formats::json::{Error, Json, Key};
use crate::formats::splice::Span;
use crate::registry::{Declared, OutlineFile};

const SIGNATURES_MAX: usize = 16;

/// Padding or none: checksums are compared as bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As far as it is read.
#[derive(Default)]
pub(super) struct Dist {
    /// Decoded, and the place of the string.
    pub(super) tarball: Option<(String, Span)>,
    integrity: String,
    shasum: String,
    pub(super) signatures: Vec<(String, String)>,
}

impl Dist {
    pub(super) fn field(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        let first = json.peek()?;
        let start = json.at();
        match (key.text.as_str(), first) {
            ("tarball" | "integrity" | "shasum" | "signatures", _)
                if first != wanted(&key.text) =>
            {
                self.forget(&key.text);
                json.skip()?;
            }
            ("tarball", _) => {
                let url = json.text(TEXT_MAX_BYTES)?;
                let place = span(start..json.at())?;
                self.tarball = url.map(|url| (url, place));
            }
            ("integrity", _) => {
                self.integrity = json.text(TEXT_MAX_BYTES)?.unwrap_or_default();
            }
            ("shasum", _) => self.shasum = json.text(TEXT_MAX_BYTES)?.unwrap_or_default(),
            ("signatures", _) => {
                self.signatures.clear();
                json.array(&mut |json| self.signature(json))?;
            }
            _ => json.pass()?,
        }
        Ok(())
    }

    fn forget(&mut self, member: &str) {
        match member {
            "tarball" => self.tarball = None,
            "integrity" => self.integrity.clear(),
            "shasum" => self.shasum.clear(),
            _ => self.signatures.clear(),
        }
    }

    fn signature(&mut self, json: &mut Json<'_>) -> Result<(), Error> {
        if json.peek()? != b'{' {
            return json.pass();
        }
        let (mut id, mut sig) = (None, None);
        json.object(&mut |json, key| {
            match (key.text.as_str(), json.peek()?) {
                ("keyid", b'"') => id = json.text(TEXT_MAX_BYTES)?,
                ("sig", b'"') => sig = json.text(TEXT_MAX_BYTES)?,
                _ => json.pass()?,
            }
            Ok(())
        })?;
        if let (Some(id), Some(sig)) = (id, sig)
            && self.signatures.len() < SIGNATURES_MAX
        {
            self.signatures.push((id, sig));
        }
        Ok(())
    }

    /// The tarball; `None` if its URL is none that could be asked.
    pub(super) fn file(&self, url: &str) -> Option<OutlineFile> {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        let web = lower.starts_with("http://") || lower.starts_with("https://");
        let mut declared = integrity(&self.integrity);
        declared.sha1 = declared.sha1.or_else(|| crdt::digest::from_hex(self.shasum.trim()));
        let url = url.to_owned();
        // Its name follows from the package's, which may stand further on.
        web.then(|| OutlineFile { url, declared, ..OutlineFile::default() })
    }
}

/// The first byte of a value that means something.
fn wanted(member: &str) -> u8 {
    if member == "signatures" { b'[' } else { b'"' }
}

/// The first checksum of each algorithm; options after `?` mean nothing.
fn integrity(text: &str) -> Declared {
    let mut declared = Declared::default();
    for item in text.split_ascii_whitespace() {
        let Some((algorithm, sum)) = item.split_once('-') else { continue };
        let sum = sum.split('?').next().unwrap_or_default();
        let Ok(sum) = BASE64.decode(sum) else { continue };
        match algorithm {
            "sha512" => declared.sha512 = declared.sha512.or_else(|| sum.try_into().ok()),
            "sha256" => declared.sha256 = declared.sha256.or_else(|| sum.try_into().ok()),
            "sha1" => declared.sha1 = declared.sha1.or_else(|| sum.try_into().ok()),
            "md5" => declared.md5 = declared.md5.or_else(|| sum.try_into().ok()),
            _ => {}
        }
    }
    declared
}
