//! The control plane: people's commands in, events out.

pub mod app;
mod cloudevents;
pub mod config;
pub mod directory;
mod heartbeat;
mod internal;
pub mod order;
pub mod presence;
mod receipts;
mod relay;
pub mod run;
pub mod tail;

mod http {
    //! Stands until `http.rs` lands: replace this inline module by `mod http;`.
    pub(crate) fn router(_: std::sync::Arc<crate::app::App>) -> axum::Router {
        axum::Router::new()
    }
}
