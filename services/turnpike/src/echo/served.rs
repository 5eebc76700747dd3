//! What `echo` truly served: the oracle that bills are compared with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use turnpike_domain::money::{Multiplier, exact, round_up};

use super::model::Model;

/// What one answer serves, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The model that answers.
    pub model: Model,
    /// All input tokens, cached ones included.
    pub input: u64,
    /// The input tokens that were marked as cached.
    pub cached: u64,
    /// The output tokens, thoughts included.
    pub output: u64,
    /// Of these, thoughts.
    pub thoughts: u64,
}

/// The body of `GET /served`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Answers begun, those to refused and free calls left out.
    pub requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Their price, as a decimal string in USD, exact to the nano-USD.
    pub cost_usd: String,
}

/// Running counts since the start.
///
/// A request and its input count when the request has been read in full and its answer begins. An
/// answer that is not streamed counts its output at that moment too; a stream counts each word when
/// the connection takes it for writing. So a client that goes away is served what was taken until
/// then, which may be up to the connection's buffers more than it has read.
#[derive(Debug, Default)]
pub struct Served {
    requests: AtomicU64,
    tokens: [Counts; Model::ALL.len()],
    /// The same by the name that the caller gave its request; kept where scripts are obeyed.
    named: Mutex<BTreeMap<Arc<str>, Bill>>,
}

#[derive(Debug, Default)]
struct Counts {
    input: AtomicU64,
    cached: AtomicU64,
    output: AtomicU64,
}

impl Served {
    /// Counts an answer that begins: the request, its input, and the output that goes with it.
    pub fn begin(&self, bill: Bill) {
        let counts = self.counts(bill.model);
        counts.input.fetch_add(bill.input, Ordering::Relaxed);
        counts.cached.fetch_add(bill.cached, Ordering::Relaxed);
        counts.output.fetch_add(bill.output, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts words of a stream.
    pub fn words(&self, model: Model, words: u64) {
        self.counts(model).output.fetch_add(words, Ordering::Relaxed);
    }

    /// Counts under a request's name what was counted for all.
    pub fn name(&self, name: &Arc<str>, bill: Bill) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = named.entry(Arc::clone(name)).or_insert(Bill {
            input: 0,
            cached: 0,
            output: 0,
            thoughts: 0,
            ..bill
        });
        counted.input = counted.input.saturating_add(bill.input);
        counted.cached = counted.cached.saturating_add(bill.cached);
        counted.output = counted.output.saturating_add(bill.output);
    }

    /// What each named request was served.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<Arc<str>, Totals> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = |bill: &Bill| Totals {
            requests: 1,
            input_tokens: bill.input,
            output_tokens: bill.output,
            cost_usd: round_up(price(bill.model, bill.input, bill.cached, bill.output)).to_string(),
        };
        named.iter().map(|(name, bill)| (Arc::clone(name), totals(bill))).collect()
    }

    /// The counts as they stand.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (mut input_tokens, mut output_tokens, mut cost) = (0, 0, 0);
        for model in Model::ALL {
            let counts = self.counts(model);
            let input = counts.input.load(Ordering::Relaxed);
            let cached = counts.cached.load(Ordering::Relaxed);
            let output = counts.output.load(Ordering::Relaxed);
            cost += price(model, input, cached, output);
            input_tokens += input;
            output_tokens += output;
        }
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            input_tokens,
            output_tokens,
            cost_usd: round_up(cost).to_string(),
        }
    }

    const fn counts(&self, model: Model) -> &Counts {
        let [one, slow, unpriced] = &self.tokens;
        match model {
            Model::One => one,
            Model::Slow => slow,
            Model::Unpriced => unpriced,
        }
    }
}

/// The price of tokens in the exact unit of [`exact`].
fn price(model: Model, input: u64, cached: u64, output: u64) -> i128 {
    let prices = model.prices();
    let terms = [
        (input.saturating_sub(cached), prices.input),
        (cached, prices.cached),
        (output, prices.output),
    ];
    terms.iter().map(|(tokens, price)| exact(*tokens, *price, Multiplier::default())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_exact_over_models_and_cached_input() {
        let served = Served::default();
        served.begin(Bill { model: Model::One, input: 10, cached: 4, output: 3, thoughts: 0 });
        served.begin(Bill { model: Model::Slow, input: 1, cached: 0, output: 0, thoughts: 0 });
        served.words(Model::Slow, 2);
        served.begin(Bill {
            model: Model::Unpriced,
            input: 100,
            cached: 0,
            output: 100,
            thoughts: 0,
        });
        // 6 × 1,000 + 4 × 100 + 3 × 2,000 + 1 × 1,000 + 2 × 2,000 nano-USD.
        assert_eq!(
            served.totals(),
            Totals {
                requests: 3,
                input_tokens: 111,
                output_tokens: 105,
                cost_usd: "0.0000174".to_owned(),
            }
        );
    }
}
