//! Times as RFC 3339 text.

use jiff::fmt::temporal::DateTimePrinter;
use thiserror::Error;
use turnpike_domain::time::Timestamp;

/// A text is not a time that we keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be a time such as 2027-01-31T00:00:00Z, from 1970 on")]
pub struct NotATime;

/// A time as RFC 3339 with milliseconds, in UTC; what lies beyond the year 9999 is shown as its
/// last moment.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    DateTimePrinter::new()
        .precision(Some(3))
        .timestamp_to_string(&moment.unwrap_or(jiff::Timestamp::MAX))
}

/// Reads an RFC 3339 time with any offset; fractions below a millisecond are cut off.
///
/// # Errors
/// [`NotATime`].
pub fn parse(text: &str) -> Result<Timestamp, NotATime> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
    u64::try_from(moment.as_millisecond()).map(Timestamp).map_err(|_| NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back_in_utc() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"),
            ("2026-11-21T05:00:00.5+01:00", 1_795_233_600_500, "2026-11-21T04:00:00.500Z"),
        ];
        for (text, ms, back) in cases {
            assert_eq!(parse(text), Ok(Timestamp(ms)), "{text}");
            assert_eq!(rfc3339(Timestamp(ms)), back);
        }
        for text in ["", "tomorrow", "2026-11-21", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert_eq!(parse(text), Err(NotATime), "{text}");
        }
    }
}
