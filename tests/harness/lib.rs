//! What tests of the whole house share: hostile seams, and servers of others.

pub mod chance;
pub mod hostile_bus;
pub mod hostile_kv;
pub mod nats;
