//! Executing: what every write shares, from the Idempotency-Key to the proof of propagation.

use axum::http::header;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use turnpike_domain::command::{Command, Order, PlatformCommand};
use turnpike_domain::decide::{self, World};
use turnpike_domain::event::{Event, Who};
use turnpike_domain::id::{CommandId, GatewayId, OrgId, Position};
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Organisation, Platform};
use turnpike_store::execute::{Attempt, Executed};
use turnpike_wire::api::propagation::{Deleted, Propagation, Written};
use turnpike_wire::api::text::{Place, Text};

use super::ask::Ask;
use super::reply::Reply;
use crate::auth::Caller;
use crate::presence::Reach;
use crate::problem::{Code, Problem};

/// How long `?wait=applied` waits if the caller does not say, in milliseconds.
const WAIT_MS: u64 = 5_000;
/// How long it waits at most.
const MAX_WAIT_MS: u64 = 300_000;
/// The most characters of an Idempotency-Key.
const MAX_KEY_CHARS: usize = 255;
/// Tries of a partial change that others come before: each of them got something done.
const MAX_TRIES: u32 = 20;

/// A command and whose it is.
#[derive(Clone)]
pub(crate) enum Wanted {
    Organisation(OrgId, Command),
    Platform(PlatformCommand),
}

/// How often a partial change was tried.
#[derive(Default)]
pub(crate) struct Tries(u32);

/// What a command did.
pub(crate) struct Done {
    pub(crate) executed: Executed,
    propagation: Option<Propagation>,
}

impl Ask {
    /// Executes a command to the organisation of the path.
    pub(crate) async fn execute(&self, by: &Caller, command: Command) -> Result<Done, Problem> {
        let wanted = Wanted::Organisation(self.org, command);
        self.carry_out(by, wanted, self.expected()).await
    }

    /// Executes a command to the platform.
    pub(crate) async fn execute_platform(
        &self,
        by: &Caller,
        command: PlatformCommand,
    ) -> Result<Done, Problem> {
        self.carry_out(by, Wanted::Platform(command), self.expected()).await
    }

    /// Executes a command to whichever stream it is for.
    pub(crate) async fn carry(&self, by: &Caller, wanted: Wanted) -> Result<Done, Problem> {
        self.carry_out(by, wanted, self.expected()).await
    }

