//! Heartbeats of the control plane, and what gateways answer: how far they are.

use thiserror::Error;
use turnpike_domain::id::{EpochId, IncarnationId, KeyId, OrgId, Position, ProviderId};
use turnpike_domain::time::Timestamp;

use crate::cbor::{Malformed, Reader, Writer};
use crate::form::Form as _;
use crate::record::Hash;
use crate::sign::{NotSigned, SignatureBytes, Signed, SignerId, Signers, SigningKey};
use crate::{form, names};

/// The most moved heads of one heartbeat: it stays under a message of the bus (900 kB).
pub const MAX_HEADS: usize = 10_000;

/// "I live, the log is here, and these heads have moved since I last said so."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The life of the store. Another one: everything must be fetched again.
    pub incarnation: IncarnationId,
    /// Its number, growing.
    pub number: u64,
    /// The number of the heartbeat before it on this topic; 0: there was none. A reader that has
    /// not seen that one fetches the heads.
    pub previous: u64,
    /// When it was sent.
    pub at: Timestamp,
    /// Up to where the log had been read.
    pub position: Position,
    /// Heads that have moved since the heartbeat before, at most [`MAX_HEADS`].
    pub heads: Vec<MovedHead>,
    /// The names of all keys whose signatures count, in their order: a gateway that has others asks
    /// for the keys. None: an older control plane sent it.
    pub signers: Vec<SignerId>,
}

/// Where a stream's head stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedHead {
    /// Whose stream.
    pub org: OrgId,
    /// The seq of its last event.
    pub seq: u64,
    /// The hash of its last event.
    pub hash: Hash,
}

/// The most numbers of one receipt: 7 kB. A gateway whose cores and earlier epochs are more than
/// these makes no promise about its spend until the projector has booked some of them.
pub const MAX_SPENT: usize = 256;

/// "I have applied everything up to here", with what the gateway has served of the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The run of the gateway.
    pub epoch: EpochId,
    /// The position of its mirror.
    pub position: Position,
    /// The mirror's time when it got there.
    pub at: Timestamp,
    /// Every request that it admitted before this moment stands among `spent`, or is booked.
    /// `None`: it promises nothing.
    pub complete_to: Option<Timestamp>,
    /// The last number of each epoch, of this run and of earlier ones, that has served the
    /// organisation and may not be booked to its end; at most [`MAX_SPENT`].
    pub spent: Vec<(EpochId, u64)>,
    /// How the stream's providers fare with the gateway; at most [`MAX_PROVIDERS`].
    pub providers: Vec<ProviderHealth>,
    /// What it could not read of the stream, or of the platform's, in this run; `None`: nothing.
    pub quarantine: Option<Quarantine>,
    /// Changes of the organisation's keys that it had applied, that its control plane no longer
    /// knows, and that nobody has made again; at most [`MAX_LOST`].
    pub lost: Vec<LostChange>,
}

/// Events that a gateway could not read, and did not act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// How many, in this run.
    pub events: u64,
    /// The seq of the last of them; `None`: not even that could be read.
    pub seq: Option<u64>,
    /// The mirror's time when it came.
    pub at: Timestamp,
    /// The stream has not been fetched as a whole since: what is served is the last good state.
    pub stands: bool,
}

/// The most lost changes of one receipt: 6 kB. What was lost beyond them stands in the gateway's
/// own audit log.
pub const MAX_LOST: usize = 256;

/// A change of a key that was applied and is gone, because the store was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostChange {
    /// The key, which is again what it was before.
    pub key: KeyId,
    /// What had been done to it.
    pub kind: LostKind,
}

/// What is gone of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LostKind {
    /// It was revoked, and works again.
    Revoked,
    /// It was disabled, and works again.
    Disabled,
    /// It was deleted, and is there again.
    Deleted,
    /// Its secret was replaced; the old one works again, the new one does not.
    Rotated,
    /// Its limits, scopes, expiry, name or metadata were changed, or it was enabled.
    Changed,
}

/// The most providers of one receipt: 4 kB.
pub const MAX_PROVIDERS: usize = 64;

/// How a provider fares with one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderHealth {
    /// The provider.
    pub provider: ProviderId,
    /// Whether it is passed over.
    pub circuit: CircuitState,
    /// Since when; `None`: since the gateway first called it.
    pub since: Option<Timestamp>,
    /// Requests that run.
    pub in_flight: u32,
    /// Requests of the last minute.
    pub calls: u64,
    /// Of them, those that it failed.
    pub errors: u64,
    /// The milliseconds after which half of them had the head of an answer; `None`: none had.
    pub p50_ms: Option<u64>,
}

