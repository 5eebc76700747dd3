//! Base62: bytes as a word of digits and letters that a double click selects as a whole.
//!
//! The bytes are read as one big-endian number; its base-62 digits stand most significant first,
//! padded with `0` to a fixed width. Digits are `0`–`9`, `A`–`Z`, `a`–`z` in this order.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE: u32 = 62;
/// The widest number that is written: 256 bits of a secret.
const MAX_BYTES: usize = 32;

/// Writes the number that `bytes`, at most [`MAX_BYTES`], stand for into `digits`, keeping as many
/// of its low digits as there is room for.
pub(crate) fn write(bytes: &[u8], digits: &mut [u8]) {
    let mut scratch = Zeroizing::new([0_u8; MAX_BYTES]);
    let len = bytes.len().min(MAX_BYTES);
    let number = &mut scratch[..len];
    number.copy_from_slice(&bytes[..len]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for place in number.iter_mut() {
            let value = remainder * 256 + u32::from(*place);
            *place = u8::try_from(value / BASE).unwrap_or(u8::MAX);
            remainder = value % BASE;
        }
        *digit = usize::try_from(remainder).map_or(b'0', |index| ALPHABET[index]);
    }
}

/// Bytes of any length as a word: each block of [`MAX_BYTES`] in as many digits as it needs, and
/// what remains in as many as that needs.
pub(crate) fn word(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(width(bytes.len()));
    for block in bytes.chunks(MAX_BYTES) {
        let mut digits = vec![0; width(block.len())];
        write(block, &mut digits);
        word.extend(digits.into_iter().map(char::from));
    }
    word
}

/// The bytes of a [`word`]; `None` if it is none.
pub(crate) fn bytes(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(word.len());
    for digits in word.as_bytes().chunks(width(MAX_BYTES)) {
        let len = (1..=MAX_BYTES).find(|len| width(*len) == digits.len())?;
        let mut block = vec![0_u8; len];
        for digit in digits {
            let value = ALPHABET.iter().position(|letter| letter == digit)?;
            let mut carry = u32::try_from(value).ok()?;
            for place in block.iter_mut().rev() {
                carry += u32::from(*place) * BASE;
                *place = u8::try_from(carry % 256).ok()?;
                carry /= 256;
            }
            if carry > 0 {
                return None;
            }
        }
        bytes.extend(block);
    }
    Some(bytes)
}

/// Digits that `len` bytes need: a digit holds log₂ 62 = 5.954 196… bits.
const fn width(len: usize) -> usize {
    (len * 8_000_000).div_ceil(5_954_196)
}

/// Whether every byte is a digit.
pub(crate) fn is_written(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], width: usize) -> String {
        let mut digits = vec![0; width];
        write(bytes, &mut digits);
        String::from_utf8(digits).unwrap()
    }

    #[test]
    fn numbers_are_padded_and_most_significant_first() {
        assert_eq!(text(&[0], 4), "0000");
        assert_eq!(text(&[61], 2), "0z");
        assert_eq!(text(&[62], 2), "10");
        assert_eq!(text(&u32::MAX.to_be_bytes(), 6), "4gfFC3");
        assert_eq!(text(&[0xff; 32], 43).len(), 43);
        assert_eq!(text(&[0xff; 32], 44).as_bytes()[0], b'0', "43 digits hold 256 bits");
    }

    #[test]
    fn words_of_any_length_come_back() {
        for len in 0..=100 {
            for fill in [0, 1, 0x7f, 0xff] {
                let whole = vec![fill; len];
                assert_eq!(bytes(&word(&whole)), Some(whole), "{len} times {fill}");
            }
        }
        assert_eq!(word(&[0xff; 32]).len(), 43);
        for wrong in ["z", "zzz", "1-", "é", &"z".repeat(43)] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn low_digits_are_kept_where_there_is_no_room() {
        let all = text(&[0xab; 16], 22);
        assert_eq!(text(&[0xab; 16], 16), all[6..]);
    }
}
