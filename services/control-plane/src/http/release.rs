//! `/orgs/{org}/gateways/{gateway}/release`: what a gateway that is gone still holds.

use turnpike_domain::command::Command;
use turnpike_domain::id::GatewayId;
use turnpike_domain::limit::{Account, Unit};
use turnpike_wire::api::gateway::{ReleaseForm, Released};
use turnpike_wire::api::input::mistake;
use turnpike_wire::api::text::Text;

use super::ask::{Ask, WAIT};
use super::route::{Answer, Gives, Route, Verb, shape};
use crate::auth::Caller;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Verb::Post,
            "/orgs/{org}/gateways/{gateway}/release",
            "releaseLostHolds",
            release,
        )
        .about(
            "Releases what a gateway held when it was not heard of any more (admin; of the \
                wallet: operator). The risk: if it has spent that and reports it later, the limit \
                is exceeded by as much.",
        )
        .query(&[WAIT])
        .takes::<ReleaseForm>()
        .gives(Gives::Written {
            thing: shape::<Released>(),
            created: false,
            secret: false,
        }),
    ]
}

async fn release(mut ask: Ask, caller: Caller) -> Answer {
    let gateway: GatewayId = ask.id("gateway", "gateway")?;
    let form: ReleaseForm = ask.shape()?;
    let account = match (form.key_id, form.project_id) {
        (None, None) => Account::Wallet,
        (Some(key), None) => Account::Key(key.0),
        (None, Some(project)) => Account::Project(project.0),
        (Some(key), Some(_)) => {
            mistake(&mut ask.mistakes, "/project_id", "must not stand beside key_id");
            Account::Key(key.0)
        }
    };
    let tokens = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let (unit, amount) = match (form.cost_usd, form.tokens) {
        (Some(cost), None) => (Unit::Usd, cost.0.0),
        (None, Some(count)) => (Unit::Tokens, tokens(count)),
        (Some(cost), Some(_)) => {
            mistake(&mut ask.mistakes, "/tokens", "must not stand beside cost_usd");
            (Unit::Usd, cost.0.0)
        }
        (None, None) => {
            mistake(&mut ask.mistakes, "/cost_usd", "must be given, or tokens");
            (Unit::Usd, 1)
        }
    };
    let command = Command::AbandonLease { gateway, account, unit, amount };
    let done = ask.execute(&caller, command).await?;
    let (key_id, project_id) = (form.key_id, form.project_id);
    let (cost_usd, tokens) = (form.cost_usd, form.tokens);
    done.reply(Released { gateway_id: Text(gateway), key_id, project_id, cost_usd, tokens })
}
