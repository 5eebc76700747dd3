//! The only reader of the clock, the environment, randomness and signals.

pub mod clock;
pub mod config;
pub mod entropy;
pub mod tasks;
