//! Several ranges in one answer: `multipart/byteranges`.
//!
//! The length is known beforehand, so the answer has a `Content-Length` like any other. The
//! boundary is random: a publisher cannot write it into a file.
//!
//! Source: RFC 9110 section 14.6, RFC 2046 section 5.1.

use std::ops::Range;

use bytes::Bytes;
use crdt::digest::to_hex;

use super::pieces::Section;

/// A body of several parts.
#[derive(Debug)]
pub(super) struct Multipart {
    /// The media type of the whole, with its boundary.
    pub(super) content_type: String,
    /// Bytes of the body.
    pub(super) length: u64,
    /// What is sent.
    pub(super) sections: Vec<Section>,
}

impl Multipart {
    /// These parts of a file of `size` bytes and the media type `kind`.
    pub(super) fn new(parts: Vec<Range<u64>>, kind: &str, size: u64) -> std::io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::from)?;
        let boundary = to_hex(&random);
        let (mut sections, mut length) = (Vec::with_capacity(2 * parts.len() + 1), 0);
        for part in parts {
            let (first, last) = (part.start, part.end - 1);
            let head = Bytes::from(format!(
                "\r\n--{boundary}\r\nContent-Type: {kind}\r\n\
                 Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
            ));
            length += head.len() as u64 + (part.end - part.start);
            sections.extend([Section::Text(head), Section::File(part)]);
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        length += end.len() as u64;
        sections.push(Section::Text(end));
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Ok(Self { content_type, length, sections })
    }
}
