//! Notices that events tell.

use turnpike_domain::event::Event;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::Organisation;
use turnpike_wire::api::notice::Notice;
use turnpike_wire::api::text::Text;
use turnpike_wire::event;
use turnpike_wire::record::Received;

use crate::auth::Caller;

/// What an event is told as.
struct Told {
    kind: &'static str,
    severity: &'static str,
    says: String,
    about: Option<Account>,
}

/// The notice that an event is, if it is one that the caller may see.
pub(super) fn notice(received: &Received, state: &Organisation, caller: &Caller) -> Option<Notice> {
    let record = received.record.as_ref().ok()?;
    let told = told(&record.event, state)?;
    if !may_see(told.about, state, caller) {
        return None;
    }
    Some(Notice {
        kind: told.kind.to_owned(),
        severity: told.severity.to_owned(),
        at: Text(record.at),
        standing: false,
        says: told.says,
        about: told.about.and_then(id),
        seq: Some(record.seq),
        data: event::json(&record.event),
    })
}

/// The id of a key or project; none of the wallet, which is the organisation's own.
pub(super) fn id(account: Account) -> Option<String> {
    match account {
        Account::Wallet => None,
        Account::Project(id) => Some(id.to_string()),
        Account::Key(id) => Some(id.to_string()),
        Account::Ephemeral(id) => Some(id.to_string()),
    }
}

/// An account for people: its noun and its name, or what remains of it.
pub(super) fn called(account: Account, state: &Organisation) -> String {
    match account {
        Account::Wallet => "the wallet".to_owned(),
        Account::Project(id) => match state.projects.get(&id) {
            Some(project) => format!("the project {}", project.name),
            None => format!("the deleted project {id}"),
        },
        Account::Key(id) => match state.keys.get(&id) {
            Some(key) => format!("the key {}", key.profile.name),
            None => format!("the deleted key {id}"),
        },
        Account::Ephemeral(id) => format!("the ephemeral token {id}"),
    }
}

/// An amount for people.
pub(super) fn amount(unit: Unit, amount: i64) -> String {
    match unit {
        Unit::Usd => format!("{} USD", NanoUsd(amount)),
        Unit::Tokens => format!("{amount} tokens"),
    }
}

fn told(event: &Event, state: &Organisation) -> Option<Told> {
    let wallet = |kind, severity, says: &str| {
        Some(Told { kind, severity, says: says.to_owned(), about: Some(Account::Wallet) })
    };
    if let Event::AlertRaised { account, unit, percent, cap, settled, .. } = event {
        let (used, cap) = (amount(*unit, *settled), amount(*unit, *cap));
        let says = format!("{percent} % of {}: {used} of {cap}.", called(*account, state));
        return Some(Told {
            kind: "alert_raised",
            severity: "warning",
            says,
            about: Some(*account),
        });
    }
    if let Event::QuotaHit { account, unit, cap, .. } = event {
        let cap = amount(*unit, *cap);
        let says = format!("The budget of {} is used up: {cap}.", called(*account, state));
        return Some(Told { kind: "quota_hit", severity: "warning", says, about: Some(*account) });
    }
    if let Event::LeaseAbandoned { gateway, account, unit, amount: released } = event {
        let released = amount(*unit, *released);
        let account_name = called(*account, state);
        let says =
            format!("At most {released} of {account_name} were released, which {gateway} held.");
        return Some(Told {
            kind: "hold_released",
            severity: "warning",
            says,
            about: Some(*account),
        });
    }
    if matches!(event, Event::WalletExhausted { .. }) {
        return wallet("wallet_exhausted", "alarm", "The wallet is empty: every key is refused.");
    }
    if matches!(event, Event::WalletRestored { .. }) {
        return wallet("wallet_restored", "info", "The wallet has money again.");
    }
    if let Event::GatewayFenced { gateway } = event {
        let says = format!("The gateway {gateway} was cut off.");
        return Some(Told { kind: "gateway_fenced", severity: "warning", says, about: None });
    }
    None
}

/// Members see what is about their own keys.
fn may_see(about: Option<Account>, state: &Organisation, caller: &Caller) -> bool {
    if caller.reads_all().is_ok() {
        return true;
    }
    let Some(Account::Key(key)) = about else { return false };
    state.keys.get(&key).is_some_and(|key| caller.requester.may_see(key))
}
