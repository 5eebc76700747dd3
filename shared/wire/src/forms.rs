//! The forms of the domain's types: the one place where their numbers and JSON names stand.

mod names;
mod things;
mod values;
