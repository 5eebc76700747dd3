//! The one binary a person installs: everything in one process, or the client.

pub mod cli;
mod client;
mod cmd;
pub mod dev;
pub mod echo;
pub mod failure;
mod flags;
mod output;
mod prompt;
