//! What is left of a key's rates, as far as this gateway was told.

use turnpike_domain::admit::LimitSource;
use turnpike_domain::rate::on_path;

use super::Permits;
use crate::core::Entry;

/// How one rate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLeft {
    /// Whose, and whether of requests or of tokens.
    pub source: LimitSource,
    /// How many in any 60 seconds.
    pub limit: u64,
    /// How many are left; `None`: nothing was asked for through this gateway lately.
    pub left: Option<u64>,
    /// Milliseconds until all are there again, if nobody asks; 0 where that is not known.
    pub reset_ms: u64,
}

impl Permits {
    /// The rate of requests and that of tokens on the key's path that have the least left. Nothing
    /// is taken and nobody is asked.
    #[must_use]
    pub fn look(&self, entry: &Entry) -> [Option<RateLeft>; 2] {
        let now_ms = self.clock.boot_ms();
        let limited = on_path(&entry.org.organisation, &entry.key);
        let (mut requests, mut tokens) = (Vec::new(), Vec::new());
        for (account, rate) in limited.into_iter().flatten() {
            let told = self.shelves.known(account).map(|shelf| shelf.left(now_ms));
            let stands = |source, limit: u64, free: Option<u64>| {
                let reset_ms = told.map_or(0, |left| left.reset_ms);
                // Nothing counts any more: what was told is over.
                let free = free.map(|free| if reset_ms == 0 { limit } else { free.min(limit) });
                RateLeft { source, limit, left: free, reset_ms }
            };
            requests.extend(rate.requests.map(|limit| {
                let free = told.map(|left| left.free.requests);
                stands(LimitSource::RequestRate(account), u64::from(limit), free)
            }));
            tokens.extend(rate.tokens.map(|limit| {
                let free = told.map(|left| left.free.tokens);
                stands(LimitSource::TokenRate(account), limit, free)
            }));
        }
        [requests, tokens].map(|all| all.into_iter().min_by_key(|it| it.left.unwrap_or(it.limit)))
    }
}
