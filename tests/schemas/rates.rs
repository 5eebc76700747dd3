//! One of each message about rates, for its golden.

use turnpike_domain::id::{EpochId, KeyId, ProjectId};
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{Amount, Look, Rate, Returned};
use turnpike_wire::authority::{
    Call, Closed, PermitAnswer, PermitCall, Recall, RecentAnswer, RecentCall, RecentUse,
};
use turnpike_wire::form::{decode, encode};
use turnpike_wire::rates::{AskedRate, RatesAnswer, RatesQuestion};

const EPOCH: EpochId = EpochId(0xe0);
const ACCOUNT: Account = Account::Key(KeyId(4));
const GATHERING: RatesAnswer = RatesAnswer { fence: 2, gathering: true, looks: Vec::new() };

/// The name of each golden and what it should hold.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("permit-call.v1.cbor", encode(&permit_call())),
        ("permit-call-waits.v1.cbor", encode(&waiting_call())),
        ("permit-answer.v1.cbor", encode(&permit_answer())),
        ("permit-answer-closed.v1.cbor", encode(&closed_answer())),
        ("recent-call.v1.cbor", encode(&recent_call())),
        ("recent-answer.v1.cbor", encode(&recent_answer())),
        ("recall-rates.v1.cbor", encode(&recall_rates())),
        ("rates-question.v1.cbor", encode(&question())),
        ("rates-answer.v1.cbor", encode(&looks())),
        ("rates-answer-gathering.v1.cbor", encode(&GATHERING)),
    ]
}

/// Checks that a golden means what was written into it; whether it is one of these.
pub(crate) fn read(name: &str, bytes: &[u8]) -> bool {
    match name {
        "permit-call.v1.cbor" => assert_eq!(decode(bytes), Ok(permit_call())),
        "permit-call-waits.v1.cbor" => assert_eq!(decode(bytes), Ok(waiting_call())),
        "permit-answer.v1.cbor" => assert_eq!(decode(bytes), Ok(permit_answer())),
        "permit-answer-closed.v1.cbor" => assert_eq!(decode(bytes), Ok(closed_answer())),
        "recent-call.v1.cbor" => assert_eq!(decode(bytes), Ok(recent_call())),
        "recent-answer.v1.cbor" => assert_eq!(decode(bytes), Ok(recent_answer())),
        "recall-rates.v1.cbor" => assert_eq!(decode(bytes), Ok(recall_rates())),
        "rates-question.v1.cbor" => assert_eq!(decode(bytes), Ok(question())),
        "rates-answer.v1.cbor" => assert_eq!(decode(bytes), Ok(looks())),
        "rates-answer-gathering.v1.cbor" => assert_eq!(decode(bytes), Ok(GATHERING)),
        _ => return false,
    }
    true
}

fn permit() -> PermitCall {
    PermitCall {
        epoch: EPOCH,
        account: ACCOUNT,
        batch: 7,
        requests: 8,
        tokens: 9_000,
        returned: vec![Returned { batch: 6, requests: 1, tokens: -300 }],
        waits: None,
        rate: Rate::default(),
    }
}

fn permit_call() -> Call {
    Call::Permit(permit())
}

fn waiting_call() -> Call {
    let rate = Rate { requests: Some(600), tokens: Some(90_000), seq: 12 };
    Call::Permit(PermitCall { waits: Some(450), rate, ..permit() })
}

fn permit_answer() -> PermitAnswer {
    PermitAnswer {
        fence: 2,
        batch: 7,
        requests: 8,
        tokens: 9_000,
        retry_after_ms: Some(250),
        gateways: 0,
        left_requests: 0,
        left_tokens: 0,
        reset_ms: 0,
        closed: None,
    }
}

fn closed_answer() -> PermitAnswer {
    let gateways = 5;
    let (left_requests, left_tokens, reset_ms) = (592, 81_000, 61_000);
    let closed = Some(Closed::ReportFirst);
    PermitAnswer { gateways, left_requests, left_tokens, reset_ms, closed, ..permit_answer() }
}

fn recent_call() -> Call {
    let used = vec![
        (0, Amount { requests: 3, tokens: 400 }),
        (59_000, Amount { requests: 1, ..Amount::NONE }),
    ];
    let accounts = vec![
        RecentUse { account: ACCOUNT, used },
        RecentUse { account: Account::Project(ProjectId(3)), used: Vec::new() },
    ];
    Call::Recent(RecentCall { epoch: EPOCH, part: 1, last: true, accounts })
}

fn recent_answer() -> RecentAnswer {
    RecentAnswer { fence: 2, begin_again: true }
}

fn recall_rates() -> Recall {
    Recall { fence: 2, budget: None }
}

fn question() -> RatesQuestion {
    let rate = Rate { requests: Some(600), tokens: Some(90_000), seq: 12 };
    let of_project = Rate { requests: Some(5), tokens: None, seq: 3 };
    let account = Account::Project(ProjectId(3));
    RatesQuestion {
        accounts: vec![
            AskedRate { account: ACCOUNT, rate, tokens: 450 },
            AskedRate { account, rate: of_project, tokens: 0 },
        ],
    }
}

fn looks() -> RatesAnswer {
    let amount = |requests, tokens| Amount { requests, tokens };
    let full = Look {
        counted: amount(592, 81_000),
        out: amount(8, 9_000),
        free: amount(7, 8_550),
        waiting: 1,
        next_ms: 250,
        reset_ms: 61_000,
    };
    let still = Look { free: amount(5, u64::MAX), ..Look::default() };
    RatesAnswer { fence: 2, gathering: false, looks: vec![full, still] }
}
