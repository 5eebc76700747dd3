//! `turnpike audit`: who did what, and the proof that nothing was changed afterwards.

use std::path::{Path, PathBuf};

use serde_json::Value;
use turnpike_wire::api::text::TextForm as _;
use turnpike_wire::chain::{Chain, Checkpoint};

use super::page::Page;
use super::{Run, Session};
use crate::client::{Answer, Call, Kind};
use crate::failure::Failure;
use crate::flags::Moment;
use crate::output::table::{Column, plain, time};

/// The most milliseconds that an export may take.
const EXPORT_MS: u64 = 24 * 3_600_000;

/// What a table shows of an event's data.
const MAX_BRIEF_CHARS: usize = 60;

const COLUMNS: &[Column] = &[
    Column::plain("seq", "/seq"),
    Column::new("at", "/at", time),
    Column::plain("type", "/type"),
    Column::new("actor", "/actor", actor),
    Column::plain("from", "/address"),
    Column::new("what", "/data", brief),
];

/// What can be asked of the audit log.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Audit {
    /// List what was done, newest first
    List(List),
    /// Check the chain of hashes from the first event to the last
    #[command(after_help = EXAMPLE)]
    Verify(Verify),
    /// Write the whole stream as it is stored to standard output, to be checked elsewhere
    Export,
}

/// Shown below the help of `audit verify`.
const EXAMPLE: &str = "\
Examples:
  turnpike audit verify --checkpoint 14:34294bc9…    the stream still has what was noted then
  turnpike audit export > acme.cbor
  turnpike audit verify --file acme.cbor             without a control plane";

/// What is checked, and against what.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Verify {
    /// A copy that `audit export` has written; nobody is asked
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The number and hash that an earlier check has ended with
    #[arg(long, value_name = "SEQ:HASH", value_parser = Checkpoint::read)]
    checkpoint: Option<Checkpoint>,
}

/// Which entries are listed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct List {
    /// Events of this name, such as KeyRotated
    #[arg(long, value_name = "EVENT")]
    r#type: Option<String>,
    /// What this member, token or gateway did, by id
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// What was done to this key, by id or name
    #[arg(long)]
    key: Option<String>,
    /// From this time on: an RFC 3339 time, a date, or 2h for the last two hours
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    #[command(flatten)]
    page: Page,
}

impl Run for Audit {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Verify(verify) => verify.run(session).await,
            Self::Export => export(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let now = client.clock().now();
        let key = client.id_if(Kind::KEY, self.key.as_deref()).await?;
        let call = Call::get(client.in_org(&["audit"]).await?)
            .with_some("type", self.r#type)
            .with_some("actor", self.actor)
            .with_some("key", key)
            .with_some("from", self.from.map(|moment| moment.time(now)))
            .with_some("until", self.until.map(|moment| moment.time(now)));
        self.page.show(session, call, COLUMNS).await
    }
}

impl Verify {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let found = match &self.file {
            Some(path) => offline(path, self.checkpoint)?,
            None => {
                let call = Call::get(client.in_org(&["audit", "verify"]).await?);
                let checkpoint = self.checkpoint.map(|checkpoint| checkpoint.write());
                client.send(&call.with_some("checkpoint", checkpoint)).await?
            }
        };
        tell(session, &found)
    }
}

/// What the bytes of a copy say.
fn offline(path: &Path, checkpoint: Option<Checkpoint>) -> Result<Answer, Failure> {
    let cannot = || Failure::io(format!("{} cannot be read", path.display()));
    let bodies = std::fs::read(path).map_err(cannot())?;
    let mut chain = Chain::new(checkpoint);
    chain.take_all(&bodies);
    Answer::of(&chain.verification()).map_err(std::io::Error::other).map_err(cannot())
}

async fn export(session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    let mut call = Call::get(client.in_org(&["audit", "chain"]).await?);
    call.accept = Some("application/cbor-seq");
    let mut answer = client.open(&call, EXPORT_MS).await?;
    while let Some(piece) = answer.chunk().await.map_err(|error| client.unreachable(error))? {
        session.output.raw(&piece)?;
    }
    Ok(())
}

fn tell(session: &Session, found: &Answer) -> Result<(), Failure> {
    let checked = plain(&found["checked"]);
    let is_sound = found["ok"] == Value::Bool(true);
    if session.output.json {
        session.output.document(found)?;
    } else if is_sound {
        let head = plain(&found["head_hash"]);
        session.output.line(&format!("{checked} events follow each other, up to {head}"))?;
    }
    if is_sound {
        return Ok(());
    }
    let bad = plain(&found["first_bad"]);
    Err(Failure::NotVerified(format!("the chain breaks at event {bad}, after {checked} good ones")))
}

/// What happened, as far as it fits into a table; `--json` has all of it.
fn brief(data: &Value) -> String {
    let all = plain(data);
    match all.char_indices().nth(MAX_BRIEF_CHARS) {
        Some((end, _)) => format!("{}…", &all[..end]),
        None => all,
    }
}

/// The name of whoever caused an event, or what else is known.
pub(super) fn actor(actor: &Value) -> String {
    let known = [&actor["name"], &actor["id"], &actor["kind"]];
    known.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_data_is_cut_between_characters() {
        assert_eq!(brief(&json!({ "name": "x" })), r#"{"name":"x"}"#);
        let long = brief(&json!({ "name": "é".repeat(100) }));
        assert_eq!(long.chars().count(), MAX_BRIEF_CHARS + 1);
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn whoever_did_it_is_named_as_well_as_can_be() {
        let actor_of = |name: Option<&str>, id: Option<&str>| {
            actor(&json!({ "kind": "token", "name": name, "id": id }))
        };
        assert_eq!(actor_of(Some("ci"), Some("tok_1")), "ci");
        assert_eq!(actor_of(None, Some("tok_1")), "tok_1");
        assert_eq!(actor_of(None, None), "token");
    }
}
