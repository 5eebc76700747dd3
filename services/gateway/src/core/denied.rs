//! A refusal on its way to the caller.

use std::borrow::Cow;
use std::net::IpAddr;

use turnpike_domain::admit::{Denial, Figures};
use turnpike_domain::id::{DecisionId, EphemeralId, KeyId, OrgId, RequestId};
use turnpike_domain::state::{LimitStatus, Organisation};
use turnpike_domain::text::MAX_TOOL_CHARS;
use turnpike_domain::time::{SECOND_MS, Timestamp};
use turnpike_runtime::entropy;
use turnpike_wire::decision::Decision;
use turnpike_wire::seal::NONCE_BYTES;
use turnpike_wire::secret::without_secrets;

use super::{Core, Entry};
use crate::dialect::mcp::Reply;
use crate::permit::Quotas;

/// After how many seconds an overloaded gateway may be asked again: room comes back within moments,
/// and who is told nothing asks again at once.
const OVERLOADED_RETRY_S: u32 = 1;
/// The longest time that a caller is told to wait, in seconds: OpenAI's SDK for Node takes a longer
/// one for nonsense and asks again at once. Whoever asks a second too early is told the rest.
const MAX_RETRY_AFTER_S: u32 = 60;
/// What is kept of the name of a model that was asked for: one character more than any model's name
/// has, so that what was cut is not taken for a model.
const MAX_MODEL_CHARS: usize = 101;

/// Why a request was refused, and what its answer says of it. Each dialect gives it its envelope.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Code and status.
    pub denial: Denial,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// When.
    pub at: Timestamp,
    /// The ephemeral token that was presented, if one was.
    pub token: Option<EphemeralId>,
    /// Whose key it was and which, once that is known.
    pub subject: Option<Box<Subject>>,
    /// The status with which used-up budgets are refused.
    pub limit_status: LimitStatus,
    /// After how many seconds the same request may pass, if that is known.
    pub retry_after_s: Option<u32>,
    /// The limit that stood against it, if one did.
    pub figures: Option<Box<Figures>>,
    /// What is left of the rates that the request was counted on.
    pub(crate) quotas: Option<Box<Quotas>>,
    /// The request was admitted before: it is booked, and so it is in the request log.
    pub(crate) booked: bool,
    /// What an answer in JSON-RPC needs besides.
    pub reply: Option<Box<Reply>>,
    /// Another status than the code's, where the dialect's clients expect one.
    pub answered_with: Option<u16>,
}

/// Whose key was refused, and up to where its gateway knew of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The organisation.
    pub org: OrgId,
    /// The key.
    pub key: KeyId,
    /// The last event of the organisation that was known.
    pub seq: u64,
    /// The last event of the key that was known.
    pub key_seq: u64,
    /// The model that was asked for, once that is known.
    pub model: Option<Box<str>>,
    /// The MCP server that was asked for, once that is known.
    pub server: Option<Box<str>>,
    /// The tool that was asked for, once that is known.
    pub tool: Option<Box<str>>,
    /// The caller came with the key's legacy secret.
    pub legacy: bool,
}

impl Denied {
    /// A refusal that says only what its code says.
    #[must_use]
    pub fn new(denial: Denial, now: Timestamp) -> Self {
        Self {
            denial,
            message: Cow::Borrowed(denial.sentence()),
            at: now,
            token: None,
            subject: None,
            limit_status: LimitStatus::default(),
            retry_after_s: (denial == Denial::Overloaded).then_some(OVERLOADED_RETRY_S),
            figures: None,
            quotas: None,
            booked: false,
            reply: None,
            answered_with: None,
        }
    }

    /// With another sentence.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// With the key that was refused.
    #[must_use]
    pub fn of(mut self, entry: &Entry) -> Self {
        let Entry { org, key, seq, legacy, token, .. } = entry;
        self.token = self.token.or(token.as_ref().map(|token| token.claims.token));
        let Organisation { id, head, settings, .. } = &org.organisation;
        // What is shared is swapped when it changes; events about keys do not.
        self.subject = Some(Box::new(Subject {
            org: *id,
            key: key.id,
            seq: head.seq.max(*seq),
            key_seq: key.seq,
            model: None,
            server: None,
            tool: None,
            legacy: *legacy,
        }));
        self.limit_status = settings.limit_status;
        self
    }

    /// With the ephemeral token that was presented.
    #[must_use]
    pub const fn with_token(mut self, token: EphemeralId) -> Self {
        self.token = Some(token);
        self
    }

    /// With the model that was asked for.
    #[must_use]
    pub fn on(mut self, model: &str) -> Self {
        if let Some(subject) = &mut self.subject {
            let model = without_secrets(model);
            let end = model.char_indices().nth(MAX_MODEL_CHARS).map_or(model.len(), |(end, _)| end);
            subject.model = model.get(..end).map(Into::into);
        }
        self
    }

    /// With the MCP server and the tool that were asked for.
    #[must_use]
    pub fn on_tool(mut self, server: &str, tool: Option<&str>) -> Self {
        if let Some(subject) = &mut self.subject {
            let cut = |name: &str| {
                without_secrets(name).chars().take(MAX_TOOL_CHARS).collect::<String>().into()
            };
            subject.server = Some(cut(server));
            subject.tool = tool.map(cut);
        }
        self
    }

    /// The id that explains this refusal of `request` from `address`: all that is known of it,
    /// sealed. Where no key is known there is nothing to explain to anybody, and the id only names
    /// it.
    #[must_use]
    pub fn decision(&self, core: &Core, request: RequestId, address: IpAddr) -> String {
        let named = || DecisionId(entropy::id(self.at)).to_string();
        let Some(subject) = self.subject.as_deref() else { return named() };
        let Subject { org, key, seq, key_seq, .. } = *subject;
        let decision = Decision {
            org,
            key,
            at: self.at,
            denial: self.denial,
            status: self.status(),
            gateway: core.gateway(),
            request,
            seq,
            platform_seq: core.platform().head.seq,
            key_seq,
            model: subject.model.clone(),
            address: Some(address),
            server: subject.server.clone(),
            tool: subject.tool.clone(),
            figures: self.figures.as_deref().copied(),
            token: self.token,
        };
        let mut nonce = [0; NONCE_BYTES];
        entropy::fill(&mut nonce);
        // Only a model's name of many kilobytes cannot be sealed.
        decision.seal(core.decisions(), &nonce).unwrap_or_else(|_| named())
    }

    /// With the limit that stood against it. Where time alone helps, the answer says when.
    #[must_use]
    pub fn with_figures(mut self, figures: Figures) -> Self {
        if let Some(wait_ms) = figures.retry_after_ms {
            self = self.with_retry_after(wait_ms);
        }
        self.figures = Some(Box::new(figures));
        self
    }

    /// As the answer to an MCP message.
    #[must_use]
    pub fn replying(mut self, reply: Reply) -> Self {
        self.reply = Some(Box::new(reply));
        self
    }

    /// With the time after which it is worth asking again.
    #[must_use]
    pub fn with_retry_after(mut self, wait_ms: u64) -> Self {
        let wait_s = u32::try_from(wait_ms.div_ceil(SECOND_MS).max(1));
        self.retry_after_s = Some(wait_s.unwrap_or(u32::MAX).min(MAX_RETRY_AFTER_S));
        self
    }

    /// With what is left of the rates that the request was counted on.
    #[must_use]
    pub(crate) fn with_quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = Some(Box::new(quotas));
        self
    }

    /// The HTTP status: budgets follow the organisation's setting.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.answered_with {
            Some(status) => status,
            None => self.denial.status_under(self.limit_status),
        }
    }
}
