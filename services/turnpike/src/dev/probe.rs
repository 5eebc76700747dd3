//! The proof before the announcement: a call through the gateway succeeds.

use http::{Method, StatusCode};
use turnpike_domain::time::{MINUTE_MS, SECOND_MS};
use turnpike_runtime::clock::deadline;
use turnpike_runtime::connector::{Connector, ConnectorOptions, HttpClient};

use super::DevFailure;
use super::house::{House, url};

/// How long everything may take to begin: a large folder is read and checked on the way.
const READY_MS: u64 = MINUTE_MS;
/// How long a call is tried once the gateway says that it is ready.
const CALL_MS: u64 = 10 * SECOND_MS;
/// The wait between two tries.
const AGAIN_MS: u64 = 10;

/// Completes once the gateway is ready, answers, and was heard of, so that a change that waits for
/// gateways waits for this one, and once keys with limits can be used. The gateway answers with the
/// list of models where the key is known, which costs nothing; else with a refusal, which shows
/// that it answers.
pub(super) async fn first_call(house: &House, key: Option<&str>) -> Result<(), DevFailure> {
    let ready = deadline(&*house.clock, READY_MS, house.gateway.probes.ready());
    ready.await.ok_or_else(|| failed("the gateway is not ready after a minute"))?;
    let budgets = deadline(&*house.clock, READY_MS, house.budgets_are_answered());
    budgets.await.ok_or_else(|| failed("nobody answers for budgets after a minute"))?;
    let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
    let client = Connector::new(&options, house.clock.clone()).map_err(failed)?;
    let client = client.client().map_err(failed)?;
    let models = format!("{}/v1/models", url(house.gateway.gateway_addr));
    let mut last = "no answer in time".to_owned();
    let calls = async {
        loop {
            match call(&client, &models, key).await {
                Ok(()) if is_heard(house).await => return,
                Ok(()) => "its receipts do not arrive".clone_into(&mut last),
                Err(why) => last = why,
            }
            house.clock.sleep(AGAIN_MS).await;
        }
    };
    let called = deadline(&*house.clock, CALL_MS, calls).await;
    called.ok_or(DevFailure::Probe(last))
}

async fn call(client: &HttpClient, models: &str, key: Option<&str>) -> Result<(), String> {
    let request = client.request(Method::GET, models).map_err(|error| error.to_string())?;
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let wanted = if key.is_some() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    if answer.status() == wanted { Ok(()) } else { Err(answer.status().to_string()) }
}

async fn is_heard(house: &House) -> bool {
    let known = house.control_plane.app.gateways(house.org).await.unwrap_or_default();
    known.iter().any(|known| known.id == house.gateway.id && known.heard.is_some())
}

fn failed(why: impl ToString) -> DevFailure {
    DevFailure::Probe(why.to_string())
}
