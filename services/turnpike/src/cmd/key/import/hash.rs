//! Hashing the secrets of a file before it is sent; lines keep their numbers.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use turnpike_wire::api::import::split::{Format, Raw, Splitter};
use turnpike_wire::api::import::table::{fields, record};
use turnpike_wire::hex;

use crate::failure::Failure;

const SECRET: &str = "secret";
const HASH: &str = "sha256";

/// The file with every secret in the form of its SHA-256. A row that cannot be read may hold one:
/// then nothing is sent at all.
///
/// # Errors
/// [`Failure::Usage`] names the line.
pub(super) fn hashed(file: &[u8], format: Format) -> Result<Vec<u8>, Failure> {
    let mut splitter = Splitter::new(format);
    let mut raws = splitter.push(file);
    raws.extend(splitter.end());
    let (mut out, mut line, mut places) = (String::with_capacity(file.len()), 1, None);
    for raw in &raws {
        let text = text(raw)?;
        let row = match (format, &places) {
            (Format::Lines, _) => object(text, raw.line)?,
            (Format::Csv, None) => {
                let (header, found) = header(cells(text, raw.line)?);
                places = Some(found);
                header
            }
            (Format::Csv, Some(places)) => cells(text, raw.line).map(|row| places.hash(row))?,
        };
        while line < raw.line {
            out.push('\n');
            line += 1;
        }
        out.push_str(&row);
        out.push('\n');
        line += 1 + u64::try_from(row.matches('\n').count()).unwrap_or(0);
    }
    Ok(out.into_bytes())
}

/// Where secrets stand in a table, and where their hashes go.
#[derive(Clone, Copy)]
struct Places {
    secret: Option<usize>,
    hash: Option<usize>,
}

impl Places {
    fn hash(self, mut row: Vec<String>) -> String {
        if let Some(at) = self.secret
            && let Some(cell) = row.get_mut(at)
            && !cell.is_empty()
        {
            let digest = digest(&std::mem::take(cell));
            if let Some(cell) = row.get_mut(self.hash.unwrap_or(at)) {
                *cell = digest;
            }
        }
        record(&row)
    }
}

/// The header that stands above hashes: a column of secrets becomes one of hashes, unless there is
/// one already.
fn header(mut names: Vec<String>) -> (String, Places) {
    let place = |name: &str| names.iter().position(|column| column == name);
    let places = Places { secret: place(SECRET), hash: place(HASH) };
    if let (Some(at), None) = (places.secret, places.hash)
        && let Some(name) = names.get_mut(at)
    {
        HASH.clone_into(name);
    }
    (record(&names), places)
}

fn object(text: &str, line: u64) -> Result<String, Failure> {
    let mut row: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| unread(line, "is no JSON object"))?;
    if let Some(secret) = row.remove(SECRET) {
        let secret = secret.as_str().ok_or_else(|| unread(line, "has a secret that is no text"))?;
        if row.insert(HASH.to_owned(), digest(secret).into()).is_some() {
            return Err(unread(line, "has both a secret and a sha256"));
        }
    }
    Ok(Value::Object(row).to_string())
}

fn text(raw: &Raw) -> Result<&str, Failure> {
    let text = raw.text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
    text.ok_or_else(|| unread(raw.line, "is too long, or no UTF-8"))
}

fn cells(text: &str, line: u64) -> Result<Vec<String>, Failure> {
    fields(text).map_err(|what| unread(line, what))
}

fn digest(secret: &str) -> String {
    hex::write(&Sha256::digest(secret))
}

fn unread(line: u64, what: &str) -> Failure {
    Failure::Usage(format!("Line {line} {what}. Nothing was sent."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str, format: Format) -> Result<String, String> {
        let hashed = hashed(file.as_bytes(), format).map_err(|failure| failure.to_string());
        hashed.map(|file| String::from_utf8(file).unwrap())
    }

    #[test]
    fn no_secret_is_left_and_no_line_moves() {
        let of = digest("legacy-0001");
        let csv = "name,secret\n\n\"a\nb\",legacy-0001\nc,\n";
        let want = format!("name,sha256\n\n\"a\nb\",{of}\nc,\n");
        assert_eq!(told(csv, Format::Csv), Ok(want));
        let both = "sha256,name,secret\n,a,legacy-0001\n";
        assert_eq!(told(both, Format::Csv), Ok(format!("sha256,name,secret\n{of},a,\n")));
        let lines = "\n{\"name\":\"a\",\"secret\":\"legacy-0001\"}";
        let want = format!("\n{{\"name\":\"a\",\"sha256\":\"{of}\"}}\n");
        assert_eq!(told(lines, Format::Lines), Ok(want));
    }

    #[test]
    fn a_row_that_cannot_be_read_keeps_the_file_here() {
        for (file, format) in [
            ("name,secret\na,\"legacy-0001\n", Format::Csv),
            ("{\"secret\":\"legacy-0001\"", Format::Lines),
            ("{\"secret\":[\"legacy-0001\"]}", Format::Lines),
        ] {
            let refused = told(file, format).unwrap_err();
            assert!(refused.ends_with("Nothing was sent."), "{refused}");
            assert!(!refused.contains("legacy-0001"), "{refused}");
        }
    }
}
