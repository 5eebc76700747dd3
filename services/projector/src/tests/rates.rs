//! Rates on a real bus: one owner permits after another, and none more than the rate.

use turnpike_bus::seam::{Bus as _, BusError, Service};
use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::rate::{Amount, COUNTS_MS, Heard, Permits, Rate};
use turnpike_domain::state::WalletMode;
use turnpike_store::leader::TAKE_OVER_MS;
use turnpike_wire::authority::{
    Call, Closed, PermitAnswer, PermitCall, Recall, RecentAnswer, RecentCall, RecentUse,
};
use turnpike_wire::form;
use turnpike_wire::rates::{AskedRate, RatesAnswer, RatesQuestion};

use super::budget::{ANSWER_MS, Holder, KEY, recalled};
use super::house::{House, ORG};

const ACCOUNT: Account = Account::Key(KEY);
const RATE: Rate = Rate { requests: Some(10), tokens: None, seq: 2 };
/// Until everybody has taken his shards and heard the news.
const SETTLED_MS: u64 = 2_000;

/// A gateway that uses all that it is permitted.
struct Caller {
    gateway: GatewayId,
    permits: Permits,
    used: u64,
}

/// A house in which two gateways have joined, and a projector.
async fn house() -> (House, crate::run::Running) {
    let house = House::new();
    house.found(WalletMode::Off, Limits::default()).await;
    for number in [1, 2] {
        house.join(&Holder::new(number)).await;
    }
    let projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    (house, projector)
}

impl Caller {
    fn new(number: u128) -> Self {
        Self { gateway: GatewayId(number), permits: Permits::default(), used: 0 }
    }

    async fn call(&self, house: &House, call: Call) -> Result<bytes::Bytes, BusError> {
        let service = Service::Authority { org: ORG, gateway: self.gateway };
        house.bus.call(service, form::encode(&call).into(), ANSWER_MS).await
    }

    /// Asks for so many requests, and uses what it gets.
    async fn ask(&mut self, house: &House, requests: u32) -> Result<PermitAnswer, BusError> {
        let wanted = Amount { requests: u64::from(requests), tokens: 0 };
        let ask = self.permits.ask(RATE, wanted, Some(0), house.clock.boot_ms());
        let call = PermitCall {
            epoch: EpochId(self.gateway.0),
            account: ACCOUNT,
            batch: ask.batch,
            requests,
            tokens: 0,
            returned: ask.returned,
            waits: ask.waits,
            rate: RATE,
        };
        let answer: PermitAnswer =
            form::decode(&self.call(house, Call::Permit(call)).await?).unwrap();
        let amount = Amount { requests: u64::from(answer.requests), tokens: answer.tokens };
        let now_ms = house.clock.boot_ms();
        if let Heard::Granted(grant) = self.permits.hear(answer.fence, answer.batch, amount, now_ms)
        {
            self.used += grant.amount.requests;
        }
        Ok(answer)
    }

