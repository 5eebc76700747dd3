//! The rules of Turnpike: pure functions over commands, events and state.
//!
//! Nothing here does I/O, reads a clock, draws a random number or depends on another crate. Whoever
//! runs these functions (control plane, gateway, projector, simulation) gets the same answer.

pub mod admit;
pub mod authority;
pub mod command;
pub mod decide;
pub mod ephemeral;
pub mod event;
pub mod evolve;
pub mod id;
pub mod ledger;
pub mod limit;
pub mod meter;
pub mod money;
pub mod rate;
pub mod refusal;
pub mod scope;
pub mod secret;
pub mod settle;
pub mod spend;
pub mod state;
pub mod text;
pub mod time;
