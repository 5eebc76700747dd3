//! Where the body of an answer ends, and its pieces until then (RFC 9112, sections 6 and 7).

use bytes::{Bytes, BytesMut};
use httparse::Status;

use super::broken::Broken;

/// The longest line before a chunk, in bytes: a size and extensions that nobody uses.
const MAX_SIZE_LINE_BYTES: usize = 4 * 1024;
/// The longest trailers, in bytes. They stay here.
const MAX_TRAILERS_BYTES: usize = 16 * 1024;
const LINE_END: &[u8] = b"\r\n";

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// A chunk's size line comes next.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
    /// Trailers, of which so many bytes have passed.
    Trailers(usize),
    /// All until the connection is closed.
    UntilClosed,
    /// Nothing.
    Over,
}

/// What stands next in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// Nothing until more is read.
    More,
    /// The body is whole.
    End,
}

impl Framing {
    /// A body of `length` bytes.
    pub(super) const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Length(length) }
    }

    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }

    /// The bytes to come, if they were announced.
    pub(super) const fn announced(self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(left),
            Self::Over => Some(0),
            Self::ChunkSize
            | Self::Chunk(_)
            | Self::ChunkEnd
            | Self::Trailers(_)
            | Self::UntilClosed => None,
        }
    }

    /// Takes the next piece out of what was read.
    ///
    /// # Errors
    /// [`Broken::Malformed`] or [`Broken::TooLong`].
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Piece, Broken> {
        loop {
            match *self {
                Self::Over => return Ok(Piece::End),
                _ if read.is_empty() => return Ok(Piece::More),
                Self::Length(left) => {
                    let data = take(read, left);
                    *self = Self::of_length(left.saturating_sub(long(data.len())));
                    return Ok(Piece::Data(data));
                }
                Self::Chunk(left) => {
                    let data = take(read, left);
                    let left = left.saturating_sub(long(data.len()));
                    *self = if left == 0 { Self::ChunkEnd } else { Self::Chunk(left) };
                    return Ok(Piece::Data(data));
                }
                Self::UntilClosed => return Ok(Piece::Data(read.split().freeze())),
                Self::ChunkSize => {
                    let Some(size) = size_line(read)? else { return Ok(Piece::More) };
                    *self = if size == 0 { Self::Trailers(0) } else { Self::Chunk(size) };
                }
                Self::ChunkEnd => {
                    if read.len() < LINE_END.len() {
                        return Ok(Piece::More);
                    }
                    if read.split_to(LINE_END.len()) != LINE_END {
                        return Err(Broken::Malformed("a chunk is longer than its size"));
                    }
                    *self = Self::ChunkSize;
                }
                Self::Trailers(passed) => {
                    let Some(line) = line_bytes(read) else {
                        return if passed.saturating_add(read.len()) > MAX_TRAILERS_BYTES {
                            Err(Broken::TooLong("trailers"))
                        } else {
                            Ok(Piece::More)
                        };
                    };
                    let ends = read.split_to(line) == LINE_END;
                    let passed = passed.saturating_add(line);
                    if passed > MAX_TRAILERS_BYTES {
                        return Err(Broken::TooLong("trailers"));
                    }
                    *self = if ends { Self::Over } else { Self::Trailers(passed) };
                }
            }
        }
    }

    /// The connection was closed here.
    ///
    /// # Errors
    /// [`Broken::Closed`] if more was to come.
    pub(super) const fn closed(&mut self) -> Result<(), Broken> {
        match self {
            Self::Over | Self::UntilClosed => {
                *self = Self::Over;
                Ok(())
            }
            Self::Length(_)
            | Self::ChunkSize
            | Self::Chunk(_)
            | Self::ChunkEnd
            | Self::Trailers(_) => Err(Broken::Closed),
        }
    }
}

/// The size of the chunk that begins here; `None`: its line is not whole.
fn size_line(read: &mut BytesMut) -> Result<Option<u64>, Broken> {
    // The parser takes a line without a digit for the size 0.
    if read.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(Broken::Malformed("the size of a chunk cannot be read"));
    }
    let line = read.get(..MAX_SIZE_LINE_BYTES).unwrap_or(read);
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((bytes, size))) => {
            drop(read.split_to(bytes));
            Ok(Some(size))
        }
        Ok(Status::Partial) if read.len() >= MAX_SIZE_LINE_BYTES => {
            Err(Broken::TooLong("the size of a chunk"))
        }
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(Broken::Malformed("the size of a chunk cannot be read")),
    }
}

/// The length of the first line with its end.
fn line_bytes(read: &BytesMut) -> Option<usize> {
    memchr::memchr(b'\n', read).map(|place| place.saturating_add(1))
}

fn take(read: &mut BytesMut, most: u64) -> Bytes {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    read.split_to(read.len().min(most)).freeze()
}

fn long(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body comes to when `text` arrives in pieces of `step` bytes.
    fn read(mut framing: Framing, text: &str, step: usize) -> Result<(String, bool), Broken> {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Piece::Data(data) = framing.next(&mut buffer)? {
                body.extend_from_slice(&data);
            }
        }
        let over = framing.is_over() && buffer.is_empty();
        Ok((String::from_utf8(body).unwrap(), over))
    }

    #[test]
    fn bodies_come_out_whole_however_they_arrive() {
        let chunked = "4\r\nWiki\r\n6;name=value\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\
                       Trailer: x\r\n\r\n";
        for step in 1..=chunked.len() {
            let (body, over) = read(Framing::ChunkSize, chunked, step).unwrap();
            assert_eq!((body.as_str(), over), ("Wikipedia in \r\n\r\nchunks.", true), "{step}");
            let (body, over) = read(Framing::of_length(5), "12345", step).unwrap();
            assert_eq!((body.as_str(), over), ("12345", true));
            let (body, over) = read(Framing::UntilClosed, "12345", step).unwrap();
            assert_eq!((body.as_str(), over), ("12345", false));
        }
        assert_eq!(Framing::of_length(0), Framing::Over);
    }

    #[test]
    fn what_follows_a_body_stays() {
        let (mut framing, mut buffer) = (Framing::of_length(2), BytesMut::from("12HTTP"));
        assert_eq!(framing.next(&mut buffer).unwrap(), Piece::Data(Bytes::from_static(b"12")));
        assert_eq!(framing.next(&mut buffer).unwrap(), Piece::End);
        assert_eq!(buffer, "HTTP");
    }

    #[test]
    fn senseless_chunks_are_refused() {
        let long = format!("1;{}", "a".repeat(MAX_SIZE_LINE_BYTES));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_TRAILERS_BYTES / 4));
        for text in [
            "x\r\n",
            "-1\r\n",
            "\r\n",
            "11111111111111111\r\n",
            "1\r\nab\r\n",
            "1\nab",
            &long,
            &trailers,
        ] {
            assert!(read(Framing::ChunkSize, text, text.len()).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn an_early_end_is_told_from_the_end() {
        for mut early in [Framing::Length(1), Framing::ChunkSize, Framing::Trailers(3)] {
            assert!(matches!(early.closed(), Err(Broken::Closed)));
        }
        let mut framing = Framing::UntilClosed;
        assert!(framing.closed().is_ok() && framing.is_over());
    }
}
