//! `echo` over real sockets.

mod client;
mod dialects;
mod scripts;
