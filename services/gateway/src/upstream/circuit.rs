//! When a provider is passed over: a machine of failures and successes that reads no clock.
//!
//! It opens after failures in a row, after too many failures among its latest calls, and when the
//! provider says for how long it wants to be left alone. Then one request is let through, and its
//! end decides.

use std::sync::atomic::{AtomicU64, Ordering};

use turnpike_domain::time::{MINUTE_MS, SECOND_MS};

/// How long it stays open the first time; each probe that fails doubles it.
const OPEN_MS: u64 = 5 * SECOND_MS;
/// The longest that it stays open, whatever a provider asks for: what works again should be seen
/// before an operator looks.
const MAX_OPEN_MS: u64 = MINUTE_MS;
/// The time over which failures are held against calls, in milliseconds.
const WINDOW_MS: u64 = 10 * SECOND_MS;
/// Calls of a window before it is judged, for each failure in a row that opens: fewer are chance.
const CALLS_PER_FAILURE: u32 = 4;

/// The most that six bits hold.
const MOST_TRIPS: u8 = 63;

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests pass.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// None passes before `until_ms`, and the first one after it is the probe.
    Open {
        /// Steady time.
        until_ms: u64,
        /// How often it has opened since it was closed.
        trips: u8,
    },
    /// The probe is on its way.
    Probing {
        /// As in [`State::Open`].
        trips: u8,
    },
}

/// How a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As one of many.
    Free,
    /// As the probe, whose end decides.
    Probe,
    /// Not before this many milliseconds.
    Refused(u64),
}

/// What a request did that failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failing {
    /// It was the probe.
    pub probe: bool,
    /// For how long the provider wants to be left alone, in milliseconds.
    pub asked_ms: Option<u64>,
    /// Of the latest calls too many have failed.
    pub too_many: bool,
}

impl State {
    /// What stands when a request asks at `now_ms`, and whether it may pass.
    #[must_use]
    pub const fn enter(self, now_ms: u64) -> (Self, Entry) {
        match self {
            Self::Closed { .. } => (self, Entry::Free),
            Self::Open { until_ms, trips } if now_ms >= until_ms => {
                (Self::Probing { trips }, Entry::Probe)
            }
            Self::Open { until_ms, .. } => (self, Entry::Refused(until_ms - now_ms)),
            // The probe is as slow as a model may be; what is worth a look is worth a second.
            Self::Probing { .. } => (self, Entry::Refused(SECOND_MS)),
        }
    }

    /// A request succeeded. What began before it opened says nothing about now.
    #[must_use]
    pub const fn succeeded(self, probe: bool) -> Self {
        match self {
            Self::Closed { .. } => Self::Closed { failures: 0 },
            Self::Probing { .. } if probe => Self::Closed { failures: 0 },
            Self::Open { .. } | Self::Probing { .. } => self,
        }
    }

    /// A request failed at `now_ms`; `most` failures in a row open.
    #[must_use]
    pub fn failed(self, most: u32, failing: Failing, now_ms: u64) -> Self {
        let open = |trips: u8| {
            let backoff_ms = OPEN_MS.saturating_mul(1 << trips.min(8));
            let open_ms = failing.asked_ms.unwrap_or(backoff_ms).clamp(SECOND_MS, MAX_OPEN_MS);
            let until_ms = now_ms.saturating_add(open_ms);
            Self::Open { until_ms, trips: trips.saturating_add(1).min(MOST_TRIPS) }
        };
        match self {
            Self::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if failures >= most || failing.too_many || failing.asked_ms.is_some() {
                    open(0)
                } else {
                    Self::Closed { failures }
                }
            }
            Self::Probing { trips } if failing.probe => open(trips),
            Self::Open { .. } | Self::Probing { .. } => self,
        }
    }

    /// The probe ended without having asked: the next request is the probe.
    #[must_use]
    pub const fn gave_up(self) -> Self {
        match self {
            Self::Probing { trips } => Self::Open { until_ms: 0, trips },
            Self::Closed { .. } | Self::Open { .. } => self,
        }
    }

    /// In one number: two bits of kind, six of trips, the rest is a count or a time.
    fn packed(self) -> u64 {
        match self {
            Self::Closed { failures } => u64::from(failures) << 8,
            Self::Open { until_ms, trips } => (until_ms << 8) | (u64::from(trips) << 2) | 1,
            Self::Probing { trips } => (u64::from(trips) << 2) | 2,
        }
    }

    fn unpacked(word: u64) -> Self {
        let trips = u8::try_from((word >> 2) & u64::from(MOST_TRIPS)).unwrap_or(MOST_TRIPS);
        match word & 3 {
            0 => Self::Closed { failures: u32::try_from(word >> 8).unwrap_or(u32::MAX) },
            1 => Self::Open { until_ms: word >> 8, trips },
            _ => Self::Probing { trips },
        }
    }
}

