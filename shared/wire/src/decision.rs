//! Decisions: why a gateway refused a request, sealed into the id that the caller is given.
//!
//! Nothing is stored: the id is `dec_` and the base62 of the sealed form, so that no refusal can be
//! lost and no flood of them fills a disk. Whoever holds an id can read nothing of it; the control
//! plane opens it for those who may know.

use std::net::IpAddr;

use serde_json::Value;
use thiserror::Error;
use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::id::{DecisionId, EphemeralId, GatewayId, KeyId, OrgId, RequestId};
use turnpike_domain::limit::Unit;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::secret::Sealed;
use turnpike_domain::time::Timestamp;

use crate::base62;
use crate::cbor::{Malformed, Reader, Writer};
use crate::form::{Form, Json as _, decode, encode};
use crate::seal::{CannotOpen, CannotSeal, NONCE_BYTES, SealingKeys};

/// The most characters of an id: ten times a usual one; a model's name may be long.
const MAX_CHARS: usize = 2_048;

/// Why a request was refused, as its gateway saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whose key it was.
    pub org: OrgId,
    /// Which key.
    pub key: KeyId,
    /// When.
    pub at: Timestamp,
    /// The rule.
    pub denial: Denial,
    /// The status that the caller saw.
    pub status: u16,
    /// Who refused it.
    pub gateway: GatewayId,
    /// The request, as the caller was told its id.
    pub request: RequestId,
    /// Up to which event the gateway knew the organisation.
    pub seq: u64,
    /// Up to which event it knew the platform.
    pub platform_seq: u64,
    /// The last event of the key that it knew.
    pub key_seq: u64,
    /// The model that was asked for, once that is known.
    pub model: Option<Box<str>>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The MCP server that was asked for.
    pub server: Option<Box<str>>,
    /// The tool that was asked for, at most [`MAX_TOOL_CHARS`] of its name.
    ///
    /// [`MAX_TOOL_CHARS`]: turnpike_domain::text::MAX_TOOL_CHARS
    pub tool: Option<Box<str>>,
    /// The limit and how it stood, where a limit refused.
    pub figures: Option<Figures>,
    /// The ephemeral token that was presented, if one was.
    pub token: Option<EphemeralId>,
}

/// Why a text is not the id of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotADecision {
    /// It does not look like one.
    #[error("it is no dec_ and letters and digits")]
    Shape,
    /// It was changed, or sealed by another house.
    #[error(transparent)]
    Seal(#[from] CannotOpen),
    /// What was sealed cannot be read.
    #[error(transparent)]
    Form(#[from] Malformed),
}

crate::form!(Figures {
    1 source,
    2 limit,
    3 used,
    4 held,
    5 resets_at,
    6 retry_after_ms,
    7 revision [default],
});
crate::form!(Decision {
    1 org,
    2 key,
    3 at,
    4 denial,
    5 status,
    6 gateway,
    7 request,
    8 seq,
    9 platform_seq,
    10 key_seq,
    11 model,
    12 address,
    13 figures,
    14 server,
    15 tool,
    16 token,
});

const COST: u64 = 1;
const TOKENS: u64 = 2;
const REQUEST_RATE: u64 = 3;
const TOKEN_RATE: u64 = 4;

/// A pair of what is limited and whose limit it is.
impl Form for LimitSource {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        out.uint(match self {
            Self::Budget(_, Unit::Usd) => COST,
            Self::Budget(_, Unit::Tokens) => TOKENS,
            Self::RequestRate(_) => REQUEST_RATE,
            Self::TokenRate(_) => TOKEN_RATE,
        });
        self.account().write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (2, number) = (from.array()?, from.uint()?) else {
            return Err(Malformed::Expected("a pair"));
        };
        let account = Form::read(from)?;
        match number {
            COST => Ok(Self::Budget(account, Unit::Usd)),
            TOKENS => Ok(Self::Budget(account, Unit::Tokens)),
            REQUEST_RATE => Ok(Self::RequestRate(account)),
            TOKEN_RATE => Ok(Self::TokenRate(account)),
            number => Err(Malformed::Unknown { form: "source of a limit", number }),
        }
    }
}

