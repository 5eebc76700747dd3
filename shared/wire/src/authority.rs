//! Calls of gateways to the authority of budgets and rates, and its answers.
//!
//! Neither names the gateway or the organisation: the subject of the call does. Words on leases are
//! absolute and numbered, so that loss, repetition and reordering change nothing.

use turnpike_domain::id::{EphemeralId, EpochId, KeyId, LeaseId};
use turnpike_domain::ledger::{BudgetFigures, Refused, Word};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::rate::{Amount, Rate, Returned};
use turnpike_domain::time::{Timestamp, Window};

use crate::cbor::{Malformed, Reader, Writer};
use crate::form::Form;
use crate::{form, names, read_fields, write_fields};

/// How long a gateway waits for the answer to a word that it has said about a lease: longer than an
/// authority with too much to do may take, which would else be asked again and again and never
/// heard.
pub const ANSWER_MS: u64 = 8_000;

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// About a lease; answered with [`LeaseAnswer`].
    Lease(LeaseCall),
    /// About permits of a rate; answered with [`PermitAnswer`].
    Permit(PermitCall),
    /// About the leases of earlier runs; answered with [`RunsEnded`].
    EndRuns(EndRuns),
    /// What the gateway has used of every rate in its own last minute; answered with
    /// [`RecentAnswer`].
    Recent(RecentCall),
}

/// "My newest word on this lease."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseCall {
    /// The run of the gateway that holds it: the epoch of its first lane. A word of a run that was
    /// ended is not heard.
    pub epoch: EpochId,
    /// Which lease; the first word on one makes it.
    pub lease: LeaseId,
    /// The key at the leaf of its path. The authority finds the path and its windows: gateways do
    /// not compute windows from clocks of their own.
    pub key: KeyId,
    /// In which unit.
    pub unit: Unit,
    /// The word.
    pub word: Word,
    /// The ephemeral token with a budget of its own that stands below the key on its path.
    pub token: Option<EphemeralId>,
}

/// The lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAnswer {
    /// The fence of the shard's owner: an answer of a lower one is not heard.
    pub fence: u64,
    /// The newest word that was heard.
    pub n: u64,
    /// What the gateway holds in all.
    pub total: i64,
    /// The path that it is granted on, from the leaf to the wallet.
    pub path: Vec<(Account, Window)>,
    /// When the first window of the path ends, if one does: then another lease is needed.
    pub ends_at: Option<Timestamp>,
    /// Why the word was not granted.
    pub refused: Option<Refused>,
    /// What the account that stood against it has used; where none did, the one of the path that
    /// has the least left.
    pub figures: Option<BudgetFigures>,
}

/// "My earlier runs are over: nothing is spent on their leases any more."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRuns {
    /// The run that says so: the epoch of its first lane. Runs are told apart and ordered by these
    /// ids, so it is greater than that of every run before.
    pub run: EpochId,
    /// The last number of each epoch of earlier runs whose records the gateway still has or has
    /// recovered.
    pub places: Vec<(EpochId, u64)>,
    /// Not all that was spent is among those records: holds of earlier runs are lost, not free.
    pub torn: bool,
}

/// Whether the earlier runs are ended. Until they are, the gateway asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsEnded {
    /// The fence of the shard's owner: an answer of a lower one is not heard.
    pub fence: u64,
    /// Everything named is booked, and no lease of an earlier run holds anything any more.
    pub ended: bool,
}

/// What the owner of a shard says to every gateway of an organisation; it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recall {
    /// The fence of the shard's owner: one of a lower fence is not heard.
    pub fence: u64,
    /// "Somebody waits for what you hold of this account, in this unit, and do not need." `None`:
    /// "Report what you have used of rates" ([`RecentCall`]).
    pub budget: Option<(Account, Unit)>,
}

/// "Permit me so much on this rate, and take back what I did not use."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitCall {
    /// The run of the gateway.
    pub epoch: EpochId,
    /// Whose rate.
    pub account: Account,
    /// Counts the gateway's batches on this account upward; a batch is granted once.
    pub batch: u64,
    /// Requests wanted.
    pub requests: u32,
    /// Tokens wanted.
    pub tokens: u64,
    /// What earlier batches did not use, in all that is known by now.
    pub returned: Vec<Returned>,
    /// The tokens of the request that waits, if one does: less is of no use to it.
    pub waits: Option<u64>,
    /// The limits as the gateway knows them: those with the greatest `seq` are in force.
    pub rate: Rate,
}

