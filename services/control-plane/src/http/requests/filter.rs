//! What a request must be to be listed.

use turnpike_domain::admit::Denial;
use turnpike_domain::id::ProviderId;
use turnpike_domain::spend::Spend;
use turnpike_wire::form::Named as _;

use crate::http::ask::Ask;
use crate::problem::Problem;

/// What is asked of the log, beside keys and times.
pub(super) struct Filter {
    model: Option<String>,
    provider: Option<ProviderId>,
    status: Option<Statuses>,
    code: Option<Denial>,
}

/// One status, or all of a class (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statuses {
    first: u16,
    last: u16,
}

impl Filter {
    pub(super) fn read(ask: &Ask) -> Result<Self, Problem> {
        let wrong = || Problem::field("?status", "must be a status, as 429, or a class, as 4xx");
        let status = ask.query("status").map(|text| Statuses::read(text).ok_or_else(wrong));
        let wrong = || {
            let codes = Denial::NAMES.join(", ");
            Problem::field("?code", &format!("must be one of {codes}"))
        };
        let code = ask.query("code").map(|name| Denial::from_name(name).ok_or_else(wrong));
        Ok(Self {
            model: ask.query("model").map(Into::into),
            provider: ask.text("provider")?,
            status: status.transpose()?,
            code: code.transpose()?,
        })
    }

    pub(super) fn fits(&self, record: &Spend) -> bool {
        self.model.as_ref().is_none_or(|model| *record.model == **model)
            && self.provider.is_none_or(|provider| record.provider == Some(provider))
            && self.status.is_none_or(|wanted| wanted.holds(record.status))
            && self.code.is_none_or(|code| record.denial == Some(code))
    }
}

impl Statuses {
    fn read(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            let first = class.checked_mul(100)?;
            return Some(Self { first, last: first.checked_add(99)? });
        }
        let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
        Some(Self { first: status, last: status })
    }

    const fn holds(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_or_a_class() {
        let holds = |text: &str, status| Statuses::read(text).is_some_and(|it| it.holds(status));
        assert!(holds("429", 429) && !holds("429", 428));
        assert!(holds("4xx", 400) && holds("4xx", 499) && !holds("4xx", 500));
        for text in ["", "x", "xx", "0xx", "6xx", "99", "600", "4x", "+429 ", "44xx"] {
            assert_eq!(Statuses::read(text), None, "{text}");
        }
    }
}
