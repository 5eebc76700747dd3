//! `turnpike key import`: keys of secrets that their callers have already, out of a file.

mod hash;

use std::io::{self, Read as _};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Response;
use turnpike_domain::time::MINUTE_MS;
use turnpike_wire::api::import::split::{Format, Splitter};

use crate::client::{Answer, Call, MAX_ANSWER_BYTES};
use crate::cmd::Session;
use crate::cmd::wait::{self, Wait};
use crate::failure::Failure;
use crate::output::Output;
use crate::output::table::Column;

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  turnpike key import keys.csv --dry-run      # name,secret and more columns
  turnpike key import keys.csv --sha256       # only hashes of the secrets leave this machine
  jq -c '.[]' keys.json | turnpike key import - --format jsonl

A row has name, secret or sha256, and perhaps owner_id, project_id, plan_id, expires_at, and limits,
scopes and metadata as JSON. Rows that are refused are listed, and the exit code is 1.";

/// The control plane takes no larger file.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// How long an import may take: 100,000 rows are 500 commits.
const IMPORT_MS: u64 = 30 * MINUTE_MS;
/// How the bar looks.
const BAR: &str = "{bar:40} {pos}/{len} rows {msg}";
/// What is asked for: how far it is, line by line.
const LINES: &str = "application/x-ndjson";

const COLUMNS: &[Column] = &[
    Column::plain("line", "/line"),
    Column::plain("field", "/field"),
    Column::plain("what is wrong", "/message"),
];

/// What to import, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Import {
    /// The file; - is standard input
    file: PathBuf,
    /// How it is written [default: by the file's ending]
    #[arg(long, value_parser = ["csv", "jsonl"])]
    format: Option<String>,
    /// Hash the secrets here, so that none of them leaves this machine
    #[arg(long)]
    sha256: bool,
    /// Write nothing; say what would become of each row
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
}

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let format = self.format()?;
        let mut file = Bytes::from(self.read()?);
        if self.sha256 {
            file = hash::hashed(&file, format)?.into();
        }
        let client = &session.client;
        let kind = match format {
            Format::Csv => "text/csv",
            Format::Lines => LINES,
        };
        let bar = bar(rows(&file, format));
        let path = client.in_org(&["keys", "import"]).await?;
        let mut call = self.wait.on(Call::upload(path, kind, file));
        call = call.with_some("dry_run", self.dry_run.then_some(true));
        call.accept = Some(LINES);
        let stream = client.open(&call, IMPORT_MS).await?;
        let report = follow(session, stream, &bar).await;
        bar.finish_and_clear();
        told(session, &report?)
    }

    fn format(&self) -> Result<Format, Failure> {
        let ending = self.file.extension().and_then(|ending| ending.to_str());
        match self.format.as_deref().or(ending) {
            Some("csv") => Ok(Format::Csv),
            Some("jsonl" | "ndjson") => Ok(Format::Lines),
            Some(_) | None => {
                let how = "Say how the file is written: --format csv or --format jsonl";
                Err(Failure::Usage(how.to_owned()))
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let name = self.file.display().to_string();
        let mut bytes = Vec::new();
        let read = if name == "-" {
            io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(&self.file)
                .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        };
        let length = u64::try_from(read.map_err(Failure::io(name.clone()))?).unwrap_or(u64::MAX);
        if length > MAX_FILE_BYTES {
            let how = format!("{name} has more than {MAX_FILE_BYTES} bytes: import it in parts");
            return Err(Failure::Usage(how));
        }
        Ok(bytes)
    }
}

/// How many rows a file has.
fn rows(file: &[u8], format: Format) -> u64 {
    let mut splitter = Splitter::new(format);
    let rows = splitter.push(file).len() + usize::from(splitter.end().is_some());
    let header = usize::from(format == Format::Csv);
    u64::try_from(rows.saturating_sub(header)).unwrap_or(u64::MAX)
}

/// A bar on standard error, where that is a terminal.
fn bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Moves the bar along, until the report comes.
async fn follow(
    session: &Session,
    mut stream: Response,
    bar: &ProgressBar,
) -> Result<Answer, Failure> {
    let client = &session.client;
    let mut unread = BytesMut::new();
    while let Some(chunk) = stream.chunk().await.map_err(|source| client.unreachable(source))? {
        unread.extend_from_slice(&chunk);
        if unread.len() > MAX_ANSWER_BYTES {
            return Err(client.strange("more than can be read"));
        }
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line = unread.split_to(end + 1);
            let strange = |_| client.strange("without JSON");
            let line = Answer::read(&line).map_err(strange)?;
            if let Some(report) = line.part("report").map_err(strange)? {
                return Ok(report);
            }
            if let Some(problem) = line.get("problem") {
                let detail = problem["detail"].as_str().unwrap_or_default();
                return Err(Failure::NotImported(detail.to_owned()));
            }
            bar.set_position(line["progress"]["rows"].as_u64().unwrap_or(0));
            let refused = line["progress"]["refused"].as_u64().unwrap_or(0);
            bar.set_message(format!("({refused} refused)"));
        }
    }
    let what = "an import without its end: run it again, rows that are keys already are refused";
    Err(client.strange(what))
}

/// The report: refused rows as a table, and how many there were.
fn told(session: &Session, report: &Answer) -> Result<(), Failure> {
    let output = session.output;
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    let (rows, accepted, refused) = (count("rows"), count("accepted"), count("refused"));
    if output.json {
        output.document(report)?;
    } else {
        let done = if report["dry_run"] == true { "could import" } else { "imported" };
        output.note(&format!("{done} {accepted} of {rows} rows"))?;
        if refused > 0 {
            output.rows(&report["errors"], COLUMNS)?;
        }
    }
    if refused > 0 {
        let noun = if refused == 1 { "row was" } else { "rows were" };
        return Err(Failure::NotImported(format!("{refused} {noun} refused")));
    }
    let Some(found) = report.get("propagation") else { return Ok(()) };
    wait::told(found).tell(output, Output::line)
}
