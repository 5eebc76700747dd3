//! Times as people say them: `--expires 90d`, `--from 2h`.

use std::str::FromStr;

use turnpike_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use turnpike_wire::time;

/// Days of what people call a year.
const YEAR_DAYS: u64 = 365;
/// Longer than anybody plans; also keeps the sum far from the end of the numbers.
const MAX_MS: u64 = 100 * YEAR_DAYS * DAY_MS;
const NO_EXPIRY: &str =
    "must be never, a time from now such as 12h, 30d or 1y, a date, or an RFC 3339 time";
const NO_MOMENT: &str =
    "must be a time back from now such as 2h or 30d, a date, or an RFC 3339 time";

/// When something is to stop working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Never.
    Never,
    /// After this many milliseconds.
    In(u64),
    /// At this time.
    At(Timestamp),
}

/// A moment of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This many milliseconds ago.
    Ago(u64),
    /// At this time.
    At(Timestamp),
}

impl Expiry {
    /// The time, as the API has it; `None` is never.
    pub(crate) fn time(self, now: Timestamp) -> Option<String> {
        match self {
            Self::Never => None,
            Self::In(ms) => Some(time::rfc3339(now.plus_ms(ms))),
            Self::At(at) => Some(time::rfc3339(at)),
        }
    }
}

impl Moment {
    /// The time, as the API has it.
    pub(crate) fn time(self, now: Timestamp) -> String {
        time::rfc3339(match self {
            Self::Ago(ms) => Timestamp(now.since(Timestamp(ms))),
            Self::At(at) => at,
        })
    }
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let moment = duration_ms(text).map(Self::In).or_else(|| at(text).map(Self::At));
        moment.ok_or(NO_EXPIRY)
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = duration_ms(text).map(Self::Ago).or_else(|| at(text).map(Self::At));
        moment.ok_or(NO_MOMENT)
    }
}

/// An RFC 3339 time, or a date: its first moment in UTC.
fn at(text: &str) -> Option<Timestamp> {
    time::parse(text).or_else(|_| time::parse(&format!("{text}T00:00:00Z"))).ok()
}

/// The milliseconds of `90m`, `12h`, `30d` or `1y`: a number and one letter.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        "y" => YEAR_DAYS * DAY_MS,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(unit_ms).filter(|ms| (1..=MAX_MS).contains(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_said_in_many_ways() {
        let now = Timestamp(1_795_233_600_000);
        for (text, time) in [
            ("never", None),
            ("30m", Some("2026-11-21T04:30:00.000Z")),
            ("12h", Some("2026-11-21T16:00:00.000Z")),
            ("30d", Some("2026-12-21T04:00:00.000Z")),
            ("1y", Some("2027-11-21T04:00:00.000Z")),
            ("2027-01-31", Some("2027-01-31T00:00:00.000Z")),
            ("2027-01-31T02:00:00+02:00", Some("2027-01-31T00:00:00.000Z")),
        ] {
            let expiry: Expiry = text.parse().unwrap();
            assert_eq!(expiry.time(now).as_deref(), time, "{text}");
        }
    }

    #[test]
    fn moments_lie_back_from_now() {
        let now = Timestamp(1_795_233_600_000);
        for (text, time) in [
            ("2h", "2026-11-21T02:00:00.000Z"),
            ("30d", "2026-10-22T04:00:00.000Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().time(now), time, "{text}");
        }
        assert_eq!("never".parse::<Moment>(), Err(NO_MOMENT));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "soon", "30", "d", "-1d", "0d", "1.5d", "30 d", "101y", "2027-13-01", "é"]
        {
            assert_eq!(text.parse::<Expiry>(), Err(NO_EXPIRY), "{text}");
        }
    }
}
