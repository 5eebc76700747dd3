//! Probes at rest: every key that has budget left is served by every gateway, and no other.

use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::Reservation;
use turnpike_wire::secret;

use crate::accounts::UNITS;
use crate::house::{House, Known, Serving};
use crate::money::levels;

/// Keys probed in a life.
const PROBES: usize = 12;
/// The most of a cap in percent that may be left when it is told to be used up.
const LEFT_PERCENT: i64 = 1;

impl House {
    /// Asks gateways for small reservations on keys that have caps.
    pub(crate) async fn probe(&self) {
        self.catch_up();
        let known: Vec<_> = self.secrets.borrow().iter().rev().cloned().collect();
        let mut probed = 0;
        for known in known {
            let serving = self.machines.iter().filter_map(|machine| machine.serving());
            let serving: Vec<Serving> = serving.collect();
            let Some(serving) = self.dice.pick(&serving) else { return };
            if self.probe_one(serving, &known).await {
                probed += 1;
            }
            if probed >= PROBES || self.watch.is_broken() {
                return;
            }
        }
    }

    /// Whether the secret opened a key with a cap.
    async fn probe_one(&self, serving: &Serving, known: &Known) -> bool {
        let presented = secret::parse(known.secret.expose()).unwrap();
        let Ok(entry) = serving.core.identify(&presented) else { return false };
        let levels = levels(&entry.org.organisation, &entry.key);
        if levels.iter().all(|(_, caps, _)| caps.iter().all(Option::is_none)) {
            return false;
        }
        let tokens = self.dice.between(1, 2_000);
        let cost = NanoUsd(i64::try_from(tokens).unwrap() * 5_000);
        let reservation = Reservation { input: tokens, cost, ..Reservation::default() };
        let now = serving.core.now();
        let reserved = serving.leases.reserve(&entry, &reservation, now).await;
        let denied = reserved.as_ref().err().map(|shortage| &shortage.denied);
        let denial = denied.map(|denied| denied.denial);
        let figures = denied.and_then(|denied| denied.figures.as_deref().copied());
        drop(reserved);
        if self.days_stepped.get() {
            return true;
        }
        let org = entry.org_id();
        let (mut fits, mut nearly_used_up, mut rows) = (true, false, Vec::new());
        let books = self.watch.accounts.books();
        for (account, caps, reset) in &levels {
            for ((unit, cap), bound) in
                UNITS.into_iter().zip(caps).zip(UNITS.map(|unit| reservation.amount(unit)))
            {
                let Some(cap) = cap else { continue };
                let window = reset.window(now);
                let row = books.rows.get(&(org, *account, unit, window));
                let row = row.copied().unwrap_or_default();
                let left = cap - row.settled - row.lost;
                fits &= bound <= left;
                nearly_used_up |= left * 100 <= cap * LEFT_PERCENT;
                rows.push((*account, unit, window, *cap, row));
            }
        }
        drop(books);
        let wrong = match denial {
            None => !fits,
            Some(_) => fits && !nearly_used_up,
        };
        if wrong {
            let what = format!("gateway {} at rest: {denial:?} to {cost:?}", serving.place);
            self.broken(format!(
                "{what} and {tokens} tokens of {}: {rows:?}, {figures:?}",
                entry.key.id
            ));
        }
        true
    }
}