/// Whether a gateway passes a provider over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CircuitState {
    /// No.
    Closed,
    /// Yes, for a while.
    Open,
    /// One request finds out.
    HalfOpen,
}

form!(Heartbeat {
    1 incarnation,
    2 number,
    3 previous [default],
    4 at,
    5 position,
    6 heads [default],
    7 signers [default],
});
form!(MovedHead { 1 org, 2 seq, 3 hash });
form!(Receipt {
    1 epoch,
    2 position,
    3 at,
    4 complete_to,
    5 spent [default],
    6 providers [default],
    7 quarantine,
    8 lost [default],
});
form!(LostChange { 1 key, 2 kind });
form!(Quarantine { 1 events, 2 seq, 3 at, 4 stands [default] });
form!(ProviderHealth {
    1 provider,
    2 circuit,
    3 since,
    4 in_flight,
    5 calls,
    6 errors,
    7 p50_ms,
});
names!(LostKind "lost change" {
    1 Revoked "revoked",
    2 Disabled "disabled",
    3 Deleted "deleted",
    4 Rotated "rotated",
    5 Changed "changed",
});
names!(CircuitState "circuit" { 1 Closed "closed", 2 Open "open", 3 HalfOpen "half_open" });

/// Why bytes are no heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHeartbeat {
    /// They cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The control plane did not sign them.
    #[error(transparent)]
    Signature(#[from] NotSigned),
}

impl Heartbeat {
    /// The message: a pair of the heartbeat's bytes and the signature of them.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let body = form::encode(self);
        let mut out = Writer::default();
        out.array(2);
        out.bytes(&body);
        key.sign(Signed::Heartbeat, &body).write(&mut out);
        out.into_bytes()
    }

    /// Reads a message, if it was signed by one of `signers`.
    ///
    /// # Errors
    /// [`BadHeartbeat`].
    pub fn verify(message: &[u8], signers: &Signers) -> Result<Self, BadHeartbeat> {
        let mut from = Reader::new(message)?;
        if from.array()? != 2 {
            return Err(Malformed::Expected("a pair").into());
        }
        let body = from.bytes()?;
        let signature = SignatureBytes::read(&mut from)?;
        from.end()?;
        signers.verify(Signed::Heartbeat, body, &signature)?;
        Ok(form::decode(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_of_before_promises_nothing() {
        let (epoch, position, at) = (EpochId(1), Position(2), Timestamp(3));
        let (spent, providers, lost) = (Vec::new(), Vec::new(), Vec::new());
        let (complete_to, quarantine) = (None, None);
        let least =
            Receipt { epoch, position, at, complete_to, spent, providers, quarantine, lost };
        let mut old = Writer::default();
        old.map(3);
        old.uint(1);
        epoch.write(&mut old);
        old.uint(2);
        position.write(&mut old);
        old.uint(3);
        at.write(&mut old);
        let old = old.into_bytes();
        assert_eq!(form::encode(&least), old, "what is not there takes no byte");
        assert_eq!(form::decode(&old), Ok(least.clone()));
        let spent = vec![(EpochId(4), u64::MAX); MAX_SPENT];
        let full = Receipt { complete_to: Some(Timestamp(5)), spent, ..least };
        assert_eq!(form::decode(&form::encode(&full)), Ok(full.clone()));
        assert!(form::encode(&full).len() < 8_000, "{}", form::encode(&full).len());
    }

    #[test]
    fn a_heartbeat_is_read_only_as_it_was_signed() {
        let key = SigningKey::from_seed(&[3; 32]);
        let beat = Heartbeat {
            incarnation: IncarnationId(1),
            number: 8,
            previous: 7,
            at: Timestamp(1_000),
            position: Position(9),
            heads: vec![MovedHead { org: OrgId(4), seq: 5, hash: [6; 32] }],
            signers: vec![key.verifying_key().id()],
        };
        let message = beat.sign(&key);
        let signers = Signers::from(key.verifying_key());
        assert_eq!(Heartbeat::verify(&message, &signers), Ok(beat));
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(Heartbeat::verify(&changed, &signers).is_err(), "byte {at}");
        }
        let other = Signers::from(SigningKey::from_seed(&[4; 32]).verifying_key());
        assert_eq!(
            Heartbeat::verify(&message, &other),
            Err(BadHeartbeat::Signature(NotSigned::Forged))
        );
    }
}
