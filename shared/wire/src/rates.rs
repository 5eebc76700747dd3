//! The question of how rates stand, which the control plane asks, and the answer of their owner.
//!
//! It is no call of a gateway: whoever asks is permitted nothing and keeps nobody waiting.

use turnpike_domain::limit::Account;
use turnpike_domain::rate::{Look, Rate};

use crate::form;

/// The most accounts of one question: a request counts on two.
pub const MAX_ASKED: usize = 16;

/// "How do these rates stand?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesQuestion {
    /// Each for a request that nobody has made; at most [`MAX_ASKED`].
    pub accounts: Vec<AskedRate>,
}

/// A rate that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedRate {
    /// Whose rate.
    pub account: Account,
    /// The limits as they stand in the stream: those with the greatest `seq` are in force.
    pub rate: Rate,
    /// The tokens of the request.
    pub tokens: u64,
}

/// How they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesAnswer {
    /// The fence of the shard's owner.
    pub fence: u64,
    /// The owner is new, and waits for the reports of gateways: nothing is known yet.
    pub gathering: bool,
    /// The rates in the order of the question; none while reports are missing.
    pub looks: Vec<Look>,
}

form!(RatesQuestion { 1 accounts [default] });
form!(AskedRate { 1 account, 2 rate, 3 tokens [default] });
form!(RatesAnswer { 1 fence, 2 gathering [default], 3 looks [default] });
form!(Look {
    1 counted [default],
    2 out [default],
    3 free [default],
    4 waiting [default],
    5 next_ms [default],
    6 reset_ms [default],
});

#[cfg(test)]
mod tests {
    use turnpike_domain::id::KeyId;
    use turnpike_domain::rate::Amount;

    use super::*;
    use crate::form::{decode, encode};

    #[test]
    fn questions_and_answers_come_back() {
        let rate = Rate { requests: Some(60), tokens: None, seq: 9 };
        let asked = AskedRate { account: Account::Key(KeyId(4)), rate, tokens: 0 };
        for accounts in [vec![], vec![asked], vec![asked, AskedRate { tokens: 70, ..asked }]] {
            let question = RatesQuestion { accounts };
            assert_eq!(decode(&encode(&question)), Ok(question));
        }
        let free = Amount { requests: 50, tokens: u64::MAX };
        let look = Look { free, waiting: 1, next_ms: 2, reset_ms: 3, ..Look::default() };
        for (gathering, looks) in [(true, vec![]), (false, vec![look, Look::default()])] {
            let answer = RatesAnswer { fence: 1, gathering, looks };
            assert_eq!(decode(&encode(&answer)), Ok(answer));
        }
    }
}
