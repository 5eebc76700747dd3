//! The only reader of the clock, the environment, randomness and signals.

pub mod clock;
pub mod config;
pub mod connector;
pub mod ending;
pub mod entropy;
pub mod machine;
pub mod metrics;
pub mod per_core;
pub mod probes;
pub mod serve;
pub mod signals;
pub mod tasks;
pub mod telemetry;
