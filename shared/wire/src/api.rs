//! The shapes of the management API: one file a resource, read by its server and its clients.

pub mod input;
pub mod key;
pub mod page;
pub mod problem;
pub mod propagation;
pub mod text;
