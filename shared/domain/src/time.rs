//! Time as a value: timestamps, and budget windows as pure functions of policy and time.

/// Milliseconds in a second.
pub const SECOND_MS: u64 = 1_000;
/// Milliseconds in a minute.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Milliseconds in a day (UTC days have no leap seconds here).
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later by `ms`.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When the cost and token counters of an account begin anew. All boundaries are UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Reset {
    /// Never: one window for all time.
    #[default]
    None,
    /// At midnight.
    Daily,
    /// On Monday at midnight.
    Weekly,
    /// On the first of the month at midnight.
    Monthly,
}

/// A budget window: the time at which it began, in milliseconds; 0 for [`Reset::None`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Window(pub u64);

impl Window {
    /// Whether it has begun by somebody's day. The one who named it may have been ahead.
    #[must_use]
    pub const fn has_begun(self, now: Timestamp) -> bool {
        self.0 <= now.0
    }
}

impl Reset {
    /// The window that holds `at`.
    #[must_use]
    pub fn window(self, at: Timestamp) -> Window {
        let day = at.0 / DAY_MS;
        Window(match self {
            Self::None => 0,
            Self::Daily => day * DAY_MS,
            // 1970-01-01 was a Thursday: Monday lies three days before it.
            Self::Weekly => day.saturating_sub((day + 3) % 7) * DAY_MS,
            Self::Monthly => {
                let (year, month, _) = civil(day);
                days_from_civil(year, month, 1) * DAY_MS
            }
        })
    }

    /// Whether `window` is one of this policy's. The endless one is no other policy's, although
    /// those that count days from the epoch would begin there.
    #[must_use]
    pub fn names(self, window: Window) -> bool {
        let is_endless = window == Window::default();
        self.window(Timestamp(window.0)) == window && is_endless == (self == Self::None)
    }

    /// The time at which `window` ends, if it does.
    #[must_use]
    pub fn ends(self, window: Window) -> Option<Timestamp> {
        let end = match self {
            Self::None => return None,
            Self::Daily => window.0 + DAY_MS,
            // The first week of the epoch is cut short: it began before 1970.
            Self::Weekly if window.0 == 0 => 4 * DAY_MS,
            Self::Weekly => window.0 + 7 * DAY_MS,
            Self::Monthly => {
                let (year, month, _) = civil(window.0 / DAY_MS);
                let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                days_from_civil(year, month, 1) * DAY_MS
            }
        };
        Some(Timestamp(end))
    }
}

/// Year, month and day of a day number since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
#[must_use]
pub const fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_month)
}

/// The day number since 1970-01-01 of a date from 1970 on.
///
/// Source: the same paper, `days_from_civil`.
#[must_use]
pub const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: u64, month: u64, day: u64, hour: u64) -> Timestamp {
        Timestamp(days_from_civil(year, month, day) * DAY_MS + hour * HOUR_MS)
    }

    #[test]
    fn windows_begin_at_utc_boundaries() {
        let moment = at(2028, 2, 29, 13);
        assert_eq!(Reset::None.window(moment), Window(0));
        assert_eq!(Reset::Daily.window(moment).0, at(2028, 2, 29, 0).0);
        assert_eq!(Reset::Weekly.window(moment).0, at(2028, 2, 28, 0).0);
        assert_eq!(Reset::Monthly.window(moment).0, at(2028, 2, 1, 0).0);
        assert_eq!(Reset::Monthly.ends(Window(at(2028, 2, 1, 0).0)), Some(at(2028, 3, 1, 0)));
        assert_eq!(Reset::Monthly.ends(Window(at(2027, 12, 1, 0).0)), Some(at(2028, 1, 1, 0)));
        assert_eq!(Reset::Weekly.window(Timestamp(DAY_MS)), Window(0));
        assert_eq!(Reset::Weekly.window(Timestamp(4 * DAY_MS)).0, 4 * DAY_MS);
    }

    #[test]
    fn every_window_ends_where_the_next_begins() {
        for reset in [Reset::Daily, Reset::Weekly, Reset::Monthly] {
            let mut moment = Timestamp(0);
            for _ in 0..3_000 {
                let window = reset.window(moment);
                let end = reset.ends(window).unwrap_or_default();
                assert!(window.0 <= moment.0 && moment < end, "{reset:?} {moment:?}");
                assert_eq!(reset.window(Timestamp(end.0 - 1)), window);
                assert_eq!(reset.window(end).0, end.0);
                moment = end;
            }
        }
    }

    #[test]
    fn civil_dates_go_there_and_back() {
        for day in (0..200_000).step_by(17) {
            let (year, month, date) = civil(day);
            assert_eq!(days_from_civil(year, month, date), day);
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(20_778), (2026, 11, 21));
    }
}
