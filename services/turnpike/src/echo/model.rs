//! The three models of the provider `echo`, with their prices.

use turnpike_domain::money::Price;

/// A model of `echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `echo-1`: answers at once.
    One,
    /// `echo-slow`: the same prices, 20 tokens a second.
    Slow,
    /// `echo-unpriced`: answers at once and has no price, so that it costs nothing here.
    Unpriced,
}

/// The prices of a model, in nano-USD per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Of input that was not cached.
    pub input: Price,
    /// Of cached input.
    pub cached: Price,
    /// Of output.
    pub output: Price,
}

impl Model {
    /// All models, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::One, Self::Slow, Self::Unpriced];

    /// The model of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// The name that requests use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "echo-1",
            Self::Slow => "echo-slow",
            Self::Unpriced => "echo-unpriced",
        }
    }

    /// Milliseconds that each word of output takes.
    #[must_use]
    pub const fn word_ms(self) -> u64 {
        match self {
            Self::Slow => 50,
            Self::One | Self::Unpriced => 0,
        }
    }

    /// What a token costs. Every price is a whole number of nano-USD a token, so that sums over
    /// requests and over the words of one stream are the same amount.
    #[must_use]
    pub const fn prices(self) -> Prices {
        match self {
            Self::One | Self::Slow => Prices {
                input: Price(1_000_000_000),
                cached: Price(100_000_000),
                output: Price(2_000_000_000),
            },
            Self::Unpriced => Prices { input: Price(0), cached: Price(0), output: Price(0) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name_and_cost_whole_nano_usd_a_token() {
        for model in Model::ALL {
            assert_eq!(Model::find(model.name()), Some(model));
            let prices = model.prices();
            for price in [prices.input, prices.cached, prices.output] {
                assert_eq!(price.0 % 1_000_000, 0, "{model:?}");
            }
        }
        assert_eq!(Model::find("echo-2"), None);
    }
}
