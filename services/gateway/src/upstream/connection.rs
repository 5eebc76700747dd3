//! One connection to a provider, read and written by the task whose request it carries.
//!
//! There is no task beside the request's own: what is written goes to the socket at once, and what
//! comes wakes the request itself.

use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use turnpike_runtime::clock::Clock;
use turnpike_runtime::connector::Connection as Socket;

use super::broken::Broken;
use super::head::{self, AnswerHead};
use crate::silence::Silence;

/// The head of an answer is at most this long, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The least room for one reading, in bytes: with 10,000 streams open the buffers are most of the
/// memory.
const LEAST_READ_BYTES: usize = 8 * 1024;
/// The most room for one reading, in bytes, once answers prove to be long.
const MOST_READ_BYTES: usize = 64 * 1024;

/// Bodies up to this size, in bytes, are copied behind their head: that is cheaper than what the
/// kernel takes more for a write from two places.
const JOINED_BODY_BYTES: usize = 8 * 1024;

/// An open connection.
pub(super) struct Connection {
    socket: Socket,
    /// The head that is written, with the body behind it if that is short.
    pub(super) head: Vec<u8>,
    /// Read, and not taken yet.
    pub(super) read: BytesMut,
    /// Room for the next reading: grows with what comes.
    room: usize,
    /// Since the last request was begun.
    silence: Silence,
}

/// How long a provider may keep silent.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) clock: &'a dyn Clock,
    /// Steady time when the request begins.
    pub(super) begun_ms: u64,
    pub(super) limit_ms: u64,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Something of the request may have left.
    pub(super) written: bool,
    pub(super) why: Broken,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        let (head, read) = (Vec::new(), BytesMut::new());
        Self { socket, head, read, room: LEAST_READ_BYTES, silence: Silence::since(0) }
    }

    /// Whether an idle connection can take a request: the provider has neither closed it nor said
    /// anything. Asks the kernel only if something has come.
    pub(super) fn is_quiet(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        self.read.is_empty() && self.poll_more(context).is_pending()
    }

    /// Writes [`Self::head`] and `body`, and reads the head of the answer. An answer that comes
    /// before the request was written ends the writing: the connection is then of no further use.
    pub(super) async fn exchange(
        &mut self,
        body: &Bytes,
        patience: Patience<'_>,
    ) -> Result<AnswerHead, Failed> {
        self.silence.end(patience.begun_ms);
        let body = self.joined(body);
        let whole = self.head.len().saturating_add(body.len());
        let (mut written, mut flushed, mut refused) = (0_usize, false, None);
        std::future::poll_fn(|context| {
            let failed = |written, why| Poll::Ready(Err(Failed { written, why }));
            while written < whole && refused.is_none() {
                match self.poll_write(context, body, written) {
                    Poll::Ready(Ok(bytes)) => written = written.saturating_add(bytes),
                    // The provider may have answered before it closed its side.
                    Poll::Ready(Err(error)) if written > 0 => refused = Some(error),
                    Poll::Ready(Err(error)) => return failed(false, error),
                    Poll::Pending => break,
                }
            }
            if written == whole && !flushed {
                match Pin::new(&mut self.socket).poll_flush(context) {
                    Poll::Ready(Ok(())) => flushed = true,
                    Poll::Ready(Err(error)) => return failed(true, error.into()),
                    Poll::Pending => {}
                }
            }
            loop {
                match self.take_head() {
                    Ok(Some(mut head)) => {
                        head.keeps &= flushed;
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(why) => return failed(true, why),
                }
                match self.poll_more(context) {
                    Poll::Ready(Ok(0)) => {
                        return failed(true, refused.take().unwrap_or(Broken::Closed));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return failed(true, error),
                    Poll::Pending => break,
                }
            }
            match self.silence.poll(patience.clock, patience.limit_ms, context) {
                Poll::Ready(()) => failed(true, Broken::Silent),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Reads more; 0: the provider has closed the connection.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.read.reserve(self.room);
        let polled = pin!(self.socket.read_buf(&mut self.read)).poll(context);
        if let Poll::Ready(Ok(bytes)) = &polled
            && *bytes >= self.room
        {
            self.room = self.room.saturating_mul(2).min(MOST_READ_BYTES);
        }
        polled.map_err(Broken::from)
    }

    /// Copies a short body behind its head; what is left is written from where it is.
    fn joined<'a>(&mut self, body: &'a [u8]) -> &'a [u8] {
        if body.len() > JOINED_BODY_BYTES {
            return body;
        }
        self.head.extend_from_slice(body);
        &[]
    }

    /// Takes the head of the final answer out of what was read.
    fn take_head(&mut self) -> Result<Option<AnswerHead>, Broken> {
        while !self.read.is_empty() {
            let Some(head) = head::read(&self.read)? else {
                return if self.read.len() > MAX_HEAD_BYTES {
                    Err(Broken::TooLong("its head"))
                } else {
                    Ok(None)
                };
            };
            self.read.advance(head.bytes);
            if !head.answer.status().is_informational() {
                return Ok(Some(head));
            }
            if head.answer.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                return Err(Broken::Malformed("it changes to a protocol that nobody asked for"));
            }
        }
        Ok(None)
    }

    /// Writes what follows the first `written` bytes of head and body.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        body: &[u8],
        written: usize,
    ) -> Poll<Result<usize, Broken>> {
        let head = self.head.get(written..).unwrap_or_default();
        let body = body.get(written.saturating_sub(self.head.len())..).unwrap_or_default();
        let socket = Pin::new(&mut self.socket);
        let polled = match (head.is_empty(), body.is_empty()) {
            (true, _) => socket.poll_write(context, body),
            (false, true) => socket.poll_write(context, head),
            (false, false) => {
                socket.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(body)])
            }
        };
        polled.map(|bytes| match bytes {
            Ok(0) => Err(Broken::Closed),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(error.into()),
        })
    }
}
