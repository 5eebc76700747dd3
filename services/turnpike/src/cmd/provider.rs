//! `turnpike provider`: where models are served.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::{list, some};
use crate::output::table::Column;
use crate::prompt::Confirm;

/// The largest file of a credential: some are a whole service account in JSON.
const MAX_CREDENTIAL_BYTES: u64 = 8_192;
/// The largest file of roots that is taken.
const MAX_ROOTS_BYTES: u64 = 32_768;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("kind", "/kind"),
    Column::plain("base url", "/base_url"),
    Column::plain("credential", "/has_credential"),
    Column::plain("serves", "/serves"),
    Column::plain("disabled", "/disabled"),
    Column::plain("health", "/health/status"),
    Column::plain("platform", "/of_platform"),
    Column::plain("id", "/id"),
];

/// What can be done with providers.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Provider {
    /// List providers
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        page: Page,
    },
    /// Show a provider
    Show {
        /// Id or name of the provider
        provider: String,
        #[command(flatten)]
        place: Place,
    },
    /// Add a provider
    Create(Box<Create>),
    /// Change a provider
    Edit(Box<Edit>),
    /// Remove a provider
    Delete {
        /// Id or name of the provider
        provider: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

/// Whose providers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Place {
    /// Of the platform, for every organisation (operator)
    #[arg(long)]
    platform: bool,
}

/// A provider to add.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Create {
    /// Its short name, as it stands in scopes and logs
    name: String,
    /// Its dialect
    #[arg(long, value_parser = ["openai", "anthropic", "gemini"])]
    kind: String,
    /// Where it answers, such as https://api.openai.com
    #[arg(long, value_name = "URL")]
    base_url: String,
    #[command(flatten)]
    terms: Terms,
}

/// What changes of a provider.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Edit {
    /// Id or name of the provider
    provider: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Another address
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Switch it off or on
    #[arg(long, value_name = "true|false")]
    disabled: Option<bool>,
    #[command(flatten)]
    terms: Terms,
}

/// What a provider has besides its name and place.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Terms {
    /// File that holds its API key, - for standard input; it is sealed and never shown again
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// Header to add to every request, NAME=VALUE; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// Models that an organisation's own provider serves, with commas between
    #[arg(long, value_name = "NAMES", value_parser = list)]
    serves: Option<Value>,
    /// The most milliseconds to wait for a connection
    #[arg(long, value_name = "MS")]
    connect_timeout_ms: Option<u64>,
    /// The most milliseconds to wait for the head of an answer
    #[arg(long, value_name = "MS")]
    answer_timeout_ms: Option<u64>,
    /// The most milliseconds between two pieces of a stream
    #[arg(long, value_name = "MS")]
    idle_timeout_ms: Option<u64>,
    /// The most milliseconds from sending a request to the end of its answer; 0 for no limit
    #[arg(long, value_name = "MS")]
    total_timeout_ms: Option<u64>,
    /// The most requests at a time from one gateway; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    max_concurrency: Option<u32>,
    /// Failures in a row after which a gateway passes it over for a while; 0 for never
    #[arg(long, value_name = "NUMBER")]
    max_failures: Option<u32>,
    /// PEM file of certificates that are trusted there besides the gateway's own roots
    #[arg(long, value_name = "FILE")]
    tls_roots_file: Option<PathBuf>,
    /// Trust only the gateway's own roots
    #[arg(long, conflicts_with = "tls_roots_file")]
    no_tls_roots: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Provider {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List { place, page } => {
                let call = Call::get(client.path_of(place.kind()).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Show { provider, place } => {
                let id = client.id_of(place.kind(), &provider).await?;
                let mut path = client.path_of(place.kind()).await?;
                path.push(&id);
                session.output.thing(&client.send(&Call::get(path)).await?, COLUMNS)
            }
            Self::Create(create) => create.run(session).await,
            Self::Edit(edit) => edit.run(session).await,
            Self::Delete { provider, place, confirm, wait } => {
                confirm.ask(&format!("Remove {provider}? Requests are no more routed to it."))?;
                let id = client.id_of(place.kind(), &provider).await?;
                let mut path = client.path_of(place.kind()).await?;
                path.push(&id);
                let answer = client.send(&wait.on(Call::delete(path))).await?;
                session.changed(&answer, &format!("removed provider {provider}"))
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Terms { place, wait, .. } = self.terms;
        let mut body = self.terms.body()?;
        for (field, text) in [("name", self.name), ("kind", self.kind), ("base_url", self.base_url)]
        {
            body.insert(field.to_owned(), text.into());
        }
        let path = session.client.path_of(place.kind()).await?;
        let answer = session.client.send(&wait.on(Call::post(path, body.into()))).await?;
        session.changed(&answer, &format!("added {}", called("provider", &answer)))
    }
}

impl Edit {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let Terms { place, wait, .. } = self.terms;
        let mut body = self.terms.body()?;
        body.extend(self.name.map(|name| ("name".to_owned(), name.into())));
        body.extend(self.base_url.map(|url| ("base_url".to_owned(), url.into())));
        body.extend(self.disabled.map(|off| ("disabled".to_owned(), off.into())));
        let id = client.id_of(place.kind(), &self.provider).await?;
        let mut path = client.path_of(place.kind()).await?;
        path.push(&id);
        let answer = client.send(&wait.on(Call::patch(path, body.into()))).await?;
        session.changed(&answer, &format!("changed {}", called("provider", &answer)))
    }
}

impl Place {
    const fn kind(self) -> Kind {
        if self.platform { Kind::PLATFORM_PROVIDER } else { Kind::PROVIDER }
    }
}

impl Terms {
    fn body(self) -> Result<Map<String, Value>, Failure> {
        let credential = self.credential_file.as_deref().map(read_credential).transpose()?;
        let roots = self.tls_roots_file.as_deref().map(|path| read(path, MAX_ROOTS_BYTES));
        let roots = roots.transpose()?.map(Value::from);
        let headers: Map<String, Value> =
            self.header.into_iter().map(|(name, value)| (name, value.into())).collect();
        Ok(some([
            ("credential", credential.map(Value::from)),
            ("headers", (!headers.is_empty()).then_some(Value::Object(headers))),
            ("serves", self.serves),
            ("connect_timeout_ms", self.connect_timeout_ms.map(Value::from)),
            ("answer_timeout_ms", self.answer_timeout_ms.map(Value::from)),
            ("idle_timeout_ms", self.idle_timeout_ms.map(Value::from)),
            ("total_timeout_ms", self.total_timeout_ms.map(Value::from)),
            ("max_concurrency", self.max_concurrency.map(Value::from)),
            ("max_failures", self.max_failures.map(Value::from)),
            ("tls_roots", if self.no_tls_roots { Some(Value::Null) } else { roots }),
        ]))
    }
}

/// A header to add: `NAME=VALUE`.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A credential, without the end of its line.
pub(super) fn read_credential(path: &Path) -> Result<String, Failure> {
    let text = read(path, MAX_CREDENTIAL_BYTES)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The text of a file or, for `-`, of standard input, if it has at most `most` bytes.
fn read(path: &Path, most: u64) -> Result<String, Failure> {
    let (mut text, name) = (String::new(), path.display());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path);
        file.and_then(|file| file.take(most + 1).read_to_string(&mut text))
    };
    let length = read.map_err(Failure::io(format!("{name} cannot be read")))?;
    if u64::try_from(length).unwrap_or(u64::MAX) > most {
        return Err(Failure::Usage(format!("{name} holds more than {most} bytes")));
    }
    Ok(text)
}
