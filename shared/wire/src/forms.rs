//! The forms of the domain's types: the one place where their numbers and JSON names stand.

mod names;
mod state;
mod things;
mod values;
