//! `/peppers`: how many secrets are stored under each version of the pepper, so that an old one can
//! go once nothing needs it.

use std::collections::BTreeMap;

use turnpike_domain::secret::PepperVersion;
use turnpike_domain::state::{Key, MemberState, Organisation, Platform, Role};
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::page::Page;
use turnpike_wire::api::pepper::PepperUse;

use super::ask::{Ask, PAGE};
use super::cursor::Rank;
use super::reply::Reply;
use super::route::{Answer, Gives, Route, Verb, shape};
use crate::auth::Caller;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/peppers", "listPeppers", list)
            .about("Counts the secrets under each version of the pepper (operator).")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<PepperUse>())),
    ]
}

/// By version.
type Uses = BTreeMap<PepperVersion, PepperUse>;

async fn list(ask: Ask, caller: Caller) -> Answer {
    caller.requester.at_least(Role::Operator)?;
    let span = ask.span(true)?;
    let mut uses = Uses::new();
    let versions = ask.app().keys.peppers.versions();
    for (place, version) in versions.iter().enumerate() {
        let found = of(&mut uses, *version);
        (found.configured, found.newest) = (true, place == 0);
    }
    let shared = |state: &Platform| -> Vec<PepperVersion> {
        state.tokens.values().map(|token| token.secret.pepper).collect()
    };
    for version in ask.app().streams().platform(shared).await? {
        add(&mut of(&mut uses, version).tokens);
    }
    for org in ask.app().directory.organisations() {
        let count = |state: &Organisation| count(&mut uses, state, ask.now);
        ask.app().streams().organisation(org, count).await?;
    }
    let spot = |version: PepperVersion| (Rank::Number(u128::from(version.0)), 0);
    let page: Page<PepperUse> =
        span.page(uses.into_iter().map(|(version, found)| (spot(version), found)));
    Reply::json(&page)
}

fn count(uses: &mut Uses, state: &Organisation, now: Timestamp) {
    for key in state.keys.values() {
        for version in of_key(key, now) {
            add(&mut of(uses, version).keys);
        }
    }
    for token in state.tokens.values() {
        add(&mut of(uses, token.secret.pepper).tokens);
    }
    for member in state.members.values() {
        if let MemberState::Invited { invitation } = &member.state {
            add(&mut of(uses, invitation.pepper).invitations);
        }
    }
}

/// The versions that a key needs, each once: of its secret, and of the one before it, which works
/// beside it for a while.
fn of_key(key: &Key, now: Timestamp) -> impl Iterator<Item = PepperVersion> {
    let present = key.secret.pepper;
    let before = key.previous.as_ref().filter(|previous| previous.works(now));
    let before = before.map(|previous| previous.secret.pepper);
    std::iter::once(present).chain(before.filter(move |version| *version != present))
}

fn of(uses: &mut Uses, version: PepperVersion) -> &mut PepperUse {
    let unused = PepperUse { version: version.0, ..PepperUse::default() };
    uses.entry(version).or_insert(unused)
}

const fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}
