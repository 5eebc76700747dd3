//! Heartbeats: each second the relay's signed word of what has moved, to every gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use turnpike_bus::seam::{BusError, Publish, Topic};
use turnpike_domain::id::{OrgId, Position};
use turnpike_wire::heartbeat::{Heartbeat, MAX_HEADS, MovedHead};

use crate::app::App;

/// How often a heartbeat is sent.
pub(crate) const BEAT_MS: u64 = 1_000;

/// The heartbeats of one term of the relay.
pub(crate) struct Pulse {
    app: Arc<App>,
    /// Numbers of a later term are greater: the fence stands in the upper half.
    number: u64,
    previous: u64,
    moved: BTreeMap<OrgId, MovedHead>,
    due_ms: u64,
    /// Since when the bus takes nothing, in steady time.
    refused_since_ms: Option<u64>,
}

impl Pulse {
    /// The heartbeats of the term with this fence; the first is due at once.
    pub(crate) fn new(app: Arc<App>, fence: u64) -> Self {
        let due_ms = app.clock.boot_ms();
        let (number, moved) = (fence << 32, BTreeMap::new());
        Self { app, number, previous: 0, moved, due_ms, refused_since_ms: None }
    }

    /// Notes that a head has moved.
    pub(crate) fn moved(&mut self, head: MovedHead) {
        self.moved.insert(head.org, head);
    }

    /// The bus has taken something.
    pub(crate) const fn taken(&mut self) {
        self.refused_since_ms = None;
    }

    /// The bus has not taken something.
    pub(crate) fn refused(&mut self) {
        self.refused_since_ms.get_or_insert(self.app.clock.boot_ms());
    }

    /// For how long the bus takes nothing.
    pub(crate) fn refused_for_ms(&self) -> u64 {
        let since_ms = self.refused_since_ms;
        since_ms.map_or(0, |since_ms| self.app.clock.boot_ms().saturating_sub(since_ms))
    }

    /// Milliseconds until the next heartbeat is due.
    pub(crate) fn due_in_ms(&self) -> u64 {
        self.due_ms.saturating_sub(self.app.clock.boot_ms())
    }

    /// Sends a heartbeat if one is due. All events up to `position` must have been published.
    ///
    /// What could not be sent is in no later heartbeat: its number is missing, so gateways fetch.
    pub(crate) async fn beat(&mut self, position: Position) {
        if self.due_in_ms() > 0 {
            return;
        }
        self.due_ms = self.app.clock.boot_ms().saturating_add(BEAT_MS);
        loop {
            let mut heads = std::mem::take(&mut self.moved);
            let rest = match heads.keys().nth(MAX_HEADS).copied() {
                Some(first) => heads.split_off(&first),
                None => BTreeMap::new(),
            };
            self.moved = rest;
            self.number = self.number.saturating_add(1);
            match self.send(position, &heads).await {
                Ok(()) => self.taken(),
                Err(error) => {
                    tracing::warn!(%error, "a heartbeat was not sent");
                    self.refused();
                }
            }
            self.previous = self.number;
            if self.moved.is_empty() {
                return;
            }
        }
    }

    /// To gateways of every organisation all heads; to an organisation's own gateways its own and
    /// the platform's.
    async fn send(
        &self,
        position: Position,
        heads: &BTreeMap<OrgId, MovedHead>,
    ) -> Result<(), BusError> {
        self.publish(OrgId::PLATFORM, position, heads.values().copied().collect()).await?;
        for org in self.app.directory.with_gateways() {
            let own = [OrgId::PLATFORM, org];
            let own = own.iter().filter_map(|each| heads.get(each)).copied().collect();
            self.publish(org, position, own).await?;
        }
        Ok(())
    }

    async fn publish(
        &self,
        org: OrgId,
        position: Position,
        heads: Vec<MovedHead>,
    ) -> Result<(), BusError> {
        let beat = Heartbeat {
            incarnation: self.app.incarnation,
            number: self.number,
            previous: self.previous,
            at: self.app.clock.now(),
            position,
            heads,
            signers: self.app.keys.signing.signers().ids().collect(),
        };
        let message = Publish {
            topic: Topic::Heartbeat { org },
            id: String::new(),
            headers: Vec::new(),
            payload: Bytes::from(beat.sign(self.app.keys.signing.current())),
        };
        self.app.bus.publish(message).await
    }
}
