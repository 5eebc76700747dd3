//! What the mirror could not read of a stream, as receipts tell it.

use turnpike_domain::id::Position;
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::Quarantine;

/// The events of one stream that this run could not read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aside {
    events: u64,
    seq: Option<u64>,
    at: Timestamp,
    /// Up to where all was read, while something is missing behind it.
    good: Option<Position>,
}

impl Aside {
    /// An event came at `at` that is no event of the stream at all: it changes nothing.
    pub(super) fn refuse(&mut self, at: Timestamp) {
        self.events = self.events.saturating_add(1);
        (self.seq, self.at) = (None, at);
    }

    /// The stream goes on behind an event that cannot be read; all before it was good up to
    /// `good`.
    pub(super) fn hold(&mut self, seq: u64, at: Timestamp, good: Position) {
        self.refuse(at);
        self.seq = Some(seq);
        self.good.get_or_insert(good);
    }

    /// The stream was fetched as a whole.
    pub(super) const fn heal(&mut self) {
        self.good = None;
    }

    /// Whether something is missing.
    pub(super) const fn stands(&self) -> bool {
        self.good.is_some()
    }

    /// `position`, if nothing is missing before it; else up to where nothing is.
    pub(super) fn known(&self, position: Position) -> Position {
        self.good.map_or(position, |good| good.min(position))
    }

    /// What people are told; `None`: all could be read.
    pub(super) fn told(&self) -> Option<Quarantine> {
        let Self { events, seq, at, .. } = *self;
        (events > 0).then(|| Quarantine { events, seq, at, stands: self.stands() })
    }
}

/// Of an organisation's stream and the platform's, the one that people should hear of first: what
/// stands, and then what is newer.
pub(super) fn foremost(own: Aside, platform: Aside) -> Option<Quarantine> {
    let both = [own.told(), platform.told()].into_iter().flatten();
    both.max_by_key(|told| (told.stands, told.at))
}
