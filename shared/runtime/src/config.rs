//! The one loader of configuration: a TOML file, the environment, the command line.
//!
//! Later sources win: defaults, then the file, then `TURNPIKE_…` variables, then `--set`. The
//! variable of the option `nats.url` is `TURNPIKE_NATS_URL`. A variable and a `--set` hold a text
//! or, where the option is not one, a TOML value (`5`, `true`, `["10.0.0.0/8"]`).

mod mistake;
mod overlay;
mod secret;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use mistake::{Mistake, Mistakes};
pub use secret::Secret;

use overlay::{Given, Source};

/// What every variable of ours begins with.
pub const PREFIX: &str = "TURNPIKE_";
/// What begins the variables that belong to the tests.
const TEST_PREFIX: &str = "TURNPIKE_TEST_";
/// The variable that names the file; no option.
const FILE_VARIABLE: &str = "TURNPIKE_CONFIG";
/// A configuration is written by hand: a larger file is another file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The options of a module or, with one field a module, of a service.
///
/// Derive serde's traits with `#[serde(deny_unknown_fields, default)]`: every option has a default,
/// and one that has no sensible one is an `Option` that `check` insists on. Do not put a struct of
/// options into an `Option`: its variables could not be found.
pub trait Options: Default + Serialize + DeserializeOwned {
    /// Names every value that has the right type and is wrong all the same.
    fn check(&self, mistakes: &mut Mistakes);
}

/// The arguments that every service has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    pub config: Option<PathBuf>,
    /// Set one option, such as `--set nats.url=nats://localhost:4222`; may be repeated
    #[arg(long, value_name = "OPTION=VALUE")]
    pub set: Vec<String>,
    /// Print the options in effect, secrets hidden, and leave
    #[arg(long)]
    pub check_config: bool,
}

/// Options in effect, and what was said that is none.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The options in effect.
    pub options: T,
    /// Names of `TURNPIKE_…` variables that are no option: a slip of the pen, or what Kubernetes
    /// sets for a service of this name.
    pub unknown_variables: Vec<String>,
}

impl<T> Loaded<T> {
    /// Says in the log which variables are no option.
    pub fn warn(&self) {
        for name in &self.unknown_variables {
            tracing::warn!(name, "this variable is no option");
        }
    }
}

/// Reads the options of this process.
///
/// # Errors
/// All mistakes of all sources at once.
pub fn load<T: Options>(arguments: &Arguments) -> Result<Loaded<T>, Mistakes> {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let variables = std::env::vars_os();
    load_from(arguments, variables)
}

/// The options in effect as TOML, secrets hidden; options that are not set are left out.
///
/// # Errors
/// An option that TOML cannot express: a bug of the module that owns it.
pub fn effective<T: Options>(options: &T) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(options)
}

/// Prints the options in effect to standard output, for `--check-config`.
///
/// # Errors
/// Standard output's, or those of [`effective`].
pub fn print<T: Options>(options: &T) -> std::io::Result<()> {
    let text = effective(options).map_err(std::io::Error::other)?;
    std::io::stdout().write_all(text.as_bytes())
}

fn load_from<T: Options>(
    arguments: &Arguments,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded<T>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let shape = overlay::shape::<T>();

    let file = arguments.config.as_deref().map(|path| read(path, &mut mistakes));
    let mut given: Vec<Given> = file.map(overlay::leaves_of_file).unwrap_or_default();
    let mut ours: BTreeMap<String, OsString> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && !name.starts_with(TEST_PREFIX))
        .filter(|(name, _)| name != FILE_VARIABLE)
        .collect();
    for path in &shape {
        let name = format!("{PREFIX}{}", path.join("_").to_uppercase());
        let Some(value) = ours.remove(&name) else { continue };
        match value.into_string() {
            Ok(text) => given.push(Given::text(path.clone(), text, Source::Variable(name))),
            Err(_) => mistakes.add_from(Source::Variable(name), &path.join("."), "is not UTF-8"),
        }
    }
    for pair in &arguments.set {
        match pair.split_once('=') {
            Some((option, text)) => {
                let path = option.split('.').map(str::to_owned).collect();
                given.push(Given::text(path, text.to_owned(), Source::Argument));
            }
            // The text is not repeated: it may be a secret.
            None => mistakes.add_from(Source::Argument, "--set", "needs OPTION=VALUE"),
        }
    }

    let (options, left_out) = overlay::build::<T>(given, &mut mistakes);
    if let Some(options) = &options {
        let mut found = Mistakes::default();
        options.check(&mut found);
        mistakes.take_over(found, &left_out);
    }
    match options {
        Some(options) if mistakes.is_empty() => {
            Ok(Loaded { options, unknown_variables: ours.into_keys().collect() })
        }
        _ => Err(mistakes),
    }
}

fn read(path: &Path, mistakes: &mut Mistakes) -> Table {
    let source = Source::File;
    let name = path.display().to_string();
    let too_large = std::fs::metadata(path).is_ok_and(|file| file.len() > MAX_FILE_BYTES);
    if too_large {
        mistakes.add_from(source, &name, "is over 1 MiB: is it a configuration?");
        return Table::new();
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            mistakes.add_from(source, &name, &format!("cannot be read: {error}"));
            return Table::new();
        }
    };
    match toml::from_str(&text) {
        Ok(Value::Table(table)) => table,
        Ok(_) => Table::new(),
        Err(error) => {
            // Only the place and the reason: the line itself may hold a secret.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = before.lines().count().max(1);
            mistakes.add_from(source, &name, &format!("line {line}: {}", error.message()));
            Table::new()
        }
    }
}

#[cfg(test)]
mod tests;