impl Decision {
    /// The id that explains it. The nonce must be fresh random bytes.
    ///
    /// # Errors
    /// [`CannotSeal::TooLarge`].
    pub fn seal(
        &self,
        keys: &SealingKeys,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<String, CannotSeal> {
        let sealed = keys.seal(nonce, &encode(self))?;
        Ok(format!("{}_{}", DecisionId::PREFIX, base62::word(&sealed.0)))
    }

    /// What an id says.
    ///
    /// # Errors
    /// [`NotADecision`].
    pub fn open(id: &str, keys: &SealingKeys) -> Result<Self, NotADecision> {
        let word = id.strip_prefix(DecisionId::PREFIX).and_then(|rest| rest.strip_prefix('_'));
        let word = word.filter(|word| word.len() <= MAX_CHARS).ok_or(NotADecision::Shape)?;
        let sealed = base62::bytes(word).ok_or(NotADecision::Shape)?;
        Ok(decode(&keys.open(&Sealed(sealed.into()))?)?)
    }
}

/// An amount as callers are told it: USD as a decimal text, counts as numbers, null if unknown.
#[must_use]
pub fn amount(source: LimitSource, amount: Option<i64>) -> Value {
    match amount {
        Some(amount) if source.is_money() => NanoUsd(amount).json(),
        amount => amount.into(),
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::limit::Account;

    use super::*;
    use crate::seal::{Purpose, SealingKey};

    fn keys(purpose: Purpose) -> SealingKeys {
        SealingKeys::new(purpose, vec![SealingKey::new(1, &[7; 32])]).unwrap()
    }

    fn decision() -> Decision {
        let source = LimitSource::Budget(Account::Key(KeyId(4)), Unit::Usd);
        let resets_at = Some(Timestamp(1_796_083_200_000));
        let figures = Figures {
            source,
            limit: Some(10_000_000_000),
            used: Some(9_999_000_000),
            held: None,
            resets_at,
            retry_after_ms: None,
            revision: 2,
        };
        Decision {
            org: OrgId(u128::MAX),
            key: KeyId(u128::MAX >> 1),
            at: Timestamp(1_795_000_000_000),
            denial: Denial::QuotaExceeded,
            status: 402,
            gateway: GatewayId(u128::MAX >> 2),
            request: RequestId(u128::MAX >> 3),
            seq: 70_000,
            platform_seq: 12,
            key_seq: 69_000,
            model: Some("echo-1".into()),
            address: Some([192, 0, 2, 7].into()),
            server: None,
            tool: None,
            figures: Some(figures),
            token: Some(EphemeralId(9)),
        }
    }

    #[test]
    fn a_sealed_decision_is_a_word_that_opens() {
        let id = decision().seal(&keys(Purpose::Decision), &[9; NONCE_BYTES]).unwrap();
        assert!(id.starts_with("dec_") && id[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(id.len() < 330, "{}", id.len());
        assert_eq!(Decision::open(&id, &keys(Purpose::Decision)), Ok(decision()));
        let least =
            Decision { model: None, address: None, figures: None, token: None, ..decision() };
        let id = least.seal(&keys(Purpose::Decision), &[8; NONCE_BYTES]).unwrap();
        assert_eq!(Decision::open(&id, &keys(Purpose::Decision)), Ok(least));
    }

    #[test]
    fn every_source_comes_back() {
        let key = Account::Key(KeyId(4));
        for source in [
            LimitSource::Budget(Account::Wallet, Unit::Usd),
            LimitSource::Budget(key, Unit::Tokens),
            LimitSource::RequestRate(key),
            LimitSource::TokenRate(key),
        ] {
            assert_eq!(decode(&encode(&source)), Ok(source));
        }
        assert!(decode::<LimitSource>(&[0x82, 9, 0x81, 1]).is_err());
    }

    #[test]
    fn what_is_no_decision_of_this_house_does_not_open() {
        let id = decision().seal(&keys(Purpose::Session), &[9; NONCE_BYTES]).unwrap();
        let broken = Decision::open(&id, &keys(Purpose::Decision));
        assert_eq!(broken, Err(NotADecision::Seal(CannotOpen::Broken)));
        let long = format!("dec_{}", "0".repeat(MAX_CHARS + 1));
        for wrong in ["", "dec", "key_0", "dec_-", "dec_zzz", long.as_str()] {
            let opened = Decision::open(wrong, &keys(Purpose::Decision));
            assert_eq!(opened, Err(NotADecision::Shape), "{wrong}");
        }
        assert!(Decision::open("dec_", &keys(Purpose::Decision)).is_err());
    }

    #[test]
    fn amounts_are_told_in_their_unit() {
        let key = Account::Key(KeyId(4));
        assert_eq!(amount(LimitSource::Budget(key, Unit::Usd), Some(1_500_000_000)), "1.50");
        assert_eq!(amount(LimitSource::RequestRate(key), Some(60)), 60);
        assert_eq!(amount(LimitSource::RequestRate(key), None), Value::Null);
    }
}
