//! What is wrong with a configuration, all of it at once.

use std::fmt;

use super::overlay::Source;

/// One wrong option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The option (`nats.url`), or the file if it cannot be read.
    pub option: String,
    /// What is wrong, as the end of a sentence that begins with the option. Never a value.
    pub what: String,
    /// Where it was said; `None` for a rule that looks at the whole.
    source: Option<Source>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.what)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    found: Vec<Mistake>,
    /// The options above those that are checked at the moment.
    above: Vec<&'static str>,
}

impl Mistakes {
    /// Adds a mistake: `what` ends a sentence that begins with the option's name.
    pub fn add(&mut self, option: &str, what: &str) {
        let option = self.above.iter().copied().chain([option]).collect::<Vec<_>>().join(".");
        self.found.push(Mistake { option, what: what.to_owned(), source: None });
    }

    /// Adds `what` unless `holds`.
    pub fn unless(&mut self, holds: bool, option: &str, what: &str) {
        if !holds {
            self.add(option, what);
        }
    }

    /// Adds a mistake if `url` holds a user or password: options are shown to people, and logged.
    pub fn without_login(&mut self, url: &str, option: &str) {
        let login = |url: &reqwest::Url| !url.username().is_empty() || url.password().is_some();
        let found = reqwest::Url::parse(url).is_ok_and(|url| login(&url));
        self.unless(!found, option, "must not hold a user or password");
    }

    /// Checks the options of a part, whose names stand below `name`.
    pub fn within(&mut self, name: &'static str, check: impl FnOnce(&mut Self)) {
        self.above.push(name);
        check(self);
        self.above.pop();
    }

    /// True if nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.found.iter()
    }

    /// Adds those of `others` that are not about one of `known`, or about a part of it: there, the
    /// rules have looked at a default.
    pub(super) fn take_over(&mut self, others: Self, known: &[String]) {
        let is_known = |mistake: &Mistake| {
            known.iter().any(|option| {
                let rest = mistake.option.strip_prefix(option.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        self.found.extend(others.found.into_iter().filter(|mistake| !is_known(mistake)));
    }

    pub(super) fn add_from(&mut self, source: Source, option: &str, what: &str) {
        self.found.push(Mistake {
            option: option.to_owned(),
            what: what.to_owned(),
            source: Some(source),
        });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has mistakes:")?;
        self.found.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
