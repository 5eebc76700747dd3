//! The bus between the processes: only this crate knows a subject.

mod feed;
mod limits;
pub mod local;
#[cfg(feature = "nats")]
pub mod nats;
pub mod seam;
pub mod subject;

#[cfg(test)]
mod conformance;
