//! Answers MGET: small blobs whole, many to a frame.
//!
//! The answering side of `many`. Each blob is given by the same rules as a range of it, and what
//! may not be given reads like what is not here. A frame is a quarter of the piece that the link's
//! pace allows, so that the first ones arrive soon on a slow link. Bytes are not hashed again on
//! the way out: the receiver does. Keeps nothing.
//!
//! Source: mesh.md section 7.

use std::sync::PoisonError;

use bytes::Bytes;
use crdt::Digest;
use futures::AsyncWrite;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::choose::Pace;
use super::frame::{self, Broken, Frame, MANY_BYTES_MAX, SMALL_BYTES};
use super::serve::{Cancelled, PATIENCE, Server};

impl Server {
    /// Sends the blobs, in order, in as many frames as it takes.
    pub(super) async fn many(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        (id, digests): (u32, &[Digest]),
        cancelled: &Cancelled,
        pace: &mut Pace,
    ) -> Result<(), Broken> {
        let _turn = match self.turn().await {
            Ok(turn) => turn,
            Err(failure) => {
                let error = Frame::Error { id, failure };
                return frame::send(writer, &error.encode(), PATIENCE).await;
            }
        };
        let (mut bodies, mut bytes, mut left) = (Vec::new(), 0, MANY_BYTES_MAX);
        for (at, digest) in digests.iter().enumerate() {
            let body = self.small(digest, left).await;
            if body.is_none() {
                self.miss()?;
            }
            let length = body.as_ref().map_or(0, |body| body.len() as u64);
            left -= length;
            bytes += length;
            bodies.push(body);
            if bytes < pace.piece_bytes() / 4 && at + 1 < digests.len() {
                continue;
            }
            if cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                return Ok(());
            }
            let answer = Frame::Small { id, bodies: std::mem::take(&mut bodies) };
            let began = Instant::now();
            frame::send(writer, &answer.encode(), PATIENCE).await?;
            pace.note(began.elapsed());
            bytes = 0;
        }
        Ok(())
    }

    /// A blob of at most `left` bytes that the peer may have.
    async fn small(&self, digest: &Digest, left: u64) -> Option<Bytes> {
        let size = self.gives(digest, self.is_member())?;
        if size >= SMALL_BYTES || size > left || !self.affords(size) {
            return None;
        }
        let (_, mut file) = self.context.store.open_blob(digest).await.ok().flatten()?;
        let mut body = Vec::with_capacity(usize::try_from(size).ok()?);
        let read = (&mut file).take(size).read_to_end(&mut body).await;
        if let Err(error) = &read {
            tracing::warn!(%digest, %error, "a held blob cannot be read");
        }
        (read.ok()? as u64 == size).then(|| body.into())
    }
}