/// A machine that all cores share, without a lock.
#[derive(Debug, Default)]
pub struct Circuit {
    state: AtomicU64,
    /// Steady time of the last opening, probe or closing.
    since_ms: AtomicU64,
}

impl Circuit {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        State::unpacked(self.state.load(Ordering::Relaxed))
    }

    /// Since when it stands there, in steady time; 0: from the beginning.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// Whether a request may pass. While it is closed this is one load.
    pub fn enter(&self, now_ms: impl Fn() -> u64) -> Entry {
        if matches!(self.state(), State::Closed { .. }) {
            return Entry::Free;
        }
        let now_ms = now_ms();
        self.change(now_ms, |state| state.enter(now_ms).0).enter(now_ms).1
    }

    /// A request succeeded. While it is closed and nothing fails this is one load.
    pub fn succeeded(&self, probe: bool, now_ms: impl Fn() -> u64) {
        if self.state() != (State::Closed { failures: 0 }) {
            self.change(now_ms(), |state| state.succeeded(probe));
        }
    }

    /// A request failed.
    pub fn failed(&self, most: u32, failing: Failing, now_ms: u64) {
        self.change(now_ms, |state| state.failed(most, failing, now_ms));
    }

    /// The probe ended without having asked.
    pub fn gave_up(&self, now_ms: u64) {
        self.change(now_ms, State::gave_up);
    }

    /// Changes the state; answers with what it was before.
    fn change(&self, now_ms: u64, to: impl Fn(State) -> State) -> State {
        let change = |word| Some(to(State::unpacked(word)).packed());
        let changed = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        let before = State::unpacked(changed.unwrap_or_else(|word| word));
        if std::mem::discriminant(&before) != std::mem::discriminant(&to(before)) {
            self.since_ms.store(now_ms, Ordering::Relaxed);
        }
        before
    }
}

