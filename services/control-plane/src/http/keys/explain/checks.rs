//! The checks of a hypothetical request, each by the rule that gateways ask.

use std::net::IpAddr;

use turnpike_domain::admit::{Denial, has_cost_cap, may_call, mcp_tool};
use turnpike_domain::ledger::{Lease, Level, Refused, Standing, Word, used_up};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Key;
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::explain::Check;

use super::bound::Bounded;
use super::rates::Rated;
use super::ways::Ways;
use super::{Hypothesis, Scene, Target};

/// What came of one check.
enum Outcome {
    Passed,
    Refused(Denial),
    /// The answer depends on the moment, or on what was not said.
    Open,
}

/// All checks, in the order in which gateways make them.
#[derive(Default)]
pub(super) struct Checks(Vec<(&'static str, Outcome, String)>);

impl Checks {
    /// Makes every check, also behind one that refuses.
    pub(super) fn make(
        scene: &Scene<'_>,
        hypothesis: &Hypothesis,
        (ways, bounded): (&Ways<'_>, Option<&Bounded>),
        (rates, now): (&[Rated], Timestamp),
    ) -> Self {
        let mut checks = Self::default();
        checks.rule("credential", scene.credential, "The key works.");
        let unasked: &[&'static str] = match &hypothesis.target {
            Target::Model(_) => &["path", "body"],
            Target::Mcp { .. } => &["body"],
        };
        for check in unasked {
            checks.open(check, "Not asked about.".to_owned());
        }
        match &hypothesis.target {
            Target::Model(model) => {
                checks.model(scene, model);
                checks.scopes(scene, (model, hypothesis.address), ways);
            }
            Target::Mcp { server, tool } => {
                checks.mcp(scene, (server, tool.as_deref()), hypothesis.address);
            }
        }
        for rate in rates {
            let outcome = match rate.stands {
                Ok(stands) if stands.fits => Outcome::Passed,
                Ok(_) => Outcome::Refused(Denial::RateLimited),
                Err(_) => Outcome::Open,
            };
            checks.0.push(("rate", outcome, rate.says()));
        }
        checks.money(scene, bounded, now);
        checks
    }

    /// The rule that refuses it.
    pub(super) fn first_refusal(&self) -> Option<Denial> {
        self.0.iter().find_map(|(_, outcome, _)| match outcome {
            Outcome::Refused(denial) => Some(*denial),
            Outcome::Passed | Outcome::Open => None,
        })
    }

    pub(super) fn shown(self) -> Vec<Check> {
        let shown = |(check, outcome, says): (&str, Outcome, String)| {
            let (outcome, denial) = match outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Refused(denial) => ("refused", Some(denial)),
                Outcome::Open => ("open", None),
            };
            let code = denial.map(|denial| denial.code().to_owned());
            Check { check: check.to_owned(), outcome: outcome.to_owned(), code, says }
        };
        self.0.into_iter().map(shown).collect()
    }

    fn model(&mut self, scene: &Scene<'_>, model: &str) {
        let known = scene.platform.models.get(model).ok_or(Denial::ModelNotFound);
        self.rule("model", known.map(drop), "There is such a model.");
    }

    /// The server and the tool; both by the one rule that gateways filter lists with.
    fn mcp(
        &mut self,
        scene: &Scene<'_>,
        (server, tool): (&str, Option<&str>),
        address: Option<IpAddr>,
    ) {
        let Scene { organisation, key, .. } = *scene;
        let known = organisation.mcp_server(server).filter(|known| !known.spec.disabled);
        let known = known.map(drop).ok_or(Denial::NotFound);
        self.rule("path", known, "There is such an MCP server, and it is switched on.");
        let reached = key.profile.scopes.mcp.server(server);
        let reached = reached.then_some(()).ok_or(Denial::McpNotAllowed);
        self.rule("scopes", reached, "The key may use MCP and this server.");
        match tool {
            Some(tool) => {
                let allowed = mcp_tool(key, server, tool);
                self.rule("scopes", allowed, "The key may list and call the tool.");
            }
            None => self.open("scopes", "No tool was asked about: lists are not counted.".into()),
        }
        self.address(key, address);
    }

    fn scopes(
        &mut self,
        scene: &Scene<'_>,
        (model, address): (&str, Option<IpAddr>),
        ways: &Ways<'_>,
    ) {
        let Scene { organisation, platform, key, .. } = *scene;
        let allowed = may_call(platform, key, model).ok_or(Denial::ModelNotAllowed);
        self.rule("scopes", allowed.map(drop), "Key and plan allow the model.");
        if has_cost_cap(organisation, key) {
            let spec = platform.models.get(model).map(|model| &model.spec);
            let priced = spec.is_none_or(|spec| {
                let mut routes = spec.routes.iter();
                spec.prices.is_some() || routes.any(|route| route.prices.is_some())
            });
            let priced = priced.then_some(()).ok_or(Denial::ModelNotAllowed);
            self.rule(
                "scopes",
                priced,
                "The model has a price, so that a cost limit can count it.",
            );
        }
        self.address(key, address);
        if platform.models.contains_key(model) && allowed.is_ok() {
            let open = ways.any().then_some(()).ok_or(Denial::ProviderNotAllowed);
            self.rule("scopes", open, "There is a way to the model that the key may take.");
        }
    }

    fn address(&mut self, key: &Key, address: Option<IpAddr>) {
        match address {
            Some(address) => {
                let listed = key.profile.scopes.address(address);
                let listed = listed.then_some(()).ok_or(Denial::IpNotAllowed);
                self.rule("scopes", listed, "The client's address is allowed.");
            }
            None if key.profile.scopes.addresses.is_some() => {
                self.open("scopes", "The key has a list of addresses, and none was said.".into());
            }
            None => self.rule("scopes", Ok(()), "Every client address is allowed."),
        }
    }

    fn money(&mut self, scene: &Scene<'_>, bounded: Option<&Bounded>, now: Timestamp) {
        let Scene { organisation, key, .. } = *scene;
        let is_used_up = |unit: &Unit| organisation.is_used_up(Account::Key(key.id), *unit, now);
        let own = Unit::BOTH.into_iter().find(is_used_up);
        if let Some((account, _)) = used_up(organisation, key, own, now) {
            let says = "The budget is used up until its window or its limit changes.";
            self.0.push(("money", Outcome::Refused(Denial::used_up(account)), says.to_owned()));
        }
        let Some(bounded) = bounded else { return };
        for unit in Unit::BOTH {
            let levels = scene.balances.iter();
            let mut path: Vec<Level> =
                levels.map(|balance| balance.level(scene.organisation, unit)).collect();
            if path.iter().all(|level| level.cap.amount.is_none()) {
                continue;
            }
            let total = bounded.reservation.amount(unit);
            let word = Word { n: 1, total, least: total };
            let standing = Standing { fenced: false, gateways: 1 };
            let granted = Lease::default().hear(&mut path, &word, standing);
            match granted {
                Ok(()) => self.rule("money", Ok(()), fits(unit)),
                Err(refused) => self.short(refused),
            }
        }
        if scene.levels().next().is_none() {
            self.rule("money", Ok(()), "No budget stands on the key, its project or the wallet.");
        }
    }

    fn rule(&mut self, check: &'static str, result: Result<(), Denial>, passes: &str) {
        let (outcome, says) = match result {
            Ok(()) => (Outcome::Passed, passes),
            Err(denial) => (Outcome::Refused(denial), denial.sentence()),
        };
        self.0.push((check, outcome, says.to_owned()));
    }

    /// A budget that is not used up, and does not suffice.
    fn short(&mut self, refused: Refused) {
        let denial = Denial::of_refused(&refused);
        let says = match refused {
            Refused::Exhausted { .. } => {
                "What is left of a budget does not suffice for the most that it may take."
            }
            Refused::HeldElsewhere { .. } | Refused::Fenced => denial.sentence(),
        };
        self.0.push(("money", Outcome::Refused(denial), says.to_owned()));
    }

    fn open(&mut self, check: &'static str, says: String) {
        self.0.push((check, Outcome::Open, says));
    }
}

const fn fits(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "The most that it may cost is left of every budget.",
        Unit::Tokens => "The most tokens that it may use are left of every budget.",
    }
}
