//! `turnpike notices`: budget alerts and alarms.

use super::page::Page;
use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::output::table::{Column, time};

const COLUMNS: &[Column] = &[
    Column::new("at", "/at", time),
    Column::plain("severity", "/severity"),
    Column::plain("kind", "/kind"),
    Column::plain("about", "/about"),
    Column::plain("what", "/says"),
];

/// Which notices are shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Notices {
    #[command(flatten)]
    page: Page,
}

impl Run for Notices {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let call = Call::get(session.client.in_org(&["notices"]).await?);
        self.page.show(session, call, COLUMNS).await
    }
}
