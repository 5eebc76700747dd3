//! Going on behind a page: the scan of what follows the last entry that was read.

use bytes::{BufMut, Bytes, BytesMut};

use crate::kv::Scan;

/// `scan` without what it has read, the last of which had `last` as its key.
#[must_use]
pub(crate) fn beyond(scan: &Scan, last: &Bytes) -> Scan {
    if scan.reverse {
        return Scan { end: last.clone(), ..scan.clone() };
    }
    let mut begin = BytesMut::with_capacity(last.len().saturating_add(1));
    begin.put_slice(last);
    begin.put_u8(0);
    Scan { begin: begin.freeze(), ..scan.clone() }
}