/// What is permitted, for one second from the sending of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitAnswer {
    /// The fence of the shard's owner: an answer of a lower one is not heard.
    pub fence: u64,
    /// The batch that is answered.
    pub batch: u64,
    /// Requests permitted.
    pub requests: u32,
    /// Tokens permitted.
    pub tokens: u64,
    /// Where nothing is permitted: after how many milliseconds it is worth asking again.
    pub retry_after_ms: Option<u64>,
    /// The gateways among which the rate is shared while nobody answers.
    pub gateways: u32,
    /// Requests that the account has left.
    pub left_requests: u64,
    /// Tokens that it has left.
    pub left_tokens: u64,
    /// Milliseconds until nothing of the last minute counts any more.
    pub reset_ms: u64,
    /// Why nothing can be permitted whatever is left.
    pub closed: Option<Closed>,
}

/// Why an owner permits nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is new, and waits for the reports of other gateways.
    Gathering,
    /// It is new, and this gateway has to report its own last minute first.
    ReportFirst,
    /// The gateway was cut off.
    Fenced,
}

/// "This is what I have used in my own last minute." Long reports have several parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentCall {
    /// The run of the gateway.
    pub epoch: EpochId,
    /// Counts the parts from 0, which begins a new report.
    pub part: u32,
    /// Nothing follows.
    pub last: bool,
    /// The accounts of which something was used.
    pub accounts: Vec<RecentUse>,
}

/// What was used of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentUse {
    /// Whose rate.
    pub account: Account,
    /// How many milliseconds before the call at least, and how much.
    pub used: Vec<(u64, Amount)>,
}

/// What became of a part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentAnswer {
    /// The fence of the shard's owner: an answer of a lower one is not heard.
    pub fence: u64,
    /// It was not the part that was to come: the report begins again.
    pub begin_again: bool,
}

form!(Word { 1 n, 2 total, 3 least });
form!(LeaseCall { 1 epoch, 2 lease, 3 key, 4 unit, 5 word, 6 token });
form!(LeaseAnswer {
    1 fence,
    2 n,
    3 total,
    4 path [default],
    5 ends_at,
    6 refused,
    7 figures,
});
form!(BudgetFigures {
    1 account,
    2 cap,
    3 settled [default],
    4 held [default],
    5 lost [default],
    6 revision [default],
    7 resets_at,
});
form!(EndRuns { 1 run, 2 places [default], 3 torn [default] });
form!(RunsEnded { 1 fence, 2 ended [default] });
form!(PermitCall {
    1 epoch,
    2 account,
    3 batch,
    4 requests [default],
    5 tokens [default],
    6 returned [default],
    7 waits,
    8 rate [default],
});
form!(Rate { 1 requests, 2 tokens, 3 seq [default] });
form!(Returned { 1 batch, 2 requests [default], 3 tokens [default] });
form!(PermitAnswer {
    1 fence,
    2 batch,
    3 requests [default],
    4 tokens [default],
    5 retry_after_ms,
    6 gateways [default],
    7 left_requests [default],
    8 left_tokens [default],
    9 reset_ms [default],
    10 closed,
});
names!(Closed "reason to permit nothing" {
    1 Gathering "gathering",
    2 ReportFirst "report_first",
    3 Fenced "fenced",
});
form!(RecentCall { 1 epoch, 2 part [default], 3 last [default], 4 accounts [default] });
form!(RecentUse { 1 account, 2 used [default] });
form!(Amount { 1 requests [default], 2 tokens [default] });
form!(RecentAnswer { 1 fence, 2 begin_again [default] });

impl Form for Recall {
    fn write(&self, out: &mut Writer) {
        let (account, unit) = self.budget.unzip();
        write_fields!(out, 1(&self.fence), 2(&account), 3(&unit));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        read_fields!(from, "recall", 1 fence, 2 account, 3 unit);
        Ok(Self { fence, budget: Option::zip(account, unit) })
    }
}

const LEASE: u64 = 1;
const PERMIT: u64 = 2;
const END_RUNS: u64 = 3;
const RECENT: u64 = 4;

/// A pair of the kind and the call.
impl Form for Call {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Self::Lease(call) => {
                out.uint(LEASE);
                call.write(out);
            }
            Self::Permit(call) => {
                out.uint(PERMIT);
                call.write(out);
            }
            Self::EndRuns(call) => {
                out.uint(END_RUNS);
                call.write(out);
            }
            Self::Recent(call) => {
                out.uint(RECENT);
                call.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (from.array()?, from.uint()?) {
            (2, LEASE) => LeaseCall::read(from).map(Self::Lease),
            (2, PERMIT) => PermitCall::read(from).map(Self::Permit),
            (2, END_RUNS) => EndRuns::read(from).map(Self::EndRuns),
            (2, RECENT) => RecentCall::read(from).map(Self::Recent),
            (_, number) => Err(Malformed::Unknown { form: "call of the authority", number }),
        }
    }
}

