//! Tables for people: which field stands in which column, and in which words.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde_json::Value;

/// What stands for a value that is not there.
const ABSENT: &str = "-";
/// Characters of an RFC 3339 time that people read: up to the second.
const TIME_CHARS: usize = "2026-11-21T04:00:00".len();

/// A column: its title and what a thing has in it.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    pointer: &'static str,
    show: fn(&Value) -> String,
}

impl Column {
    /// A column that shows the field at `pointer`, empty: the whole thing, as `show` says it.
    pub(crate) const fn new(
        title: &'static str,
        pointer: &'static str,
        show: fn(&Value) -> String,
    ) -> Self {
        Self { title, pointer, show }
    }

    /// A column that shows the field at `pointer` as it is.
    pub(crate) const fn plain(title: &'static str, pointer: &'static str) -> Self {
        Self::new(title, pointer, plain)
    }

    fn cell(&self, thing: &Value, is_terminal: bool) -> Cell {
        let text = (self.show)(thing.pointer(self.pointer).unwrap_or(&Value::Null));
        let colour = if is_terminal { colour(&text) } else { None };
        let cell = Cell::new(text);
        match colour {
            Some(colour) => cell.fg(colour),
            None => cell,
        }
    }
}

/// A row for each thing. Where the output is no terminal every row is one line, for `grep`.
pub(crate) fn list(things: &[Value], columns: &[Column], is_terminal: bool) -> String {
    let mut table = table(is_terminal);
    table.set_header(columns.iter().map(|column| column.title.to_uppercase()));
    for thing in things {
        table.add_row(columns.iter().map(|column| column.cell(thing, is_terminal)));
    }
    table.trim_fmt()
}

/// A row for each property of one thing.
pub(crate) fn thing(thing: &Value, columns: &[Column], is_terminal: bool) -> String {
    let mut table = table(is_terminal);
    for column in columns {
        table.add_row([Cell::new(column.title), column.cell(thing, is_terminal)]);
    }
    table.trim_fmt()
}

/// As it stands in the JSON: texts without quotes, lists with commas.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => ABSENT.to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A time, in UTC, up to the second.
pub(crate) fn time(value: &Value) -> String {
    let text = plain(value);
    text.get(..TIME_CHARS).map_or_else(|| text.clone(), |seconds| seconds.replace('T', " "))
}

/// A time that is never reached if it is not there.
pub(crate) fn expiry(value: &Value) -> String {
    if value.is_null() { "Permanent".to_owned() } else { time(value) }
}

/// A set; everything if it is not there.
pub(crate) fn any(value: &Value) -> String {
    if value.is_null() { "any".to_owned() } else { plain(value) }
}

/// A number with the word for its unit.
pub(crate) fn percent(value: &Value) -> String {
    if value.is_null() { ABSENT.to_owned() } else { format!("{} %", plain(value)) }
}

fn table(is_terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if is_terminal {
        table.set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// The words that are seen from afar.
fn colour(text: &str) -> Option<Color> {
    match text {
        "active" | "online" | "joined" => Some(Color::Green),
        "inactive" | "expired" | "invited" | "exhausted" | "offline" => Some(Color::Yellow),
        "revoked" | "fenced" | "left" => Some(Color::Red),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::plain("name", "/name"),
        Column::plain("status", "/status"),
        Column::new("expires", "/expires_at", expiry),
        Column::new("ips", "/scopes/ips", any),
        Column::new("share", "/share", percent),
    ];

    fn keys() -> [Value; 2] {
        [
            json!({
                "name": "ci", "status": "active", "expires_at": null,
                "scopes": { "ips": null }, "share": 33.33,
            }),
            json!({
                "name": "a name with spaces", "status": "revoked",
                "expires_at": "2027-01-31T00:00:00.000Z",
                "scopes": { "ips": ["10.0.0.0/8", "::1"] },
            }),
        ]
    }

    #[test]
    fn a_list_is_one_line_a_thing() {
        let lines = [
            " NAME                STATUS   EXPIRES              IPS              SHARE",
            " ci                  active   Permanent            any              33.33 %",
            " a name with spaces  revoked  2027-01-31 00:00:00  10.0.0.0/8, ::1  -",
        ];
        assert_eq!(list(&keys(), COLUMNS, false), lines.join("\n"));
    }

    #[test]
    fn a_thing_is_one_line_a_property() {
        let lines = [
            " name     ci",
            " status   active",
            " expires  Permanent",
            " ips      any",
            " share    33.33 %",
        ];
        assert_eq!(thing(&keys()[0], COLUMNS, false), lines.join("\n"));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(list(&keys(), COLUMNS, true).contains("\u{1b}["));
        assert!(!list(&keys(), COLUMNS, false).contains("\u{1b}["));
    }

    #[test]
    fn values_are_said_in_words() {
        assert_eq!(plain(&json!(["a", 1])), "a, 1");
        assert_eq!(plain(&json!(true)), "yes");
        assert_eq!(time(&json!("2026-11-21T04:00:00.000Z")), "2026-11-21 04:00:00");
        assert_eq!(time(&Value::Null), "-");
    }
}
