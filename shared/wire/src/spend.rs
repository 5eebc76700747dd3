//! Messages of spend: batches from a gateway, and what the projector says that it booked.
//!
//! Neither names the gateway or the organisation: the subject that a message came on does, and only
//! the subject is enforced.

use turnpike_domain::id::{EpochId, GatewayId, LeaseId};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::Spend;
use turnpike_domain::time::Timestamp;

use crate::cbor::{Malformed, Reader, Writer};
use crate::form;
use crate::form::Form;

/// The most records of one batch: a hundred are one message of 20 kB, and a message lost is resent
/// as a whole.
pub const MAX_RECORDS: usize = 100;

/// The most bytes before a record in a batch, which say how long it is.
const RECORD_HEAD_BYTES: usize = 3;
/// The most bytes of a batch without its records: a map, four numbers, the epoch's id.
const BATCH_HEAD_BYTES: usize = 64;

/// The field of a settled record that holds its key's metadata: behind all of a record's own.
const METADATA: u64 = 28;

/// Records of one epoch of a gateway with successive numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The run of the gateway that measured them.
    pub epoch: EpochId,
    /// The number of the first record, or of the next one if there are none.
    pub first: u64,
    /// The records, at most [`MAX_RECORDS`].
    pub records: Vec<Encoded>,
    /// The epoch's clean end: no record follows the last one of this batch.
    pub end: bool,
}

/// The bytes of a record. A batch holds them closed, so that one that cannot be read does not take
/// its neighbours with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(pub Vec<u8>);

/// "All of your epoch's records up to this number are booked": said after each commit and each
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Whose records.
    pub epoch: EpochId,
    /// The last number that is booked; 0: none yet.
    pub number: u64,
    /// When that number was booked: what the epoch had numbered before then and not sent is not
    /// among it. `None`: nothing is booked.
    pub complete_to: Option<Timestamp>,
    /// The clean end is booked too.
    pub ended: bool,
    /// Records behind `number` arrived without the next one: send again from there at once.
    pub gap: bool,
}

/// A record as the request log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// The record.
    pub record: Spend,
    /// Who measured it.
    pub gateway: GatewayId,
    /// In which run.
    pub epoch: EpochId,
    /// Its number there.
    pub number: u64,
}

/// What a record has reserved, and where: all that must be known of one whose other fields make no
/// sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What was reserved for the request.
    pub reserved: NanoUsd,
    /// Tokens that were reserved for it.
    pub reserved_tokens: u64,
    /// The lease that it was reserved on, if it was on one.
    pub lease: Option<LeaseId>,
}

form!(Batch { 1 epoch, 2 first, 3 records [default], 4 end [default] });
form!(Booked { 1 epoch, 2 number, 3 complete_to, 4 ended [default], 5 gap [default] });
form!(LogRow { 1 record, 2 gateway, 3 epoch, 4 number });

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
    19 denial "code",
    20 unmetered [default] "unmetered",
    21 repeats [default] "repeats",
    22 decision "decision_id",
    23 legacy [default] "legacy",
    24 server "server",
    25 tool "tool",
    26 streamed [default] "streamed",
    27 failovers [default] "failovers",
});

form!(Hold { 15 reserved, 16 reserved_tokens, 17 lease });

impl Form for Encoded {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(from.bytes()?.to_vec()))
    }
}

/// The bytes of a record.
#[must_use]
pub fn encode(record: &Spend) -> Vec<u8> {
    form::encode(record)
}

/// The bytes of a record, written where `room` was: what it held is forgotten, its memory is used
/// again.
#[must_use]
pub fn encode_over(record: &Spend, room: Vec<u8>) -> Vec<u8> {
    let mut out = Writer::over(room);
    record.write(&mut out);
    out.into_bytes()
}

/// The record of bytes.
///
/// # Errors
/// [`Malformed`].
pub fn decode(bytes: &[u8]) -> Result<Spend, Malformed> {
    form::decode(bytes)
}

/// What the record of these bytes holds, whatever its other fields say.
///
/// # Errors
/// [`Malformed`] if not even that can be read.
pub fn hold(bytes: &[u8]) -> Result<Hold, Malformed> {
    form::decode(bytes)
}

/// The message that carries records with successive numbers from `first` on.
#[must_use]
pub fn batch<R: AsRef<[u8]>>(epoch: EpochId, first: u64, records: &[R], end: bool) -> Vec<u8> {
    // The form of `Batch`, without a copy of each record.
    let bytes =
        records.iter().map(|record| record.as_ref().len().saturating_add(RECORD_HEAD_BYTES));
    let mut out = Writer::over(Vec::with_capacity(bytes.sum::<usize>() + BATCH_HEAD_BYTES));
    out.map(2 + usize::from(!records.is_empty()) + usize::from(end));
    out.uint(1);
    epoch.write(&mut out);
    out.uint(2);
    out.uint(first);
    if !records.is_empty() {
        out.uint(3);
        out.array(records.len());
        records.iter().for_each(|record| out.bytes(record.as_ref()));
    }
    if end {
        out.uint(4);
        out.bool(true);
    }
    out.into_bytes()
}

/// Reads a message of records; each of them is read on its own.
///
/// # Errors
/// [`Malformed`], also if there are more than [`MAX_RECORDS`].
pub fn read_batch(message: &[u8]) -> Result<Batch, Malformed> {
    let batch: Batch = form::decode(message)?;
    if batch.records.len() > MAX_RECORDS {
        return Err(Malformed::Range("at most a hundred records"));
    }
    Ok(batch)
}

