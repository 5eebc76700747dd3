//! Chance from one seed, and the count of every fault that it causes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `SplitMix64`'s step (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// 2014): its state is a counter, so that one atomic addition draws a number.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One row of random numbers. Parts of a life have rows of their own, so that a number drawn more
/// in one of them does not change the others.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The row of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A row that begins somewhere else for each `name`.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self::new(name.bytes().fold(self.next(), fold))
    }

    /// The next number of the row.
    pub fn next(&self) -> u64 {
        let state = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`; 0 if `n` is 0. Its unfairness is below 2⁻³² for every `n` of a test.
    pub fn below(&self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    /// True `rate` times in ten thousand.
    pub fn happens(&self, rate: u64) -> bool {
        self.below(10_000) < rate
    }

    /// One of `choices`; `None` of nothing.
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> Option<&'a T> {
        let place = self.below(u64::try_from(choices.len()).unwrap_or(u64::MAX));
        choices.get(usize::try_from(place).unwrap_or(usize::MAX))
    }
}

/// Declares the kinds of faults once: the enum, the list of all and their names.
macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident $name:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$doc])* $kind,)*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

faults! {
    /// A commit was refused although nothing had moved.
    Conflict "store: conflict",
    /// The answer of a commit was lost, and the commit with it.
    LostCommit "store: answer and commit lost",
    /// The answer of a commit was lost; the commit stands.
    LostAnswer "store: answer lost after the commit",
    /// The answer of a commit was lost; the commit lands later, or conflicts then.
    LateCommit "store: commit landed after its answer was lost",
    /// The store took long to answer.
    SlowStore "store: slow answer",
    /// A snapshot became too old to read.
    OldSnapshot "store: snapshot too old",
    /// One process could not reach the store for a while.
    StoreDown "store: unreachable for a while",
    /// A message was not taken, and the publisher was told.
    PublishRefused "bus: publication refused",
    /// A message was taken, but the publisher was told that it was not.
    PublishUnsure "bus: publication taken, answer lost",
    /// A message was acknowledged and lost.
    MessageLost "bus: acknowledged and lost",
    /// A message was delivered twice.
    MessageRepeated "bus: repeated",
    /// A message was delivered after its successors.
    MessageLate "bus: late and out of order",
    /// An acknowledgement took long.
    SlowBus "bus: slow acknowledgement",
    /// A reader died and had to be opened again.
    ReaderLost "bus: reader lost",
    /// A call was lost on its way to its servers.
    CallLost "bus: call lost",
    /// A call was heard, and its answer lost.
    CallUnanswered "bus: answer of a call lost",
    /// A call was heard again a while later.
    CallRepeated "bus: call repeated",
    /// A call was heard after its caller had given up, and after its successors.
    CallLate "bus: call late and out of order",
    /// All that the bus had kept was lost.
    BusWiped "bus: wiped",
    /// A process was cut off from the bus and knew it.
    CutLoudly "bus: process cut off, told so",
    /// A process was cut off from the bus and did not know it.
    CutSilently "bus: process cut off, not told",
    /// A gateway could not reach the control plane over HTTP for a while.
    UpstairsDown "http: control plane unreachable",
    /// One answer of the control plane was lost.
    AnswerLost "http: answer lost",
    /// The day of a machine was stepped.
    DayStepped "clock: day stepped",
    /// A gateway was killed with requests in flight.
    GatewayKilled "gateway: killed",
    /// A gateway was killed and its folder lost.
    SpoolLost "gateway: killed, its folder lost",
    /// A gateway was fenced.
    GatewayFenced "gateway: fenced",
    /// A gateway was stopped in order and started again.
    GatewayRestarted "gateway: restarted in order",
    /// The control plane was killed.
    ControlPlaneKilled "control plane: killed",
    /// A second control plane began beside the first.
    ControlPlaneDoubled "control plane: doubled",
    /// The projector was killed.
    ProjectorKilled "projector: killed",
    /// A second projector began beside the first.
    ProjectorDoubled "projector: doubled",
    /// A caller left before the answer.
    CallerGone "request: caller gone",
    /// The provider failed before it answered.
    ProviderFailed "request: provider failed",
    /// The provider served and reported no usage.
    UsageMissing "request: usage missing",
    /// The provider reported a usage that makes no sense.
    UsageAbsurd "request: usage absurd",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind of fault was caused. Clones are the same tally.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<Fault, u64>>>);

impl Tally {
    /// Counts one.
    pub fn count(&self, fault: Fault) {
        self.add(fault, 1);
    }

    /// Adds what another tally has counted.
    pub fn merge(&self, other: &Self) {
        for (fault, count) in other.counts() {
            self.add(fault, count);
        }
    }

    /// Every kind with its count, those of zero included.
    #[must_use]
    pub fn counts(&self) -> Vec<(Fault, u64)> {
        let counts = self.lock();
        let count = |fault: &Fault| (*fault, counts.get(fault).copied().unwrap_or(0));
        Fault::ALL.iter().map(count).collect()
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    /// All together but for what callers and providers did, which is no fault of the house.
    #[must_use]
    pub fn of_the_house(&self) -> u64 {
        let counts = self.lock();
        let of_house = counts.iter().filter(|(fault, _)| !fault.name().starts_with("request: "));
        of_house.map(|(_, count)| count).sum()
    }

    fn add(&self, fault: Fault, more: u64) {
        let mut counts = self.lock();
        let count = counts.entry(fault).or_default();
        *count = count.saturating_add(more);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Fault, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
