//! Bytes below, events and ledgers above: only this crate knows a database key.

pub mod booking;
pub mod conformance;
pub mod embedded;
#[cfg(test)]
mod engines;
pub mod error;
pub mod execute;
#[cfg(feature = "fdb")]
pub mod fdb;
pub mod follower;
#[cfg(test)]
mod hostile;
pub mod incarnation;
mod keyspace;
pub mod kv;
pub mod leader;
pub mod ledger;
pub mod legacy;
pub mod log;
pub mod memory;
pub mod open;
#[cfg(test)]
mod orders;
mod paging;
pub mod replicas;
pub mod requests;
pub mod retention;
mod room;
pub mod rows;
pub mod shared;
mod snapshots;
pub mod streams;
pub mod usage;
mod watches;
mod writes;
