//! The shapes of the management API: one file a resource, read by its server and its clients.

pub mod audit;
pub mod decision;
pub mod ephemeral;
pub mod explain;
pub mod gateway;
pub mod import;
pub mod input;
pub mod key;
pub mod mcp;
pub mod member;
pub mod model;
pub mod notice;
pub mod org;
pub mod page;
pub mod pepper;
pub mod plan;
pub mod problem;
pub mod project;
pub mod propagation;
pub mod provider;
pub mod request;
pub mod session;
pub mod text;
pub mod token;
pub mod usage;
pub mod wallet;
