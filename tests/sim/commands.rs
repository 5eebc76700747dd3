//! Commands: people who change everything, repeat themselves, and want proof.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use turnpike_control_plane::app::App;
use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, Order, PlatformCommand};
use turnpike_domain::event::{Actor, Event, Who};
use turnpike_domain::id::{CommandId, KeyId, OrgId, Position};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::{Organisation, Platform, Role};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::Clock as _;
use turnpike_runtime::entropy;
use turnpike_store::execute::{Attempt, ExecuteError, Executed};
use turnpike_wire::secret::{ENTROPY_BYTES, PlainSecret, mint};

use crate::house::{House, Known};
use crate::wishes::Wish;

/// Tries of one command before its sender gives up and never learns what became of it.
const TRIES: u32 = 40;
/// The wait between two tries.
const TRY_AGAIN_MS: u64 = 250;

/// One command, as its sender remembers it.
pub(crate) struct Sent {
    pub(crate) id: CommandId,
    /// The events of the first answer; `None`: refused, or never answered.
    pub(crate) events: Option<usize>,
    /// It may have happened although nobody said so.
    pub(crate) unsure: bool,
}

/// How a try ended.
enum Tried {
    Done(Box<Executed>),
    Refused,
    /// The process died or the store failed.
    Unsure,
}

impl House {
    /// Carries a wish out as its sender would: again with the same id until there is an answer.
    pub(crate) async fn command(self: &Rc<Self>, wish: Wish) -> Sent {
        let id = CommandId(entropy::number());
        let body = entropy::number();
        let (mut sent, mut made) = (Sent { id, events: None, unsure: false }, Vec::new());
        for _ in 0..TRIES {
            // Each try is a request of its own, with ids and secrets of its own.
            let secret = fresh(SecretKind::Model);
            match self.attempt(&wish, id, body, &secret).await {
                Tried::Done(executed) => {
                    made.push(secret);
                    self.learn(&wish, &executed, &made);
                    sent.events = Some(executed.records.len());
                    self.note(format!("{} {} events", wish.name(), executed.records.len()));
                    self.afterwards(&wish, (id, body), &executed).await;
                    return sent;
                }
                Tried::Refused => {
                    self.note(format!("{} is refused", wish.name()));
                    sent.unsure = false;
                    return sent;
                }
                Tried::Unsure => {
                    sent.unsure = true;
                    made.push(secret);
                }
            }
            self.sleep(self.dice.between(1, TRY_AGAIN_MS)).await;
        }
        self.note(format!("{} is given up", wish.name()));
        sent
    }

    /// One request to some control plane. It dies with that.
    async fn attempt(
        self: &Rc<Self>,
        wish: &Wish,
        id: CommandId,
        body: u128,
        secret: &PlainSecret,
    ) -> Tried {
        let Some((app, tasks)) = self.any_control() else { return Tried::Unsure };
        let now = self.control_clock.now();
        let stored = self.peppers.stored(secret);
        let attempt = Attempt { body_hash: hash(body), maker: entropy::number() };
        let (answer, answered) = oneshot::channel();
        let org = wish.org();
        match wish.command(stored) {
            Asked::Organisation(command) => {
                let order = order(id, now, command);
                tasks.spawn("command", async move {
                    let done = app.executor.organisation(org, &order, attempt).await;
                    refresh(&app, org, &done).await;
                    drop(answer.send(done));
                });
            }
            Asked::Platform(command) => {
                let order = order(id, now, command);
                tasks.spawn("command", async move {
                    let done = app.executor.platform(&order, attempt).await;
                    refresh(&app, org, &done).await;
                    drop(answer.send(done));
                });
            }
        }
        match answered.await {
            Ok(Ok(executed)) => Tried::Done(Box::new(executed)),
            Ok(Err(ExecuteError::Refused(_))) => Tried::Refused,
            Ok(Err(ExecuteError::IdempotencyConflict)) => {
                self.broken(format!("{}: the same body conflicts", wish.name()));
                Tried::Refused
            }
            Ok(Err(ExecuteError::Store(_))) | Err(_) => Tried::Unsure,
        }
    }

    fn any_control(&self) -> Option<(Arc<App>, turnpike_runtime::tasks::Tasks)> {
        let controls = self.controls.borrow();
        let (_, control) = self.dice.pick(&controls)?;
        Some((Arc::clone(&control.app), control.tasks.clone()))
    }

