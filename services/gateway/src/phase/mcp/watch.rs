//! Watches an MCP server's answer pass: takes out what the key may not see, and stops with the key.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::super::Site;
use super::answer::Pieces;
use super::events::Events;
use super::passage::Passage;
use crate::body::{Cut, Tap};
use crate::core::{Core, Entry};
use crate::lane::OpenAnswer;

/// Ends the answer when the key no longer works, and books a tool call when it ends, however it
/// ends.
pub struct Watch {
    passage: Passage,
    status: StatusCode,
    /// Of a stream of a key that may not see every tool.
    events: Option<Events>,
    core: Arc<Core>,
    entry: Entry,
    server: Box<str>,
    over: bool,
    _open: OpenAnswer,
}

impl Watch {
    pub(super) fn new(
        site: &Rc<Site>,
        entry: &Entry,
        server: &str,
        (passage, status): (Passage, StatusCode),
        events: Option<Events>,
    ) -> Self {
        let (core, entry, server) = (Arc::clone(&site.core), entry.clone(), server.into());
        let open = site.lane.open_answer();
        Self { passage, status, events, core, entry, server, over: false, _open: open }
    }
}

impl Tap for Watch {
    fn changes(&self) -> bool {
        self.events.is_some()
    }

    fn pass(&mut self, piece: Bytes, out: &mut Pieces) {
        // A stream may last for hours: a key that was stopped meanwhile gets nothing more of it.
        if !self.core.still_works(&self.entry) {
            self.over = true;
            return;
        }
        let Some(events) = &mut self.events else { return out.push_back(piece) };
        let scope = &self.entry.key.profile.scopes.mcp;
        let may_see = |tool: &str| scope.tool(&self.server, tool);
        if events.push(&piece, may_see, out).is_err() {
            tracing::warn!(server = %self.server, "an event is too long to be looked through");
            self.over = true;
        }
    }

    fn complete(&mut self, _: &mut Pieces) {}

    fn is_over(&self) -> bool {
        self.over
    }

    fn cut(&mut self, how: &Cut) {
        tracing::info!(server = %self.server, %how, "an MCP server's answer was cut");
    }

    fn caller_gone(&mut self) {
        self.passage.caller_gone();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let refused = !self.status.is_success();
        self.passage.settle(self.status.as_u16(), refused);
    }
}
