//! Which gateways were heard of lately: by calls, receipts or spend.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::time::MINUTE_MS;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::booking::shard_of;

/// A gateway counts as live for so long after it was heard: receipts come each second.
const LIVE_MS: u64 = MINUTE_MS;

/// What this process has heard, whoever owns the shards: who wins one knows its gateways already.
pub(crate) struct Presence {
    clock: SharedClock,
    heard: Mutex<Heard>,
}

struct Heard {
    /// Since when it listens without a break.
    since_ms: u64,
    last_ms: BTreeMap<(OrgId, GatewayId), u64>,
}

impl Presence {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let heard = Heard { since_ms: clock.boot_ms(), last_ms: BTreeMap::new() };
        Self { clock, heard: Mutex::new(heard) }
    }

    /// A gateway has spoken.
    pub(crate) fn hear(&self, org: OrgId, gateway: GatewayId) {
        let now_ms = self.clock.boot_ms();
        self.lock().last_ms.insert((org, gateway), now_ms);
    }

    /// Nothing could be heard until now: silence is no sign of anything.
    pub(crate) fn was_deaf(&self) {
        self.lock().since_ms = self.clock.boot_ms();
    }

    /// For how long it has listened.
    pub(crate) fn listened_ms(&self) -> u64 {
        self.clock.boot_ms().saturating_sub(self.lock().since_ms)
    }

    /// How many of an organisation's gateways are live, at least one. Who has not listened for long
    /// enough cannot know, and takes all that `joined`.
    pub(crate) fn live(&self, org: OrgId, joined: usize) -> u32 {
        let now_ms = self.clock.boot_ms();
        let heard = self.lock();
        let of_org = heard.last_ms.range((org, GatewayId(0))..=(org, GatewayId(u128::MAX)));
        let live = of_org.filter(|(_, last_ms)| now_ms.saturating_sub(**last_ms) < LIVE_MS).count();
        let young = now_ms.saturating_sub(heard.since_ms) < LIVE_MS;
        let count = if young { live.max(joined) } else { live };
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// The gateways of an organisation that were heard of in the last `within_ms`.
    pub(crate) fn heard(&self, org: OrgId, within_ms: u64) -> Vec<GatewayId> {
        let now_ms = self.clock.boot_ms();
        let heard = self.lock();
        let of_org = heard.last_ms.range((org, GatewayId(0))..=(org, GatewayId(u128::MAX)));
        let lately = of_org.filter(|(_, last_ms)| now_ms.saturating_sub(**last_ms) < within_ms);
        lately.map(|((_, gateway), _)| *gateway).collect()
    }

    /// Whether a gateway is among those that were heard of and not taken out.
    pub(crate) fn knows(&self, org: OrgId, gateway: GatewayId) -> bool {
        self.lock().last_ms.contains_key(&(org, gateway))
    }

    /// Takes out the gateways of a shard's organisations that were silent for `silent_ms` while it
    /// listened.
    pub(crate) fn take_silent(&self, shard: u8, silent_ms: u64) -> Vec<(OrgId, GatewayId)> {
        let now_ms = self.clock.boot_ms();
        let mut heard = self.lock();
        let since_ms = heard.since_ms;
        let silent = heard.last_ms.extract_if(.., |(org, _), last_ms| {
            let quiet_ms = now_ms.saturating_sub(since_ms.max(*last_ms));
            shard_of(*org) == shard && quiet_ms >= silent_ms
        });
        silent.map(|(who, _)| who).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::{Clock as _, PausedClock};

    use super::*;

    const ORG: OrgId = OrgId(1);
    const OTHER: OrgId = OrgId(2);

    #[tokio::test(start_paused = true)]
    async fn who_is_new_takes_all_that_joined_for_live() {
        let clock = PausedClock::new(Timestamp(0));
        let presence = Presence::new(Arc::new(clock.clone()));
        presence.hear(ORG, GatewayId(1));
        presence.hear(OTHER, GatewayId(2));
        assert_eq!((presence.live(ORG, 5), presence.live(ORG, 0)), (5, 1));
        clock.sleep(LIVE_MS - 1).await;
        presence.hear(ORG, GatewayId(3));
        assert_eq!(presence.live(ORG, 5), 5);
        clock.sleep(1).await;
        assert_eq!(presence.live(ORG, 5), 1, "the first was not heard of for a minute");
        assert_eq!(presence.live(OTHER, 5), 1, "nobody, which counts as one");
        presence.was_deaf();
        assert_eq!(presence.live(OTHER, 5), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_while_somebody_listened() {
        let clock = PausedClock::new(Timestamp(0));
        let presence = Presence::new(Arc::new(clock.clone()));
        presence.hear(ORG, GatewayId(1));
        clock.sleep(900).await;
        presence.was_deaf();
        clock.sleep(900).await;
        presence.hear(ORG, GatewayId(2));
        assert!(presence.take_silent(shard_of(ORG), 1_000).is_empty());
        clock.sleep(100).await;
        assert!(presence.take_silent(shard_of(OTHER), 1_000).is_empty(), "of another shard");
        assert_eq!(presence.take_silent(shard_of(ORG), 1_000), [(ORG, GatewayId(1))]);
        assert!(presence.take_silent(shard_of(ORG), 1_000).is_empty(), "each silence once");
        assert!(!presence.knows(ORG, GatewayId(1)) && presence.knows(ORG, GatewayId(2)));
    }
}