    /// The sender keeps the secrets that it made: one of them works.
    fn learn(&self, wish: &Wish, executed: &Executed, made: &[PlainSecret]) {
        let Some(key) = wish.key() else { return };
        let new = executed.records.iter().any(|record| {
            matches!(record.event, Event::KeyCreated { .. } | Event::KeyRotated { .. })
        });
        if new {
            for secret in made {
                let (secret, org) = (secret.clone(), wish.org());
                self.secrets.borrow_mut().push(Rc::new(Known { secret, org, key }));
            }
        }
    }

    /// Sometimes the sender repeats itself, and sometimes it wants proof.
    async fn afterwards(
        self: &Rc<Self>,
        wish: &Wish,
        (id, body): (CommandId, u128),
        first: &Executed,
    ) {
        if self.dice.happens(1_500) {
            self.repeat(wish, (id, body), first).await;
        }
        if self.dice.happens(400) {
            self.misuse(wish, (id, body)).await;
        }
        if wish.org() != OrgId::PLATFORM && self.dice.happens(2_500) {
            self.prove(wish, first.position).await;
        }
    }

    async fn repeat(self: &Rc<Self>, wish: &Wish, (id, body): (CommandId, u128), first: &Executed) {
        let secret = fresh(SecretKind::Model);
        if let Tried::Done(again) = self.attempt(wish, id, body, &secret).await
            && (!again.replayed || again.records != first.records)
        {
            self.broken(format!("{} was answered in two ways", wish.name()));
        }
    }

    async fn misuse(self: &Rc<Self>, wish: &Wish, (id, body): (CommandId, u128)) {
        let Some((app, _)) = self.any_control() else { return };
        let now = self.control_clock.now();
        let attempt = Attempt { body_hash: hash(body ^ 1), maker: entropy::number() };
        let stored = self.peppers.stored(&fresh(SecretKind::Model));
        let done = match wish.command(stored) {
            Asked::Organisation(command) => {
                app.executor.organisation(wish.org(), &order(id, now, command), attempt).await
            }
            Asked::Platform(command) => {
                app.executor.platform(&order(id, now, command), attempt).await
            }
        };
        if done.is_ok() {
            self.broken(format!("{}: another body under the same id", wish.name()));
        }
    }

    /// Waits as `?wait=applied` does, and holds the answer against what gateways have said and do.
    async fn prove(&self, wish: &Wish, position: Position) {
        let Some((app, _)) = self.any_control() else { return };
        let org = wish.org();
        let streams = app.streams();
        let Ok(served) = streams.organisation(org, Organisation::clone).await else { return };
        let Ok(platform) = streams.platform(Platform::clone).await else { return };
        let gateways = || app.presence.gateways(&served, &platform);
        let timeout_ms = self.dice.between(100, 6_000);
        let reach = app.presence.applied(position, timeout_ms, gateways).await;
        let online = gateways().into_iter().filter(|known| known.online);
        for known in online.filter(|known| !reach.missing.contains(&known.id)) {
            self.check_applied(known.id, org, position);
        }
        self.note(format!("{} is applied by {} of {}", position, reach.applied, reach.online));
    }
}

/// A command to one of the two kinds of streams.
pub(crate) enum Asked {
    Organisation(Command),
    Platform(PlatformCommand),
}

async fn refresh(app: &App, org: OrgId, done: &Result<Executed, ExecuteError>) {
    if done.is_ok() {
        // The tail brings the directory in step if this fails.
        drop(app.refresh(org).await);
    }
}

fn order<C>(id: CommandId, now: Timestamp, command: C) -> Order<C> {
    let actor = Actor { who: Who::System, address: None };
    let requester = Requester { actor, role: Role::Operator, member: None };
    Order { id, requester, now, expected: None, command }
}

fn hash(body: u128) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&body.to_be_bytes());
    hash
}

pub(crate) fn fresh(kind: SecretKind) -> PlainSecret {
    let mut random = [0; ENTROPY_BYTES];
    entropy::fill(&mut random);
    mint(kind, &random)
}

pub(crate) fn new_key(now: Timestamp) -> KeyId {
    KeyId(entropy::id(now))
}
