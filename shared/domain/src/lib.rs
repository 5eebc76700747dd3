//! The rules of Turnpike: pure functions over commands, events and state.

pub mod id;
pub mod money;
pub mod time;
