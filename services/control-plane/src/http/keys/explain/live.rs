//! How the rates of a request's path stand just now: asked of their owner, who alone counts them.

use bytes::Bytes;
use turnpike_bus::seam::Service;
use turnpike_domain::id::OrgId;
use turnpike_domain::limit::Account;
use turnpike_domain::rate::Look;
use turnpike_wire::form;
use turnpike_wire::rates::{AskedRate, RatesAnswer, RatesQuestion};

use crate::app::App;

/// How long the owner may take in all: a new one has the reports of every gateway that is online
/// within it, and a person still waits for a page.
const WAIT_MS: u64 = 1_000;
/// The wait before an owner is asked again that gathers reports.
const AGAIN_MS: u64 = 50;

/// What is known.
pub(super) enum Live {
    /// How each rate stands that was asked about.
    Known(Vec<(Account, Look)>),
    /// Nothing, and why.
    Unknown(&'static str),
}

const NO_ANSWER: Live = Live::Unknown("the rate owner did not answer");
const GATHERING: Live =
    Live::Unknown("the rate owner is new and waits for the reports of gateways");

impl Live {
    /// Asks for an organisation's rates, and waits a second at most.
    pub(super) async fn ask(app: &App, org: OrgId, accounts: Vec<AskedRate>) -> Self {
        if accounts.is_empty() {
            return Self::Known(Vec::new());
        }
        let question = RatesQuestion { accounts };
        let payload: Bytes = form::encode(&question).into();
        let until_ms = app.clock.boot_ms().saturating_add(WAIT_MS);
        loop {
            let left_ms = until_ms.saturating_sub(app.clock.boot_ms());
            let asked = app.bus.call(Service::Rates { org }, payload.clone(), left_ms);
            let answer = match asked.await {
                Ok(answer) => form::decode::<RatesAnswer>(&answer),
                Err(error) => {
                    tracing::debug!(%org, %error, "no answer about rates");
                    return NO_ANSWER;
                }
            };
            match answer {
                Ok(answer) if answer.looks.len() == question.accounts.len() => {
                    let accounts = question.accounts.iter().map(|asked| asked.account);
                    return Self::Known(accounts.zip(answer.looks).collect());
                }
                Ok(answer) if answer.gathering => {}
                Ok(_) => return NO_ANSWER,
                Err(error) => {
                    tracing::warn!(%org, %error, "an answer about rates cannot be read");
                    return NO_ANSWER;
                }
            }
            if left_ms <= AGAIN_MS {
                return GATHERING;
            }
            app.clock.sleep(AGAIN_MS).await;
        }
    }

    /// How the rate of an account stands.
    pub(super) fn of(&self, account: Account) -> Result<Look, &'static str> {
        match self {
            Self::Known(looks) => {
                let found = looks.iter().find(|(known, _)| *known == account);
                // A limit that was set since is asked about by the next explanation.
                found.map(|(_, look)| *look).ok_or("it was set a moment ago")
            }
            Self::Unknown(why) => Err(why),
        }
    }
}
