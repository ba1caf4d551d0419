//! The transport that counts: it wraps the sockets themselves, below encryption and multiplexing.
//!
//! So handshakes, key exchanges, pings and whatever fails halfway are counted as they are paid for.
//! What the system adds (headers of IP and TCP, repeated segments) is not seen from here.
//!
//! Source: mesh.md section 5.4.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::Multiaddr;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};

use super::meter::{Meter, Tally};

/// A transport whose streams are counted.
#[derive(Debug)]
pub(super) struct Metered<T> {
    inner: T,
    meter: Meter,
}

impl<T> Metered<T> {
    /// Counts what the streams of a transport carry.
    pub(super) const fn over(inner: T, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<T> Transport for Metered<T>
where
    T: Transport + Unpin,
    T::Dial: Unpin,
    T::ListenerUpgrade: Unpin,
{
    type Output = Counted<T::Output>;
    type Error = T::Error;
    type ListenerUpgrade = Opening<T::ListenerUpgrade>;
    type Dial = Opening<T::Dial>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let opening = self.inner.dial(address.clone(), options)?;
        Ok(Opening { opening, tally: self.meter.open(&address) })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        let remote = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => send_back_addr.clone(),
            _ => Multiaddr::empty(),
        };
        let meter = &self.meter;
        Poll::Ready(event.map_upgrade(|opening| Opening { opening, tally: meter.open(&remote) }))
    }
}

/// A connection that is being opened.
#[derive(Debug)]
pub(super) struct Opening<F> {
    opening: F,
    tally: Arc<Tally>,
}

impl<F, S, E> Future for Opening<F>
where
    F: Future<Output = Result<S, E>> + Unpin,
{
    type Output = Result<Counted<S>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = ready!(Pin::new(&mut self.opening).poll(cx));
        let tally = Arc::clone(&self.tally);
        let end = End(Arc::clone(&tally));
        Poll::Ready(opened.map(|inner| Counted { inner, tally, _end: Some(end) }))
    }
}

/// A stream that is counted.
#[derive(Debug)]
pub(super) struct Counted<S> {
    inner: S,
    tally: Arc<Tally>,
    /// Of the stream that is the connection.
    _end: Option<End>,
}

/// Ends the tally of a connection with it.
#[derive(Debug)]
struct End(Arc<Tally>);

impl Drop for End {
    fn drop(&mut self) {
        Meter::closed(&self.0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.tally.received(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read_vectored(cx, buffers))?;
        self.tally.received(bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        self.tally.sent(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, buffers))?;
        self.tally.sent(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A connection that has no stream of its own below the others: those are counted.
#[derive(Debug)]
pub(super) struct CountedMuxer<M> {
    inner: M,
    end: End,
}

impl<M> CountedMuxer<M> {
    /// Counts what the streams of a connection carry.
    pub(super) const fn new(inner: M, tally: Arc<Tally>) -> Self {
        Self { inner, end: End(tally) }
    }

    fn counted<S>(&self, inner: S) -> Counted<S> {
        Counted { inner, tally: Arc::clone(&self.end.0), _end: None }
    }
}

impl<M> StreamMuxer for CountedMuxer<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Counted<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.counted(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.counted(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
