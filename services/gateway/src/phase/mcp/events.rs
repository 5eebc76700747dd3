//! Takes tools out of the lists in a stream of events, event by event.
//!
//! Source of the format: WHATWG HTML, "9.2 Server-sent events". An event is held until its empty
//! line has come; one that lists nothing forbidden goes on byte by byte as it came.

use bytes::{BufMut, Bytes, BytesMut};

use super::answer::Pieces;
use crate::dialect::mcp::filtered;
use crate::sse::MAX_EVENT_BYTES;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event is longer than what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The state between pieces.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The unfinished event.
    pending: BytesMut,
    /// Where its unfinished line begins.
    line_at: usize,
    /// The stream has begun.
    begun: bool,
}

impl Events {
    /// Takes a piece, and gives `out` the events that end in it.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        allowed: impl Fn(&str) -> bool,
        out: &mut Pieces,
    ) -> Result<(), TooLong> {
        self.pending.extend_from_slice(piece);
        if !self.begun && self.pending.len() >= BYTE_ORDER_MARK.len() {
            self.begun = true;
            if self.pending.starts_with(BYTE_ORDER_MARK) {
                drop(self.pending.split_to(BYTE_ORDER_MARK.len()));
            }
        }
        while let Some(end) = self.end() {
            let event = self.pending.split_to(end).freeze();
            self.line_at = 0;
            if let Some(kept) = judged(event, &allowed) {
                out.push_back(kept);
            }
        }
        if self.pending.len() > MAX_EVENT_BYTES { Err(TooLong) } else { Ok(()) }
    }

    /// Where the first event ends: behind its empty line.
    fn end(&mut self) -> Option<usize> {
        if !self.begun {
            return None;
        }
        loop {
            let line = self.pending.get(self.line_at..)?;
            let found = memchr::memchr2(b'\n', b'\r', line)?;
            let stop = self.line_at.saturating_add(found);
            // Whether a LF belongs to this CR is seen with the next byte.
            let pair = match (self.pending.get(stop), self.pending.get(stop.saturating_add(1))) {
                (Some(b'\r'), None) => return None,
                (Some(b'\r'), Some(b'\n')) => 1,
                (_, _) => 0,
            };
            let blank = found == 0;
            self.line_at = stop.saturating_add(1).saturating_add(pair);
            if blank {
                return Some(self.line_at);
            }
        }
    }
}

/// The event as it may be seen; `None`: it cannot be read, so nobody may see it.
fn judged(event: Bytes, allowed: &impl Fn(&str) -> bool) -> Option<Bytes> {
    let data = data(&event);
    if data.is_empty() {
        return Some(event);
    }
    match filtered(&data, allowed) {
        Ok(None) => Some(event),
        Ok(Some(changed)) => Some(with_data(&event, &changed)),
        Err(error) => {
            tracing::warn!(%error, "an event that could not be read was left out");
            None
        }
    }
}

fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

/// What a line says, if it is data.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    if line == b"data" {
        return Some(b"");
    }
    let value = line.strip_prefix(b"data:")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn data(event: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = lines(event).filter_map(data_of).collect();
    parts.join(&b'\n')
}

/// The event with other data and its other lines.
fn with_data(event: &[u8], data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(event.len());
    for line in lines(event).filter(|line| data_of(line).is_none()) {
        out.put_slice(line);
        out.put_u8(b'\n');
    }
    for line in data.split(|byte| *byte == b'\n') {
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cut;

    fn run(pieces: &[&[u8]]) -> String {
        let (mut events, mut out) = (Events::default(), Pieces::new());
        for piece in pieces {
            events.push(piece, |name| name.starts_with('r'), &mut out).unwrap();
        }
        String::from_utf8(out.iter().flat_map(|piece| piece.to_vec()).collect()).unwrap()
    }

    const LIST: &str = r#"{"result":{"tools":[{"name":"read"},{"name":"write"}]}}"#;
    const KEPT: &str = r#"{"result":{"tools":[{"name":"read"}]}}"#;

    #[test]
    fn lists_are_cut_and_all_else_passes_as_it_came() {
        let before = ": note\n\nid: 1\ndata:\n\nretry: 5\r\n\r\ndata: {\"method\":\"x\"}\n\n";
        let stream = format!("{before}event: message\r\nid: 7\r\ndata: {LIST}\r\n\r\n");
        let expected = format!("{before}event: message\nid: 7\ndata: {KEPT}\n\n");
        assert_eq!(run(&[stream.as_bytes()]), expected);
        let split = LIST.replacen("\"tools\"", "\ndata: \"tools\"", 1);
        let kept = KEPT.replacen("\"tools\"", "\ndata: \"tools\"", 1);
        assert_eq!(run(&[format!("data: {split}\n\n").as_bytes()]), format!("data: {kept}\n\n"));
        let marked = format!("\u{feff}data: {LIST}\n\n");
        assert_eq!(run(&[marked.as_bytes()]), format!("data: {KEPT}\n\n"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let twice = r#"{"result":{},"result":{"tools":[{"name":"write"}]}}"#;
        let stream = format!("data: {twice}\n\ndata: [{LIST}]\n\ndata: {KEPT}\n\n");
        assert_eq!(run(&[stream.as_bytes()]), format!("data: {KEPT}\n\n"));
        assert_eq!(run(&[format!("data: {LIST}\n").as_bytes()]), "");
    }

    #[test]
    fn an_event_without_end_is_too_long() {
        let (mut events, mut out) = (Events::default(), Pieces::new());
        let half = vec![b'x'; MAX_EVENT_BYTES / 2 + 1];
        assert_eq!(events.push(&half, |_| true, &mut out), Ok(()));
        assert_eq!(events.push(&half, |_| true, &mut out), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data: {\"result\":{\"tools\":[{\"name\":\"write\"}]}}", "data: {}", "id: 1",
                ": c", "\n", "\r", "\r\n", "\n\n",
            ]), 0..30),
            places in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let stream = parts.concat().into_bytes();
            let whole = run(&[&stream]);
            prop_assert_eq!(run(&cut(&stream, &places)), whole);
        }
    }
}
