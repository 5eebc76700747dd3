//! Bytes below, events and ledgers above: only this crate knows a database key.

pub mod kv;
