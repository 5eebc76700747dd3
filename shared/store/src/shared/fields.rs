//! The parts of a frame: numbers and byte strings, read from a peer that nobody trusts.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The largest frame behind its length: an answer of [`super::answer::SCAN_ROWS`] of the largest
/// rows fits.
pub(super) const MAX_FRAME_BYTES: usize = 16 << 20;
/// Bytes of a frame's length, which does not count itself.
pub(super) const LENGTH_BYTES: usize = 4;

/// A frame that this protocol does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed frame")]
pub(super) struct Malformed;

/// What does not fit into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes do not fit into a frame, {MAX_FRAME_BYTES} are allowed")]
pub(super) struct Oversize {
    bytes: usize,
}

/// A frame that is read from its front to its end.
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn new(frame: Bytes) -> Self {
        Self(frame)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| Malformed)?;
        Ok(array)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed)
    }

    /// As many of `item` as a count in front of them says. Nothing is set aside for the count: it
    /// may be a lie.
    pub(super) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        (0..self.u32()?).map(|_| item(self)).collect()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// One frame with its length in front.
pub(super) fn frame(fill: impl FnOnce(&mut BytesMut)) -> Result<Bytes, Oversize> {
    let mut out = BytesMut::zeroed(LENGTH_BYTES);
    fill(&mut out);
    let bytes = out.len().saturating_sub(LENGTH_BYTES);
    let oversize = || Oversize { bytes };
    let length = u32::try_from(bytes).map_err(|_| oversize())?;
    if bytes > MAX_FRAME_BYTES {
        return Err(oversize());
    }
    out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// Writes a byte string. One that is too long for its length makes the frame too long too.
pub(super) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// Writes the count of a list; see [`put_bytes`].
pub(super) fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}
