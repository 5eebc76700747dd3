//! Books how a request went, once, with what was seen of it.

use turnpike_domain::admit::Denial;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::{Observed, Settlement};

use super::admit::Admitted;
use crate::core::Denied;
use crate::dialect::Report;
use crate::lane::Outcome;

/// What a request is booked with whose caller did not wait (nginx's 499).
const STATUS_CALLER_GONE: u16 = 499;

/// Books a request. `refused`: the provider refused it or failed before it answered anything.
pub(super) fn settle(admitted: Admitted, report: Report, status: u16, refused: bool) -> Settlement {
    book(admitted, report, (status, None), refused)
}

/// Books a request that no provider's answer was found for. `refused`: none can have worked on it.
pub(super) fn fail(admitted: Admitted, denied: &Denied, refused: bool) {
    book(admitted, Report::default(), (denied.status(), Some(denied.denial)), refused);
}

/// What a request costs if nothing is seen of its usage. `refused`: the provider refuses it.
pub(super) fn forecast(admitted: &Admitted, refused: bool) -> NanoUsd {
    let observed = Observed { sent: true, refused, ..Observed::default() };
    admitted.forecast(&observed).cost
}

fn book(
    admitted: Admitted,
    report: Report,
    (status, denial): (u16, Option<Denial>),
    refused: bool,
) -> Settlement {
    let progress = admitted.progress();
    let observed = Observed {
        reported: report.usage,
        malformed: report.malformed,
        counted_output: report.counted_output,
        sent: admitted.is_sent(),
        refused,
    };
    let status = if progress.caller_gone.get() { STATUS_CALLER_GONE } else { status };
    admitted.into_ticket().settle(Outcome { observed, status, denial })
}
