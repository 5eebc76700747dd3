//! Finds the events of a server-sent event stream as its bytes pass, and takes single ones out.
//!
//! Source of the format: WHATWG HTML, "9.2 Server-sent events". Lines end with LF, CR LF or CR; an
//! event ends with an empty line. Chunks are forwarded as they came; only an event that began in
//! one chunk and ends in another is copied.

use std::borrow::Cow;

use bytes::Bytes;

/// An event that spans chunks is kept up to this size, in bytes; a longer one passes unread. The
/// last event of a long Responses stream repeats the whole answer, so this is generous.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// A server-sent event, borrowed from the stream.
#[derive(Debug)]
pub struct Event<'a> {
    /// The event's name; empty where none is given.
    pub name: &'a [u8],
    /// The data lines, joined by LF.
    pub data: Cow<'a, [u8]>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes to the client.
    Forward,
    /// It is taken out.
    Drop,
}

/// An event of JSON on one line.
#[must_use]
pub fn event(name: Option<&str>, json: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(json.len() + 32);
    if let Some(name) = name {
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(name.as_bytes());
        event.push(b'\n');
    }
    event.extend_from_slice(b"data: ");
    event.extend_from_slice(json);
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// The state between chunks.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Whether events may be dropped, so that an unfinished one has to wait for its end.
    holds: bool,
    /// The bytes of the unfinished event.
    pending: Vec<u8>,
    /// Whether the unfinished event is longer than what is kept.
    overlong: bool,
    /// Whether the unfinished line has bytes.
    in_line: bool,
    /// Whether the last byte seen was a CR, so that a LF still belongs to it.
    after_cr: bool,
    /// What became of the last event.
    last: Option<Fate>,
}

impl Scanner {
    /// A scanner; `holds` if its judge may answer [`Fate::Drop`].
    #[must_use]
    pub fn new(holds: bool) -> Self {
        Self { holds, ..Self::default() }
    }

    /// Takes a chunk, shows each event that ends in it to `judge`, and gives `out` what goes on.
    pub fn push(
        &mut self,
        chunk: &Bytes,
        mut judge: impl FnMut(&Event<'_>) -> Fate,
        mut out: impl FnMut(Bytes),
    ) {
        let Some(last) = chunk.last() else { return };
        // Where the current line, the current event, and what is not yet given on begin.
        let (mut line_at, mut event_at, mut kept_from) = (0, 0, 0);
        if self.after_cr && chunk.first() == Some(&b'\n') {
            line_at = 1;
            let between_events = self.pending.is_empty() && !self.overlong;
            if between_events {
                event_at = 1;
                kept_from = usize::from(self.last == Some(Fate::Drop));
            }
        }
        self.after_cr = *last == b'\r';
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &chunk[line_at..]) {
            let stop = line_at + found;
            let pair = chunk[stop] == b'\r' && chunk.get(stop + 1) == Some(&b'\n');
            let blank = stop == line_at && !self.in_line;
            line_at = stop + 1 + usize::from(pair);
            self.in_line = false;
            if !blank {
                continue;
            }
            let held = self.pending.len();
            match self.ended(&chunk[event_at..line_at], &mut judge) {
                Fate::Forward if self.holds && held > 0 => out(self.take_pending().slice(..held)),
                Fate::Forward => {}
                Fate::Drop => {
                    give(chunk.slice(kept_from..event_at), &mut out);
                    kept_from = line_at;
                }
            }
            self.pending.clear();
            event_at = line_at;
        }
        self.in_line |= line_at < chunk.len();
        self.keep(chunk, kept_from, event_at, &mut out);
    }

    /// Whether the stream stands between two events, so that one may be added.
    #[must_use]
    pub const fn is_between_events(&self) -> bool {
        self.pending.is_empty() && !self.in_line && !self.overlong
    }

    /// Whether nothing of an unfinished event was given on, so that another event may follow.
    #[must_use]
    pub const fn gave_whole_events(&self) -> bool {
        self.is_between_events() || (self.holds && !self.overlong)
    }

    /// Ends the stream: what is unfinished is judged as if an empty line had come, then given on.
    pub fn finish(
        &mut self,
        mut judge: impl FnMut(&Event<'_>) -> Fate,
        mut out: impl FnMut(Bytes),
    ) {
        if self.ended(b"", &mut judge) == Fate::Forward && self.holds {
            give(self.take_pending(), &mut out);
        }
        self.pending = Vec::new();
    }

    /// Judges the event that ends with `tail`.
    fn ended(&mut self, tail: &[u8], judge: &mut impl FnMut(&Event<'_>) -> Fate) -> Fate {
        let first = self.last.is_none();
        let judged = if std::mem::take(&mut self.overlong) {
            None
        } else if self.pending.is_empty() {
            read(tail, first).map(|event| judge(&event))
        } else {
            self.pending.extend_from_slice(tail);
            read(&self.pending, first).map(|event| judge(&event))
        };
        let fate = if self.holds { judged.unwrap_or(Fate::Forward) } else { Fate::Forward };
        self.last = Some(fate);
        fate
    }

    /// Keeps the unfinished event that begins at `event_at`, and gives on what need not wait.
    fn keep(
        &mut self,
        chunk: &Bytes,
        kept_from: usize,
        event_at: usize,
        out: &mut impl FnMut(Bytes),
    ) {
        let unfinished = &chunk[event_at..];
        if !self.overlong && self.pending.len() + unfinished.len() > MAX_EVENT_BYTES {
            self.overlong = true;
            let pending = self.take_pending();
            if self.holds {
                give(pending, out);
            }
        }
        if !self.overlong {
            self.pending.extend_from_slice(unfinished);
        }
        let until = if self.holds && !self.overlong { event_at } else { chunk.len() };
        give(chunk.slice(kept_from..until), out);
    }

    fn take_pending(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.pending))
    }
}

