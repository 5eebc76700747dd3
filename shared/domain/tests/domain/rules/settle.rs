//! Metering and settlement: every way in which a request can end has its figure.

use turnpike_domain::meter::{Prices, Usage, cost, upper_bound};
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::settle::{MAX_BELIEVED_TOKENS, Observed, Reservation, settle};
use turnpike_domain::spend::Source;

const RESERVED: Reservation =
    Reservation { input: 100, output: 50, audio_seconds: 40, cost: NanoUsd(999) };
const ONE: Multiplier = Multiplier(1_000_000);

/// One nano-USD an input token, two an output token.
fn plain() -> Prices {
    Prices { input: Price(1_000_000), output: Price(2_000_000), ..Prices::default() }
}

fn fine() -> Prices {
    Prices {
        cached_input: Some(Price(100_000)),
        cache_write: Some(Price(1_250_000)),
        reasoning: Some(Price(3_000_000)),
        audio_input: Some(Price(10_000_000)),
        audio_output: Some(Price(20_000_000)),
        image_input: Some(Price(5_000_000)),
        image_output: Some(Price(40_000_000)),
        request_fee: NanoUsd(7),
        ..plain()
    }
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

#[test]
fn every_token_is_charged_once_at_the_rate_of_its_kind() {
    let parts = Usage {
        cached_input: 40,
        cache_write: 4,
        audio_input: 3,
        image_input: 2,
        reasoning: 10,
        audio_output: 5,
        image_output: 1,
        ..usage(100, 50)
    };
    let cases = [
        (usage(100, 50), plain(), ONE, 200),
        (usage(100, 50), fine(), ONE, 207),
        (usage(0, 0), fine(), ONE, 7),
        (usage(100, 50), fine(), Multiplier(1_500_000), 311),
        (usage(100, 50), fine(), Multiplier(0), 0),
        // Input: 51 + 40 × 0.1 + 4 × 1.25 + 3 × 10 + 2 × 5; output: 34 × 2 + 10 × 3 + 5 × 20 + 40.
        (parts, fine(), ONE, 100 + 238 + 7),
        (parts, plain(), ONE, 200),
        // What is finer than the whole is charged at its own rate; nothing is subtracted.
        (Usage { cached_input: 200, ..usage(100, 0) }, fine(), ONE, 27),
        (Usage { reasoning: 60, ..usage(0, 50) }, fine(), ONE, 187),
    ];
    for (usage, prices, multiplier, expected) in cases {
        assert_eq!(cost(&usage, &prices, multiplier), NanoUsd(expected), "{usage:?}");
    }
}

#[test]
fn the_upper_bound_takes_the_dearest_kinds() {
    assert_eq!(fine().dearest_input(), Price(10_000_000));
    assert_eq!(fine().dearest_output(), Price(40_000_000));
    assert_eq!(plain().dearest_input(), plain().input);
    assert_eq!(upper_bound((100, 50, 9), &fine(), ONE), NanoUsd(100 * 10 + 50 * 40 + 7));
}

#[test]
fn hostile_figures_saturate() {
    let all = Usage {
        cached_input: u64::MAX,
        cache_write: u64::MAX,
        reasoning: u64::MAX,
        ..usage(u64::MAX, u64::MAX)
    };
    let absurd = Prices { input: Price(i64::MAX), output: Price(i64::MAX), ..fine() };
    assert_eq!(cost(&all, &absurd, Multiplier(u32::MAX)), NanoUsd(i64::MAX));
    assert_eq!(all.tokens(), u64::MAX);
    assert!(!all.adds_up());
}

/// Observed, then tokens of input and output, cost, whose word it is.
type Row = (Observed, u64, u64, i64, Source);

#[track_caller]
fn settles(table: &[Row], suspect: bool) {
    for (observed, input, output, cost, source) in table {
        let settled = settle(&RESERVED, observed, Some(&plain()), ONE);
        let found = (settled.usage.input, settled.usage.output, settled.cost);
        assert_eq!(found, (*input, *output, NanoUsd(*cost)), "{observed:?}");
        assert_eq!((settled.source, settled.suspect), (*source, suspect), "{observed:?}");
    }
}

const SENT: Observed =
    Observed { reported: None, malformed: false, counted_output: None, sent: true, refused: false };
const REFUSED: Observed = Observed { refused: true, ..SENT };

fn reporting(input: u64, output: u64) -> Observed {
    Observed { reported: Some(usage(input, output)), ..SENT }
}

#[test]
fn every_end_of_a_request_settles() {
    use Source::{Counted, Estimated, Provider};
    let counted = |output| Observed { counted_output: Some(output), ..SENT };
    let charged = Observed { refused: true, ..reporting(10, 0) };
    let idle = Observed { refused: true, ..reporting(0, 0) };
    settles(
        &[
            (Observed::default(), 0, 0, 0, Counted),
            (REFUSED, 0, 0, 0, Counted),
            (reporting(10, 5), 10, 5, 20, Provider),
            // More than was reserved is still what the provider asks for.
            (reporting(1_000, 500), 1_000, 500, 2_000, Provider),
            (charged, 10, 0, 10, Provider),
            (idle, 0, 0, 0, Counted),
            (counted(9), 100, 9, 118, Counted),
            (counted(0), 100, 0, 100, Counted),
            (SENT, 100, 50, 999, Estimated),
        ],
        false,
    );
}

#[test]
fn a_report_without_sense_is_bounded_or_replaced_and_flagged() {
    use Source::{Counted, Estimated, Provider};
    let unreadable = Observed { malformed: true, ..SENT };
    let nothing_but_counted = Observed { counted_output: Some(9), ..reporting(0, 0) };
    let excess = Some(Usage { cached_input: 20, ..usage(10, 5) });
    let excess = Observed { reported: excess, ..SENT };
    let most = MAX_BELIEVED_TOKENS;
    settles(
        &[
            (unreadable, 100, 50, 999, Estimated),
            (reporting(0, 0), 100, 50, 999, Estimated),
            (nothing_but_counted, 100, 9, 118, Counted),
            (reporting(most + 1, 5), most, 5, 1_000_000_010, Provider),
            (excess, 10, 5, 30, Provider),
        ],
        true,
    );
}

#[test]
fn seconds_of_a_recording_are_charged_where_they_have_a_price() {
    let by_time = Prices { audio_second: Some(NanoUsd(100)), ..Prices::default() };
    let seconds = |audio_seconds| Some(Usage { audio_seconds, ..Usage::default() });
    let cases = [
        (seconds(27), Some(by_time), (2_700, Source::Provider)),
        (
            seconds(27),
            Some(Prices { request_fee: NanoUsd(7), ..by_time }),
            (2_707, Source::Provider),
        ),
        // Without a price they say nothing of what they cost, and are no nonsense either.
        (seconds(27), Some(plain()), (100 + 2 * 9, Source::Counted)),
        (seconds(27), None, (0, Source::Counted)),
        (None, Some(by_time), (4_000, Source::Counted)),
    ];
    for (reported, prices, booked) in cases {
        let observed = Observed { reported, counted_output: Some(9), ..SENT };
        let settled = settle(&RESERVED, &observed, prices.as_ref(), ONE);
        assert_eq!((settled.cost.0, settled.source), booked, "{reported:?} {prices:?}");
        assert!(!settled.suspect);
    }
    assert_eq!(settle(&RESERVED, &SENT, Some(&by_time), ONE).usage.audio_seconds, 40);
}

#[test]
fn what_has_no_price_costs_nothing() {
    let observed = Observed { reported: Some(usage(10, 5)), sent: true, ..Observed::default() };
    let settled = settle(&RESERVED, &observed, None, ONE);
    assert_eq!((settled.cost, settled.usage), (NanoUsd::ZERO, usage(10, 5)));
}
