//! The control plane: people's commands in, events out.

pub mod app;
mod auth;
pub mod bootstrap;
mod cloudevents;
pub mod config;
mod console;
pub mod copies;
pub mod directory;
mod heartbeat;
mod http;
mod internal;
mod keeper;
mod mcp;
mod openapi;
pub mod order;
pub mod password;
pub mod presence;
mod problem;
mod receipts;
mod relay;
pub mod run;
pub mod tail;