fn give(bytes: Bytes, out: &mut impl FnMut(Bytes)) {
    if !bytes.is_empty() {
        out(bytes);
    }
}

/// Reads the fields of one event; `None` if it has no data, which clients ignore.
fn read(raw: &[u8], first: bool) -> Option<Event<'_>> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let raw = if first { raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw) } else { raw };
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or(b"");
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value,
            b"data" => match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(lines) => {
                    let lines = lines.to_mut();
                    lines.push(b'\n');
                    lines.extend_from_slice(value);
                }
            },
            _ => {}
        }
    }
    data.map(|data| Event { name, data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cut;

    /// Runs the pieces through a scanner that drops the events whose data is `drop`.
    fn run(pieces: &[&[u8]], holds: bool) -> (Vec<u8>, Vec<(String, String)>) {
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        let mut scanner = Scanner::new(holds);
        let mut judge = |event: &Event<'_>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            events.push((text(event.name), text(&event.data)));
            if *event.data == *b"drop" { Fate::Drop } else { Fate::Forward }
        };
        for piece in pieces {
            scanner.push(&Bytes::copy_from_slice(piece), &mut judge, |out| bytes.extend(out));
        }
        scanner.finish(&mut judge, |out| bytes.extend(out));
        (bytes, events)
    }

    fn data(events: &[(String, String)]) -> Vec<&str> {
        events.iter().map(|(_, data)| data.as_str()).collect()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let stream = [
            &b"\xef\xbb\xbfdata: a\n\n: note\n\n"[..],
            b"event: e\rdata:b\rdata\rdata:  c\r\r",
            b"data: d\r\n\r\nid: 1\n\n",
        ];
        let (bytes, events) = run(&stream, false);
        assert_eq!(bytes, stream.concat());
        assert_eq!(data(&events), ["a", "b\n\n c", "d"]);
        assert_eq!(events[1].0, "e");
    }

    #[test]
    fn a_dropped_event_leaves_its_neighbours_untouched() {
        let (bytes, events) = run(&[b"data: 1\n\ndata: drop\n\n\ndata: 2\n\n"], true);
        assert_eq!(bytes, b"data: 1\n\n\ndata: 2\n\n");
        assert_eq!(data(&events), ["1", "drop", "2"]);
        let (bytes, _) = run(&[b"data: drop\n", b"\ndata: 2\n\n"], true);
        assert_eq!(bytes, b"data: 2\n\n");
    }

    #[test]
    fn an_unfinished_end_is_judged_and_given_on() {
        let (bytes, events) = run(&[b"data: 1\n\ndata: [DO", b"NE]"], true);
        assert_eq!(bytes, b"data: 1\n\ndata: [DONE]");
        assert_eq!(data(&events), ["1", "[DONE]"]);
        assert_eq!(run(&[b"data: drop"], true).0, b"");
    }

    #[test]
    fn whole_chunks_pass_without_a_copy() {
        let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        for holds in [false, true] {
            let mut seen = Vec::new();
            Scanner::new(holds).push(&chunk, |_| Fate::Forward, |out| seen.push(out));
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].as_ptr(), chunk.as_ptr());
        }
    }

    #[test]
    fn an_overlong_event_passes_unread_and_the_next_is_read() {
        let half = vec![b'x'; MAX_EVENT_BYTES / 2 + 1];
        let pieces: [&[u8]; 4] = [b"data: ", &half, &half, b"\n\ndata: drop\n\n"];
        let (bytes, events) = run(&pieces, true);
        assert_eq!(bytes.len(), 6 + 2 * half.len() + 2);
        assert_eq!(data(&events), ["drop"]);
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_changes_nothing(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data: a", "data: drop", "data:b", "event: e", ": c", "x",
                "\n", "\r", "\r\n", "\n\n",
            ]), 0..40),
            places in prop::collection::vec(any::<usize>(), 0..12),
            holds in any::<bool>(),
        ) {
            let stream = parts.concat().into_bytes();
            let pieces = cut(&stream, &places);
            let whole = run(&[&stream], holds);
            if !holds {
                prop_assert_eq!(&whole.0, &stream);
            }
            prop_assert_eq!(run(&pieces, holds), whole);
        }
    }
}
