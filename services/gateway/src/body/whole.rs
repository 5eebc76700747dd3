//! A body that is gathered piece by piece: what came as one piece, the usual case, is not copied.

use bytes::{Bytes, BytesMut};

/// What has come of a body.
#[derive(Debug, Default)]
pub struct Whole {
    /// The only piece; empty once there are others.
    first: Bytes,
    all: BytesMut,
}

impl Whole {
    /// Adds the next piece.
    pub fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
        } else {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&piece);
        }
    }

    /// Bytes that have come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Whether nothing has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that has come.
    #[must_use]
    pub fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
