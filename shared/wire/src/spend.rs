//! Messages of spend: batches from a gateway, and what the projector says that it booked.
//!
//! Neither names the gateway or the organisation: the subject that a message came on does, and only
//! the subject is enforced.

use turnpike_domain::id::EpochId;
use turnpike_domain::spend::Spend;
use turnpike_domain::time::Timestamp;

use crate::form;

/// The most records of one batch: a hundred are one message of 20 kB, and a message lost is resent
/// as a whole.
pub const MAX_RECORDS: usize = 100;

/// Records of one epoch of a gateway with successive numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The run of the gateway that measured them.
    pub epoch: EpochId,
    /// The number of the first record; the others follow it.
    pub first: u64,
    /// The records, at most [`MAX_RECORDS`].
    pub records: Vec<Spend>,
    /// The epoch's clean end: it takes the number after the last record, and nothing comes after
    /// it. Whatever the epoch's leases still hold is free.
    pub end: bool,
}

/// "All of your epoch's records up to this number are booked": said after each commit and each
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Whose records.
    pub epoch: EpochId,
    /// The last number that is booked; 0: none yet.
    pub number: u64,
    /// The time up to which the gateway's spend is known to be complete.
    pub complete_to: Timestamp,
}

form!(Batch { 1 epoch, 2 first, 3 records [default], 4 end [default] });
form!(Booked { 1 epoch, 2 number, 3 complete_to });

form!(Spend {
    1 request "request_id",
    2 at "at",
    3 key "key_id",
    4 key_seq "key_seq",
    5 token "token_id",
    6 model "model",
    7 provider "provider_id",
    8 status "status",
    9 usage "usage",
    10 source "source",
    11 suspect [default] "suspect",
    12 price_version "price_version",
    13 multiplier [default] "multiplier",
    14 cost "cost_usd",
    15 reserved "reserved_usd",
    16 reserved_tokens "reserved_tokens",
    17 lease "lease_id",
    18 latency_ms "latency_ms",
});

impl Batch {
    /// The number after the last of the batch, the end included.
    #[must_use]
    pub fn next(&self) -> u64 {
        let records = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(records).saturating_add(u64::from(self.end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{form, samples};

    /// A record as they are: a cached answer of a model with a long name on a leased key.
    fn usual() -> Spend {
        use turnpike_domain::id::{KeyId, LeaseId, ProviderId, RequestId};
        use turnpike_domain::meter::Usage;
        use turnpike_domain::money::{Multiplier, NanoUsd};
        use turnpike_domain::spend::Source;

        Spend {
            request: RequestId(u128::MAX),
            at: Timestamp(1_795_000_000_000),
            key: KeyId(u128::MAX),
            key_seq: 70_000,
            token: None,
            model: "claude-sonnet-4-5-20250929".into(),
            provider: ProviderId(u128::MAX),
            status: 200,
            usage: Usage { input: 12_000, output: 1_500, cached_input: 9_000, ..Usage::default() },
            source: Source::Provider,
            suspect: false,
            price_version: 70_000,
            multiplier: Multiplier(1_250_000),
            cost: NanoUsd(43_200_000),
            reserved: NanoUsd(5_000_000_000),
            reserved_tokens: 80_000,
            lease: Some(LeaseId(u128::MAX)),
            latency_ms: 12_345,
        }
    }

    #[test]
    fn a_record_has_at_most_two_hundred_bytes() {
        assert!(form::encode(&usual()).len() <= 200, "{}", form::encode(&usual()).len());
        let records = vec![usual(); MAX_RECORDS];
        let batch = Batch { epoch: EpochId(1), first: 1, records, end: false };
        assert!(form::encode(&batch).len() <= 200 * MAX_RECORDS);
        assert_eq!(batch.next(), 101);
        assert_eq!(Batch { end: true, ..batch }.next(), 102);
    }

    proptest! {
        #[test]
        fn every_batch_comes_back(epoch in samples::any_epoch(), first: u64, end: bool,
            records in prop::collection::vec(samples::any_spend(), 0..4)) {
            let batch = Batch { epoch, first, records, end };
            prop_assert_eq!(form::decode(&form::encode(&batch)), Ok(batch));
        }

        #[test]
        fn arbitrary_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _may_be_refused = form::decode::<Batch>(&bytes);
        }
    }
}
