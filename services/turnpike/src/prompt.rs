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
    /// [`Failure::Usage`] if the answer is no, or nobody can be asked.
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
            _ => Err(Failure::Usage("Nothing was done.".to_owned())),
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

    #[test]
    fn what_cannot_be_undone_needs_a_yes() {
        let cases = [
            (true, false, "n", Ok(())),
            (true, true, "n", Ok(())),
            (false, true, "y\n", Ok(())),
            (false, true, " YES \n", Ok(())),
            (false, true, "\n", Err("Nothing was done.")),
            (false, true, "yess", Err("Nothing was done.")),
            (false, false, "y", Err("Delete it? Nobody can be asked here: say --yes to do it.")),
        ];
        for (yes, is_terminal, text, wanted) in cases {
            let asked = Confirm { yes }.decide("Delete it?", is_terminal, |_| Ok(text.to_owned()));
            let told = asked.map_err(|failure| {
                assert_eq!(failure.exit_code(), 2);
                failure.to_string()
            });
            assert_eq!(told, wanted.map_err(ToOwned::to_owned), "{yes} {is_terminal} {text}");
        }
    }
}
