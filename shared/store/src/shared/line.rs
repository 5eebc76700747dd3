//! One connection: frames out of a socket, frames into it, and who may speak at all.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::fields::{LENGTH_BYTES, MAX_FRAME_BYTES};

/// What both sides say first, before anything that may change: eight bytes and the version.
const MAGIC: [u8; 8] = *b"turnpike";
/// The version of everything behind the greeting. Another version is refused, never guessed at.
pub(super) const PROTOCOL: u16 = 1;

/// A frame on its way out, and the room that it holds until it is written.
pub(super) struct Outgoing {
    pub(super) frame: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The frames that arrive.
pub(super) struct Incoming {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

/// Says the greeting and hears the other's: the version that it speaks.
pub(super) async fn greet(stream: &mut UnixStream) -> io::Result<u16> {
    stream.write_all(&MAGIC).await?;
    stream.write_u16(PROTOCOL).await?;
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    stream.read_u16().await
}

/// Writes frames until nobody can send any more, or nobody reads.
pub(super) async fn pump(mut frames: mpsc::UnboundedReceiver<Outgoing>, half: OwnedWriteHalf) {
    let mut out = BufWriter::new(half);
    while let Some(Outgoing { frame, room }) = frames.recv().await {
        let written = out.write_all(&frame).await;
        drop(room);
        // What waits goes out together: one call of the system for a group of commits.
        let flushed = if frames.is_empty() { out.flush().await } else { Ok(()) };
        if written.and(flushed).is_err() {
            return;
        }
    }
}

impl Incoming {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        Self { half, buffer: BytesMut::new() }
    }

    /// The next frame, `None` when the other side has gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn cut(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        if self.buffer.len() < LENGTH_BYTES.saturating_add(length) {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}
