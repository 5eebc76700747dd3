//! Stored and sent forms: what a byte means, whatever the Rust types are called.

mod base62;
mod forms;
#[cfg(test)]
mod samples;

pub mod api;
pub mod authority;
pub mod cbor;
pub mod chain;
pub mod decision;
pub mod ephemeral;
pub mod event;
pub mod form;
pub mod heartbeat;
pub mod hex;
pub mod join;
pub mod keyring;
pub mod rates;
pub mod record;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod snapshot;
pub mod spend;
pub mod time;
