//! The bus between the processes: only this crate knows a subject.

pub mod seam;
