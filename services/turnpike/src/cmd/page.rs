//! Pages of lists: how much is shown, and what comes next.

use serde::Serialize;

use super::Session;
use crate::client::{Answer, Call};
use crate::failure::Failure;
use crate::output::table::Column;

/// Entries of a page while all are read.
const ALL_PAGE: u32 = 500;
/// Pages that are read for all: more than half a million entries are not for one command.
const MAX_PAGES: u32 = 1_000;

/// Which part of a list is shown.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Pages")]
pub(crate) struct Page {
    /// Entries of one page
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Where the page begins, as the page before has said
    #[arg(long)]
    cursor: Option<String>,
    /// All pages
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
}

/// All pages as one, and where the next begins if there are too many.
#[derive(Serialize)]
struct All {
    data: Vec<Answer>,
    next_cursor: Option<String>,
}

impl Page {
    /// Reads the part of the list that is asked for.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn read(self, session: &Session, call: Call) -> Result<Answer, Failure> {
        if !self.all {
            let call = call.with_some("limit", self.limit).with_some("cursor", self.cursor);
            return session.client.send(&call).await;
        }
        let client = &session.client;
        let (mut data, mut next_cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let call = call.clone().with("limit", ALL_PAGE).with_some("cursor", next_cursor.take());
            let page = client.send(&call).await?;
            data.extend(page.entries("data").map_err(|_| client.strange("without a list"))?);
            next_cursor = page["next_cursor"].as_str().map(ToOwned::to_owned);
            if next_cursor.is_none() {
                break;
            }
        }
        let all = All { data, next_cursor };
        Answer::of(&all).map_err(|_| client.strange("without pages"))
    }

    /// Reads that part and shows it.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn show(
        self,
        session: &Session,
        call: Call,
        columns: &[Column],
    ) -> Result<(), Failure> {
        let page = self.read(session, call).await?;
        tell(session, &page, columns)
    }
}

/// Shows a page, and how to see the next.
///
/// # Errors
/// [`Failure::Io`] if nobody reads it.
pub(crate) fn tell(session: &Session, page: &Answer, columns: &[Column]) -> Result<(), Failure> {
    session.output.list(page, columns)?;
    match page["next_cursor"].as_str() {
        Some(cursor) if !session.output.json => {
            session.output.note(&format!("There is more: --cursor {cursor}, or --all"))
        }
        Some(_) | None => Ok(()),
    }
}
