//! A row of an import: from its text to the key that it is to be.

use serde_json::{Map, Value};
use turnpike_domain::command::ImportedKey;
use turnpike_domain::id::KeyId;
use turnpike_domain::refusal::{FieldError, Refusal};
use turnpike_domain::secret::{Digest, StoredSecret};
use turnpike_wire::api::import::split::{MAX_ROW_BYTES, Raw};
use turnpike_wire::api::import::table::Columns;
use turnpike_wire::api::input::{Input as _, Mistakes, mistake};
use turnpike_wire::api::key::KeyForm;
use turnpike_wire::secret::{Legacy, Peppers, SecretHash};

use crate::http::keys::draft;

/// A row: which it is, and the key that it is to be or what stands against it.
pub(super) struct Row {
    /// The line that it began on.
    pub(super) line: u64,
    pub(super) key: Result<Box<ImportedKey>, Vec<FieldError>>,
}

/// Reads a row; `columns` are those of a table, without them a row is a line of JSON. A secret is
/// hashed here and goes no further.
pub(super) fn read(raw: &Raw, columns: Option<&Columns>, peppers: &Peppers, id: KeyId) -> Row {
    let key = object(raw, columns).and_then(|object| imported(object, peppers, id));
    Row { line: raw.line, key }
}

/// What stands against a row, field by field.
pub(super) fn errors(refusal: Refusal) -> Vec<FieldError> {
    match refusal {
        Refusal::Invalid(errors) => errors,
        taken @ Refusal::NameTaken { .. } => {
            vec![FieldError { pointer: "/name".into(), message: format!("is taken: {taken}") }]
        }
        other @ (Refusal::Forbidden { .. }
        | Refusal::NotFound { .. }
        | Refusal::RotationRequired
        | Refusal::StateConflict { .. }
        | Refusal::VersionMismatch { .. }) => {
            vec![FieldError { pointer: String::new(), message: other.to_string() }]
        }
    }
}

fn object(raw: &Raw, columns: Option<&Columns>) -> Result<Map<String, Value>, Vec<FieldError>> {
    let wrong =
        |pointer: &str, message: String| vec![FieldError { pointer: pointer.to_owned(), message }];
    let text = raw.text.as_ref();
    let text = text.ok_or_else(|| wrong("", format!("has more than {MAX_ROW_BYTES} bytes")))?;
    let text = std::str::from_utf8(text).map_err(|_| wrong("", "is not UTF-8".to_owned()))?;
    if let Some(columns) = columns {
        return columns.object(text).map_err(|(pointer, message)| wrong(&pointer, message));
    }
    serde_json::from_str(text).map_err(|_| wrong("", "must be a JSON object".to_owned()))
}

fn imported(
    mut object: Map<String, Value>,
    peppers: &Peppers,
    key: KeyId,
) -> Result<Box<ImportedKey>, Vec<FieldError>> {
    let (secret, hash) = (object.remove("secret"), object.remove("sha256"));
    let mut mistakes = Mistakes::new();
    let form = KeyForm::read(&Value::Object(object), "", &mut mistakes);
    let stored = stored((text(secret.as_ref()), text(hash.as_ref())), peppers);
    let stored = stored.map_err(|(pointer, message)| mistake(&mut mistakes, pointer, message));
    match (form, stored) {
        (Some(form), Ok((secret, older))) if mistakes.is_empty() => {
            Ok(Box::new(ImportedKey { key, draft: draft(&form), secret, older }))
        }
        _ => Err(mistakes),
    }
}

/// A secret under the newest pepper, and what it is under the older ones.
type Stored = (StoredSecret, Box<[Digest]>);

/// What is stored of the one of the two that was given, or what is wrong with them.
fn stored(
    given: (Option<&str>, Option<&str>),
    peppers: &Peppers,
) -> Result<Stored, (&'static str, String)> {
    match given {
        (Some(secret), None) => {
            let plain = Legacy::read(secret).map_err(|error| ("/secret", error.to_string()))?;
            Ok(peppers.stored_legacy(plain.hash(), Some(plain)))
        }
        (None, Some(hash)) => {
            let hash = SecretHash::read(hash).map_err(|error| ("/sha256", error.to_string()))?;
            Ok(peppers.stored_legacy(hash, None))
        }
        (Some(_), Some(_)) => Err(("/sha256", "must not be given beside `secret`".to_owned())),
        (None, None) => {
            Err(("/secret", "must be given as a text, or `sha256` in its place".to_owned()))
        }
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}
