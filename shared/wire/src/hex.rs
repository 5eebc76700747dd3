//! Bytes as hexadecimal digits: hashes and public keys where people and JSON see them.

/// Two lower-case digits a byte.
#[must_use]
pub fn write(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes of twice as many digits; `None` if the text is anything else.
#[must_use]
pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_there_and_back() {
        assert_eq!(write(&[0x00, 0xff, 0x1a]), "00ff1a");
        assert_eq!(read("00FF1a"), Some([0x00, 0xff, 0x1a]));
        for text in ["", "00ff1", "00ff1a0", "00ff1g", "+0ff1a", "0€f1a"] {
            assert_eq!(read::<3>(text), None, "{text}");
        }
    }
}
