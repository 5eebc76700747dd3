//! `/orgs/{org}/wallet`: balance, top-ups, ledger.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::TopUpId;
use turnpike_domain::limit::Unit;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::TopUp as Known;
use turnpike_domain::time::{DAY_MS, Timestamp};
use turnpike_runtime::entropy;
use turnpike_store::usage;
use turnpike_wire::api::text::Text;
use turnpike_wire::api::wallet::{LedgerLine, TopUp, TopUpForm, Wallet};

use super::ask::{Ask, PAGE, WAIT};
use super::balances;
use super::cursor::Rank;
use super::figures::complete_up_to;
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

/// How far the ledger's days of spend reach back: a quarter, as accounts are settled.
const LEDGER_DAYS: u64 = 92;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/wallet", "getWallet", get)
            .about("Shows what the wallet holds.")
            .gives(Gives::Thing(shape::<Wallet>())),
        Route::new(Verb::Get, "/orgs/{org}/wallet/topups", "listTopUps", list)
            .about("Lists top-ups, the newest first.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<TopUp>())),
        Route::new(Verb::Post, "/orgs/{org}/wallet/topups", "topUp", top_up)
            .about("Adds money (operator).")
            .query(&[WAIT])
            .takes::<TopUpForm>()
            .gives(Gives::Written { thing: shape::<TopUp>(), created: true, secret: false }),
        Route::new(Verb::Get, "/orgs/{org}/wallet/ledger", "getLedger", ledger)
            .about("Lists top-ups, and each day's spend of the last 92 days, the newest first.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<LedgerLine>())),
    ]
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let row = balances::read_one(&ask, balances::WALLET).await?.row(Unit::Usd);
    let complete_up_to = complete_up_to(&ask).await?.map(Text);
    let usd = |amount| Text(NanoUsd(amount));
    let wallet = ask
        .read(|state| Wallet {
            mode: Text(state.settings.wallet),
            topped_up_usd: Text(state.wallet.topped_up),
            settled_usd: usd(row.settled),
            balance_usd: Text(state.wallet.topped_up.minus(NanoUsd(row.settled))),
            held_usd: usd(row.held),
            lost_usd: usd(row.lost),
            exhausted: state.wallet.exhausted,
            complete_up_to,
        })
        .await?;
    Reply::json(&wallet)
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let span = ask.span(true)?;
    let page = ask
        .read(|state| {
            let all = state.wallet.top_ups.iter();
            span.page(all.map(|it| ((Rank::Number(u128::from(it.at.0)), it.id.0), shown(it))))
        })
        .await?;
    Reply::json(&page)
}

async fn top_up(mut ask: Ask, caller: Caller) -> Answer {
    let form: TopUpForm = ask.shape()?;
    let command = Command::TopUpWallet {
        top_up: TopUpId(entropy::id(ask.now)),
        amount: form.amount_usd.0,
        note: form.note.unwrap_or_default().into(),
    };
    let done = ask.execute(&caller, command).await?;
    let made = done.made(|event| {
        let Event::WalletToppedUp { top_up, .. } = event else { return None };
        Some(*top_up)
    })?;
    let found =
        ask.read(|state| state.wallet.top_ups.iter().find(|it| it.id == made).map(shown)).await?;
    let thing = found.ok_or_else(|| Problem::not_found("top-up"))?;
    let place = format!("{BASE}/orgs/{}/wallet/topups", ask.org);
    Ok(done.reply(thing)?.created(&place))
}

async fn ledger(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let span = ask.span(true)?;
    let today = ask.now.0 / DAY_MS;
    let from = Timestamp(today.saturating_sub(LEDGER_DAYS) * DAY_MS);
    let mut days: BTreeMap<u64, NanoUsd> = BTreeMap::new();
    let add = |row: usage::HourTotal| {
        let day = days.entry(row.hour.0 / DAY_MS * DAY_MS).or_default();
        *day = day.plus(row.total.cost);
        ControlFlow::Continue(())
    };
    let (kv, until) = (ask.app().streams().kv(), ask.now.plus_ms(DAY_MS));
    usage::each_hour(&**kv, ask.org, from, until, add).await?;
    let spend = days.into_iter().map(|(day, cost)| LedgerLine {
        kind: "spend".into(),
        at: Text(Timestamp(day)),
        amount_usd: Text(NanoUsd::ZERO.minus(cost)),
        note: None,
        id: None,
    });
    let top_ups = ask.read(|state| state.wallet.top_ups.clone()).await?;
    let top_ups = top_ups.into_iter().map(|it| LedgerLine {
        kind: "top_up".into(),
        at: Text(it.at),
        amount_usd: Text(it.amount),
        note: Some(it.note.into()),
        id: Some(Text(it.id)),
    });
    let lines = top_ups.chain(spend);
    let page = span.page(lines.map(|line| {
        let id = line.id.map_or(0, |id| id.0.0);
        ((Rank::Number(u128::from(line.at.0.0)), id), line)
    }));
    Reply::json(&page)
}

fn shown(top_up: &Known) -> TopUp {
    TopUp {
        id: Text(top_up.id),
        at: Text(top_up.at),
        amount_usd: Text(top_up.amount),
        note: top_up.note.to_string(),
    }
}
