//! Frames on a byte stream: each behind its length in four bytes, big endian.

use super::{BadSnapshot, MAX_FRAME_BYTES};

const LENGTH_BYTES: usize = 4;

/// Finds the frames of a byte stream that arrives in pieces of any size.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    /// Where the first frame that was not given out begins.
    start: usize,
}

/// A frame behind its length.
#[must_use]
pub fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), frame].concat()
}

impl Splitter {
    /// Takes the next piece of the stream.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// [`BadSnapshot::TooLarge`].
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, BadSnapshot> {
        let left = self.bytes.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = left.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(BadSnapshot::TooLarge);
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.start += LENGTH_BYTES + length;
        Ok(Some(frame))
    }

    /// Whether bytes are left that are no whole frame: the stream was cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.start < self.bytes.len()
    }
}
