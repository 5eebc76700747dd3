//! What every part of the control plane shares.

use std::sync::Arc;

use turnpike_bus::seam::Bus;
use turnpike_domain::id::{GatewayId, IncarnationId, OrgId};
use turnpike_domain::state::Platform;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::error::StoreError;
use turnpike_store::execute::Executor;
use turnpike_store::log;
use turnpike_store::streams::Streams;
use turnpike_wire::secret::Presented;

use crate::config::{ControlPlaneOptions, Keys};
use crate::copies::Copies;
use crate::directory::{Directory, Listed};
use crate::presence::{Known, Presence};
use crate::tail::Tail;

/// The control plane's shared parts.
pub struct App {
    /// Executes commands.
    pub executor: Executor,
    /// Carries events, receipts and heartbeats.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: SharedClock,
    /// Peppers, sealing and signing keys.
    pub keys: Keys,
    /// Credentials and addresses.
    pub directory: Directory,
    /// Gateways.
    pub presence: Presence,
    /// Keeps the directory in step.
    pub tail: Tail,
    /// Snapshots on their way to gateways.
    pub copies: Copies,
    /// The options in effect.
    pub options: ControlPlaneOptions,
    /// The store's incarnation.
    pub incarnation: IncarnationId,
}

impl App {
    /// The streams.
    #[must_use]
    pub fn streams(&self) -> &Arc<Streams> {
        self.executor.streams()
    }

    /// Brings the directory in step with one stream, at its head.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub async fn refresh(&self, org: OrgId) -> Result<(), StoreError> {
        if org == OrgId::PLATFORM {
            self.streams().platform(|state| self.directory.refresh_platform(state)).await
        } else {
            self.streams().organisation(org, |state| self.directory.refresh(state)).await
        }
    }

    /// Brings the directory in step with all streams.
    ///
    /// # Errors
    /// [`StoreError`] if one cannot be read.
    pub async fn refresh_all(&self) -> Result<(), StoreError> {
        let snapshot = self.streams().kv().snapshot().await?;
        self.refresh(OrgId::PLATFORM).await?;
        for org in log::organisations(&*snapshot).await? {
            self.refresh(org).await?;
        }
        Ok(())
    }

    /// The token of a secret. If none is known that fits, it may have been made a moment ago on
    /// another replica: the answer waits until the tail has read the end of the store, whether or
    /// not its id is known, so that time does not tell which ids are.
    ///
    /// # Errors
    /// [`StoreError`] if the streams cannot be read.
    pub async fn token(
        &self,
        presented: &Presented<'_>,
    ) -> Result<Option<Arc<Listed>>, StoreError> {
        if let Some(found) = self.fitting(presented) {
            return Ok(Some(found));
        }
        self.tail.reach_end(self).await?;
        Ok(self.fitting(presented))
    }

    fn fitting(&self, presented: &Presented<'_>) -> Option<Arc<Listed>> {
        let listed = self.directory.token(presented.public_id);
        let stored = listed.as_ref().map(|listed| &listed.token.secret);
        let is_right = self.keys.peppers.verify(stored, presented);
        listed.filter(|_| is_right)
    }

    /// Whether a gateway of this id has ever joined anywhere, on any replica.
    ///
    /// # Errors
    /// [`StoreError`] if the streams cannot be read.
    pub async fn knows_gateway(&self, id: GatewayId) -> Result<bool, StoreError> {
        if self.directory.knows_gateway(id) {
            return Ok(true);
        }
        self.tail.reach_end(self).await?;
        Ok(self.directory.knows_gateway(id))
    }

    /// The gateways that serve an organisation.
    ///
    /// # Errors
    /// [`StoreError`] if the streams cannot be read.
    pub async fn gateways(&self, org: OrgId) -> Result<Vec<Known>, StoreError> {
        let platform = self.streams().platform(Platform::clone).await?;
        let known = |state: &_| self.presence.gateways(state, &platform);
        self.streams().organisation(org, known).await
    }
}
