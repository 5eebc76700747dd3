//! The projector: spend in, books out.

pub mod config;
mod consumer;
mod inbox;
mod metrics;
mod retention;
pub mod run;
mod shard;
mod terms;
#[cfg(test)]
mod tests;