const EXHAUSTED: u64 = 1;
const HELD_ELSEWHERE: u64 = 2;
const FENCED: u64 = 3;

/// An array of the reason and what is known of it.
impl Form for Refused {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Exhausted { account, left, revision } => {
                out.array(4);
                out.uint(EXHAUSTED);
                account.write(out);
                left.write(out);
                revision.write(out);
            }
            Self::HeldElsewhere { account } => {
                out.array(2);
                out.uint(HELD_ELSEWHERE);
                account.write(out);
            }
            Self::Fenced => {
                out.array(1);
                out.uint(FENCED);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (from.array()?, from.uint()?) {
            (4, EXHAUSTED) => Ok(Self::Exhausted {
                account: Form::read(from)?,
                left: Form::read(from)?,
                revision: Form::read(from)?,
            }),
            (2, HELD_ELSEWHERE) => Ok(Self::HeldElsewhere { account: Form::read(from)? }),
            (1, FENCED) => Ok(Self::Fenced),
            (_, number) => Err(Malformed::Unknown { form: "refusal of a lease", number }),
        }
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::ProjectId;

    use super::*;
    use crate::form::{decode, encode};

    #[test]
    fn calls_come_back() {
        let word = Word { n: 3, total: 5_000, least: -1 };
        let (epoch, key) = (EpochId(1), KeyId(4));
        let token = Some(EphemeralId(5));
        let lease = LeaseCall { epoch, lease: LeaseId(2), key, unit: Unit::Tokens, word, token };
        let returned = vec![
            Returned { batch: 6, requests: 1, tokens: 0 },
            Returned { batch: 5, requests: 0, tokens: -300 },
        ];
        let account = Account::Key(key);
        let places = vec![(EpochId(2), 70), (EpochId(3), 0)];
        let ended = EndRuns { run: epoch, places, torn: true };
        let rate = Rate { requests: Some(60), tokens: None, seq: 9 };
        let (batch, requests, tokens) = (7, 8, 9_000);
        let waits = Some(0);
        let permit = PermitCall { epoch, account, batch, requests, tokens, returned, waits, rate };
        let used = vec![(0, Amount { requests: 1, tokens: 20 }), (59_000, Amount::NONE)];
        let accounts = vec![RecentUse { account, used }];
        let recent = RecentCall { epoch, part: 1, last: true, accounts };
        let calls =
            [Call::Lease(lease), Call::Permit(permit), Call::EndRuns(ended), Call::Recent(recent)];
        for call in calls {
            assert_eq!(decode(&encode(&call)), Ok(call));
        }
        assert!(decode::<Call>(&[0x82, 0x09, 0xa0]).is_err());
    }

    #[test]
    fn answers_come_back_with_every_reason() {
        let account = Account::Project(ProjectId(3));
        let reasons = [
            None,
            Some(Refused::Exhausted { account, left: Some(0), revision: 2 }),
            Some(Refused::Exhausted { account, left: None, revision: 2 }),
            Some(Refused::HeldElsewhere { account }),
            Some(Refused::Fenced),
        ];
        for refused in reasons {
            let path = vec![(account, Window(5)), (Account::Wallet, Window(0))];
            let ends_at = Some(Timestamp(6));
            let (settled, held, lost, revision) = (900, 90, 9, 2);
            let cap = Some(1_000);
            let of = BudgetFigures { account, cap, settled, held, lost, revision, resets_at: None };
            let figures = refused.map(|_| of);
            let answer =
                LeaseAnswer { fence: 1, n: 3, total: 5_000, path, ends_at, refused, figures };
            assert_eq!(decode(&encode(&answer)), Ok(answer));
        }
        for ended in [true, false] {
            let answer = RunsEnded { fence: 1, ended };
            assert_eq!(decode(&encode(&answer)), Ok(answer));
        }
        for closed in
            [None, Some(Closed::Gathering), Some(Closed::ReportFirst), Some(Closed::Fenced)]
        {
            let none = PermitAnswer {
                fence: 1,
                batch: 7,
                requests: 0,
                tokens: 0,
                retry_after_ms: Some(250),
                gateways: 3,
                left_requests: 4,
                left_tokens: 5,
                reset_ms: 6,
                closed,
            };
            assert_eq!(decode(&encode(&none)), Ok(none));
        }
        let heard = RecentAnswer { fence: 1, begin_again: true };
        assert_eq!(decode(&encode(&heard)), Ok(heard));
        for budget in [None, Some((account, Unit::Usd))] {
            let recall = Recall { fence: 1, budget };
            assert_eq!(decode(&encode(&recall)), Ok(recall));
        }
    }
}
