//! The organisation's own money.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{Time, TopUpRef, Usd, WalletName};

shape! {
    /// Money to add.
    TopUpForm {
        /// More than zero.
        amount_usd: Usd,
        /// A note, e.g. an invoice number.
        note: Option<String>,
    }
}

/// What a wallet holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wallet {
    /// Whether the wallet bounds the organisation's spend.
    pub mode: WalletName,
    /// All that was ever topped up.
    pub topped_up_usd: Usd,
    /// All that was ever spent, as far as it is booked.
    pub settled_usd: Usd,
    /// The difference.
    pub balance_usd: Usd,
    /// What of the balance running requests and gateways hold.
    pub held_usd: Usd,
    /// What of the balance is held without proof of what became of it.
    pub lost_usd: Usd,
    /// Used up: every key is refused.
    pub exhausted: bool,
    /// Up to when every gateway that is online has reported.
    pub complete_up_to: Option<Time>,
}

/// One top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopUp {
    /// Its id.
    pub id: TopUpRef,
    /// When.
    pub at: Time,
    /// How much.
    pub amount_usd: Usd,
    /// The note.
    pub note: String,
}

/// One line of the ledger: a top-up, or a day's spend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerLine {
    /// `top_up` or `spend`.
    pub kind: String,
    /// When; of spend, the day's first moment in UTC.
    pub at: Time,
    /// What it adds to the balance: negative for spend.
    pub amount_usd: Usd,
    /// The note of a top-up.
    pub note: Option<String>,
    /// The id of a top-up.
    pub id: Option<TopUpRef>,
}
