//! `turnpike peppers`: which versions of the pepper are still needed.

use super::page::Page;
use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::output::table::Column;

const COLUMNS: &[Column] = &[
    Column::plain("version", "/version"),
    Column::plain("newest", "/newest"),
    Column::plain("configured", "/configured"),
    Column::plain("keys", "/keys"),
    Column::plain("tokens", "/tokens"),
    Column::plain("invitations", "/invitations"),
];

/// Which versions are shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Peppers {
    #[command(flatten)]
    page: Page,
}

impl Run for Peppers {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        self.page.show(session, Call::get(["peppers"]), COLUMNS).await
    }
}
