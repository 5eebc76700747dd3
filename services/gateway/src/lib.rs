//! The gateway: keys in memory, every scope and limit enforced, answers streamed, usage metered.

mod audit;
#[cfg(test)]
mod fake;
mod mirror;
mod query;
mod receipts;
mod silence;
mod spool;
mod table;
#[cfg(test)]
mod testing;

pub mod board;
pub mod body;
pub mod config;
pub mod core;
pub mod dialect;
pub mod field;
pub mod headers;
pub mod lane;
pub mod lease;
pub mod outbox;
pub mod parts;
pub mod peek;
pub mod permit;
pub mod phase;
pub mod respond;
pub mod run;
pub mod server;
pub mod sse;
pub mod upstairs;
pub mod upstream;
pub mod view;
