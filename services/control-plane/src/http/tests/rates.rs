//! How explanations tell of rates, whose counts only their owner has.

use serde_json::{Value, json};
use turnpike_bus::seam::{Requests, Serve, Service};
use turnpike_domain::id::KeyId;
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{Amount, Look, Rate};
use turnpike_wire::form;
use turnpike_wire::rates::{RatesAnswer, RatesQuestion};
use turnpike_wire::time::rfc3339;

use super::House;
use super::limits::{id, model, outcome};

const QUERY: &str = "model=m&input_tokens=30&max_output_tokens=10";

/// A key of 60 requests and 50 tokens a minute.
async fn limited(house: &House) -> KeyId {
    model(house).await;
    let limits = json!({ "requests_per_minute": 60, "tokens_per_minute": 50 });
    id(&house.post("/keys", json!({ "name": "k", "limits": limits })).await.json())
}

async fn explained(house: &House, key: KeyId) -> Value {
    house.get(&format!("/keys/{key}/explain?{QUERY}")).await
}

/// Answers one question of the house's organisation; what was asked.
async fn answer(
    house: &House,
    asked: &mut Box<dyn Requests>,
    answer: &RatesAnswer,
) -> RatesQuestion {
    let request = asked.next().await.unwrap();
    assert_eq!(request.service, Service::Rates { org: house.org });
    (request.reply)(form::encode(answer).into());
    form::decode(&request.payload).unwrap()
}

fn amount(requests: u64, tokens: u64) -> Amount {
    Amount { requests, tokens }
}

#[tokio::test(start_paused = true)]
async fn the_counts_are_those_of_the_owner() {
    let house = House::new().await;
    let key = limited(&house).await;
    let mut asked = house.app.bus.serve(Serve::Rates(None)).await.unwrap();
    let gathering = RatesAnswer { fence: 3, gathering: true, looks: Vec::new() };
    let (counted, out, free) = (amount(59, 45), amount(1, 5), amount(1, 5));
    let (waiting, next_ms, reset_ms) = (2, 12_500, 60_000);
    let look = Look { counted, out, free, waiting, next_ms, reset_ms };
    let looks = RatesAnswer { fence: 3, gathering: false, looks: vec![look] };
    let at = house.app.clock.now();
    let time = |ms| json!(rfc3339(at.plus_ms(ms)));
    let (told, question) = tokio::join!(explained(&house, key), async {
        answer(&house, &mut asked, &gathering).await;
        answer(&house, &mut asked, &looks).await
    });
    let [one] = question.accounts[..] else { panic!("the key has one rate") };
    assert_eq!((one.account, one.tokens), (Account::Key(key), 40));
    let limits = Rate { requests: Some(60), tokens: Some(50), seq: one.rate.seq };
    assert_eq!(one.rate, limits);
    assert_eq!(outcome(&told, "rate"), ["passed", "refused"]);
    assert_eq!((&told["code"], &told["status"]), (&json!("rate_limited"), &json!(429)));
    let [requests, tokens] = told["rates"].as_array().unwrap().as_slice() else { panic!("two") };
    assert_eq!(
        *tokens,
        json!({
            "limit_source": "key.tokens_per_minute", "id": key.to_string(), "limit": 50,
            "needed": 40, "used": 45, "unsettled": 5, "left": 5, "waiting": 2, "fits": false,
            "next_at": time(12_500), "resets_at": time(60_000), "unknown": null,
        })
    );
    assert_eq!((&requests["used"], &requests["left"]), (&json!(59), &json!(1)));
    assert_eq!(requests["fits"], true);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_is_waited_for_a_second() {
    let house = House::new().await;
    let key = limited(&house).await;
    let nobody = explained(&house, key).await;
    assert_eq!(outcome(&nobody, "rate"), ["open", "open"]);
    assert_eq!(nobody["admitted"], true);
    let rate = &nobody["rates"][0];
    assert_eq!(rate["unknown"], "the rate owner did not answer");
    assert_eq!((&rate["used"], &rate["fits"]), (&Value::Null, &Value::Null));

    let mut asked = house.app.bus.serve(Serve::Rates(None)).await.unwrap();
    let gathers = async {
        let gathering = RatesAnswer { fence: 3, gathering: true, looks: Vec::new() };
        loop {
            answer(&house, &mut asked, &gathering).await;
        }
    };
    let began_ms = house.app.clock.boot_ms();
    let told = tokio::select! {
        told = explained(&house, key) => told,
        () = gathers => unreachable!("it answers for ever"),
    };
    assert!(house.app.clock.boot_ms() - began_ms <= 1_000);
    let why = "the rate owner is new and waits for the reports of gateways";
    assert_eq!(told["rates"][1]["unknown"], why);
}

#[tokio::test(start_paused = true)]
async fn a_member_is_not_told_how_much_others_have_used_of_a_projects_rate() {
    let house = House::new().await;
    model(&house).await;
    let limits = json!({ "requests_per_minute": 10 });
    let project = house.post("/projects", json!({ "name": "p", "limits": limits })).await.json();
    let (_, member) = house.person("max", "member").await;
    let body = json!({ "name": "own", "project_id": project["id"] });
    let line = format!("POST {}", house.path("/keys"));
    let own: KeyId = id(&house.call(&member, &line, Some(body)).await.json());
    let mut asked = house.app.bus.serve(Serve::Rates(None)).await.unwrap();
    let line = format!("GET {}", house.path(&format!("/keys/{own}/explain?{QUERY}")));
    let (counted, next_ms) = (amount(10, 0), 500);
    let look = Look { counted, next_ms, ..Look::default() };
    let looks = RatesAnswer { fence: 3, gathering: false, looks: vec![look] };
    let (told, _) =
        tokio::join!(house.call(&member, &line, None), answer(&house, &mut asked, &looks),);
    let told = told.json();
    let rate = &told["rates"][0];
    for hidden in ["used", "unsettled", "left", "waiting", "resets_at"] {
        assert_eq!(rate[hidden], Value::Null, "{hidden}");
    }
    assert_eq!((&rate["fits"], &told["status"]), (&json!(false), &json!(429)));
    assert!(!told["checks"].to_string().contains("count now"));
}