    /// Executes a partial change that was laid over the version `seen`. `None`: somebody else came
    /// first, and the caller did not insist on a version, so that it is to be laid over what stands
    /// now; thus both changes take effect.
    pub(crate) async fn change(
        &self,
        by: &Caller,
        wanted: Wanted,
        seen: u64,
        tries: &mut Tries,
    ) -> Result<Option<Done>, Problem> {
        let insisted = self.expected();
        let fits = insisted.as_ref().is_none_or(|versions| versions.contains(&seen));
        tries.0 += 1;
        // One of several that the caller has seen is still the one that this was laid over.
        match self.carry_out(by, wanted, Some(fits.then_some(seen).into_iter().collect())).await {
            Ok(done) => Ok(Some(done)),
            Err(problem)
                if problem.code == Code::EtagMismatch
                    && insisted.is_none()
                    && tries.0 < MAX_TRIES =>
            {
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Executes a command on one of the versions `expected`.
    pub(crate) async fn carry_out(
        &self,
        by: &Caller,
        wanted: Wanted,
        expected: Option<Vec<u64>>,
    ) -> Result<Done, Problem> {
        let wait = self.wait()?;
        let id = self.command_id(by)?;
        let attempt = Attempt { body_hash: self.fingerprint(), maker: self.maker };
        if !self.mistakes.is_empty() {
            return Err(self.all_mistakes(by, wanted, id, expected).await?);
        }
        let (executor, now, requester) = (&self.app().executor, self.now, by.requester);
        let (org, executed) = match wanted {
            Wanted::Organisation(org, command) => {
                let order = Order { id, requester, now, expected, command };
                (org, executor.organisation(org, &order, attempt).await)
            }
            Wanted::Platform(command) => {
                let order = Order { id, requester, now, expected, command };
                (OrgId::PLATFORM, executor.platform(&order, attempt).await)
            }
        };
        let executed = executed?;
        if executed.records.iter().any(|record| concerns_directory(&record.event)) {
            self.app().refresh(org).await?;
        }
        let propagation = match wait {
            None => None,
            Some(ms) => Some(self.propagation(org, executed.position, ms).await?),
        };
        Ok(Done { executed, propagation })
    }

    /// How far a position has reached, waiting for it at most `timeout_ms`.
    pub(crate) async fn propagation(
        &self,
        org: OrgId,
        position: Position,
        timeout_ms: u64,
    ) -> Result<Propagation, Problem> {
        let (served, platform) = self.served(org).await?;
        let presence = &self.app().presence;
        let gateways = || presence.gateways(&served, &platform);
        Ok(told(presence.applied(position, timeout_ms, gateways).await))
    }

    /// How long `?wait=applied` asks to wait, if it does.
    pub(crate) fn wait(&self) -> Result<Option<u64>, Problem> {
        let timeout_ms = self.number("timeout_ms", 0, MAX_WAIT_MS)?;
        match self.query("wait") {
            None => Ok(None),
            Some("applied") => Ok(Some(timeout_ms.unwrap_or(WAIT_MS))),
            Some(_) => Err(Problem::field("?wait", "must be applied")),
        }
    }

    /// The gateways that must apply what happens in a stream, with what says whether they are
    /// online. What happens on the platform is for every gateway.
    async fn served(&self, org: OrgId) -> Result<(Organisation, Platform), Problem> {
        let streams = self.app().streams();
        let gateways = |state: &Platform| state.gateways.clone();
        let platform =
            Platform { gateways: streams.platform(gateways).await?, ..Platform::default() };
        let mut served = Organisation::new(org);
        if org == OrgId::PLATFORM {
            for each in self.app().directory.organisations() {
                let own = streams.remembered(each, |state| state.gateways.clone()).await;
                served.gateways.extend(own);
            }
        } else {
            let own = |state: &Organisation| (state.settings, state.gateways.clone());
            (served.settings, served.gateways) = streams.organisation(org, own).await?;
        }
        Ok((served, platform))
    }

    /// The versions that the caller insists on, one of which must stand (RFC 9110, 13.1.1). What is
    /// no version of ours never fits, nor does a weak one: they are compared strongly.
    pub(crate) fn expected(&self) -> Option<Vec<u64>> {
        let lines = self.headers.get_all(header::IF_MATCH).iter();
        let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default().trim()).collect();
        let version = |text: &str| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
        let listed = lines.iter().flat_map(|line| line.split(','));
        (!lines.is_empty() && lines != ["*"]).then(|| listed.filter_map(version).collect())
    }

    /// The command's id: that of the Idempotency-Key, which is the caller's own, or a new one.
    pub(crate) fn command_id(&self, by: &Caller) -> Result<CommandId, Problem> {
        let Some(value) = self.headers.get("idempotency-key") else {
            return Ok(CommandId(self.maker));
        };
        let key = value.as_bytes();
        if key.is_empty() || key.len() > MAX_KEY_CHARS {
            return Err(Problem::field("Idempotency-Key", "must have 1 to 255 characters"));
        }
        let mut hash = Sha256::new();
        hash.update(b"turnpike command ");
        hash.update(self.org.bytes());
        let (kind, who) = match by.requester.actor.who {
            Who::System => (0, [0; 16]),
            Who::Member(id) => (1, id.bytes()),
            Who::Token(id) => (2, id.bytes()),
            Who::Gateway(id) => (3, id.bytes()),
        };
        hash.update([kind]);
        hash.update(who);
        hash.update(key);
        Ok(CommandId(half(hash)))
    }

    /// A new organisation's id. Its stream holds the command's row, so that a repetition must come
    /// to the same one.
    pub(crate) fn new_org(&self, by: &Caller) -> Result<OrgId, Problem> {
        if !self.headers.contains_key("idempotency-key") {
            return Ok(OrgId(turnpike_runtime::entropy::id(self.now)));
        }
        let mut hash = Sha256::new_with_prefix(b"turnpike organisation ");
        hash.update(self.command_id(by)?.bytes());
        Ok(OrgId(half(hash)))
    }

    /// What tells this request from another one under the same Idempotency-Key.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), self.path.as_bytes(), &self.body] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// All mistakes: those of the shape, and those that the rules find in what could be read.
    async fn all_mistakes(
        &self,
        by: &Caller,
        wanted: Wanted,
        id: CommandId,
        expected: Option<Vec<u64>>,
    ) -> Result<Problem, Problem> {
        let streams = self.app().streams();
        let (now, requester) = (self.now, by.requester);
        let platform = streams.platform(Platform::clone).await?;
        let decided = match wanted {
            Wanted::Organisation(org, command) => {
                let order = Order { id, requester, now, expected, command };
                let decide = |state: &Organisation| {
                    let world = World { platform: &platform, organisation: state };
                    decide::organisation(world, &order)
                };
                streams.organisation(org, decide).await?
            }
            Wanted::Platform(command) => {
                let order = Order { id, requester, now, expected, command };
                decide::platform(&platform, &order)
            }
        };
        let mut errors = self.mistakes.clone();
        match decided {
            Err(
                refusal @ (Refusal::Forbidden { .. }
                | Refusal::NotFound { .. }
                | Refusal::VersionMismatch { .. }),
            ) => return Ok(refusal.into()),
            Err(Refusal::Invalid(more)) => {
                for error in more {
                    // A field that could not be read is told by its shape alone.
                    if !errors.iter().any(|known| known.pointer == error.pointer) {
                        errors.push(error);
                    }
                }
            }
            Err(
                Refusal::NameTaken { .. }
                | Refusal::RotationRequired
                | Refusal::StateConflict { .. },
            )
            | Ok(_) => {}
        }
        Ok(Problem::invalid(errors))
    }
}

impl Done {
    /// The first answer of `find` among the events: what was made, also by an earlier request with
    /// the same Idempotency-Key.
    pub(crate) fn made<T>(&self, find: impl Fn(&Event) -> Option<T>) -> Result<T, Problem> {
        let made = self.executed.records.iter().find_map(|record| find(&record.event));
        made.ok_or_else(|| Problem::internal(&"a creation left no event"))
    }

    /// The thing as it is now.
    pub(crate) fn reply<T: Serialize>(self, thing: T) -> Result<Reply, Problem> {
        self.reply_with(thing, None)
    }

    /// The thing with the secret that this very request made; a replay has none.
    pub(crate) fn reply_with<T: Serialize>(
        self,
        thing: T,
        secret: Option<&str>,
    ) -> Result<Reply, Problem> {
        let secret = secret.filter(|_| !self.executed.replayed).map(Into::into);
        let reply = Reply::json(&Written { thing, secret, propagation: self.propagation })?;
        // What has no version of its own, because it never changes, has that of its event.
        let last = self.executed.records.last().map(|record| record.seq);
        Ok(last.into_iter().fold(reply, Reply::version))
    }

    /// That a thing is gone.
    pub(crate) fn deleted(self, id: impl ToString) -> Result<Reply, Problem> {
        self.reply(Deleted { id: id.to_string(), deleted: true })
    }
}

fn half(hash: Sha256) -> u128 {
    let bytes: [u8; 32] = hash.finalize().into();
    let (half, _) = bytes.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    u128::from_be_bytes(*half)
}

/// Whether the directory of credentials and addresses follows from the event.
fn concerns_directory(event: &Event) -> bool {
    matches!(
        event,
        Event::OrgCreated { .. }
            | Event::MemberInvited { .. }
            | Event::MemberJoined { .. }
            | Event::MemberRemoved { .. }
            | Event::TokenCreated { .. }
            | Event::TokenDeleted { .. }
    )
}

fn told(reach: Reach) -> Propagation {
    let missing: Vec<GatewayId> = reach.missing;
    Propagation {
        position: Place(reach.position),
        online: reach.online,
        applied: reach.applied,
        slowest_ms: reach.slowest_ms,
        missing: missing.into_iter().map(Text).collect(),
    }
}
