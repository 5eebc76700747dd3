//! Watches an MCP server's answer pass: takes out what the key may not see, and stops with the key.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use turnpike_domain::admit::mcp_server;

use super::super::{Arrival, Site};
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
    kind: Kind,
    core: Arc<Core>,
    entry: Entry,
    server: Box<str>,
    address: IpAddr,
    over: bool,
    _open: OpenAnswer,
}

/// What passes.
pub(super) enum Kind {
    /// One message, or what is no message of the server's.
    Whole,
    /// A stream of events, to a key that sees every tool.
    Open,
    /// A stream of events that is looked through.
    Filtered(Events),
}

impl Watch {
    pub(super) fn new(
        site: &Rc<Site>,
        arrival: &Arrival,
        server: &str,
        (passage, status): (Passage, StatusCode),
        kind: Kind,
    ) -> Self {
        let (entry, address) = (arrival.entry.clone(), arrival.address);
        let (core, server) = (Arc::clone(&site.core), server.into());
        let open = site.lane.open_answer();
        Self { passage, status, kind, core, entry, server, address, over: false, _open: open }
    }
}

impl Watch {
    /// Whether the caller would be let in to the same answer now. A stream that nobody looks
    /// through ends when its key may no longer see every tool: the next one is looked through.
    fn may_go_on(&mut self) -> bool {
        let Some(entry) = self.core.renewed(&self.entry) else { return false };
        self.entry = entry;
        let Entry { org, key, .. } = &self.entry;
        let reached = mcp_server(&org.organisation, key, &self.server, self.address).is_ok();
        reached
            && match self.kind {
                Kind::Whole | Kind::Filtered(_) => true,
                Kind::Open => !key.profile.scopes.mcp.names_tools(&self.server),
            }
    }
}

impl Tap for Watch {
    fn changes(&self) -> bool {
        matches!(self.kind, Kind::Filtered(_))
    }

    fn pass(&mut self, piece: Bytes, out: &mut Pieces) {
        // A stream may last for hours: what was taken from its key meanwhile, or from all keys with
        // the server, is taken from it.
        if !self.may_go_on() {
            self.over = true;
            return;
        }
        let Kind::Filtered(events) = &mut self.kind else { return out.push_back(piece) };
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

    fn cut(&mut self, how: &Cut, _: &mut Pieces) {
        self.passage.broken();
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
