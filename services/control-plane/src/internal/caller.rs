//! Who calls the internal API: the holder of a join token, and the gateway that joined with it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::Gateway;
use turnpike_store::error::StoreError;
use turnpike_wire::join::GATEWAY_HEADER;
use turnpike_wire::secret;

use super::Failure;
use crate::app::App;
use crate::directory::Listed;

/// Somebody with a join token that works.
pub(super) struct Holder(pub(super) Arc<Listed>);

/// A gateway that joined with the token that it shows.
pub(super) struct Caller {
    pub(super) holder: Holder,
    pub(super) gateway: GatewayId,
}

impl Holder {
    /// The one organisation of the token; `None`: all.
    pub(super) fn scope(&self) -> Option<OrgId> {
        (self.0.org != OrgId::PLATFORM).then_some(self.0.org)
    }

    /// A gateway that joined with this very token.
    pub(super) async fn gateway(
        &self,
        app: &App,
        id: GatewayId,
    ) -> Result<Option<Gateway>, StoreError> {
        let streams = app.streams();
        let found = match self.scope() {
            None => streams.platform(|state| state.gateways.get(&id).cloned()).await?,
            Some(org) => {
                streams.organisation(org, |state| state.gateways.get(&id).cloned()).await?
            }
        };
        Ok(found.filter(|gateway| gateway.token == self.0.id))
    }
}

impl Caller {
    /// The streams that the gateway may see, the platform's first.
    pub(super) fn streams(&self, app: &App) -> Vec<OrgId> {
        let mut streams = vec![OrgId::PLATFORM];
        match self.holder.scope() {
            Some(org) => streams.push(org),
            None => streams.extend(app.directory.organisations()),
        }
        streams
    }

    /// One stream by its id, if the gateway may see it.
    pub(super) fn one(&self, app: &App, text: &str) -> Result<OrgId, Failure> {
        let asked = text.parse().map_err(|_| Failure::NotFound)?;
        if self.streams(app).contains(&asked) { Ok(asked) } else { Err(Failure::NotFound) }
    }
}

impl FromRequestParts<Arc<App>> for Holder {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let text = header.and_then(|value| value.strip_prefix("Bearer "));
        let presented = text.and_then(|text| secret::parse(text).ok());
        let presented = presented.filter(|presented| presented.kind == SecretKind::Gateway);
        let presented = presented.ok_or(Failure::Unauthorized)?;
        let listed = app.token(&presented).await?;
        let alive = |listed: &Arc<Listed>| {
            listed.token.kind == SecretKind::Gateway
                && listed.token.expires_at.is_none_or(|end| app.clock.now() < end)
        };
        listed.filter(alive).map(Self).ok_or(Failure::Unauthorized)
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let holder = Holder::from_request_parts(parts, app).await?;
        let header = parts.headers.get(GATEWAY_HEADER).and_then(|value| value.to_str().ok());
        let id = header.and_then(|text| text.parse().ok()).ok_or(Failure::NotJoined)?;
        let gateway = holder.gateway(app, id).await?.filter(|gateway| !gateway.fenced);
        gateway.map(|_| Self { holder, gateway: id }).ok_or(Failure::NotJoined)
    }
}
