//! The one binary a person installs: everything in one process, or the client.

pub mod echo;
