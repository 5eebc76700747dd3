//! Settlement: from what was reserved and what was seen, what is booked.

use crate::limit::Unit;
use crate::meter::{Prices, Usage, cost};
use crate::money::{Multiplier, NanoUsd};
use crate::spend::Source;

/// The most tokens of one direction that are believed: far above any model, far below overflow.
pub const MAX_BELIEVED_TOKENS: u64 = 1_000_000_000;

/// What a gateway holds for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reservation {
    /// The most input tokens that it can use.
    pub input: u64,
    /// The most output tokens that it can use.
    pub output: u64,
    /// The most seconds of a recording that it can be charged for.
    pub audio_seconds: u64,
    /// The most that it can cost.
    pub cost: NanoUsd,
}

/// What was seen of a request until it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// The provider's own usage, if it arrived.
    pub reported: Option<Usage>,
    /// The report held a negative, huge or unreadable figure.
    pub malformed: bool,
    /// Output tokens counted while they passed, if the dialect lets us count.
    pub counted_output: Option<u64>,
    /// The provider began to work: it was sent the whole request.
    pub sent: bool,
    /// The provider refused or failed before it answered anything.
    pub refused: bool,
}

/// What is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Tokens.
    pub usage: Usage,
    /// The cost at the prices of the admission.
    pub cost: NanoUsd,
    /// Whose word it is.
    pub source: Source,
    /// The report made no sense.
    pub suspect: bool,
}

impl Reservation {
    /// What it takes of a budget in `unit`: nano-USD or tokens.
    #[must_use]
    pub fn amount(&self, unit: Unit) -> i64 {
        match unit {
            Unit::Usd => self.cost.0,
            Unit::Tokens => {
                i64::try_from(self.input.saturating_add(self.output)).unwrap_or(i64::MAX)
            }
        }
    }
}

impl Settlement {
    /// What is booked on a budget in `unit`: nano-USD or tokens.
    #[must_use]
    pub fn amount(&self, unit: Unit) -> i64 {
        match unit {
            Unit::Usd => self.cost.0,
            Unit::Tokens => i64::try_from(self.usage.tokens()).unwrap_or(i64::MAX),
        }
    }
}

/// Settles one request. Total: every way in which a request can end has an answer.
///
/// A provider's report is believed up to [`MAX_BELIEVED_TOKENS`], unless it says that nothing was
/// used at all, or tells seconds that have no price. Without one, output that was counted is
/// charged with the reserved input; else the reservation is. A request that was never sent, or that
/// the provider refused before it answered, costs nothing.
#[must_use]
pub fn settle(
    reservation: &Reservation,
    observed: &Observed,
    prices: Option<&Prices>,
    multiplier: Multiplier,
) -> Settlement {
    let used_something = |usage: &Usage| *usage != Usage::default();
    let has_seconds = prices.is_some_and(|prices| prices.audio_second.is_some());
    let is_priced = |usage: &Usage| has_seconds || usage.tokens() > 0 || usage.audio_seconds == 0;
    let told = observed.reported.filter(used_something);
    let reported = told.filter(is_priced);
    let free = !observed.sent || observed.refused;
    let priced =
        |usage: &Usage| prices.map_or(NanoUsd::ZERO, |prices| cost(usage, prices, multiplier));
    let (usage, cost, source) = if let Some(reported) = reported {
        let usage = bounded(reported);
        (usage, priced(&usage), Source::Provider)
    } else if free {
        (Usage::default(), NanoUsd::ZERO, Source::Counted)
    } else if let Some(output) = observed.counted_output {
        let output = output.min(MAX_BELIEVED_TOKENS);
        let Reservation { input, audio_seconds, .. } = *reservation;
        let usage = Usage { input, output, audio_seconds, ..Usage::default() };
        (usage, priced(&usage), Source::Counted)
    } else {
        let Reservation { input, output, audio_seconds, cost } = *reservation;
        let usage = Usage { input, output, audio_seconds, ..Usage::default() };
        (usage, cost, Source::Estimated)
    };
    let nothing_reported = !free && observed.reported.is_some() && told.is_none();
    let senseless = reported.is_some_and(|usage| usage != bounded(usage) || !usage.adds_up());
    Settlement { usage, cost, source, suspect: observed.malformed || nothing_reported || senseless }
}

fn bounded(usage: Usage) -> Usage {
    let cap = |tokens: u64| tokens.min(MAX_BELIEVED_TOKENS);
    Usage {
        input: cap(usage.input),
        output: cap(usage.output),
        cached_input: cap(usage.cached_input),
        cache_write: cap(usage.cache_write),
        reasoning: cap(usage.reasoning),
        audio_input: cap(usage.audio_input),
        audio_output: cap(usage.audio_output),
        image_input: cap(usage.image_input),
        image_output: cap(usage.image_output),
        audio_seconds: cap(usage.audio_seconds),
    }
}
