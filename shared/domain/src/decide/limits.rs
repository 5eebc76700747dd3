//! Whether limits make sense. Zero is a legal budget: it allows nothing.

use super::mistakes::Mistakes;
use crate::limit::Limits;

pub(super) fn check(limits: &Limits, mistakes: &mut Mistakes) {
    let negative = limits.cost.is_some_and(|cost| cost.0 < 0);
    mistakes.unless(!negative, "/limits/cost_usd", "must not be negative");
    let countable = |tokens: Option<u64>| tokens.is_none_or(|count| i64::try_from(count).is_ok());
    mistakes.unless(countable(limits.tokens), "/limits/tokens", "is too large");
    mistakes.unless(
        limits.requests_per_minute != Some(0),
        "/limits/requests_per_minute",
        "must be at least 1: disable the key to allow nothing",
    );
    mistakes.unless(
        limits.tokens_per_minute != Some(0),
        "/limits/tokens_per_minute",
        "must be at least 1: disable the key to allow nothing",
    );
    mistakes.unless(
        countable(limits.tokens_per_minute),
        "/limits/tokens_per_minute",
        "is too large",
    );
    let percents = &limits.alert_percent;
    let sound = percents.iter().all(|percent| (1..=100).contains(percent))
        && percents.is_sorted_by(|one, next| one < next);
    mistakes.unless(
        sound,
        "/limits/alert_percent",
        "must be whole percentages from 1 to 100, each once, in ascending order",
    );
}
