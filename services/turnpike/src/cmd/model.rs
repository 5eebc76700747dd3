//! `turnpike model`: what models cost and where they are served, set by the operator.

use serde_json::{Map, Value, json};

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::flags::{given, some, usd};
use crate::output::table::{Column, plain};
use crate::prompt::Confirm;

/// The place of the list.
const LIST: &str = "models";

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::new("input", "/prices", |prices| price(prices, "input")),
    Column::new("output", "/prices", |prices| price(prices, "output")),
    Column::new("cached", "/prices", |prices| price(prices, "cached_input")),
    Column::plain("context", "/context_window"),
    Column::plain("max output", "/max_output"),
    Column::new("routes", "/routes", routes),
    Column::plain("price version", "/price_version"),
];

/// What can be done with models.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Model {
    /// List models; prices are USD per million tokens
    List(Page),
    /// Show a model
    Show {
        /// Name of the model
        model: String,
    },
    /// Add a model (operator)
    #[command(after_help = EXAMPLE)]
    Create {
        /// The name that callers write
        name: String,
        #[command(flatten)]
        terms: Terms,
    },
    /// Change a model's prices, bounds or routes (operator)
    Edit {
        /// Name of the model
        model: String,
        #[command(flatten)]
        terms: Terms,
    },
    /// Remove a model (operator)
    Delete {
        /// Name of the model
        model: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

/// What a way to a model may cost otherwise than the model.
const PRICES: [&str; 11] = [
    "input",
    "output",
    "cached_input",
    "cache_write",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "request_fee",
    "audio_second",
];

/// Shown below the help of `model create`.
const EXAMPLE: &str = "\
Example:
  turnpike model create fast --context-window 128000 --max-output 16384 \\
    --input 0.15 --output 0.60 --cached-input 0.075 \\
    --route openai,model=gpt-4o-mini --route backup,weight=0";

/// What a model costs, holds, and where it is served.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Terms {
    /// The most tokens of input and output together
    #[arg(long, value_name = "TOKENS")]
    context_window: Option<u64>,
    /// The most tokens of output
    #[arg(long, value_name = "TOKENS")]
    max_output: Option<u64>,
    /// USD per million tokens of input
    #[arg(long, value_name = "USD", value_parser = usd)]
    input: Option<Value>,
    /// USD per million tokens of output
    #[arg(long, value_name = "USD", value_parser = usd)]
    output: Option<Value>,
    /// USD per million tokens read from the provider's cache
    #[arg(long, value_name = "USD", value_parser = usd)]
    cached_input: Option<Value>,
    /// USD per million tokens written to the provider's cache
    #[arg(long, value_name = "USD", value_parser = usd)]
    cache_write: Option<Value>,
    /// USD per million tokens of reasoning
    #[arg(long, value_name = "USD", value_parser = usd)]
    reasoning: Option<Value>,
    /// USD per million tokens of sound in the input
    #[arg(long, value_name = "USD", value_parser = usd)]
    audio_input: Option<Value>,
    /// USD per million tokens of sound in the output
    #[arg(long, value_name = "USD", value_parser = usd)]
    audio_output: Option<Value>,
    /// USD per million tokens of images in the input
    #[arg(long, value_name = "USD", value_parser = usd)]
    image_input: Option<Value>,
    /// USD per million tokens of images in the output
    #[arg(long, value_name = "USD", value_parser = usd)]
    image_output: Option<Value>,
    /// USD once per request
    #[arg(long, value_name = "USD", value_parser = usd)]
    request_fee: Option<Value>,
    /// USD per second of a recording, of providers that tell seconds instead of tokens
    #[arg(long, value_name = "USD", value_parser = usd)]
    audio_second: Option<Value>,
    /// Take the prices away: the model is refused wherever a USD cap stands
    #[arg(long, conflicts_with_all = PRICES)]
    unpriced: bool,
    /// Where it is served, PROVIDER[,model=NAME][,weight=NUMBER][,input=USD,output=USD…] with the
    /// prices there if they are others; may be repeated, the best first
    #[arg(long, value_name = "ROUTE", value_parser = route)]
    route: Vec<Value>,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Model {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List(page) => page.show(session, Call::get([LIST]), COLUMNS).await,
            Self::Show { model } => {
                session.output.thing(&client.send(&Call::get([LIST, &model])).await?, COLUMNS)
            }
            Self::Create { name, terms } => {
                let wait = terms.wait;
                let mut body = terms.body();
                body.insert("name".to_owned(), name.as_str().into());
                let answer = client.send(&wait.on(Call::post([LIST], body.into()))).await?;
                session.changed(&answer, &format!("added model {name}"))
            }
            Self::Edit { model, terms } => {
                let wait = terms.wait;
                let call = wait.on(Call::patch([LIST, &model], terms.body().into()));
                session.changed(&client.send(&call).await?, &format!("changed model {model}"))
            }
            Self::Delete { model, confirm, wait } => {
                confirm.ask(&format!("Remove the model {model}? Calls to it are refused."))?;
                let answer = client.send(&wait.on(Call::delete([LIST, &model]))).await?;
                session.changed(&answer, &format!("removed model {model}"))
            }
        }
    }
}