    async fn report(&mut self, house: &House) -> bool {
        let used = self.permits.report(house.clock.boot_ms());
        let accounts = vec![RecentUse { account: ACCOUNT, used }];
        let epoch = EpochId(self.gateway.0);
        let call = Call::Recent(RecentCall { epoch, part: 0, last: true, accounts });
        let answer = self.call(house, call).await.unwrap();
        !form::decode::<RecentAnswer>(&answer).unwrap().begin_again
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_permits_once_every_gateway_has_reported() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Caller::new(1), Caller::new(2));
    let mut recalls = house.recalls().await;
    let first = one.ask(&house, 4).await.unwrap();
    assert_eq!((first.closed, first.requests), (Some(Closed::ReportFirst), 0));
    assert_eq!(first.gateways, 2);
    let recall = Recall { fence: first.fence, budget: None };
    assert_eq!(recalled(&mut recalls), Some(recall));
    assert!(one.report(&house).await);
    assert_eq!(one.ask(&house, 4).await.unwrap().closed, Some(Closed::Gathering));
    assert!(two.report(&house).await);
    let granted = one.ask(&house, 4).await.unwrap();
    assert_eq!((granted.closed, granted.requests, granted.left_requests), (None, 4, 6));
    assert_eq!(two.ask(&house, 10).await.unwrap().requests, 6);
    let refused = two.ask(&house, 1).await.unwrap();
    assert_eq!((refused.requests, refused.left_requests), (0, 0));
    assert!(refused.retry_after_ms.is_some_and(|wait_ms| wait_ms > COUNTS_MS - 1_000));
    house.clock.sleep(COUNTS_MS).await;
    assert_eq!(two.ask(&house, 20).await.unwrap().requests, 10);
    let text = house.metrics.text();
    for line in ["permits_granted_total 20", "permits_refused_total 1"] {
        assert!(text.contains(&format!("turnpike_{line}\n")), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_counts_what_its_predecessor_permitted() {
    let (house, first) = house().await;
    let (mut one, mut two) = (Caller::new(1), Caller::new(2));
    assert!(one.report(&house).await && two.report(&house).await);
    assert_eq!(one.ask(&house, 7).await.unwrap().requests, 7);
    let _second = house.projector();
    first.abort();
    assert!(one.ask(&house, 1).await.is_err(), "nobody answers");
    one.permits.give_up();
    house.clock.sleep(TAKE_OVER_MS + SETTLED_MS).await;
    assert_eq!(two.ask(&house, 10).await.unwrap().closed, Some(Closed::ReportFirst));
    assert!(one.report(&house).await && two.report(&house).await);
    assert_eq!(two.ask(&house, 10).await.unwrap().requests, 3);
    assert_eq!(one.used + two.used, 10);
}

/// What the owner of the rates tells whoever only looks.
async fn look(house: &House) -> Result<RatesAnswer, BusError> {
    let asked = AskedRate { account: ACCOUNT, rate: RATE, tokens: 0 };
    let question = RatesQuestion { accounts: vec![asked] };
    let payload = form::encode(&question).into();
    let answer = house.bus.call(Service::Rates { org: ORG }, payload, ANSWER_MS).await?;
    Ok(form::decode(&answer).unwrap())
}

#[tokio::test(start_paused = true)]
async fn who_looks_is_told_by_the_owner_what_counts() {
    let (house, projector) = house().await;
    let (mut one, mut two) = (Caller::new(1), Caller::new(2));
    let mut recalls = house.recalls().await;
    let first = look(&house).await.unwrap();
    assert!(first.gathering && first.looks.is_empty(), "nobody has reported");
    let recall = Recall { fence: first.fence, budget: None };
    assert_eq!(recalled(&mut recalls), Some(recall), "to look is reason enough to ask");
    assert!(one.report(&house).await && two.report(&house).await);
    assert_eq!(one.ask(&house, 4).await.unwrap().requests, 4);
    let seen = look(&house).await.unwrap();
    assert_eq!((seen.fence, seen.gathering), (first.fence, false));
    let [live] = seen.looks[..] else { panic!("one account") };
    assert_eq!((live.counted.requests, live.out.requests), (4, 4));
    assert_eq!((live.free.requests, live.next_ms), (6, 0));
    assert_eq!(two.ask(&house, 10).await.unwrap().requests, 6, "nothing was taken");
    let [full] = look(&house).await.unwrap().looks[..] else { panic!("one account") };
    assert_eq!((full.free.requests, full.waiting), (0, 0), "who looks does not wait");
    assert!(full.next_ms > COUNTS_MS - 1_000);
    projector.abort();
    assert!(look(&house).await.is_err(), "nobody answers");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_silent_is_waited_for_a_minute_at_most() {
    let (house, _projector) = house().await;
    let mut one = Caller::new(1);
    assert!(one.report(&house).await);
    assert_eq!(one.ask(&house, 1).await.unwrap().closed, Some(Closed::Gathering));
    house.clock.sleep(COUNTS_MS).await;
    let granted = one.ask(&house, 10).await.unwrap();
    assert_eq!((granted.closed, granted.requests), (None, 10));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_gateway_gives_back_and_is_permitted_nothing() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Caller::new(1), Caller::new(2));
    assert!(one.report(&house).await && two.report(&house).await);
    let granted = one.ask(&house, 10).await.unwrap();
    assert_eq!(granted.requests, 10);
    let fence = turnpike_domain::command::Command::FenceGateway { gateway: one.gateway };
    house.command(fence).await;
    house.clock.sleep(SETTLED_MS).await;
    one.permits.unused(granted.batch, 6, 0);
    let refused = one.ask(&house, 5).await.unwrap();
    assert_eq!((refused.closed, refused.requests), (Some(Closed::Fenced), 0));
    assert_eq!(two.ask(&house, 10).await.unwrap().requests, 6);
}
