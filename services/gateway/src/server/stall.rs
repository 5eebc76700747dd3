//! A socket that fails when its peer takes too long, over taking an answer or over sending a head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turnpike_runtime::clock::{BoxFuture, SharedClock};

use super::pace::{Heads, Late};

/// What is said to a caller whose head does not end: which dialect he speaks is not known.
const LATE_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
    x-turnpike-error-code: request_timeout\r\ncontent-length: 0\r\n\r\n";

/// A socket with limits for stalled writes and for heads.
pub(super) struct Stall<S> {
    inner: S,
    clock: SharedClock,
    limit_ms: u64,
    /// Runs from the first write that had to wait to the next that went through.
    timer: Option<BoxFuture<'static, ()>>,
    /// HTTP/2 has pings instead.
    heads: Option<Heads>,
    /// Something has come since the heads were last asked.
    more: bool,
}

impl<S: Unpin> Stall<S> {
    pub(super) fn new(inner: S, clock: SharedClock, limit_ms: u64) -> Self {
        Self { inner, clock, limit_ms, timer: None, heads: None, more: false }
    }

    /// With a limit for heads.
    pub(super) fn waiting_for(mut self, heads: Heads) -> Self {
        self.heads = Some(heads);
        self
    }

    fn watch<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.timer = None;
            return wrote;
        }
        let timer = self.timer.get_or_insert_with(|| self.clock.sleep(self.limit_ms));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stall = self.get_mut();
        let polled = Pin::new(&mut stall.inner).poll_read(context, into);
        stall.more |= polled.is_ready();
        if polled.is_pending()
            && let Some(heads) = &mut stall.heads
            && let Poll::Ready(late) = heads.poll_late(std::mem::take(&mut stall.more), context)
        {
            if late == Late::Head {
                // Nothing else is being written: there is no request yet. Who does not take it
                // learns from the end of the connection.
                let _ = Pin::new(&mut stall.inner).poll_write(context, LATE_HEAD);
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stall = self.get_mut();
        let wrote = Pin::new(&mut stall.inner).poll_write(context, bytes);
        stall.watch(wrote, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stall = self.get_mut();
        let wrote = Pin::new(&mut stall.inner).poll_write_vectored(context, slices);
        stall.watch(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
