//! `turnpike plan`: pricing groups, made by the operator.

use serde_json::Value;

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::{list, some};
use crate::output::table::{Column, any};
use crate::prompt::Confirm;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("multiplier", "/multiplier"),
    Column::new("models", "/models", any),
    Column::plain("id", "/id"),
];

/// What can be done with plans.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Plan {
    /// List plans
    List(Page),
    /// Show a plan
    Show {
        /// Id or name of the plan
        plan: String,
    },
    /// Make a plan (operator)
    Create {
        /// What the plan is called; unique
        name: String,
        #[command(flatten)]
        terms: Terms,
    },
    /// Change a plan (operator)
    Edit {
        /// Id or name of the plan
        plan: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Delete a plan that no key and no organisation uses (operator)
    Delete {
        /// Id or name of the plan
        plan: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

/// What a plan grants.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Terms {
    /// The models of the plan, with commas between; none for all
    #[arg(long, value_name = "NAMES", value_parser = list)]
    models: Option<Value>,
    /// The factor on every price, such as 1.25
    #[arg(long, value_name = "FACTOR")]
    multiplier: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Plan {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let list = Kind::PLAN.path;
        match self {
            Self::List(page) => page.show(session, Call::get([list]), COLUMNS).await,
            Self::Show { plan } => {
                let id = client.id_of(Kind::PLAN, &plan).await?;
                session.output.thing(&client.send(&Call::get([list, &id])).await?, COLUMNS)
            }
            Self::Create { name, terms } => {
                let wait = terms.wait;
                let call = Call::post([list], terms.body(Some(name)));
                let answer = client.send(&wait.on(call)).await?;
                session.changed(&answer, &format!("made {}", called("plan", &answer)))
            }
            Self::Edit { plan, name, terms } => {
                let id = client.id_of(Kind::PLAN, &plan).await?;
                let wait = terms.wait;
                let call = Call::patch([list, &id], terms.body(name));
                let answer = client.send(&wait.on(call)).await?;
                session.changed(&answer, &format!("changed {}", called("plan", &answer)))
            }
            Self::Delete { plan, confirm, wait } => {
                confirm.ask(&format!("Delete the plan {plan}?"))?;
                let id = client.id_of(Kind::PLAN, &plan).await?;
                let answer = client.send(&wait.on(Call::delete([list, &id]))).await?;
                session.changed(&answer, &format!("deleted plan {plan}"))
            }
        }
    }
}

impl Terms {
    fn body(self, name: Option<String>) -> Value {
        let fields = some([
            ("name", name.map(Value::from)),
            ("models", self.models),
            ("multiplier", self.multiplier.map(Value::from)),
        ]);
        fields.into()
    }
}
