//! Several ways to a model: which is taken, which is passed over, and what that costs.

use turnpike_domain::limit::Fit;

use super::*;
use crate::upstream::circuit::State;

const REFUSED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const DOUBLED: &str = r#"{"model":"doubled"}"#;

impl House {
    /// Changes the providers or models.
    pub(super) fn with(&self, change: impl FnOnce(&mut Platform)) {
        let mut platform = Platform::clone(&self.core.platform());
        change(&mut platform);
        self.core.set_platform(platform);
    }

    /// Lets so many failures in a row pass.
    fn with_failures(&self, most: u32) {
        self.with(|platform| {
            for provider in platform.providers.values_mut() {
                provider.spec.max_failures = most;
            }
        });
    }

    /// Charges the second way of `doubled` by these prices of input and output.
    fn with_second_way_at(&self, input: i64, output: i64) {
        self.with(|platform| {
            let model = platform.models.get_mut("doubled").unwrap();
            let prices = Prices { input: Price(input), output: Price(output), ..Prices::default() };
            model.spec.routes[1].prices = Some(prices);
        });
    }

    fn circuit(&self, core: &TestCore, provider: usize) -> State {
        let id = ProviderId(u128::try_from(provider).unwrap() + 1);
        core.pool.circuit(id).unwrap()
    }
}

/// Answers so many requests, over as many connections as come.
async fn serve(provider: &Provider, answers: &[&str]) {
    let mut left = answers.iter();
    let mut next = left.next();
    while next.is_some() {
        let mut connection = provider.connection().await;
        while let Some(answer) = next
            && connection.is_asked().await
        {
            connection.write(answer).await;
            next = left.next();
        }
    }
}

/// The first provider refuses a request, the second serves it: the answer, and the one record.
async fn served_by_the_second(house: &House) -> (String, Spend) {
    let well = whole();
    let providers = async {
        serve(&house.providers[0], &[REFUSED]).await;
        serve(&house.providers[1], &[&well]).await;
    };
    let ((), answer) = join!(providers, house.chat(DOUBLED));
    assert!(answer.ends_with(WHOLE), "{answer}");
    let [record] = &house.booked().await[..] else { panic!("one record") };
    (answer, record.clone())
}

fn whole() -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{WHOLE}", WHOLE.len())
}

#[test]
fn a_provider_that_fails_again_and_again_is_passed_over() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with_failures(2);
        let well = whole();
        let ask = async {
            for _ in 0..4 {
                assert!(house.chat(DOUBLED).await.ends_with(WHOLE));
            }
        };
        let (refused, served) = ([REFUSED; 2], [well.as_str(); 4]);
        let first = serve(&house.providers[0], &refused);
        let second = serve(&house.providers[1], &served);
        // The first would answer no third request.
        join!(first, second, ask);
        assert!(matches!(house.circuit(&core, 0), State::Open { trips: 1, .. }));
        assert_eq!(house.circuit(&core, 1), State::Closed { failures: 0 });
        let records = house.booked().await;
        let failovers: Vec<u32> = records.iter().map(|record| record.failovers).collect();
        assert_eq!(failovers, [1, 1, 0, 0]);
    });
}

#[test]
fn where_every_provider_is_passed_over_the_caller_is_told_when_to_come_back() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with_failures(5);
        let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        let ask = async {
            for wanted in ["The provider answered with status 429.", "is out of order."] {
                let answer = house.chat(r#"{"model":"plain"}"#).await;
                assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
                assert!(answer.contains("x-turnpike-error-code: provider_error\r\n"), "{answer}");
                assert!(answer.contains(wanted), "{answer}");
                let told = answer.lines().find_map(|line| line.strip_prefix("retry-after: "));
                assert_eq!(told, wanted.contains("order").then_some("7"), "{answer}");
            }
        };
        let once = [busy];
        join!(serve(&house.providers[0], &once), ask);
        assert!(matches!(house.circuit(&core, 0), State::Open { .. }));
        // Only what was sent to somebody is metered.
        let records = house.booked().await;
        assert_eq!(
            records.iter().map(|record| record.unmetered).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_provider_that_is_busy_gives_way_to_the_next() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with(|platform| {
            for provider in platform.providers.values_mut() {
                (provider.spec.max_concurrency, provider.spec.answer_timeout_ms) = (1, 10_000);
            }
        });
        let well = whole();
        let ask = async {
            let (first, second) = join!(house.chat(DOUBLED), house.chat(DOUBLED));
            assert!(first.ends_with(WHOLE) && second.ends_with(WHOLE));
        };
        let hold = async {
            let mut first = house.providers[0].connection().await;
            first.request().await;
            // The second request waits for a place here, and then asks there.
            serve(&house.providers[1], &[&well]).await;
            first.write(&well).await;
        };
        join!(hold, ask);
        let records = house.booked().await;
        let mut served: Vec<_> = records.iter().filter_map(|it| it.provider).collect();
        served.sort_unstable();
        assert_eq!(served, [ProviderId(1), ProviderId(2)]);
    });
}

