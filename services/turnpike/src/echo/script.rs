//! Scripts: how a test makes `echo` misbehave on purpose.
//!
//! A script is words split by `;`. It stands in the header `x-echo-script` of one request, or is
//! put on the port of `/served` for all requests that have none of their own. Both work only when
//! `echo` was started as scripted.
//!
//! | word | effect |
//! |---|---|
//! | `status=N` | answers with this status (400–599) and the dialect's error; serves nothing |
//! | `delay_ms=N` | waits before it answers, at most a minute |
//! | `hang` | reads the request and never answers |
//! | `drop` | reads the request and closes the connection without an answer |
//! | `cut_after=N` | a stream's connection breaks after N words |
//! | `hang_after=N` | a stream stands still after N words |
//! | `tool` | calls the first tool that the request offers, with its text as the argument `text` |
//! | `think=N` | thinks N words before it answers; they are output, on top of the answer's |
//! | `times=N` | holds for the next N requests, then nothing does; on the port of `/served` only |
//! | `usage=missing` | reports no usage |
//! | `usage=zero` | reports 0 for every count |
//! | `usage=negative` | reports the negated true counts, at most −1 |
//! | `usage=huge` | reports 2⁶³ for every count |
//! | `usage=tenfold` | reports ten times the true counts |
//!
//! Only what is reported changes: `/served` goes on counting what was served.

use http::StatusCode;

use super::served::Bill;

/// The longest `delay_ms`: more is `hang`.
const MOST_DELAY_MS: u64 = 60_000;
/// The most words of thought: they are sent in one piece.
const MOST_THOUGHTS: u64 = 1_000;

/// What to do to one request. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Answer with this error.
    pub status: Option<StatusCode>,
    /// Wait for so many milliseconds before the answer.
    pub delay_ms: u64,
    /// What happens instead of the answer.
    pub silence: Option<Silence>,
    /// How a stream ends early.
    pub breaking: Option<Break>,
    /// What the answer is besides its text.
    pub acting: Acting,
    /// For how many requests it holds; `None`: until another one is set.
    pub times: Option<u64>,
    /// What is reported as usage.
    pub usage: Report,
}

/// What an answer is besides its text, where its dialect has a form for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acting {
    /// The text is the argument of a call of the first tool that the request offers.
    pub calls_tool: bool,
    /// The words of thought before the answer.
    pub thoughts: u64,
}

/// No answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The connection stays open.
    Hang,
    /// The connection is closed.
    Drop,
}

/// The early end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection breaks after so many words.
    Cut(u64),
    /// The stream stands still after so many words.
    Hang(u64),
}

/// What is reported as usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// The true counts.
    #[default]
    True,
    /// Nothing.
    Missing,
    /// 0 for every count.
    Zero,
    /// The negated true counts, at most −1.
    Negative,
    /// 2⁶³ for every count.
    Huge,
    /// Ten times the true counts.
    Tenfold,
}

/// The counts that an answer reports; wide enough for every lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// All input, cached input included.
    pub input: i128,
    /// Cached input.
    pub cached: i128,
    /// Output, thoughts included.
    pub output: i128,
    /// Thoughts.
    pub thoughts: i128,
}

/// A script that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the script word {0:?} is not known or its value is out of range")]
pub struct BadScript(String);

impl std::str::FromStr for Script {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let mut script = Self::default();
        for word in text.split(';').map(str::trim).filter(|word| !word.is_empty()) {
            script.read_word(word).ok_or_else(|| BadScript(word.to_owned()))?;
        }
        Ok(script)
    }
}

impl Script {
    /// What holds for one more request.
    #[must_use]
    pub fn take(&mut self) -> Self {
        match &mut self.times {
            None => {}
            Some(0) => *self = Self::default(),
            Some(left) => *left -= 1,
        }
        *self
    }

    fn read_word(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "status" => {
                let status: StatusCode = value.parse().ok()?;
                let is_error = status.is_client_error() || status.is_server_error();
                self.status = Some(is_error.then_some(status)?);
            }
            "delay_ms" => {
                self.delay_ms = value.parse().ok().filter(|ms| *ms <= MOST_DELAY_MS)?;
            }
            "hang" if value.is_empty() => self.silence = Some(Silence::Hang),
            "drop" if value.is_empty() => self.silence = Some(Silence::Drop),
            "cut_after" => self.breaking = Some(Break::Cut(value.parse().ok()?)),
            "hang_after" => self.breaking = Some(Break::Hang(value.parse().ok()?)),
            "tool" if value.is_empty() => self.acting.calls_tool = true,
            "think" => {
                self.acting.thoughts =
                    value.parse().ok().filter(|words| *words <= MOST_THOUGHTS)?;
            }
            "times" => self.times = Some(value.parse().ok()?),
            "usage" => {
                self.usage = match value {
                    "missing" => Report::Missing,
                    "zero" => Report::Zero,
                    "negative" => Report::Negative,
                    "huge" => Report::Huge,
                    "tenfold" => Report::Tenfold,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Report {
    /// The figures to report for what `bill` serves; `None`: report nothing.
    #[must_use]
    pub fn figures(self, bill: Bill) -> Option<Figures> {
        let told = |true_count: u64| {
            let true_count = i128::from(true_count);
            match self {
                Self::True => Some(true_count),
                Self::Missing => None,
                Self::Zero => Some(0),
                Self::Negative => Some(-true_count.max(1)),
                Self::Huge => Some(1 << 63),
                Self::Tenfold => Some(true_count * 10),
            }
        };
        Some(Figures {
            input: told(bill.input)?,
            cached: told(bill.cached)?,
            output: told(bill.output)?,
            thoughts: told(bill.thoughts)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::*;

    #[test]
    fn scripts_are_read_word_by_word() {
        let script: Script =
            " status=503; delay_ms=5 ;usage=huge;cut_after=3;hang;tool;think=2;times=4"
                .parse()
                .unwrap();
        assert_eq!(
            script,
            Script {
                status: Some(StatusCode::SERVICE_UNAVAILABLE),
                delay_ms: 5,
                silence: Some(Silence::Hang),
                breaking: Some(Break::Cut(3)),
                acting: Acting { calls_tool: true, thoughts: 2 },
                times: Some(4),
                usage: Report::Huge,
            }
        );
        assert_eq!("".parse(), Ok(Script::default()));
        for word in [
            "status=200",
            "status=x",
            "delay_ms=60001",
            "hang=1",
            "think=1001",
            "tool=1",
            "usage=odd",
            "nap",
        ] {
            assert_eq!(word.parse::<Script>(), Err(BadScript(word.to_owned())));
        }
    }

    #[test]
    fn reports_tell_what_the_script_says() {
        let bill = Bill { model: Model::One, input: 7, cached: 0, output: 2, thoughts: 0 };
        let cases = [
            (Report::True, Some((7, 0, 2))),
            (Report::Missing, None),
            (Report::Zero, Some((0, 0, 0))),
            (Report::Negative, Some((-7, -1, -2))),
            (Report::Huge, Some((1 << 63, 1 << 63, 1 << 63))),
            (Report::Tenfold, Some((70, 0, 20))),
        ];
        for (report, expected) in cases {
            let told = report.figures(bill).map(|told| (told.input, told.cached, told.output));
            assert_eq!(told, expected, "{report:?}");
        }
    }
}
