//! Bytes below, events and ledgers above: only this crate knows a database key.

pub mod conformance;
pub mod embedded;
pub mod kv;
pub mod memory;

mod watches;
mod writes;
