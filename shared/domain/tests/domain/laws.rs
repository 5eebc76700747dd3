//! What holds for every event, every scope and every program of commands.

mod ephemeral;
mod ledger;
mod money;
mod program;
mod rate;
mod scope;
mod stream;
