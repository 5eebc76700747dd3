//! Sessions: all that is known of one stands sealed in its cookie, so that replicas share no table.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnpike_domain::id::{MemberId, OrgId};
use turnpike_domain::secret::Sealed;
use turnpike_domain::time::{HOUR_MS, Timestamp};
use turnpike_runtime::entropy;
use turnpike_wire::seal::{NONCE_BYTES, SealingKeys};

use crate::problem::Problem;

/// The cookie's name.
const COOKIE: &str = "tp_session";
/// How long a session lasts: a working day.
const LIFETIME_MS: u64 = 12 * HOUR_MS;
/// The form of what is sealed.
const VERSION: u8 = 1;
/// Version, organisation, member, end and the number against forged writes.
const CLAIM_BYTES: usize = 1 + 16 + 16 + 8 + 16;

/// Makes and reads cookies.
pub(crate) struct Sessions {
    keys: SealingKeys,
    secure: bool,
}

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) org: OrgId,
    pub(crate) member: MemberId,
    /// The first moment at which it no longer works.
    pub(crate) until: Timestamp,
    csrf: [u8; 16],
}

impl Session {
    /// A new session.
    pub(crate) fn begin(org: OrgId, member: MemberId, now: Timestamp) -> Self {
        let mut csrf = [0; 16];
        entropy::fill(&mut csrf);
        Self { org, member, until: now.plus_ms(LIFETIME_MS), csrf }
    }

    /// What its writes must carry.
    pub(crate) fn csrf_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.csrf)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CLAIM_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.org.bytes());
        bytes.extend(self.member.bytes());
        bytes.extend(self.until.0.to_be_bytes());
        bytes.extend(self.csrf);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let (org, rest) = rest.split_first_chunk()?;
        let (member, rest) = rest.split_first_chunk()?;
        let (until, csrf) = rest.split_first_chunk()?;
        Some(Self {
            org: OrgId::from_bytes(*org),
            member: MemberId::from_bytes(*member),
            until: Timestamp(u64::from_be_bytes(*until)),
            csrf: csrf.try_into().ok()?,
        })
    }
}

impl Sessions {
    /// Cookies sealed with `keys`; `secure`: sent over TLS only.
    pub(crate) fn new(keys: SealingKeys, secure: bool) -> Self {
        Self { keys, secure }
    }

    /// The `Set-Cookie` of a session.
    pub(crate) fn set_cookie(&self, session: &Session) -> Result<String, Problem> {
        let mut nonce = [0; NONCE_BYTES];
        entropy::fill(&mut nonce);
        let sealed = self.keys.seal(&nonce, &session.bytes());
        let sealed = sealed.map_err(|error| Problem::internal(&error))?;
        Ok(self.cookie(&URL_SAFE_NO_PAD.encode(&sealed.0), LIFETIME_MS / 1_000))
    }

    /// The `Set-Cookie` that makes a browser forget.
    pub(crate) fn clear_cookie(&self) -> String {
        self.cookie("", 0)
    }

    /// The session of a cookie that still works.
    pub(crate) fn open(&self, cookie: &str, now: Timestamp) -> Option<Session> {
        let sealed = Sealed(URL_SAFE_NO_PAD.decode(cookie).ok()?.into());
        let session = Session::read(&self.keys.open(&sealed).ok()?)?;
        (now < session.until).then_some(session)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// The session cookie of a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}
