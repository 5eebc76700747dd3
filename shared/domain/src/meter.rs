//! What a request used, and what that costs.

use crate::money::{Multiplier, NanoUsd, Price, exact, exact_fee, round_up};

/// The prices of a model. `None` of a finer kind falls back to the plain price of its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Prices {
    /// Input tokens.
    pub input: Price,
    /// Output tokens.
    pub output: Price,
    /// Input tokens that the provider read from its cache.
    pub cached_input: Option<Price>,
    /// Input tokens that the provider wrote to its cache.
    pub cache_write: Option<Price>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<Price>,
    /// Audio tokens of the input.
    pub audio_input: Option<Price>,
    /// Audio tokens of the output.
    pub audio_output: Option<Price>,
    /// Image tokens of the input.
    pub image_input: Option<Price>,
    /// Image tokens of the output.
    pub image_output: Option<Price>,
    /// Once per request.
    pub request_fee: NanoUsd,
    /// Each second of a recording, where the provider tells seconds instead of tokens.
    pub audio_second: Option<NanoUsd>,
}

/// Tokens of one request. The finer kinds are parts of `input` or `output`, never added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// All output tokens.
    pub output: u64,
    /// Of the input: read from the provider's cache.
    pub cached_input: u64,
    /// Of the input: written to the provider's cache.
    pub cache_write: u64,
    /// Of the output: reasoning.
    pub reasoning: u64,
    /// Of the input: audio.
    pub audio_input: u64,
    /// Of the output: audio.
    pub audio_output: u64,
    /// Of the input: images.
    pub image_input: u64,
    /// Of the output: images.
    pub image_output: u64,
    /// Seconds of a recording, begun ones as whole ones; beside the tokens, not among them.
    pub audio_seconds: u64,
}

impl Usage {
    /// Input and output together: what token limits count.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Whether the finer kinds are no more than the direction that they are parts of.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let sum = |parts: &[u64]| parts.iter().copied().map(u128::from).sum::<u128>();
        sum(&self.input_parts()) <= self.input.into()
            && sum(&self.output_parts()) <= self.output.into()
    }

    const fn input_parts(&self) -> [u64; 4] {
        [self.cached_input, self.cache_write, self.audio_input, self.image_input]
    }

    const fn output_parts(&self) -> [u64; 3] {
        [self.reasoning, self.audio_output, self.image_output]
    }
}

impl Prices {
    /// The dearest rate that an input token can have.
    #[must_use]
    pub fn dearest_input(&self) -> Price {
        let finer = [self.cached_input, self.cache_write, self.audio_input, self.image_input];
        finer.into_iter().flatten().fold(self.input, Price::max)
    }

    /// The dearest rate that an output token can have.
    #[must_use]
    pub fn dearest_output(&self) -> Price {
        let finer = [self.reasoning, self.audio_output, self.image_output];
        finer.into_iter().flatten().fold(self.output, Price::max)
    }
}

/// The cost of a request: every token at the rate of its kind, the fee, the multiplier; rounded up
/// once.
///
/// Usage is hostile input: where the finer kinds add up to more than their direction, the excess is
/// charged at its own rate and the plain rest is zero, never negative.
#[must_use]
pub fn cost(usage: &Usage, prices: &Prices, multiplier: Multiplier) -> NanoUsd {
    let parts = [
        (usage.cached_input, prices.cached_input.unwrap_or(prices.input)),
        (usage.cache_write, prices.cache_write.unwrap_or(prices.input)),
        (usage.audio_input, prices.audio_input.unwrap_or(prices.input)),
        (usage.image_input, prices.image_input.unwrap_or(prices.input)),
        (rest(usage.input, &usage.input_parts()), prices.input),
        (usage.reasoning, prices.reasoning.unwrap_or(prices.output)),
        (usage.audio_output, prices.audio_output.unwrap_or(prices.output)),
        (usage.image_output, prices.image_output.unwrap_or(prices.output)),
        (rest(usage.output, &usage.output_parts()), prices.output),
    ];
    let tokens = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, price)| exact(*count, *price, multiplier))
        .fold(0_i128, i128::saturating_add);
    let seconds = exact_seconds(usage.audio_seconds, prices, multiplier);
    let fee = exact_fee(prices.request_fee, multiplier);
    round_up(tokens.saturating_add(seconds).saturating_add(fee))
}

/// The most that a request can cost: `input` and `output` tokens at the dearest rates, seconds of a
/// recording, and the fee.
#[must_use]
pub fn upper_bound(
    (input, output, audio_seconds): (u64, u64, u64),
    prices: &Prices,
    multiplier: Multiplier,
) -> NanoUsd {
    let tokens = exact(input, prices.dearest_input(), multiplier).saturating_add(exact(
        output,
        prices.dearest_output(),
        multiplier,
    ));
    let seconds = exact_seconds(audio_seconds, prices, multiplier);
    let fee = exact_fee(prices.request_fee, multiplier);
    round_up(tokens.saturating_add(seconds).saturating_add(fee))
}

fn exact_seconds(seconds: u64, prices: &Prices, multiplier: Multiplier) -> i128 {
    let each = exact_fee(prices.audio_second.unwrap_or_default(), multiplier);
    each.saturating_mul(i128::from(seconds))
}

fn rest(all: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(all, |left, part| left.saturating_sub(*part))
}
