//! Rows of a file that arrives in pieces: where each begins and ends.

/// The most bytes of a row: metadata and scopes of a usual size fit; what is longer is no row.
pub const MAX_ROW_BYTES: usize = 32 << 10;

/// A byte order mark, which spreadsheets put before their CSV.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180: a line may end within quotes.
    Csv,
    /// An object a line.
    Lines,
}

/// A row as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Raw {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Its text without the end of the line; `None`: it is longer than [`MAX_ROW_BYTES`].
    pub text: Option<Vec<u8>>,
}

/// Takes pieces of a file and gives its rows.
pub struct Splitter {
    format: Format,
    row: Vec<u8>,
    too_long: bool,
    quoted: bool,
    began: bool,
    /// The line that is read, and that its row began on.
    line: u64,
    first: u64,
}

impl Splitter {
    /// At the beginning of a file.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let row = Vec::new();
        Self { format, row, too_long: false, quoted: false, began: false, line: 1, first: 1 }
    }

    /// The rows that end in `piece`; empty lines are none.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Raw> {
        let mut rows = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let quotes = part.iter().filter(|byte| **byte == b'"').count();
            self.quoted ^= self.format == Format::Csv && quotes % 2 == 1;
            self.keep(part);
            if part.ends_with(b"\n") {
                self.line = self.line.saturating_add(1);
                if !self.quoted {
                    rows.extend(self.end());
                }
            }
        }
        rows
    }

    /// The last row, which need not end with its line.
    pub fn end(&mut self) -> Option<Raw> {
        let line = std::mem::replace(&mut self.first, self.line);
        let row = std::mem::take(&mut self.row);
        let too_long = std::mem::take(&mut self.too_long);
        self.quoted = false;
        let from = if std::mem::replace(&mut self.began, true) { 0 } else { mark(&row) };
        let text = row.get(from..).unwrap_or_default().trim_ascii_end();
        let empty = text.is_empty() && !too_long;
        (!empty).then(|| Raw { line, text: (!too_long).then(|| text.to_vec()) })
    }

    fn keep(&mut self, part: &[u8]) {
        self.too_long |= self.row.len() + part.len() > MAX_ROW_BYTES;
        if self.too_long {
            self.row.clear();
        } else {
            self.row.extend_from_slice(part);
        }
    }
}

fn mark(row: &[u8]) -> usize {
    if row.starts_with(MARK) { MARK.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: Format, file: &[u8], piece: usize) -> Vec<(u64, Option<String>)> {
        let mut splitter = Splitter::new(format);
        let mut rows = Vec::new();
        for piece in file.chunks(piece) {
            rows.extend(splitter.push(piece));
        }
        rows.extend(splitter.end());
        let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
        rows.into_iter().map(|row| (row.line, row.text.map(text))).collect()
    }

    #[test]
    fn rows_are_the_same_however_the_file_is_cut() {
        let file = b"\xef\xbb\xbfname,secret\r\n\r\n\"a \"\"b\"\"\nc\",12345678\nd,87654321";
        let want = [(1, "name,secret"), (3, "\"a \"\"b\"\"\nc\",12345678"), (5, "d,87654321")];
        for piece in 1..file.len() {
            let found = rows(Format::Csv, file, piece);
            let found: Vec<_> =
                found.iter().map(|(line, text)| (*line, text.as_deref().unwrap())).collect();
            assert_eq!(found, want, "pieces of {piece}");
        }
        let lines = rows(Format::Lines, b"{\"name\":\"say \\\"x\"}\n\n{}\n", 3);
        assert_eq!(lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_row_that_is_too_long_is_told_and_those_behind_it_are_read() {
        let mut file = vec![b'x'; 3 * MAX_ROW_BYTES];
        file.extend_from_slice(b"\nshort\n");
        let want = vec![(1, None), (2, Some("short".to_owned()))];
        assert_eq!(rows(Format::Lines, &file, 1_000), want);
    }
}
