//! Deciding: from state and command to events or a refusal.

use crate::command::{Command, Order, PlatformCommand};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::state::{Organisation, Platform};

/// What an organisation's commands are decided against.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Plans, models and platform providers, as they were last read.
    pub platform: &'a Platform,
    /// The organisation at the head that the commit is conditioned on.
    pub organisation: &'a Organisation,
}

/// Decides a command to one organisation. No events: what was asked for is so already.
///
/// # Errors
/// The [`Refusal`] of the first rule that says no.
pub fn organisation(_world: World<'_>, _order: &Order<Command>) -> Result<Vec<Event>, Refusal> {
    Ok(Vec::new())
}

/// Decides a command to the platform. No events: what was asked for is so already.
///
/// # Errors
/// The [`Refusal`] of the first rule that says no.
pub fn platform(
    _platform: &Platform,
    _order: &Order<PlatformCommand>,
) -> Result<Vec<Event>, Refusal> {
    Ok(Vec::new())
}
