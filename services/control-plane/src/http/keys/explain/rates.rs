//! The rates that a request counts against, and how each stands for it.

use turnpike_domain::admit::LimitSource;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::rate::{Look, Rate, on_path};
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::explain::Rate as Shown;
use turnpike_wire::api::text::Text;
use turnpike_wire::rates::AskedRate;

use super::Scene;
use super::bound::{Bounded, id};
use super::live::Live;

/// One limit a minute of one account.
pub(super) struct Rated {
    source: LimitSource,
    id: String,
    limit: u64,
    /// What the request takes of it: of tokens no more than the limit is ever asked for.
    needed: u64,
    /// Whether the caller may know what others used.
    told: bool,
    /// How it stands, or why nobody knows.
    pub(super) stands: Result<Stands, &'static str>,
}

/// How a limit stands.
#[derive(Clone, Copy)]
pub(super) struct Stands {
    used: u64,
    out: u64,
    left: u64,
    waiting: u64,
    next_ms: u64,
    reset_ms: u64,
    /// There is room for the request.
    pub(super) fits: bool,
}

/// What the owner of the rates is asked for.
pub(super) fn asked(scene: &Scene<'_>, bounded: Option<&Bounded>) -> Vec<AskedRate> {
    let tokens = tokens(bounded);
    let limited = on_path(scene.organisation, scene.key);
    let asked = |(account, rate)| AskedRate { account, rate, tokens };
    limited.into_iter().flatten().map(asked).collect()
}

/// The limits that stand on the path.
pub(super) fn rated(scene: &Scene<'_>, bounded: Option<&Bounded>, live: &Live) -> Vec<Rated> {
    let tokens = tokens(bounded);
    let of_account = |(account, rate): (Account, Rate)| {
        let look = live.of(account);
        let told = scene.reads_all || account == Account::Key(scene.key.id);
        let one = |source, limit: Option<u64>, needed, stands: fn(&Look, u64) -> Stands| {
            let (id, limit) = (id(account).unwrap_or_default(), limit?);
            let stands = look.as_ref().map(|look| stands(look, needed)).map_err(|why| *why);
            Some(Rated { source, id, limit, needed, told, stands })
        };
        let requests = rate.requests.map(u64::from);
        [
            one(LimitSource::RequestRate(account), requests, 1, Stands::of_requests),
            one(
                LimitSource::TokenRate(account),
                rate.tokens,
                rate.permitted(tokens),
                Stands::of_tokens,
            ),
        ]
    };
    let limited = on_path(scene.organisation, scene.key);
    limited.into_iter().flatten().flat_map(of_account).flatten().collect()
}

fn tokens(bounded: Option<&Bounded>) -> u64 {
    let tokens = bounded.map_or(0, |bounded| bounded.reservation.amount(Unit::Tokens));
    u64::try_from(tokens).unwrap_or(0)
}

impl Stands {
    const fn of_requests(look: &Look, needed: u64) -> Self {
        let (used, out, left) = (look.counted.requests, look.out.requests, look.free.requests);
        Self::new(look, (used, out, left), needed)
    }

    const fn of_tokens(look: &Look, needed: u64) -> Self {
        let (used, out, left) = (look.counted.tokens, look.out.tokens, look.free.tokens);
        Self::new(look, (used, out, left), needed)
    }

    const fn new(look: &Look, (used, out, left): (u64, u64, u64), needed: u64) -> Self {
        let Look { waiting, next_ms, reset_ms, .. } = *look;
        Self { used, out, left, waiting, next_ms, reset_ms, fits: needed <= left }
    }
}

impl Rated {
    /// A sentence for people.
    pub(super) fn says(&self) -> String {
        let Self { needed, limit, .. } = *self;
        let source = self.source.name();
        let takes = format!("{source} takes {needed} of {limit} in any 60 seconds");
        match &self.stands {
            Err(why) => format!("{takes}; how many there were is unknown: {why}."),
            Ok(_) if !self.told => format!("{takes}."),
            Ok(Stands { used, left, fits: true, .. }) => {
                format!("{takes}; {used} count now, {left} are left.")
            }
            Ok(Stands { used, left, next_ms, .. }) => {
                let seconds = next_ms.div_ceil(1_000);
                format!(
                    "{takes}; {used} count now, {left} are left: it would be permitted in \
                     {seconds} seconds."
                )
            }
        }
    }

    /// As it is told at `now`.
    pub(super) fn shown(&self, now: Timestamp) -> Shown {
        let known = self.stands.as_ref().ok();
        let told = known.filter(|_| self.told);
        Shown {
            limit_source: self.source.name().to_owned(),
            id: self.id.clone(),
            limit: self.limit,
            needed: self.needed,
            used: told.map(|stands| stands.used),
            unsettled: told.map(|stands| stands.out),
            left: told.map(|stands| stands.left),
            waiting: told.map(|stands| stands.waiting),
            fits: known.map(|stands| stands.fits),
            next_at: known.map(|stands| Text(now.plus_ms(stands.next_ms))),
            resets_at: told.map(|stands| Text(now.plus_ms(stands.reset_ms))),
            unknown: self.stands.as_ref().err().map(|why| (*why).to_owned()),
        }
    }
}
