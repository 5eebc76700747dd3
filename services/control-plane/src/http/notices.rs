//! `/orgs/{org}/notices`: budget alerts and alarms, the newest first.

mod standing;
mod told;

use turnpike_domain::state::Organisation;
use turnpike_store::log;
use turnpike_wire::api::notice::Notice;
use turnpike_wire::api::page::Page;

use super::ask::{Ask, PAGE};
use super::audit::seq_cursor;
use super::reply::Reply;
use super::route::{Answer, Gives, Route, Verb, shape};
use super::stream as stored;
use crate::auth::Caller;
use crate::problem::Problem;

/// Events read at once, going backwards.
const STEP: u64 = 500;
/// The most events that one page looks through; the next goes on behind them.
const MAX_WALK: u64 = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/notices", "listNotices", list)
            .about(
                "Lists budget alerts and alarms, the newest first; on the first page what stands \
                    now comes before. A member sees those of their own keys.",
            )
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Notice>())),
    ]
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let limit = ask.span(true)?.limit;
    let head = log::head(&*ask.snapshot().await?, ask.org).await?;
    let (mut data, mut upper) = match ask.seq_cursor()? {
        Some(seq) => (Vec::new(), seq.saturating_sub(1).min(head.seq)),
        None if caller.reads_all().is_ok() => (standing::read(&ask).await?, head.seq),
        None => (Vec::new(), head.seq),
    };
    // What stands is always told as a whole.
    let limit = limit.max(data.len());
    let least = upper.saturating_sub(MAX_WALK);
    while upper > least && data.len() < limit {
        let (notices, lower) = step(&ask, &caller, upper).await?;
        data.extend(notices);
        upper = lower;
    }
    if data.len() > limit {
        data.truncate(limit);
        upper = data.last().and_then(|last| last.seq).map_or(head.seq, |seq| seq.saturating_sub(1));
    }
    let next_cursor = (upper > 0).then(|| seq_cursor(upper.saturating_add(1)));
    Reply::json(&Page { data, next_cursor })
}

/// The notices among the last events up to `upper`, newest first, and the seq before them.
async fn step(ask: &Ask, caller: &Caller, upper: u64) -> Result<(Vec<Notice>, u64), Problem> {
    let lower = upper.saturating_sub(STEP);
    let received = stored::page(&*ask.snapshot().await?, ask.org, lower, upper).await?;
    let notices = |state: &Organisation| {
        let newest_first = received.iter().rev();
        newest_first.filter_map(|received| told::notice(received, state, caller)).collect()
    };
    Ok((ask.read(notices).await?, lower))
}
