//! What the watchers of one life note: violations, the trace, receipts, and who is undisturbed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use turnpike_bus::seam::{Publish, Topic};
use turnpike_domain::id::{EpochId, GatewayId, OrgId, Position};
use turnpike_wire::form;
use turnpike_wire::heartbeat::Receipt;

use crate::accounts::Accounts;

/// Lines of the trace that a failure shows.
const SHOWN_LINES: usize = 200;

/// Everything that is noted.
#[derive(Default)]
pub(crate) struct Watch {
    trace: Cell<u64>,
    lines: RefCell<VecDeque<String>>,
    violation: RefCell<Option<String>>,
    pub(crate) receipts: Receipts,
    pub(crate) calm: Calm,
    pub(crate) accounts: Accounts,
}

/// The highest position that each gateway said it had reached, by run.
#[derive(Clone, Default)]
pub(crate) struct Receipts(Arc<Mutex<Said>>);

type Said = BTreeMap<(GatewayId, EpochId, OrgId), Position>;

/// Until when something disturbs the way from a commit to a gateway.
#[derive(Default)]
pub(crate) struct Calm {
    /// Disturbs all.
    all_ms: Cell<u64>,
    /// By gateway's place.
    each_ms: RefCell<BTreeMap<usize, u64>>,
}

impl Watch {
    /// Adds a line to the trace, which a seed decides.
    pub(crate) fn note(&self, at_ms: u64, line: String) {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let at = at_ms.to_be_bytes().into_iter();
        self.trace.set(at.chain(line.bytes()).fold(self.trace.get(), fold));
        let mut lines = self.lines.borrow_mut();
        if lines.len() == SHOWN_LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{at_ms:>7} ms  {line}"));
    }

    /// Notes that an invariant is broken; the first stands.
    pub(crate) fn broken(&self, at_ms: u64, what: String) {
        self.note(at_ms, format!("BROKEN: {what}"));
        self.violation.borrow_mut().get_or_insert(what);
    }

    /// The first violation, with the end of the trace.
    pub(crate) fn verdict(&self) -> Result<u64, String> {
        match &*self.violation.borrow() {
            None => Ok(self.trace.get()),
            Some(what) => {
                let lines: Vec<String> = self.lines.borrow().iter().cloned().collect();
                Err(format!("{what}\n{}", lines.join("\n")))
            }
        }
    }

    /// Whether an invariant is broken, also one of those that are watched below the store.
    pub(crate) fn look(&self, at_ms: u64) -> bool {
        for what in self.accounts.take_broken() {
            self.broken(at_ms, what);
        }
        self.is_broken()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.violation.borrow().is_some()
    }
}

impl Receipts {
    /// Takes a receipt that a gateway tries to publish: from now on it must keep its word.
    pub(crate) fn take(&self, message: &Publish) {
        let Topic::Receipts { org, gateway } = message.topic else { return };
        let Ok(receipt) = form::decode::<Receipt>(&message.payload) else { return };
        let mut known = self.0.lock().unwrap();
        let position = known.entry((gateway, receipt.epoch, org)).or_default();
        *position = receipt.position.max(*position);
    }

    /// What this run has said of an organisation.
    pub(crate) fn of(&self, gateway: GatewayId, epoch: EpochId, org: OrgId) -> Position {
        self.0.lock().unwrap().get(&(gateway, epoch, org)).copied().unwrap_or_default()
    }

    /// The highest word of any run.
    pub(crate) fn of_any_run(&self, gateway: GatewayId, org: OrgId) -> Position {
        let known = self.0.lock().unwrap();
        let said = known.iter().filter(|((from, _, of), _)| *from == gateway && *of == org);
        said.map(|(_, position)| *position).max().unwrap_or_default()
    }
}

impl Calm {
    pub(crate) fn disturb_all(&self, until_ms: u64) {
        self.all_ms.set(self.all_ms.get().max(until_ms));
    }

    pub(crate) fn disturb(&self, gateway: usize, until_ms: u64) {
        let mut each = self.each_ms.borrow_mut();
        let until = each.entry(gateway).or_default();
        *until = until_ms.max(*until);
    }

    /// Since when nothing has disturbed the gateway; later than now if something does.
    pub(crate) fn since_ms(&self, gateway: usize) -> u64 {
        let each = self.each_ms.borrow().get(&gateway).copied().unwrap_or(0);
        self.all_ms.get().max(each)
    }
}