/// Reads a message that says what was booked.
///
/// # Errors
/// [`Malformed`].
pub fn booked(message: &[u8]) -> Result<Booked, Malformed> {
    form::decode(message)
}

/// The bytes of a record as outside consumers get it: with the metadata that its key had then, a
/// JSON text, which no gateway carries.
///
/// # Errors
/// [`Malformed`] never comes of what [`encode`] has written.
pub fn settled(record: &Spend, metadata: &str) -> Result<Vec<u8>, Malformed> {
    let record = encode(record);
    let mut fields = Reader::new(&record)?;
    let mut out = Writer::default();
    out.map(fields.map()?.saturating_add(1));
    out.raw(fields.rest());
    out.uint(METADATA);
    out.text(metadata);
    Ok(out.into_bytes())
}

/// The row of the request log.
#[must_use]
pub fn log_row(record: &Spend, gateway: GatewayId, epoch: EpochId, number: u64) -> Vec<u8> {
    form::encode(&LogRow { record: record.clone(), gateway, epoch, number })
}

/// Reads a row of the request log.
///
/// # Errors
/// [`Malformed`].
pub fn read_log_row(row: &[u8]) -> Result<LogRow, Malformed> {
    form::decode(row)
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
            model: "claude-sonnet-4-5-20250929".into(),
            provider: Some(ProviderId(u128::MAX)),
            status: 200,
            usage: Usage { input: 12_000, output: 1_500, cached_input: 9_000, ..Usage::default() },
            source: Source::Provider,
            price_version: 70_000,
            multiplier: Multiplier(1_250_000),
            cost: NanoUsd(43_200_000),
            reserved: NanoUsd(5_000_000_000),
            reserved_tokens: 80_000,
            lease: Some(LeaseId(u128::MAX)),
            latency_ms: 12_345,
            unmetered: false,
            ..Spend::unused(
                RequestId(u128::MAX),
                Timestamp(1_795_000_000_000),
                KeyId(u128::MAX),
                70_000,
            )
        }
    }

    #[test]
    fn a_record_has_at_most_two_hundred_bytes() {
        assert!(form::encode(&usual()).len() <= 200, "{}", form::encode(&usual()).len());
        let records = vec![encode(&usual()); MAX_RECORDS];
        assert!(batch(EpochId(1), 1, &records, false).len() <= 202 * MAX_RECORDS);
    }

    #[test]
    fn a_record_that_cannot_be_read_leaves_its_neighbours_alone() {
        let records = [encode(&usual()), b"\xff".to_vec(), encode(&usual())];
        let read = read_batch(&batch(EpochId(1), 7, &records, false)).unwrap();
        let readable: Vec<_> = read.records.iter().map(|one| decode(&one.0).is_ok()).collect();
        assert_eq!(readable, [true, false, true]);
        let many = vec![encode(&usual()); MAX_RECORDS + 1];
        assert!(read_batch(&batch(EpochId(1), 1, &many, false)).is_err());
    }

    #[test]
    fn what_a_record_holds_is_read_without_the_rest() {
        let record = usual();
        let Spend { reserved, reserved_tokens, lease, .. } = record;
        let known = Hold { reserved, reserved_tokens, lease };
        let mut bytes = encode(&record);
        assert_eq!(hold(&bytes), Ok(known));
        let name = bytes.windows(6).position(|part| part == b"claude").unwrap();
        bytes[name] = 0xff;
        assert!(decode(&bytes).is_err(), "a name that is no text");
        assert_eq!(hold(&bytes), Ok(known));
        assert!(hold(b"\xff").is_err());
    }

    #[test]
    fn a_settled_record_is_one_with_metadata_behind_it() {
        let record = usual();
        let bytes = settled(&record, r#"{"team":"x"}"#).unwrap();
        assert_eq!(decode(&bytes), Ok(record), "who does not know the field passes over it");
        let mut metadata = None;
        let mut reader = Reader::new(&bytes).unwrap();
        let read = reader.fields(|number, from| {
            if number == METADATA {
                metadata = Some(from.text()?.to_owned());
                return Ok(());
            }
            from.skip()
        });
        assert_eq!((read, reader.end()), (Ok(()), Ok(())));
        assert_eq!(metadata.as_deref(), Some(r#"{"team":"x"}"#));
    }

    #[test]
    fn marks_and_log_rows_come_back() {
        let complete_to = Some(Timestamp(5));
        let mark = Booked { epoch: EpochId(1), number: 2, complete_to, ended: true, gap: false };
        assert_eq!(booked(&form::encode(&mark)), Ok(mark));
        let (gateway, epoch, record) = (GatewayId(3), EpochId(4), usual());
        let row = log_row(&record, gateway, epoch, 5);
        assert_eq!(read_log_row(&row), Ok(LogRow { record, gateway, epoch, number: 5 }));
    }

    proptest! {
        #[test]
        fn every_batch_comes_back(epoch in samples::any_epoch(), first: u64, end: bool,
            records in prop::collection::vec(samples::any_spend(), 0..4)) {
            let bytes: Vec<_> = records.iter().map(encode).collect();
            let message = batch(epoch, first, &bytes, end);
            let read = read_batch(&message).unwrap();
            prop_assert_eq!(form::encode(&read), message);
            prop_assert_eq!((read.epoch, read.first, read.end), (epoch, first, end));
            let decoded: Vec<_> = read.records.iter().map(|one| decode(&one.0).unwrap()).collect();
            prop_assert_eq!(decoded, records);
        }

        #[test]
        fn arbitrary_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _may_be_refused = read_batch(&bytes);
        }
    }
}
