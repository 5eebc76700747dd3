//! `turnpike me`: who the token acts for, and what it may do.

use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::output::table::{Column, expiry};

const COLUMNS: &[Column] = &[
    Column::plain("organisation", "/org/name"),
    Column::plain("organisation id", "/org/id"),
    Column::plain("role", "/role"),
    Column::plain("member", "/member/email"),
    Column::plain("token id", "/token_id"),
    Column::new("expires", "/expires_at", expiry),
];

/// No arguments.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Me;

impl Run for Me {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let me = session.client.send(&Call::get(["me"])).await?;
        session.output.thing(&me, COLUMNS)
    }
}
