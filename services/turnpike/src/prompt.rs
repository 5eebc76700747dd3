//! The question before what cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Whether a question is asked.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Confirm {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Asks the person at the terminal, unless `--yes` has answered.
    ///
    /// # Errors
    /// [`Failure::Declined`] if the answer is no, [`Failure::Usage`] if nobody can be asked.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        self.decide(question, io::stdin().is_terminal(), answer)
    }

    fn decide(
        self,
        question: &str,
        is_terminal: bool,
        answer: impl FnOnce(&str) -> io::Result<String>,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !is_terminal {
            let what = format!("{question} Nobody can be asked here: say --yes to do it.");
            return Err(Failure::Usage(what));
        }
        let text = answer(question).map_err(Failure::io("the terminal cannot be read"))?;
        match text.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Declined),
        }
    }
}

fn answer(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNASKED: &str = "Delete it? Nobody can be asked here: say --yes to do it.";

    #[test]
    fn what_cannot_be_undone_needs_a_yes() {
        let cases = [
            (true, false, "n", None),
            (true, true, "n", None),
            (false, true, "y\n", None),
            (false, true, " YES \n", None),
            (false, true, "\n", Some((1, "Nothing was done."))),
            (false, true, "yess", Some((1, "Nothing was done."))),
            (false, false, "y", Some((2, UNASKED))),
        ];
        for (yes, is_terminal, text, wanted) in cases {
            let asked = Confirm { yes }.decide("Delete it?", is_terminal, |_| Ok(text.to_owned()));
            let failed = asked.err().map(|failure| (failure.exit_code(), failure.to_string()));
            let wanted = wanted.map(|(code, told): (u8, &str)| (code, told.to_owned()));
            assert_eq!(failed, wanted, "{yes} {is_terminal} {text}");
        }
    }
}
