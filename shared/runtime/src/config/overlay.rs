//! Options as paths with values, so that each can be tried alone and named when it is wrong.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{Mistakes, Options};

/// The names on the way to an option: `nats`, `url`.
pub(super) type Path = Vec<String>;

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File,
    Variable(String),
    Argument,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("from the file"),
            Self::Variable(name) => write!(f, "from the variable {name}"),
            Self::Argument => f.write_str("from the command line"),
        }
    }
}

/// A value that was given for an option.
pub(super) struct Given {
    path: Path,
    /// The ways to read it, the best first.
    readings: Vec<Value>,
    source: Source,
}

impl Given {
    /// A text that is meant as itself or, where the option is no text, as a TOML value.
    pub(super) fn text(path: Path, text: String, source: Source) -> Self {
        let value = toml::from_str::<Table>(&format!("value = {text}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        let readings = std::iter::once(Value::String(text)).chain(value).collect();
        Self { path, readings, source }
    }
}

/// The paths of all options, by the defaults of `T`.
pub(super) fn shape<T: Options>() -> Vec<Path> {
    let mut paths = Vec::new();
    // Defaults that JSON cannot express have no variables; the module's own test would show it.
    if let Ok(defaults) = serde_json::to_value(T::default()) {
        collect_json(&defaults, &mut Vec::new(), &mut paths);
    }
    paths
}

fn collect_json(value: &Json, above: &mut Path, paths: &mut Vec<Path>) {
    let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else {
        paths.push(above.clone());
        return;
    };
    for (name, field) in fields {
        above.push(name.clone());
        collect_json(field, above, paths);
        above.pop();
    }
}

/// Every value of a file with its path. A list is one value, and so is an empty table.
pub(super) fn leaves_of_file(table: Table) -> Vec<Given> {
    let mut found = Vec::new();
    collect_toml(table, &mut Vec::new(), &mut found);
    found
}

fn collect_toml(table: Table, above: &mut Path, found: &mut Vec<Given>) {
    for (name, value) in table {
        above.push(name);
        match value {
            Value::Table(below) if !below.is_empty() => collect_toml(below, above, found),
            value @ (Value::Table(_)
            | Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)) => {
                let path = above.clone();
                found.push(Given { path, readings: vec![value], source: Source::File });
            }
        }
        above.pop();
    }
}

/// The options that all values make together, and the paths of values that were left out because
/// they are wrong; each of these is among `mistakes`. No options if the rest makes none either.
pub(super) fn build<T: Options>(
    given: Vec<Given>,
    mistakes: &mut Mistakes,
) -> (Option<T>, Vec<String>) {
    let (mut whole, mut right) = (Table::new(), Table::new());
    let mut wrong = Vec::new();
    for value in given {
        let (reading, error) = choose::<T>(&value);
        let Given { path, source, .. } = &value;
        let Some(reading) = reading else { continue };
        if !put(&mut whole, path, reading.clone()) {
            let what = "stands below an option that is no table";
            mistakes.add_from(source.clone(), &path.join("."), what);
        } else if let Some(error) = error {
            wrong.push((source.clone(), path.join("."), format!("is wrong: {error}")));
        } else {
            put(&mut right, path, reading.clone());
        }
    }
    // A value that is wrong alone may be right together with others: the whole decides.
    let error = match parse(whole) {
        Ok(options) => return (Some(options), Vec::new()),
        Err(error) => error,
    };
    if wrong.is_empty() {
        mistakes.add("the whole", &format!("is wrong: {error}"));
    }
    let mut left_out = Vec::new();
    for (source, option, what) in wrong {
        mistakes.add_from(source, &option, &what);
        left_out.push(option);
    }
    (parse(right).ok(), left_out)
}

/// The reading that is right when it stands alone. If none is: the last, and what is wrong with it.
fn choose<T: Options>(given: &Given) -> (Option<&Value>, Option<String>) {
    let mut last = (None, None);
    for reading in &given.readings {
        let mut alone = Table::new();
        put(&mut alone, &given.path, reading.clone());
        match parse::<T>(alone) {
            Ok(_) => return (Some(reading), None),
            Err(error) => last = (Some(reading), Some(error)),
        }
    }
    last
}

fn parse<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    Value::Table(table).try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// False if something above `path` is no table.
fn put(table: &mut Table, path: &[String], value: Value) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    if rest.is_empty() {
        table.insert(name.clone(), value);
        return true;
    }
    let below = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
    below.as_table_mut().is_some_and(|below| put(below, rest, value))
}
