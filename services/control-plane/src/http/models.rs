//! `/models`: what models cost and where they are served, set by the operator.

use turnpike_domain::command::PlatformCommand;
use turnpike_domain::event::ModelSpec;
use turnpike_domain::meter::Prices;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Model as Known, Platform, Route as Way};
use turnpike_wire::api::model::{Model, ModelForm, PricesForm, RouteForm};
use turnpike_wire::api::propagation::Deleted;

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::{Code, Problem};

pub(super) fn routes() -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<Model>(), created, secret: false };
    vec![
        Route::new(Verb::Get, "/models", "listModels", list)
            .about("Lists models with their prices; routes are shown to operators.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Model>())),
        Route::new(Verb::Post, "/models", "createModel", create)
            .about("Adds a model (operator).")
            .query(&[WAIT])
            .takes::<ModelForm>()
            .gives(written(true)),
        Route::new(Verb::Get, "/models/{model}", "getModel", get)
            .about("Shows a model; slashes of its name are written %2F.")
            .gives(Gives::Thing(shape::<Model>())),
        Route::new(Verb::Patch, "/models/{model}", "changeModel", change)
            .about("Changes a model or its prices (operator). Its name stays.")
            .query(&[WAIT])
            .takes::<ModelForm>()
            .gives(written(false)),
        Route::new(Verb::Delete, "/models/{model}", "deleteModel", delete)
            .about("Removes a model (operator).")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let span = ask.span(false)?;
    let page =
        |state: &Platform| {
            let models = state.models.iter();
            span.page(models.map(|(name, model)| {
                ((Rank::Text(name.to_string()), 0), shown(&caller, name, model))
            }))
        };
    Reply::json(&ask.app().streams().platform(page).await?)
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: ModelForm = ask.shape()?;
    let model = form.name.as_str().into();
    let command = PlatformCommand::PriceModel { model, spec: Some(Box::new(spec(&form))) };
    // Adding expects that there is none: a price is changed knowingly.
    let added = ask.carry_out(&caller, Wanted::Platform(command), Some(vec![0])).await;
    let done = added.map_err(|problem| {
        if problem.code == Code::EtagMismatch {
            Refusal::NameTaken { noun: "model", name: form.name.clone() }.into()
        } else {
            problem
        }
    })?;
    let (thing, seq) = stand(&ask, &caller, &form.name).await?;
    let place = format!("{BASE}/models/{}", form.name.replace('/', "%2F"));
    Ok(done.reply(thing)?.created(&place).version(seq))
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let (thing, seq) = stand(&ask, &caller, ask.param("model")).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let name = ask.param("model").to_owned();
    let mut tries = Tries::default();
    let done = loop {
        let streams = ask.app().streams();
        let known = streams.platform(|state| state.models.get(&*name).cloned()).await?;
        let known = known.ok_or_else(|| Problem::not_found("model"))?;
        let standing = form(&name, &known.spec);
        let standing = serde_json::to_value(standing).map_err(|error| Problem::internal(&error))?;
        let form: ModelForm = ask.merged(standing)?;
        if form.name != name {
            let message = "must stay: spend records name the model";
            turnpike_wire::api::input::mistake(&mut ask.mistakes, "/name", message);
        }
        let (model, spec) = (name.as_str().into(), Some(Box::new(spec(&form))));
        let command = PlatformCommand::PriceModel { model, spec };
        let wanted = Wanted::Platform(command);
        if let Some(done) = ask.change(&caller, wanted, known.price_version, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = stand(&ask, &caller, &name).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let model = ask.param("model");
    let command = PlatformCommand::PriceModel { model: model.into(), spec: None };
    ask.execute_platform(&caller, command).await?.deleted(model)
}

async fn stand(ask: &Ask, caller: &Caller, name: &str) -> Result<(Model, u64), Problem> {
    let streams = ask.app().streams();
    let shown = |model: &Known| (shown(caller, name, model), model.price_version);
    let found = streams.platform(|state| state.models.get(name).map(shown)).await?;
    found.ok_or_else(|| Problem::not_found("model"))
}

fn shown(caller: &Caller, name: &str, model: &Known) -> Model {
    let form = form(name, &model.spec);
    Model {
        name: form.name,
        context_window: form.context_window,
        max_output: form.max_output,
        prices: form.prices,
        routes: form.routes.filter(|_| caller.is_operator()),
        price_version: model.price_version,
    }
}

fn form(name: &str, spec: &ModelSpec) -> ModelForm {
    let route = |way: &Way| RouteForm {
        provider: way.provider.to_string(),
        upstream_model: way.upstream_model.as_deref().map(Into::into),
        weight: Some(way.weight),
        prices: way.prices.as_ref().map(PricesForm::from),
    };
    let routes: Vec<RouteForm> = spec.routes.iter().map(route).collect();
    ModelForm {
        name: name.to_owned(),
        context_window: spec.context_window,
        max_output: spec.max_output,
        prices: spec.prices.as_ref().map(PricesForm::from),
        routes: (!routes.is_empty()).then_some(routes),
    }
}

fn spec(form: &ModelForm) -> ModelSpec {
    let way = |route: &RouteForm| Way {
        provider: route.provider.as_str().into(),
        upstream_model: route.upstream_model.as_deref().map(Into::into),
        weight: route.weight.unwrap_or(1),
        prices: route.prices.as_ref().map(Prices::from),
    };
    ModelSpec {
        prices: form.prices.as_ref().map(Prices::from),
        context_window: form.context_window,
        max_output: form.max_output,
        routes: form.routes.iter().flatten().map(way).collect(),
    }
}
