//! Finds a field of a whole JSON object by a look from its end, where providers put it.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem;

use super::{Finder, MAX_VALUE_BYTES, State};

/// The name of a field, which needs no escapes, prepared to be searched for.
pub struct Name {
    text: &'static str,
    /// With its quotes.
    quoted: LazyLock<memmem::Finder<'static>>,
}

impl Name {
    /// `quoted` prepares to search for the name in its quotes.
    #[must_use]
    pub const fn new(text: &'static str, quoted: fn() -> memmem::Finder<'static>) -> Self {
        Self { text, quoted: LazyLock::new(quoted) }
    }

    pub(super) const fn text(&self) -> &'static str {
        self.text
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl Finder {
    /// The value of a field of the object `text`, if the only mention of its name settles that;
    /// `None`: who wants to know has to read all of it.
    ///
    /// Behind a comma or a brace stands the first quote of a string, or a quote inside of one; that
    /// would have a backslash before it. And the object around the name is the outermost if, but
    /// for the last brace of all, whatever opens behind the name closes, and nothing else does.
    pub(super) fn glance(&self, name: &Name, text: &[u8]) -> Option<Vec<u8>> {
        let body = text.trim_ascii_end().strip_suffix(b"}").filter(|_| self.home == 1)?;
        let mut mentions = name.quoted.find_iter(body);
        let (at, None) = (mentions.next()?, mentions.next()) else { return None };
        if !matches!(body[..at].trim_ascii_end().last(), Some(b',' | b'{')) {
            return None;
        }
        let mut rest = Self::at(name.text, 1);
        (rest.depth, rest.begun, rest.expects_name) = (1, true, true);
        rest.push(&body[at..]);
        let settled = rest.depth == 1 && rest.state == State::Between && rest.times == 1;
        let is_value = !rest.value.is_empty() && rest.value.len() <= MAX_VALUE_BYTES;
        (settled && is_value).then_some(rest.value)
    }
}
