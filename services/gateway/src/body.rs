//! Bodies: requests read once within limits, answers relayed frame by frame.

mod budget;
mod relay;
mod request;
mod whole;

pub use budget::{Budget, Hold};
pub use relay::{Cut, Limits, Means, Relay, Tap, Waits, next_piece};
pub use request::{ReadError, ReadLimits, read};
pub use whole::Whole;
