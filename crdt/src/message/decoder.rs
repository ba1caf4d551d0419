//! Frames out of a stream of bytes, whatever the pieces in which they come.
//!
//! Holds at most one frame and the piece that was fed last. A length over the cap is refused as
//! soon as its four bytes are here. After an error the decoder answers nothing but that error.

use super::{FIRST_FRAME_MAX_BYTES, FRAME_MAX_BYTES, Frame};
use crate::Error;

/// The largest frame that is read, length field included: little before the peer said HELLO.
#[must_use]
pub const fn frame_cap(greeted: bool) -> usize {
    if greeted { FRAME_MAX_BYTES } else { FIRST_FRAME_MAX_BYTES }
}

/// Reads frames incrementally: [`feed`](Self::feed), then
/// [`next_frame`](Self::next_frame) until it answers `None`.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    greeted: bool,
    failed: Option<Error>,
}

impl Decoder {
    /// Before the first byte of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` until more is fed. Unknown frames that may be skipped are.
    ///
    /// # Errors
    /// What [`Frame::decode`] says, or a length over the cap. The stream is of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.read();
        if let Err(error) = &next {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
        }
        next
    }

    fn read(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            let waiting = &self.buffer[self.start..];
            let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
            let length = u32::from_le_bytes(*length);
            let cap = frame_cap(self.greeted);
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= cap - 4)
                .ok_or(Error::OverLimit { what: "frame", limit: cap as u64 })?;
            let Some(content) = rest.get(..length) else { return Ok(None) };
            let Some((kind, body)) = content.split_first() else {
                return Err(Error::Malformed { what: "frame", why: "no type".to_owned() });
            };
            let frame = Frame::decode(*kind, body)?;
            self.start += 4 + length;
            if let Some(frame) = frame {
                self.greeted |= matches!(frame, Frame::Hello { .. });
                return Ok(Some(frame));
            }
        }
    }
}
