//! Turns a request to its next way: priced anew, and reserved anew where that way may cost more.

use turnpike_domain::admit::{Demand, Offer, offer, reservation};
use turnpike_domain::id::ProviderId;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::Reservation;

use super::Site;
use super::admit::{Job, demand, tariff};
use super::route::{Choice, Parcel};

impl Job {
    /// Turns to the next way, if the rules still leave one that was not tried, that can be taken,
    /// and that the budgets suffice for. Those that do not are added to `tried`.
    pub(super) async fn turn(&mut self, site: &Site, tried: &mut Vec<ProviderId>) -> bool {
        let platform = site.core.platform();
        // Shared with the request's own read: the body stands in one place.
        let (headers, body) = (self.headers.clone(), self.body.clone());
        let model = self.arrival.model.clone();
        let Ok(read) = self.call.peek(model.as_deref(), &headers, &body) else { return false };
        let (entry, address) = (self.arrival.entry.clone(), self.arrival.address);
        let offered = offer(&platform, &entry.org.organisation, &entry.key, &read.model, address);
        let Ok(offer) = offered else { return false };
        let of = self.arrival.request;
        let parcel =
            Parcel { id: of, call: self.call, read: &read, headers: &headers, body: &body };
        let mut demand = demand(self.call, &read, &body);
        demand.max_output = self.clamp.or(demand.max_output);
        while let Ok(choice) = parcel.choose(site, &offer, tried) {
            let provider = choice.way.provider_id;
            if self.reprice(site, &offer, &choice, &demand).await {
                self.admitted.reroute(provider);
                self.route = parcel.send_by(choice, self.clamp);
                return true;
            }
            tried.push(provider);
        }
        false
    }

    /// Charges the request by what the way costs. What it may cost more is reserved beside what it
    /// holds, so that no moment goes by without its reservation; answers whether that was there.
    async fn reprice(
        &mut self,
        site: &Site,
        offer: &Offer<'_>,
        choice: &Choice<'_>,
        demand: &Demand,
    ) -> bool {
        let (tariff, now) = (tariff(offer, self.call, choice.way.prices), site.core.now());
        let ticket = self.admitted.ticket_mut();
        let admitted_at = ticket.tariff().price_version;
        // Who was admitted at a price that is no more pays that one.
        let is_older = admitted_at != 0 && admitted_at != offer.price_version;
        if is_older || ticket.tariff() == tariff {
            return true;
        }
        let held = ticket.opening().reservation;
        let bound = reservation(offer.spec, choice.way.prices, tariff.multiplier, demand);
        let bound = Reservation { input: held.input, output: held.output, ..bound };
        let more = NanoUsd(bound.cost.0.saturating_sub(held.cost.0));
        let mut grip = None;
        if more > NanoUsd::ZERO {
            let more = Reservation { cost: more, ..Reservation::default() };
            let taken = site.leases.reserve(&self.arrival.entry, &more, now).await;
            grip = match (ticket.lease(), taken) {
                // No cap stands on its path.
                (None, Ok(None)) => None,
                (Some(lease), Ok(Some(more))) if more.lease() == lease => Some(more),
                // Who was admitted at no cost has no lease that the rest could be counted on.
                (None, Ok(Some(_))) | (Some(_), Ok(_)) | (_, Err(_)) => return false,
            };
        }
        if ticket.reprice((choice.way.provider_id, tariff), bound, grip).is_err() {
            return false;
        }
        // As at the admission: what a crash would book stands before the provider is asked.
        site.lane.written().is_ok()
    }
}
