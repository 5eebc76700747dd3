//! CBOR as this house writes it: the deterministic encoding of RFC 8949, section 4.2, with integers
//! for field names.
//!
//! Only integers, byte strings, texts, arrays, maps, booleans and null occur; every length is
//! definite. A reader refuses everything else, and fields out of order or given twice, but takes an
//! integer in a longer form than needed: hashes and signatures cover the bytes as they are, so
//! there is nothing to gain by it.

use ciborium_ll::{Decoder, Header, simple};
use thiserror::Error;

/// The largest encoding that is read, in bytes: more than any message of the bus may have.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep unknown fields may be nested before they are refused: the known forms need six.
const MAX_DEPTH: u8 = 16;

/// Why bytes are not the form that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end in the middle.
    #[error("the encoding ends too early")]
    End,
    /// They are no CBOR, or a kind of it that is not used here.
    #[error("this is not CBOR as it is used here")]
    Syntax,
    /// Another type of value.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A value outside of its range.
    #[error("the value is not {0}")]
    Range(&'static str),
    /// Fields in the wrong order, or one of them twice.
    #[error("field {0} is out of order or given twice")]
    Order(u64),
    /// A field without which the form makes no sense.
    #[error("{form} lacks its field {field}")]
    Missing {
        /// Which form.
        form: &'static str,
        /// Which field.
        field: u64,
    },
    /// A case that this version does not know.
    #[error("{form} has no case {number}")]
    Unknown {
        /// Which form.
        form: &'static str,
        /// Which case.
        number: u64,
    },
    /// More nested than anything of ours.
    #[error("nested too deeply")]
    TooDeep,
    /// Longer than [`MAX_BYTES`].
    #[error("longer than 1 MiB")]
    TooLong,
    /// Something follows the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// Reads values one after the other, borrowing texts and bytes from the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// The major types of RFC 8949, section 3.1, that are written.
const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;

impl Writer {
    /// Writes where `room` was, whose bytes are forgotten and whose memory is used again.
    #[must_use]
    pub fn over(mut room: Vec<u8>) -> Self {
        room.clear();
        Self { bytes: room }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An integer that is not negative.
    pub fn uint(&mut self, value: u64) {
        self.head(UINT, value);
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(UINT, value),
            // CBOR writes a negative n as -1 - n, which is its complement.
            Err(_) => self.head(NEGATIVE, (!value).unsigned_abs()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.length(BYTES, value.len());
        self.raw(value);
    }

    /// A text.
    pub fn text(&mut self, value: &str) {
        self.length(TEXT, value.len());
        self.raw(value.as_bytes());
    }

    /// The head of an array of `len` values.
    pub fn array(&mut self, len: usize) {
        self.length(ARRAY, len);
    }

    /// The head of a map of `len` pairs, whose keys must follow in the order of their encodings.
    pub fn map(&mut self, len: usize) {
        self.length(MAP, len);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.head(SIMPLE, u64::from(if value { simple::TRUE } else { simple::FALSE }));
    }

    /// Null.
    pub fn null(&mut self) {
        self.head(SIMPLE, u64::from(simple::NULL));
    }

    /// Bytes that are encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    fn length(&mut self, major: u8, length: usize) {
        self.head(major, u64::try_from(length).unwrap_or(u64::MAX));
    }

    /// A head in its shortest form, as section 4.2.1 wants it: the request path writes some fifty
    /// of them for each request, most of them of one byte.
    #[inline]
    fn head(&mut self, major: u8, value: u64) {
        let [.., low] = value.to_be_bytes();
        if value < 24 {
            self.bytes.push(major << 5 | low);
        } else {
            self.long_head(major << 5, value);
        }
    }

    fn long_head(&mut self, kind: u8, value: u64) {
        let [.., low] = value.to_be_bytes();
        if low_bytes_hold(value, 1) {
            self.bytes.extend_from_slice(&[kind | 24, low]);
        } else if low_bytes_hold(value, 2) {
            let [.., second, first] = value.to_be_bytes();
            self.bytes.extend_from_slice(&[kind | 25, second, first]);
        } else if low_bytes_hold(value, 4) {
            let [.., d, c, b, a] = value.to_be_bytes();
            self.bytes.extend_from_slice(&[kind | 26, d, c, b, a]);
        } else {
            self.bytes.push(kind | 27);
            self.bytes.extend_from_slice(&value.to_be_bytes());
        }
    }
}

const fn low_bytes_hold(value: u64, bytes: u32) -> bool {
    value.leading_zeros() >= u64::BITS - 8 * bytes
}

impl<'a> Reader<'a> {
    /// Begins with the first of `bytes`.
    ///
    /// # Errors
    /// [`Malformed::TooLong`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES { Err(Malformed::TooLong) } else { Ok(Self { rest: bytes }) }
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// [`Malformed::Trailing`].
    pub const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.rest.len())) }
    }

    /// An integer that is not negative.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        let Header::Positive(value) = self.header()? else {
            return Err(Malformed::Expected("an integer that is not negative"));
        };
        Ok(value)
    }

    /// An integer.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn int(&mut self) -> Result<i64, Malformed> {
        let out_of_range = |_| Malformed::Range("an integer of 64 bits");
        let header = self.header()?;
        if let Header::Positive(value) = header {
            i64::try_from(value).map_err(out_of_range)
        } else if let Header::Negative(value) = header {
            i64::try_from(value).map(|n| !n).map_err(out_of_range)
        } else {
            Err(Malformed::Expected("an integer"))
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let Header::Bytes(Some(len)) = self.header()? else {
            return Err(Malformed::Expected("a byte string"));
        };
        self.take(len)
    }

    /// A text.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let Header::Text(Some(len)) = self.header()? else {
            return Err(Malformed::Expected("a text"));
        };
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed::Range("UTF-8"))
    }

    /// The head of an array: the number of its values, of which each has at least one byte.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn array(&mut self) -> Result<usize, Malformed> {
        let Header::Array(Some(len)) = self.header()? else {
            return Err(Malformed::Expected("an array"));
        };
        if len <= self.rest.len() { Ok(len) } else { Err(Malformed::End) }
    }

    /// The head of a map: the number of its pairs.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn map(&mut self) -> Result<usize, Malformed> {
        let Header::Map(Some(len)) = self.header()? else {
            return Err(Malformed::Expected("a map"));
        };
        if len <= self.rest.len() { Ok(len) } else { Err(Malformed::End) }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        let Header::Simple(value @ (simple::FALSE | simple::TRUE)) = self.header()? else {
            return Err(Malformed::Expected("a boolean"));
        };
        Ok(value == simple::TRUE)
    }

    /// Reads a null if one comes next.
    pub fn null(&mut self) -> bool {
        let mut ahead = self.clone();
        let is_null = matches!(ahead.header(), Ok(Header::Simple(simple::NULL)));
        if is_null {
            *self = ahead;
        }
        is_null
    }

    /// A map whose keys are field numbers in ascending order; `read` is called for each to read its
    /// value.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn fields(
        &mut self,
        mut read: impl FnMut(u64, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut least = 0;
        for _ in 0..self.map()? {
            let number = self.uint()?;
            if number < least {
                return Err(Malformed::Order(number));
            }
            least = number.checked_add(1).ok_or(Malformed::Order(number))?;
            read(number, self)?;
        }
        Ok(())
    }

    /// Passes over one value, whatever it is: a field that a later version added.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.skip_at(MAX_DEPTH)
    }

    fn skip_at(&mut self, depth: u8) -> Result<(), Malformed> {
        let below = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        let mut values = match self.header()? {
            Header::Positive(_)
            | Header::Negative(_)
            | Header::Simple(simple::FALSE..=simple::NULL) => 0,
            Header::Bytes(Some(len)) | Header::Text(Some(len)) => {
                self.take(len)?;
                0
            }
            Header::Array(Some(len)) => len,
            Header::Map(Some(len)) => len.checked_mul(2).ok_or(Malformed::End)?,
            Header::Bytes(None)
            | Header::Text(None)
            | Header::Array(None)
            | Header::Map(None)
            | Header::Simple(_)
            | Header::Float(_)
            | Header::Tag(_)
            | Header::Break => return Err(Malformed::Syntax),
        };
        while values > 0 {
            self.skip_at(below)?;
            values -= 1;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Header, Malformed> {
        let mut decoder = Decoder::from(self.rest);
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => Malformed::End,
            ciborium_ll::Error::Syntax(_) => Malformed::Syntax,
        })?;
        self.rest = self.rest.get(decoder.offset()..).ok_or(Malformed::End)?;
        Ok(header)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::End)?;
        self.rest = rest;
        Ok(taken)
    }
}
