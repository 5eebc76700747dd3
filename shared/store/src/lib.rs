//! Bytes below, events and ledgers above: only this crate knows a database key.

pub mod conformance;
pub mod embedded;
#[cfg(feature = "fdb")]
pub mod fdb;
pub mod kv;
pub mod memory;

mod room;
mod watches;
mod writes;
