//! How far a file is that is being written: for who passes its bytes on while they come.
//!
//! Whoever fetches a file, from an upstream or out of a bucket, tells it through one channel, and
//! whoever reads along has a handle of the same file. Nothing here says that the bytes are right:
//! that is known at the end, and told elsewhere.

use std::sync::Arc;

use tokio::sync::watch;

use super::Error;
use super::blob::BlobWriter;

/// Bytes that may wait in memory before they are written for the sake of who reads along.
const UNTOLD_BYTES: u64 = 32 << 10;

/// How far a body is that is being fetched.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// Its length, if its source said it.
    pub size: Option<u64>,
    /// Bytes that can be read from `file`.
    pub written: u64,
    /// A handle for reading at offsets, from the first byte that may be passed on.
    ///
    /// Another handle than before means that the body begins anew, `written` too: its first bytes
    /// need not be those that were there before.
    pub file: Option<Arc<std::fs::File>>,
}

impl BlobWriter {
    /// Tells how far it is; `shown` is what was told before.
    ///
    /// # Errors
    /// As [`BlobWriter::write`] and [`BlobWriter::reader`].
    pub async fn tell(
        &mut self,
        shown: &mut Arrival,
        to: &watch::Sender<Arrival>,
    ) -> Result<(), Error> {
        if shown.file.is_none() {
            shown.file = Some(self.reader()?);
        }
        if self.written() - self.readable() >= UNTOLD_BYTES {
            self.flush().await?;
        }
        shown.written = self.readable();
        let is_news = |told: &Arrival| told.written != shown.written || told.file.is_none();
        if is_news(&to.borrow()) {
            to.send_replace(shown.clone());
        }
        Ok(())
    }
}
