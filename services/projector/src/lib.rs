//! The projector: spend in, books out.

pub mod config;
mod consumer;
mod ears;
mod inbox;
mod metrics;
mod news;
mod pending;
mod presence;
mod rates;
mod retention;
pub mod run;
mod shard;
mod shares;
mod terms;
#[cfg(test)]
mod tests;
