//! Silence: gateways that were not heard of for long are given up, and what they hold is lost.

use std::collections::VecDeque;

use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::state::Organisation;
use turnpike_store::booking::Booker;
use turnpike_store::error::StoreError;

use super::Office;

/// Into how many looks the bound is divided: a hold is lost at most that part late.
const LOOKS: u64 = 60;
/// Gateways given up in one turn, so that the shard goes on answering meanwhile.
const AT_ONCE: usize = 16;

/// What one owner knows of silent gateways.
#[derive(Default)]
pub(super) struct Silence {
    looked_ms: u64,
    /// Those that were never heard of have been found too.
    found_unknown: bool,
    silent: VecDeque<(OrgId, GatewayId)>,
}

impl Silence {
    /// Gives up gateways that were silent for the configured time.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed; those that are left are given up later.
    pub(super) async fn look(
        &mut self,
        office: &Office,
        shard: u8,
        booker: &mut Booker,
    ) -> Result<(), StoreError> {
        let now_ms = office.clock.boot_ms();
        if now_ms.saturating_sub(self.looked_ms) >= office.lose_after_ms / LOOKS {
            self.looked_ms = now_ms;
            self.silent.extend(office.presence.take_silent(shard, office.lose_after_ms));
            if !self.found_unknown && office.presence.listened_ms() >= office.lose_after_ms {
                self.silent.extend(unknown(office, shard).await?);
                self.found_unknown = true;
            }
        }
        for _ in 0..AT_ONCE.min(self.silent.len()) {
            let Some((org, gateway)) = self.silent.pop_front() else { break };
            match booker.lose(org, gateway).await {
                Ok(true) => {
                    office.authority.lost.inc();
                    tracing::error!(%org, %gateway, "a gateway is silent: what it holds is lost");
                }
                Ok(false) => {}
                Err(error) => {
                    self.silent.push_back((org, gateway));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Gateways that this process has never heard of: they were silent before it began to listen.
async fn unknown(office: &Office, shard: u8) -> Result<Vec<(OrgId, GatewayId)>, StoreError> {
    let of_all: Vec<GatewayId> =
        office.streams.platform(|state| state.gateways.keys().copied().collect()).await?;
    let mut found = Vec::new();
    for org in office.organisations(shard).await? {
        let read = |state: &Organisation| state.gateways.keys().copied().collect::<Vec<_>>();
        let own = match office.streams.organisation(org, read).await {
            Ok(own) => own,
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%org, %error, "its silent gateways are not known");
                continue;
            }
            Err(error) => return Err(error),
        };
        let gateways = own.iter().chain(&of_all).copied();
        let silent = gateways.filter(|gateway| !office.presence.knows(org, *gateway));
        found.extend(silent.map(|gateway| (org, gateway)));
    }
    Ok(found)
}