/// The latest calls of one core, to hold failures against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    began_ms: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    /// With one more call.
    #[must_use]
    pub const fn with(self, failed: bool, now_ms: u64) -> Self {
        let is_over = now_ms.saturating_sub(self.began_ms) >= WINDOW_MS;
        let Self { began_ms, calls, failures } =
            if is_over { Self { began_ms: now_ms, calls: 0, failures: 0 } } else { self };
        let failures = if failed { failures.saturating_add(1) } else { failures };
        Self { began_ms, calls: calls.saturating_add(1), failures }
    }

    /// Whether half of enough calls have failed; `most` is what opens in a row.
    #[must_use]
    pub const fn is_bad(self, most: u32) -> bool {
        self.calls >= most.saturating_mul(CALLS_PER_FAILURE)
            && self.failures.saturating_mul(2) >= self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: State = State::Closed { failures: 0 };
    const PLAIN: Failing = Failing { probe: false, asked_ms: None, too_many: false };
    const PROBE: Failing = Failing { probe: true, ..PLAIN };

    const fn open(until_ms: u64, trips: u8) -> State {
        State::Open { until_ms, trips }
    }

    #[test]
    fn every_end_of_a_request_moves_every_state_as_the_table_says() {
        let (some, probing) = (State::Closed { failures: 1 }, State::Probing { trips: 1 });
        let asked = |ms| Failing { asked_ms: Some(ms), ..PLAIN };
        let many = Failing { too_many: true, ..PLAIN };
        // (before, failing, after), with three failures in a row and at 1,000 ms.
        for (before, failing, after) in [
            (CLOSED, PLAIN, some),
            (some, PLAIN, State::Closed { failures: 2 }),
            (State::Closed { failures: 2 }, PLAIN, open(6_000, 1)),
            (CLOSED, many, open(6_000, 1)),
            (CLOSED, asked(20_000), open(21_000, 1)),
            (CLOSED, asked(0), open(2_000, 1)),
            (CLOSED, asked(u64::MAX), open(61_000, 1)),
            (open(9_000, 1), PLAIN, open(9_000, 1)),
            (open(9_000, 1), asked(50_000), open(9_000, 1)),
            (probing, PLAIN, probing),
            (probing, PROBE, open(11_000, 2)),
            (State::Probing { trips: 2 }, PROBE, open(21_000, 3)),
            (State::Probing { trips: 63 }, PROBE, open(61_000, 63)),
            (probing, Failing { asked_ms: Some(3_000), ..PROBE }, open(4_000, 2)),
        ] {
            assert_eq!(before.failed(3, failing, 1_000), after, "{before:?} {failing:?}");
        }
        for (before, probe, after) in [
            (CLOSED, false, CLOSED),
            (some, false, CLOSED),
            (open(9_000, 1), false, open(9_000, 1)),
            (probing, false, probing),
            (probing, true, CLOSED),
        ] {
            assert_eq!(before.succeeded(probe), after, "{before:?} {probe}");
        }
        for (before, now_ms, after) in [
            (CLOSED, 0, (CLOSED, Entry::Free)),
            (open(9_000, 2), 8_000, (open(9_000, 2), Entry::Refused(1_000))),
            (open(9_000, 2), 9_000, (State::Probing { trips: 2 }, Entry::Probe)),
            (probing, 9_000, (probing, Entry::Refused(1_000))),
        ] {
            assert_eq!(before.enter(now_ms), after, "{before:?} {now_ms}");
        }
        assert_eq!(probing.gave_up(), open(0, 1));
        assert_eq!((CLOSED.gave_up(), open(7, 1).gave_up()), (CLOSED, open(7, 1)));
    }

    #[test]
    fn a_state_is_one_number() {
        let times = [0, 1, 1 << 40, (1 << 56) - 1];
        let opens = times.into_iter().flat_map(|until| [0, 1, 63].map(|trips| open(until, trips)));
        let closed = [0, 1, u32::MAX].map(|failures| State::Closed { failures });
        let probing = [0, 63].map(|trips| State::Probing { trips });
        for state in opens.chain(closed).chain(probing) {
            assert_eq!(State::unpacked(state.packed()), state);
        }
    }

    #[test]
    fn one_of_many_at_once_is_the_probe() {
        let circuit = Circuit::default();
        circuit.failed(1, PLAIN, 100);
        assert_eq!((circuit.state(), circuit.since_ms()), (open(5_100, 1), 100));
        assert_eq!(circuit.enter(|| 200), Entry::Refused(4_900));
        let probes = std::thread::scope(|scope| {
            let enter = || circuit.enter(|| 5_100);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(enter)).collect();
            let entries = threads.into_iter().map(|thread| thread.join().unwrap());
            entries.filter(|entry| *entry == Entry::Probe).count()
        });
        assert_eq!(probes, 1);
        circuit.gave_up(5_200);
        assert_eq!(circuit.enter(|| 5_200), Entry::Probe);
        circuit.succeeded(true, || 5_300);
        assert_eq!((circuit.state(), circuit.since_ms()), (CLOSED, 5_300));
    }

    #[test]
    fn a_window_is_judged_once_enough_was_called() {
        let calls = |ends: &[bool]| {
            ends.iter().fold(Window::default(), |window, failed| window.with(*failed, 1))
        };
        assert!(!calls(&[true; 11]).is_bad(3) && calls(&[true; 12]).is_bad(3));
        let half: Vec<bool> = (0..12).map(|n| n % 2 == 0).collect();
        let third: Vec<bool> = (0..12).map(|n| n % 3 == 0).collect();
        assert!(calls(&half).is_bad(3) && !calls(&third).is_bad(3));
        assert!(!calls(&half).with(true, 10_001).is_bad(3), "another window has begun");
    }
}
