//! Money as integers: nano-USD, prices per million tokens, multipliers in parts per million.
//!
//! No float touches money. Intermediate products are `i128`; a cost is rounded up once per request.

use std::fmt;

/// Nano-USD in one USD.
pub const NANO_PER_USD: i64 = 1_000_000_000;
/// Parts in a multiplier of one.
pub const PARTS_PER_ONE: u32 = 1_000_000;

/// An amount in nano-USD (10⁻⁹ USD). Up to 9.2 thousand million USD either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoUsd(pub i64);

/// A price in nano-USD per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(pub i64);

/// A factor in parts per million; 1,000,000 is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiplier(pub u32);

impl Default for Multiplier {
    fn default() -> Self {
        Self(PARTS_PER_ONE)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMoney {
    /// Not digits with at most one point.
    Shape,
    /// More than nine decimals: less than a nano-USD cannot be kept.
    TooFine,
    /// Beyond what fits.
    TooLarge,
}

impl fmt::Display for NotMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "expected an amount in USD as a decimal string, such as \"25.00\"",
            Self::TooFine => "at most nine decimals are kept (one nano-USD)",
            Self::TooLarge => "the amount is larger than 9,000,000,000 USD",
        })
    }
}

impl std::error::Error for NotMoney {}

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Stands for "no cap": more than anyone can spend.
    pub const INFINITE: Self = Self(i64::MAX);

    /// The sum, held at the ends of the range instead of wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at the ends of the range instead of wrapping.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Decimals of a USD.
const DECIMALS: usize = 9;
/// Digits before the point of the greatest amount, and to spare.
const WHOLE_DIGITS: usize = 11;
/// Where the point stands, behind a sign and those digits.
const POINT: usize = 1 + WHOLE_DIGITS;

/// Writes `1.5` as `1.50`: at least two decimals, at most nine, no exponent.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece: a sign, the digits before the point, the point, the decimals.
        let mut text = [b'0'; POINT + 1 + DECIMALS];
        text[POINT] = b'.';
        let mut rest = self.0.unsigned_abs();
        for place in (1..POINT).chain(POINT + 1..text.len()).rev() {
            text[place] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let is_digit = |place: &usize| text[*place] != b'0';
        let mut first = (1..POINT - 1).find(is_digit).unwrap_or(POINT - 1);
        let last = (POINT + 3..text.len()).rev().find(is_digit).unwrap_or(POINT + 2);
        if self.0 < 0 {
            first -= 1;
            text[first] = b'-';
        }
        f.write_str(std::str::from_utf8(&text[first..=last]).unwrap_or_default())
    }
}

impl std::str::FromStr for NanoUsd {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, decimals) = match digits.split_once('.') {
            Some((_, "")) => return Err(NotMoney::Shape),
            Some((whole, decimals)) => (whole, decimals),
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
            return Err(NotMoney::Shape);
        }
        if decimals.len() > 9 {
            return Err(NotMoney::TooFine);
        }
        let joined = format!("{whole}{decimals:0<9}");
        let nano: i64 = joined.parse().map_err(|_| NotMoney::TooLarge)?;
        Ok(Self(if negative { -nano } else { nano }))
    }
}

/// `tokens × price × multiplier`, in units of 10⁻¹² nano-USD: the terms of one request are added in
/// this unit and rounded once by [`round_up`].
#[must_use]
pub fn exact(tokens: u64, price: Price, multiplier: Multiplier) -> i128 {
    i128::from(tokens).saturating_mul(i128::from(price.0)).saturating_mul(i128::from(multiplier.0))
}

/// A fee times the multiplier, in the unit of [`exact`].
#[must_use]
pub fn exact_fee(fee: NanoUsd, multiplier: Multiplier) -> i128 {
    i128::from(fee.0).saturating_mul(i128::from(multiplier.0)).saturating_mul(1_000_000)
}

/// The sum of exact terms as money, rounded up to the next nano-USD, never negative.
#[must_use]
pub fn round_up(sum: i128) -> NanoUsd {
    const UNIT: i128 = 1_000_000_000_000;
    let whole = sum.max(0).saturating_add(UNIT - 1) / UNIT;
    NanoUsd(i64::try_from(whole).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_as_decimal_strings() {
        let cases = [
            ("25.00", 25_000_000_000, "25.00"),
            ("0", 0, "0.00"),
            ("0.000000001", 1, "0.000000001"),
            ("1.5", 1_500_000_000, "1.50"),
            ("-3.25", -3_250_000_000, "-3.25"),
            ("9223372036.854775807", i64::MAX, "9223372036.854775807"),
        ];
        for (text, nano, back) in cases {
            assert_eq!(text.parse(), Ok(NanoUsd(nano)), "{text}");
            assert_eq!(NanoUsd(nano).to_string(), back);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_its_reason() {
        let cases = [
            ("", NotMoney::Shape),
            (".5", NotMoney::Shape),
            ("1.", NotMoney::Shape),
            ("1e3", NotMoney::Shape),
            ("+1", NotMoney::Shape),
            ("1.0000000001", NotMoney::TooFine),
            ("9223372036.854775808", NotMoney::TooLarge),
            ("99999999999999999999", NotMoney::TooLarge),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<NanoUsd>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_cost_rounds_up_once() {
        let price = Price(1_000_000_000);
        let one = Multiplier::default();
        assert_eq!(round_up(exact(7, price, one)), NanoUsd(7_000));
        let third = exact(1, Price(333_333), one);
        assert_eq!(round_up(third), NanoUsd(1));
        assert_eq!(round_up(third + third + third), NanoUsd(1));
        assert_eq!(round_up(exact_fee(NanoUsd(10), Multiplier(1_500_000))), NanoUsd(15));
        assert_eq!(round_up(-5), NanoUsd(0));
        assert_eq!(round_up(exact(u64::MAX, Price(i64::MAX), Multiplier(u32::MAX))).0, i64::MAX);
    }
}