impl Terms {
    fn body(self) -> Map<String, Value> {
        let prices = given([
            ("input", self.input),
            ("output", self.output),
            ("cached_input", self.cached_input),
            ("cache_write", self.cache_write),
            ("reasoning", self.reasoning),
            ("audio_input", self.audio_input),
            ("audio_output", self.audio_output),
            ("image_input", self.image_input),
            ("image_output", self.image_output),
            ("request_fee", self.request_fee),
            ("audio_second", self.audio_second),
        ]);
        some([
            ("context_window", self.context_window.map(Value::from)),
            ("max_output", self.max_output.map(Value::from)),
            ("prices", if self.unpriced { Some(Value::Null) } else { prices }),
            ("routes", (!self.route.is_empty()).then_some(Value::Array(self.route))),
        ])
    }
}

/// A way to a model: `PROVIDER[,model=NAME][,weight=NUMBER]`, and prices if it has its own.
fn route(text: &str) -> Result<Value, String> {
    let mut parts = text.split(',');
    let provider = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
    let wrong =
        || "must be PROVIDER[,model=NAME][,weight=NUMBER][,input=USD,output=USD…]".to_owned();
    let mut route = json!({ "provider": provider.ok_or_else(wrong)? });
    for part in parts {
        match part.split_once('=').ok_or_else(wrong)? {
            ("model", name) if !name.is_empty() => route["upstream_model"] = name.into(),
            ("weight", number) => {
                route["weight"] = number.parse::<u32>().map_err(|_| wrong())?.into();
            }
            (kind, price) if PRICES.contains(&kind) => route["prices"][kind] = usd(price)?,
            _ => return Err(wrong()),
        }
    }
    Ok(route)
}

fn price(prices: &Value, kind: &str) -> String {
    if prices.is_null() { "unpriced".to_owned() } else { plain(&prices[kind]) }
}

/// Routes as they are written on the command line.
fn routes(routes: &Value) -> String {
    let Some(routes) = routes.as_array() else { return plain(routes) };
    let told = routes.iter().map(|route| {
        let mut told = plain(&route["provider"]);
        let named = [("model", &route["upstream_model"]), ("weight", &route["weight"])];
        let prices = PRICES.map(|kind| (kind, &route["prices"][kind]));
        for (word, value) in named.into_iter().chain(prices).filter(|(_, value)| !value.is_null()) {
            told.push_str(&format!(",{word}={}", plain(value)));
        }
        told
    });
    told.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_go_there_and_back() {
        const DEAR: &str = "openai,model=a/b:c@2,weight=3,input=2.50,output=10.00";
        for text in ["echo", "openai,model=gpt-4o", "x,weight=0", DEAR] {
            assert_eq!(routes(&json!([route(text).unwrap()])), text);
        }
        for text in
            ["", ",model=x", "model=x", "a,b", "a,weight=-1", "a,model=", "a,speed=1", "a,input=x"]
        {
            assert!(route(text).is_err(), "{text}");
        }
    }
}
