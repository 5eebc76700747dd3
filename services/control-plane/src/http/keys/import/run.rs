//! Running an import: rows in chunks, each chunk one commit, all that became of them in one report.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use turnpike_domain::command::{Command, ImportedKey, Order};
use turnpike_domain::decide::{self, Seen, World};
use turnpike_domain::event::Event;
use turnpike_domain::id::{CommandId, KeyId, Position};
use turnpike_domain::refusal::{FieldError, Refusal};
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Organisation, Platform};
use turnpike_runtime::entropy;
use turnpike_store::error::StoreError;
use turnpike_store::execute::{Attempt, ExecuteError, Executed};
use turnpike_store::legacy;
use turnpike_wire::api::import::split::Raw;
use turnpike_wire::api::import::table::Columns;
use turnpike_wire::api::import::{AcceptedRow, ImportReport, RefusedRow};
use turnpike_wire::api::text::Text;

use super::row::{self, Row};
use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::problem::Problem;

/// Tries of a chunk of which others take a name or a secret meanwhile: each leaves that row out.
const MAX_TRIES: u32 = 5;
/// What is said of a row that was refused and would not be now: a repetition changes nothing.
const REPEATED: &str =
    "was refused when this Idempotency-Key was first used: import it with another";

/// An import under way.
pub(super) struct Run {
    pub(super) ask: Ask,
    caller: Caller,
    /// What every chunk's command id is made of.
    base: CommandId,
    chunks: u64,
    /// Of a dry run: what rows before would have taken.
    seen: Seen,
    pub(super) report: ImportReport,
    /// Of the last commit.
    position: Position,
}

impl Run {
    pub(super) fn new(ask: Ask, caller: Caller, dry_run: bool) -> Result<Self, Problem> {
        let base = ask.command_id(&caller)?;
        let report = ImportReport { dry_run, ..ImportReport::default() };
        let (seen, position) = (Seen::default(), Position::default());
        Ok(Self { ask, caller, base, chunks: 0, seen, report, position })
    }

    /// Imports the rows of one chunk.
    pub(super) async fn chunk(
        &mut self,
        raws: &[Raw],
        columns: Option<&Columns>,
    ) -> Result<(), Problem> {
        let now = self.ask.app().clock.now();
        let peppers = &self.ask.app().keys.peppers;
        let read = |raw| row::read(raw, columns, peppers, KeyId(entropy::id(now)));
        let rows: Vec<Row> = raws.iter().map(read).collect();
        if self.report.dry_run {
            let mut seen = std::mem::take(&mut self.seen);
            let verdicts = self.judge(&rows, &mut seen).await?;
            self.seen = seen;
            self.tell(&rows, verdicts, None);
        } else {
            let (executed, verdicts) = self.commit(&rows, fingerprint(raws, columns)).await?;
            self.position = executed.position;
            self.tell(&rows, verdicts, Some(&executed));
        }
        Ok(())
    }

    /// The report, once every gateway that is online has applied what is waited for.
    pub(super) async fn finish(mut self) -> Result<ImportReport, Problem> {
        if let (Some(ms), false) = (self.ask.wait()?, self.report.dry_run) {
            let reach = self.ask.propagation(self.ask.org, self.position, ms).await?;
            self.report.propagation = Some(reach);
        }
        Ok(self.report)
    }

    /// What stands against each of the rows; nothing against those that may be imported.
    async fn judge(&self, rows: &[Row], seen: &mut Seen) -> Result<Vec<Verdict>, Problem> {
        let keys: Vec<ImportedKey> =
            rows.iter().filter_map(|row| row.key.as_deref().ok().cloned()).collect();
        let holders = legacy::holders(&*self.ask.snapshot().await?, &keys).await?;
        let free = keys.into_iter().zip(&holders).filter(|(_, holder)| holder.is_none());
        let free: Vec<ImportedKey> = free.map(|(key, _)| key).collect();
        let (org, by) = (self.ask.org, (&self.caller.requester, self.ask.app().clock.now()));
        let platform = self.ask.app().streams().platform(Platform::clone).await?;
        let decide = |organisation: &Organisation| {
            decide::imports(World { platform: &platform, organisation }, by, &free, seen)
        };
        let mut decided = self.ask.read(decide).await??.into_iter();
        let mut holders = holders.into_iter();
        let mut verdict = |row: &Row| {
            if let Err(errors) = &row.key {
                return errors.clone();
            }
            let refusal = match holders.next().flatten() {
                Some(holder) => Some(holder.refusal(org)),
                None => decided.next().and_then(Result::err),
            };
            refusal.map(row::errors).unwrap_or_default()
        };
        Ok(rows.iter().map(&mut verdict).collect())
    }

