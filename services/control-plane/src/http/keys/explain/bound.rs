//! What a request would reserve, and how the budgets stand that it counts against.

use turnpike_domain::admit::{
    Demand, LimitSource, call_reservation, clamped_output, may_clamp, plan_multiplier, reservation,
};
use turnpike_domain::ledger::Level;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::meter::Prices;
use turnpike_domain::money::Multiplier;
use turnpike_domain::settle::Reservation;
use turnpike_wire::api::explain::{Bound, Level as ShownLevel};
use turnpike_wire::api::text::Text;
use turnpike_wire::decision::amount;

use super::{Hypothesis, Scene, Target};

/// What would be reserved.
pub(super) struct Bounded {
    pub(super) reservation: Reservation,
    multiplier: Multiplier,
    price_version: u64,
    is_priced: bool,
    clamped: bool,
}

impl Bounded {
    /// The reservation of a request on what is there; `None` of what is not.
    pub(super) fn new(
        scene: &Scene<'_>,
        hypothesis: &Hypothesis,
        of_way: Option<&Prices>,
    ) -> Option<Self> {
        match &hypothesis.target {
            Target::Model(model) => Self::of_model(scene, model, (&hypothesis.demand, of_way)),
            Target::Mcp { server, tool } => {
                tool.as_ref().and_then(|_| Self::of_call(scene, server))
            }
        }
    }

    /// A tool call takes its server's fee; whatever calls no tool takes nothing.
    fn of_call(scene: &Scene<'_>, server: &str) -> Option<Self> {
        let server = scene.organisation.mcp_server(server)?;
        let multiplier = plan_multiplier(scene.platform, scene.key);
        Some(Self {
            reservation: call_reservation(&server.spec, multiplier),
            multiplier,
            price_version: server.seq,
            is_priced: true,
            clamped: false,
        })
    }

    /// The reservation of a request on a model that there is, by the prices of a way if there is
    /// one; where `fit: clamp` may, lowered to
    /// what is left of every budget.
    fn of_model(
        scene: &Scene<'_>,
        model: &str,
        (asked, of_way): (&Demand, Option<&Prices>),
    ) -> Option<Self> {
        let model = scene.platform.models.get(model)?;
        let multiplier = scene.platform.plans.get(&scene.key.profile.plan)?.spec.multiplier;
        let (spec, prices) = (&model.spec, of_way.or(model.spec.prices.as_ref()));
        let bound = |demand: &Demand| reservation(spec, prices, multiplier, demand);
        let mut demand = *asked;
        for (unit, level) in scene.levels() {
            let left = level.available();
            if may_clamp(scene.key, asked) && bound(&demand).amount(unit) > left {
                let lowered = clamped_output(spec, prices, multiplier, &demand, (unit, left));
                demand = Demand { max_output: lowered.or(demand.max_output), ..demand };
            }
        }
        Some(Self {
            reservation: bound(&demand),
            multiplier,
            price_version: model.price_version,
            is_priced: prices.is_some(),
            clamped: demand.max_output != asked.max_output,
        })
    }

    pub(super) fn shown(&self) -> Bound {
        Bound {
            input_tokens: self.reservation.input,
            output_tokens: self.reservation.output,
            audio_seconds: self.reservation.audio_seconds,
            cost_usd: self.is_priced.then_some(Text(self.reservation.cost)),
            clamped: self.clamped,
            price_version: if self.is_priced { self.price_version } else { 0 },
            multiplier: Text(self.multiplier),
        }
    }
}

impl Scene<'_> {
    /// The levels of the path that have a cap, each in its unit.
    pub(super) fn levels(&self) -> impl Iterator<Item = (Unit, Level)> {
        let both = |balance: &crate::http::balances::Balance| {
            Unit::BOTH.map(|unit| (unit, balance.level(self.organisation, unit)))
        };
        let all = self.balances.iter().flat_map(both);
        all.filter(|(_, level)| level.cap.amount.is_some())
    }
}

/// How the budgets stand.
pub(super) fn levels(scene: &Scene<'_>, bounded: Option<&Bounded>) -> Vec<ShownLevel> {
    let shown = |(unit, level): (Unit, Level)| {
        let source = LimitSource::Budget(level.account, unit);
        let told = |known: i64| amount(source, Some(known));
        let may_see = scene.reads_all || level.account == Account::Key(scene.key.id);
        let seen = |known: i64| amount(source, may_see.then_some(known));
        let needed = bounded.map_or(0, |bounded| bounded.reservation.amount(unit));
        let resets_at = scene.balances.iter().find(|it| it.account == level.account);
        ShownLevel {
            limit_source: source.name().to_owned(),
            id: id(level.account),
            limit: amount(source, level.cap.amount),
            used: seen(level.row.settled),
            held: seen(level.row.held),
            lost: seen(level.row.lost),
            left: seen(level.available()),
            needed: told(needed),
            fits: needed <= level.available(),
            resets_at: resets_at.and_then(|balance| balance.resets_at).map(Text),
            revision: level.cap.revision,
        }
    };
    scene.levels().map(shown).collect()
}

/// The id of a key, project or token; none of the wallet.
pub(super) fn id(account: Account) -> Option<String> {
    match account {
        Account::Wallet => None,
        Account::Project(id) => Some(id.to_string()),
        Account::Key(id) => Some(id.to_string()),
        Account::Ephemeral(id) => Some(id.to_string()),
    }
}