#[test]
fn where_everybody_is_busy_the_answer_is_overloaded() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with(|platform| {
            let first = platform.providers.get_mut(&ProviderId(1)).unwrap();
            (first.spec.max_concurrency, first.spec.answer_timeout_ms) = (1, 10_000);
        });
        let plain = r#"{"model":"plain"}"#;
        let hold = async {
            let mut first = house.providers[0].connection().await;
            first.request().await;
            let refused = house.chat(plain).await;
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            assert!(refused.contains("x-turnpike-error-code: overloaded\r\n"), "{refused}");
            assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
            first.write(whole()).await;
        };
        let ((), served) = join!(hold, house.chat(plain));
        assert!(served.ends_with(WHOLE));
    });
}

#[test]
fn the_price_of_the_way_that_answered_is_booked() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with_second_way_at(10_000_000_000, 20_000_000_000);
        let (answer, record) = served_by_the_second(&house).await;
        assert!(answer.contains("x-turnpike-cost-usd: 0.00007\r\n"), "{answer}");
        assert_eq!((record.cost, record.provider), (NanoUsd(70_000), Some(ProviderId(2))));
        // 19 bytes of input, 100 tokens of output, ten times as dear.
        assert_eq!(record.reserved, NanoUsd(190_000 + 2_000_000));
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_dearer_way_is_taken_if_what_it_may_cost_more_is_there() {
    on_a_core(|core| async move {
        // The first way may cost 219,000 nano-USD, the second ten times as much.
        let (house, authority) = House::capped(&core, 2_190_000, Fit::Reject).await;
        house.with_second_way_at(10_000_000_000, 20_000_000_000);
        let (_, record) = served_by_the_second(&house).await;
        assert_eq!((record.cost, record.reserved), (NanoUsd(70_000), NanoUsd(2_190_000)));
        assert!(record.lease.is_some());
        drop(authority);
    });
}

#[test]
fn a_dearer_way_that_the_budget_does_not_reach_is_not_taken() {
    on_a_core(|core| async move {
        let (house, _authority) = House::capped(&core, 2_189_999, Fit::Reject).await;
        house.with_second_way_at(10_000_000_000, 20_000_000_000);
        let once = [REFUSED];
        let ((), answer) = join!(serve(&house.providers[0], &once), house.chat(DOUBLED));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.provider), (NanoUsd::ZERO, Some(ProviderId(1))));
    });
}

#[test]
fn a_way_that_costs_is_not_taken_by_whoever_was_admitted_at_no_cost() {
    on_a_core(|core| async move {
        let (house, _authority) = House::capped(&core, 1_000, Fit::Reject).await;
        house.with(|platform| {
            let model = platform.models.get_mut("doubled").unwrap();
            model.spec.routes[0].prices = Some(Prices::default());
        });
        let once = [REFUSED];
        let ((), answer) = join!(serve(&house.providers[0], &once), house.chat(DOUBLED));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.provider), (NanoUsd::ZERO, Some(ProviderId(1))));
    });
}

#[test]
fn a_cheaper_way_holds_what_the_first_one_did_and_costs_less() {
    on_a_core(|core| async move {
        let (house, _authority) = House::capped(&core, 219_000, Fit::Reject).await;
        house.with_second_way_at(100_000_000, 200_000_000);
        let (_, record) = served_by_the_second(&house).await;
        assert_eq!((record.cost, record.reserved), (NanoUsd(700), NanoUsd(21_900)));
    });
}

#[test]
fn neighbours_share_requests_by_their_weights() {
    const REQUESTS: usize = 200;
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with(|platform| {
            let model = platform.models.get_mut("doubled").unwrap();
            for (route, weight) in model.spec.routes.iter_mut().zip([3, 1]) {
                route.weight = weight;
            }
        });
        let ask = async {
            for _ in 0..REQUESTS {
                assert!(house.chat(DOUBLED).await.ends_with(WHOLE));
            }
        };
        let well = whole();
        let all = vec![well.as_str(); REQUESTS];
        let [first, second] = &house.providers;
        let provide = async { join!(serve(first, &all), serve(second, &all)) };
        tokio::select! { ((), ()) = provide => {}, () = ask => {} }
        let mut second = 0;
        let mut seen = 0;
        while seen < REQUESTS {
            let records = house.booked().await;
            seen += records.len();
            second +=
                records.iter().filter(|record| record.provider == Some(ProviderId(2))).count();
        }
        // Six standard deviations of a quarter of 200 are 37.
        assert!((50 - 37..=50 + 37).contains(&second), "{second}");
    });
}
