//! `turnpike wallet`: the organisation's own money.

use serde_json::{Value, json};

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::flags::amount;
use crate::output::table::{Column, plain, time};

const COLUMNS: &[Column] = &[
    Column::plain("mode", "/mode"),
    Column::plain("balance usd", "/balance_usd"),
    Column::plain("held usd", "/held_usd"),
    Column::plain("lost usd", "/lost_usd"),
    Column::plain("topped up usd", "/topped_up_usd"),
    Column::plain("settled usd", "/settled_usd"),
    Column::plain("exhausted", "/exhausted"),
    Column::new("complete up to", "/complete_up_to", time),
];

const TOP_UPS: &[Column] = &[
    Column::new("at", "/at", time),
    Column::plain("amount usd", "/amount_usd"),
    Column::plain("note", "/note"),
    Column::plain("id", "/id"),
];

const LINES: &[Column] = &[
    Column::new("at", "/at", time),
    Column::plain("kind", "/kind"),
    Column::plain("amount usd", "/amount_usd"),
    Column::plain("note", "/note"),
];

/// What can be done with the wallet.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Wallet {
    /// Show what the wallet holds
    Show,
    /// Add money (operator)
    Topup {
        /// How much, such as 25 or 0.50
        #[arg(value_name = "USD", value_parser = amount)]
        amount: String,
        /// A note, such as an invoice's number
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// List top-ups, the newest first
    Topups(Page),
    /// List top-ups and each day's spend, the newest first
    Ledger(Page),
}

impl Run for Wallet {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Show => {
                let call = Call::get(client.in_org(&["wallet"]).await?);
                session.output.thing(&client.send(&call).await?, COLUMNS)
            }
            Self::Topup { amount, note, wait } => {
                let body = body(&amount, note);
                let call = Call::post(client.in_org(&["wallet", "topups"]).await?, body);
                let answer = client.send(&wait.on(call)).await?;
                let added = plain(&answer["amount_usd"]);
                session.changed(&answer, &format!("added {added} USD ({})", plain(&answer["id"])))
            }
            Self::Topups(page) => {
                let call = Call::get(client.in_org(&["wallet", "topups"]).await?);
                page.show(session, call, TOP_UPS).await
            }
            Self::Ledger(page) => {
                let call = Call::get(client.in_org(&["wallet", "ledger"]).await?);
                page.show(session, call, LINES).await
            }
        }
    }
}

fn body(amount: &str, note: Option<String>) -> Value {
    match note {
        Some(note) => json!({ "amount_usd": amount, "note": note }),
        None => json!({ "amount_usd": amount }),
    }
}
