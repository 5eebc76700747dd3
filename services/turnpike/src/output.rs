//! What a command says: to standard output what was asked for, to standard error everything else.

pub(crate) mod table;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::client::Answer;
use crate::failure::Failure;
use table::Column;

/// Where output goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON for programs, instead of tables for people.
    pub(crate) json: bool,
}

impl Output {
    /// One line of standard output.
    ///
    /// # Errors
    /// [`Failure::Io`] if nobody reads it.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let written = writeln!(io::stdout(), "{text}");
        written.map_err(Failure::io("standard output cannot be written"))
    }

    /// Bytes of standard output, as they came.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let written = io::stdout().write_all(bytes);
        written.map_err(Failure::io("standard output cannot be written"))
    }

    /// A remark to the person at the terminal.
    ///
    /// # Errors
    /// [`Failure::Io`] if nobody reads it.
    pub(crate) fn note(self, text: &str) -> Result<(), Failure> {
        let written = writeln!(io::stderr(), "{text}");
        written.map_err(Failure::io("standard error cannot be written"))
    }

    /// A JSON document.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn document(self, answer: &Answer) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(answer).map_err(io::Error::from);
        self.line(&text.map_err(Failure::io("the answer cannot be written"))?)
    }

    /// A JSON document on a line of its own.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn compact(self, answer: &Answer) -> Result<(), Failure> {
        let text = serde_json::to_string(answer).map_err(io::Error::from);
        self.line(&text.map_err(Failure::io("the answer cannot be written"))?)
    }

    /// A list: all of `page` for programs, a table for people.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn list(self, page: &Answer, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return self.document(page);
        }
        if page["data"].as_array().is_none_or(Vec::is_empty) {
            return self.note("There is nothing to show.");
        }
        self.rows(&page["data"], columns)
    }

    /// A table of a list of things, for people.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn rows(self, things: &Value, columns: &[Column]) -> Result<(), Failure> {
        let rows = things.as_array().map(Vec::as_slice).unwrap_or_default();
        self.line(&table::list(rows, columns, io::stdout().is_terminal()))
    }

    /// One thing: all of it for programs, a table of its properties for people.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn thing(self, thing: &Answer, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return self.document(thing);
        }
        self.line(&table::thing(thing, columns, io::stdout().is_terminal()))
    }
}
