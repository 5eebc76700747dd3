//! `--wait`: the proof that a change has reached every gateway that is online.

use serde_json::Value;

use crate::client::Call;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::table::plain;

/// Whether and how long to wait for gateways.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Wait {
    /// Wait until every gateway that is online has applied the change
    #[arg(long)]
    wait: bool,
    /// The longest wait, in milliseconds
    #[arg(long, value_name = "MS", requires = "wait")]
    wait_timeout_ms: Option<u64>,
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// For people.
    pub(crate) sentence: String,
    /// A gateway has not applied it yet.
    pub(crate) is_missing: bool,
}

impl Wait {
    /// The call that also waits.
    pub(crate) fn on(self, call: Call) -> Call {
        let mut call = call.with_some("wait", self.wait.then_some("applied"));
        call.waits_ms = self.wait_timeout_ms.unwrap_or_default();
        call.with_some("timeout_ms", self.wait_timeout_ms)
    }
}

impl Applied {
    /// Tells people the proof.
    ///
    /// # Errors
    /// [`Failure::NotApplied`] with the sentence, if a gateway is missing from it.
    pub(crate) fn tell(
        self,
        output: Output,
        proof: fn(Output, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.is_missing {
            return Err(Failure::NotApplied(self.sentence));
        }
        if output.json { Ok(()) } else { proof(output, &self.sentence) }
    }
}

/// What a proof of propagation says.
pub(crate) fn told(found: &Value) -> Applied {
    let [applied, online, slowest] =
        ["applied", "online", "slowest_ms"].map(|name| plain(&found[name]));
    let missing = found["missing"].as_array().filter(|missing| !missing.is_empty());
    let sentence = match missing {
        Some(missing) => {
            let names = plain(&Value::Array(missing.clone()));
            format!("applied on {applied} of {online} gateways; not yet on {names}")
        }
        None => format!("applied on {applied} of {online} gateways, slowest {slowest} ms"),
    };
    Applied { sentence, is_missing: missing.is_some() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_proof_is_one_sentence() {
        let told_of = |applied: u8, missing: &[&str]| {
            told(&json!({
                "position": 7, "online": 3, "applied": applied, "slowest_ms": 12,
                "missing": missing,
            }))
        };
        let all = told_of(3, &[]);
        assert_eq!(all.sentence, "applied on 3 of 3 gateways, slowest 12 ms");
        assert!(!all.is_missing);
        let some = told_of(1, &["gw_1", "gw_2"]);
        assert_eq!(some.sentence, "applied on 1 of 3 gateways; not yet on gw_1, gw_2");
        assert!(some.is_missing);
        // It is told once: as the failure.
        let proof = |_: Output, _: &str| panic!("told twice");
        let failed = some.tell(Output { json: false }, proof).unwrap_err();
        assert!(matches!(failed, Failure::NotApplied(told) if told.ends_with("gw_1, gw_2")));
        assert!(all.tell(Output { json: true }, proof).is_ok());
    }
}
