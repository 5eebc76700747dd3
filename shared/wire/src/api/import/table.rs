//! CSV as RFC 4180 has it: a header of columns, and rows that become objects.

use serde_json::{Map, Value};

use super::super::input::step;

/// The columns that hold text.
const TEXTS: [&str; 7] =
    ["name", "secret", "sha256", "owner_id", "project_id", "plan_id", "expires_at"];
/// The columns that hold JSON.
const OBJECTS: [&str; 3] = ["limits", "scopes", "metadata"];

/// The columns of a file, in its order.
pub struct Columns(Vec<String>);

/// What is wrong with a row: where, and what.
pub type Wrong = (String, String);

impl Columns {
    /// Reads the header. Every column must be known: one that was misspelt would be left out of
    /// every key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(header: &str) -> Result<Self, Wrong> {
        let names = fields(header).map_err(|what| (String::new(), what.to_owned()))?;
        for (at, name) in names.iter().enumerate() {
            let known = TEXTS.contains(&name.as_str()) || OBJECTS.contains(&name.as_str());
            if !known {
                let all = [TEXTS.as_slice(), &OBJECTS].concat().join(", ");
                return Err((pointer(name), format!("is not a column of this: {all}")));
            }
            if names[..at].contains(name) {
                return Err((pointer(name), "must be one column, not two".to_owned()));
            }
        }
        Ok(Self(names))
    }

    /// The columns in one text.
    #[must_use]
    pub fn header(&self) -> String {
        self.0.join(",")
    }

    /// A row as the object that a line of JSON would hold. An empty cell is absent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn object(&self, row: &str) -> Result<Map<String, Value>, Wrong> {
        let cells = fields(row).map_err(|what| (String::new(), what.to_owned()))?;
        if cells.len() != self.0.len() {
            let what = format!("has {} cells for {} columns", cells.len(), self.0.len());
            return Err((String::new(), what));
        }
        let mut object = Map::new();
        for (name, cell) in self.0.iter().zip(cells) {
            if cell.is_empty() {
                continue;
            }
            let value = if OBJECTS.contains(&name.as_str()) {
                let wrong = |_| (pointer(name), "must be JSON".to_owned());
                serde_json::from_str(&cell).map_err(wrong)?
            } else {
                Value::String(cell)
            };
            object.insert(name.clone(), value);
        }
        Ok(object)
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", step(name))
}

/// The fields of one record.
///
/// # Errors
/// What is wrong with it, as a sentence's end.
pub fn fields(record: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        fields.push(field);
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(fields),
        }
    }
}

/// The record of fields.
#[must_use]
pub fn record(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// A field and what stands behind its comma, if there is one.
type Field<'a> = Result<(String, Option<&'a str>), &'static str>;

fn plain_field(rest: &str) -> Field<'_> {
    let (field, behind) = match rest.split_once(',') {
        Some((field, behind)) => (field, Some(behind)),
        None => (rest, None),
    };
    if field.contains('"') {
        return Err("has a quote inside a field that is not quoted");
    }
    Ok((field.to_owned(), behind))
}

/// Behind the opening quote: two quotes are one of the field's own.
fn quoted_field(quoted: &str) -> Field<'_> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (part, behind) = rest.split_once('"').ok_or("has a quote that is not closed")?;
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None if behind.is_empty() => return Ok((field, None)),
            None => {
                let behind = behind.strip_prefix(',').ok_or("has text behind a closing quote")?;
                return Ok((field, Some(behind)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_become_the_fields_of_an_object() {
        let columns = Columns::read("name,secret,metadata,expires_at").unwrap();
        let row = "\"a, \"\"b\"\"\",legacy-0001,\"{\"\"team\"\":\"\"x\"\"}\",";
        let object = columns.object(row).unwrap();
        let want = json!({
            "name": "a, \"b\"", "secret": "legacy-0001", "metadata": { "team": "x" },
        });
        assert_eq!(Value::Object(object), want);
        assert_eq!(record(&fields(row).unwrap()), row);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said_by_its_place() {
        for (header, place) in [("name,secrets", "/secrets"), ("name,name", "/name")] {
            assert_eq!(Columns::read(header).err().unwrap().0, place);
        }
        let columns = Columns::read("name,limits").unwrap();
        let cases = [
            ("a", "", "has 1 cells for 2 columns"),
            ("a,b,c", "", "has 3 cells for 2 columns"),
            ("a,{", "/limits", "must be JSON"),
            ("a\"b,", "", "has a quote inside a field that is not quoted"),
            ("\"a,", "", "has a quote that is not closed"),
            ("\"a\"b,", "", "has text behind a closing quote"),
        ];
        for (row, place, what) in cases {
            let wrong = columns.object(row).unwrap_err();
            assert_eq!(wrong, (place.to_owned(), what.to_owned()), "{row}");
        }
    }
}
