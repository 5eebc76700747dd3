//! Stored and sent forms: what a byte means, whatever the Rust types are called.

mod base62;

pub mod seal;
pub mod secret;
pub mod sign;