    /// Commits what may be imported of the rows. The command's own row in the store makes a
    /// repetition harmless: it answers with what the first time has made.
    async fn commit(
        &mut self,
        rows: &[Row],
        body_hash: [u8; 32],
    ) -> Result<(Executed, Vec<Verdict>), Problem> {
        let id = self.next_id();
        let attempt = Attempt { body_hash, maker: self.ask.maker };
        for tried in 1.. {
            let verdicts = self.judge(rows, &mut Seen::default()).await?;
            let sound = rows.iter().zip(&verdicts).filter(|(_, errors)| errors.is_empty());
            let keys = sound.filter_map(|(row, _)| row.key.as_deref().ok().cloned()).collect();
            let command = Command::ImportKeys { keys };
            let (now, requester) = (self.ask.app().clock.now(), self.caller.requester);
            let order = Order { id, requester, now, expected: None, command };
            let executor = &self.ask.app().executor;
            match executor.organisation(self.ask.org, &order, attempt).await {
                Ok(executed) => return Ok((executed, verdicts)),
                // Somebody took a name or a secret since: who it was is told of that row.
                Err(ExecuteError::Refused(Refusal::Invalid(_) | Refusal::NameTaken { .. }))
                    if tried < MAX_TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Puts what became of the rows into the report.
    fn tell(&mut self, rows: &[Row], verdicts: Vec<Verdict>, executed: Option<&Executed>) {
        let mut made = executed.map(made).unwrap_or_default();
        for (row, errors) in rows.iter().zip(verdicts) {
            let progress = &mut self.report.progress;
            progress.rows += 1;
            let key = row.key.as_deref().ok();
            let id = key.and_then(|key| made.remove(&key.secret.public_id));
            let passes = errors.is_empty() && self.report.dry_run;
            if let Some(key) = key.filter(|_| id.is_some() || passes) {
                progress.accepted += 1;
                let (name, preview) = (key.draft.name.to_string(), key.secret.preview.to_string());
                let id = id.map(Text);
                self.report.keys.push(AcceptedRow { line: row.line, id, name, preview });
                continue;
            }
            progress.refused += 1;
            let repeated = errors
                .is_empty()
                .then(|| FieldError { pointer: String::new(), message: REPEATED.to_owned() });
            self.report.errors.extend(errors.into_iter().chain(repeated).map(|error| {
                let FieldError { pointer: field, message } = error;
                RefusedRow { line: row.line, field, message }
            }));
        }
    }

    fn next_id(&mut self) -> CommandId {
        let mut hash = Sha256::new_with_prefix(b"turnpike import ");
        hash.update(self.base.bytes());
        hash.update(self.chunks.to_be_bytes());
        self.chunks += 1;
        let digest: [u8; 32] = hash.finalize().into();
        let (id, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        CommandId::from_bytes(*id)
    }
}

/// What stands against a row.
type Verdict = Vec<FieldError>;

/// The keys that a commit made, by what their secrets are looked up by.
fn made(executed: &Executed) -> BTreeMap<PublicId, KeyId> {
    let made = executed.records.iter().filter_map(|record| {
        let Event::KeyImported { key, secret, .. } = &record.event else { return None };
        Some((secret.public_id, *key))
    });
    made.collect()
}

/// What tells these rows from others under the same Idempotency-Key.
fn fingerprint(raws: &[Raw], columns: Option<&Columns>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let header = columns.map(Columns::header).unwrap_or_default();
    let texts = raws.iter().map(|raw| raw.text.as_deref().unwrap_or_default());
    for part in std::iter::once(header.as_bytes()).chain(texts) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
