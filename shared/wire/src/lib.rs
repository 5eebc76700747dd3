//! Stored and sent forms: what a byte means, whatever the Rust types are called.

mod base62;
mod forms;

pub mod cbor;
pub mod event;
pub mod form;
pub mod record;
pub mod seal;
pub mod secret;
pub mod sign;
