//! Laws of money: bounds bound, sums add up, texts are read back.

use proptest::option;
use proptest::prelude::*;
use turnpike_domain::admit::{Demand, reservation};
use turnpike_domain::event::ModelSpec;
use turnpike_domain::meter::{Prices, Usage, cost, upper_bound};
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::settle::{MAX_BELIEVED_TOKENS, Observed, Reservation, settle};
use turnpike_domain::spend::Source;

use crate::arbitrary::cases;

fn price() -> impl Strategy<Value = Price> {
    (0_i64..100_000_000_000).prop_map(Price)
}

fn prices() -> impl Strategy<Value = Prices> {
    let finer = || option::of(price());
    let input = (price(), finer(), finer(), finer(), finer());
    let output = (price(), finer(), finer(), finer());
    (input, output, 0_i64..1_000_000).prop_map(|(input, output, fee)| Prices {
        input: input.0,
        cached_input: input.1,
        cache_write: input.2,
        audio_input: input.3,
        image_input: input.4,
        output: output.0,
        reasoning: output.1,
        audio_output: output.2,
        image_output: output.3,
        request_fee: NanoUsd(fee),
        audio_second: Some(NanoUsd(fee)).filter(|_| fee % 2 == 0),
    })
}

/// Usage whose parts are no more than their wholes, up to a fifth each.
fn usage() -> impl Strategy<Value = Usage> {
    let part = || 0_u64..20_000;
    (
        (100_000_u64..1_000_000, part(), part(), part(), part()),
        (100_000_u64..1_000_000, part(), part(), part()),
    )
        .prop_map(|(input, output)| Usage {
            input: input.0,
            cached_input: input.1,
            cache_write: input.2,
            audio_input: input.3,
            image_input: input.4,
            output: output.0,
            reasoning: output.1,
            audio_output: output.2,
            image_output: output.3,
            audio_seconds: input.1,
        })
}

fn hostile() -> impl Strategy<Value = Usage> {
    any::<[u64; 10]>().prop_map(|all| Usage {
        input: all[0],
        output: all[1],
        cached_input: all[2],
        cache_write: all[3],
        reasoning: all[4],
        audio_input: all[5],
        audio_output: all[6],
        image_input: all[7],
        image_output: all[8],
        audio_seconds: all[9],
    })
}

fn multiplier() -> impl Strategy<Value = Multiplier> {
    (0_u32..3_000_000).prop_map(Multiplier)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_honest_usage_costs_more_than_its_bound(
        usage in usage(),
        prices in prices(),
        multiplier in multiplier(),
    ) {
        prop_assert!(usage.adds_up());
        let cost = cost(&usage, &prices, multiplier);
        prop_assert!(cost >= NanoUsd::ZERO);
        let most = (usage.input, usage.output, usage.audio_seconds);
        prop_assert!(cost <= upper_bound(most, &prices, multiplier));
    }

    #[test]
    fn more_tokens_never_cost_less(
        usage in usage(),
        more in 0_u64..1_000,
        prices in prices(),
        multiplier in multiplier(),
    ) {
        let before = cost(&usage, &prices, multiplier);
        let input = Usage { input: usage.input + more, ..usage };
        let output = Usage { output: usage.output + more, ..usage };
        prop_assert!(cost(&input, &prices, multiplier) >= before);
        prop_assert!(cost(&output, &prices, multiplier) >= before);
    }

    #[test]
    fn a_reservation_covers_whatever_keeps_its_tokens(
        body_bytes in 0_u64..200_000,
        max_output in option::of(0_u64..10_000),
        choices in 0_u64..5,
        shares in (0_u64..=100, 0_u64..=100),
        prices in prices(),
        multiplier in multiplier(),
    ) {
        let spec = ModelSpec {
            prices: Some(prices),
            context_window: 128_000,
            max_output: 4_096,
            routes: Vec::new(),
        };
        let recording_bytes = body_bytes;
        let demand =
            Demand { body_bytes, max_output, choices, recording_bytes, ..Demand::default() };
        let held = reservation(&spec, Some(&prices), multiplier, &demand);
        let (input, output) = (held.input * shares.0 / 100, held.output * shares.1 / 100);
        let audio_seconds = held.audio_seconds * shares.0 / 100;
        let reported = Some(Usage { input, output, audio_seconds, ..Usage::default() });
        let observed = Observed { reported, sent: true, ..Observed::default() };
        let settled = settle(&held, &observed, Some(&prices), multiplier);
        prop_assert!(settled.cost <= held.cost);
    }

    #[test]
    fn settling_is_total_and_never_negative(
        reported in option::of(hostile()),
        counted_output in option::of(any::<u64>()),
        flags in any::<[bool; 3]>(),
        prices in option::of(prices()),
        multiplier in any::<u32>().prop_map(Multiplier),
    ) {
        let held =
            Reservation { input: 10, output: 10, audio_seconds: 10, cost: NanoUsd(10) };
        let [malformed, sent, refused] = flags;
        let observed = Observed { reported, malformed, counted_output, sent, refused };
        let settled = settle(&held, &observed, prices.as_ref(), multiplier);
        prop_assert!(settled.cost >= NanoUsd::ZERO);
        prop_assert!(settled.usage.input <= MAX_BELIEVED_TOKENS);
        prop_assert!(settled.usage.output <= MAX_BELIEVED_TOKENS);
        prop_assert!(settled.source != Source::Estimated || settled.cost == held.cost);
        prop_assert!(!malformed || settled.suspect);
    }

    #[test]
    fn amounts_are_read_back(nano in -i64::MAX..=i64::MAX) {
        prop_assert_eq!(NanoUsd(nano).to_string().parse(), Ok(NanoUsd(nano)));
    }
}
