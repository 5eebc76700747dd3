//! Finds one field of a JSON object, or of the objects of a list, that arrives in pieces, without
//! keeping the rest.

mod glance;

use bytes::Bytes;

pub use glance::Name;

/// The most that is kept of the field's value, in bytes: a usage object has a few hundred.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The field came more than once, was too long, or was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field came more than once, was too long, or was cut off")]
pub struct Unusable;

/// Where the finder stands between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of strings.
    Between,
    /// Inside a string.
    Text,
    /// Behind a backslash inside a string.
    Escape,
}

/// Looks for a field in a text that comes in pieces.
#[derive(Debug)]
pub struct Search {
    name: &'static Name,
    finder: Finder,
    /// The only piece so far, which is not read yet: most texts have one, and a look from its end
    /// takes less than reading it.
    only: Option<Bytes>,
    begun: bool,
}

impl Search {
    /// Looks for the field of an object.
    #[must_use]
    pub const fn in_object(name: &'static Name) -> Self {
        Self { name, finder: Finder::at(name.text(), 1), only: None, begun: false }
    }

    /// Looks in each object of a list, and keeps the last value that it finds.
    #[must_use]
    pub const fn in_list(name: &'static Name) -> Self {
        Self { name, finder: Finder::at(name.text(), 2), only: None, begun: false }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &Bytes) {
        if !std::mem::replace(&mut self.begun, true) {
            self.only = Some(piece.clone());
            return;
        }
        if let Some(first) = self.only.take() {
            self.finder.push(&first);
        }
        self.finder.push(piece);
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Found {
        if let Some(only) = self.only.take() {
            if let Some(value) = self.finder.glance(self.name, &only) {
                return Found { value: Ok(Some(value)), is_whole: true };
            }
            self.finder.push(&only);
        }
        let is_whole = self.finder.is_whole();
        Found { value: self.finder.finish(), is_whole }
    }
}

/// What a search has come to.
#[derive(Debug)]
pub struct Found {
    /// The raw value, if the field came; in a list the last whole one. No answer is better than one
    /// of two.
    pub value: Result<Option<Vec<u8>>, Unusable>,
    /// Whether what has passed is a whole object or list.
    pub is_whole: bool,
}

/// Looks for a field while the text passes.
#[derive(Debug)]
struct Finder {
    name: &'static [u8],
    /// How deep the names stand among which the one looked for is: 1, or 2 in a list.
    home: u32,
    state: State,
    /// Open braces and brackets.
    depth: u32,
    /// Whether one was opened.
    begun: bool,
    /// Whether the next string at home is a name.
    expects_name: bool,
    /// How many bytes of the name looked for have been seen, if what passes is a name like it.
    matched: Option<usize>,
    /// Whether what passes is the value looked for.
    inside: bool,
    value: Vec<u8>,
    /// In a list: the last value that came to its end.
    last: Vec<u8>,
    /// How often the name came.
    times: u32,
}

impl Finder {
    const fn at(name: &'static str, home: u32) -> Self {
        Self {
            name: name.as_bytes(),
            home,
            state: State::Between,
            depth: 0,
            begun: false,
            expects_name: false,
            matched: None,
            inside: false,
            value: Vec::new(),
            last: Vec::new(),
            times: 0,
        }
    }

    fn push(&mut self, piece: &[u8]) {
        let (mut at, mut begun) = (0, 0);
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            let was_inside = self.inside;
            at += match self.state {
                State::Between => self.between(rest),
                State::Text => self.text(rest),
                State::Escape => {
                    self.state = State::Text;
                    1
                }
            };
            match (was_inside, self.inside) {
                (false, true) => begun = at,
                // The byte that ended the value is no part of it.
                (true, false) => self.end_value(&piece[begun..at - 1]),
                (true, true) | (false, false) => {}
            }
        }
        if self.inside {
            self.keep(&piece[begun..]);
        }
    }

    fn finish(self) -> Result<Option<Vec<u8>>, Unusable> {
        let (value, times) = match self.home {
            1 if self.inside => return Err(Unusable),
            1 => (self.value, self.times),
            _ => (self.last, 1),
        };
        match times {
            0 => Ok(None),
            1 if value.is_empty() => Ok(None),
            1 if value.len() <= MAX_VALUE_BYTES => Ok(Some(value)),
            _ => Err(Unusable),
        }
    }

    const fn is_whole(&self) -> bool {
        self.depth == 0 && self.begun
    }

    /// Takes the next byte of structure and what stands before it; answers how many bytes.
    fn between(&mut self, piece: &[u8]) -> usize {
        let is_deep = self.depth > self.home;
        let next = if is_deep { before_nesting(piece) } else { before(MARK, piece) };
        let Some(plain) = next else { return piece.len() };
        let byte = piece[plain];
        match byte {
            b'{' | b'[' => (self.depth, self.begun) = (self.depth.saturating_add(1), true),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b'"' => {
                self.state = State::Text;
                self.matched = (self.depth == self.home && self.expects_name).then_some(0);
            }
            _ => {}
        }
        if self.depth < self.home {
            self.inside = false;
        } else if self.depth == self.home {
            self.at_home(byte);
        }
        plain + 1
    }

    /// Takes a byte of structure of the objects that are looked at.
    fn at_home(&mut self, byte: u8) {
        match byte {
            b',' => (self.inside, self.expects_name) = (false, true),
            b'{' => self.expects_name = true,
            b':' => {
                self.expects_name = false;
                if self.matched.take() == Some(self.name.len()) {
                    self.inside = true;
                    self.value.clear();
                    self.times = self.times.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    /// Ends the value with its last bytes.
    fn end_value(&mut self, rest: &[u8]) {
        self.keep(rest);
        if self.home > 1 {
            std::mem::swap(&mut self.value, &mut self.last);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_VALUE_BYTES + 1).saturating_sub(self.value.len());
        self.value.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes bytes of a string, up to and with its end or a backslash; answers how many.
    fn text(&mut self, piece: &[u8]) -> usize {
        let stop = before_stop(piece).unwrap_or(piece.len());
        if let Some(seen) = self.matched {
            let rest = &self.name[seen..];
            self.matched = rest.starts_with(&piece[..stop]).then_some(seen + stop);
        }
        match piece.get(stop) {
            None => stop,
            Some(b'"') => {
                self.state = State::Between;
                stop + 1
            }
            Some(_) => {
                self.state = State::Escape;
                self.matched = None;
                stop + 1
            }
        }
    }
}

/// A byte has a meaning among the objects that are looked at.
const MARK: u8 = 1;
/// A byte has a meaning inside of a value as well.
const NEST: u8 = 2;
/// A byte has a meaning in a string.
const STOP: u8 = 4;

/// What each byte means: one look for each, where comparisons would be seven.
const MEANINGS: [u8; 256] = {
    let mut meanings = [0; 256];
    meanings[b',' as usize] = MARK;
    meanings[b':' as usize] = MARK;
    meanings[b'{' as usize] = MARK | NEST;
    meanings[b'}' as usize] = MARK | NEST;
    meanings[b'[' as usize] = MARK | NEST;
    meanings[b']' as usize] = MARK | NEST;
    meanings[b'"' as usize] = MARK | NEST | STOP;
    meanings[b'\\' as usize] = STOP;
    meanings
};

/// Bytes before the next one with this meaning; `None`: there is none.
fn before(meaning: u8, piece: &[u8]) -> Option<usize> {
    piece.iter().position(|byte| MEANINGS[usize::from(*byte)] & meaning != 0)
}

/// The same inside of a value, where a list may hold many numbers: whole blocks without a meaning
/// are passed over. The block is there for the compiler, which turns it into a few wide
/// comparisons.
fn before_nesting(piece: &[u8]) -> Option<usize> {
    const BLOCK_BYTES: usize = 32;
    // The opening and closing brackets differ from the braces in this bit alone.
    const BRACE_BIT: u8 = 0x20;
    let near = piece.len().min(BLOCK_BYTES);
    if let Some(place) = before(NEST, &piece[..near]) {
        return Some(place);
    }
    let nests = |byte: u8| byte == b'"' || matches!(byte | BRACE_BIT, b'{' | b'}');
    let is_calm = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | nests(*byte));
    let blocks = piece[near..].chunks_exact(BLOCK_BYTES).take_while(is_calm);
    let calm = near + blocks.count() * BLOCK_BYTES;
    before(NEST, &piece[calm..]).map(|place| calm + place)
}

/// Bytes before the next one that has a meaning in a string. Most strings are short.
fn before_stop(piece: &[u8]) -> Option<usize> {
    const SHORT_BYTES: usize = 16;
    let near = piece.len().min(SHORT_BYTES);
    before(STOP, &piece[..near])
        .or_else(|| memchr::memchr2(b'"', b'\\', &piece[near..]).map(|place| near + place))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cut;

    static USAGE: Name = Name::new("usage", || memchr::memmem::Finder::new("\"usage\""));

    /// What a search finds, and whether the text was whole.
    fn searched(mut search: Search, pieces: &[&[u8]]) -> (Result<Option<String>, Unusable>, bool) {
        for piece in pieces {
            search.push(&Bytes::copy_from_slice(piece));
        }
        let Found { value, is_whole } = search.finish();
        (value.map(|found| found.map(|value| String::from_utf8(value).unwrap())), is_whole)
    }

    fn find(pieces: &[&[u8]]) -> Result<Option<String>, Unusable> {
        searched(Search::in_object(&USAGE), pieces).0
    }

    #[test]
    fn only_the_top_level_field_counts() {
        let cases = [
            (r#"{"usage":{"a":[1,{"b":2}]},"x":1}"#, Some(r#"{"a":[1,{"b":2}]}"#)),
            (r#"{"x":{"usage":1},"y":["usage",{"usage":2}],"usage": 3 }"#, Some(" 3 ")),
            (r#"{"x":"usage","y":"\"usage\":1","usage":"a\"}b"}"#, Some(r#""a\"}b""#)),
            (r#"{"usages":1,"usag":2,"us\u0061ge":3}"#, None),
            (r#"["usage",1]"#, None),
            (r#"{"usage":null}"#, Some("null")),
            ("", None),
        ];
        for (text, want) in cases {
            let want = Ok(want.map(str::to_owned));
            assert_eq!(find(&[text.as_bytes()]), want, "{text}");
            assert_eq!(find(&[b"", text.as_bytes()]), want, "{text}");
        }
    }

    #[test]
    fn two_answers_or_half_of_one_are_none() {
        let long = format!(r#"{{"usage":"{}"}}"#, "x".repeat(MAX_VALUE_BYTES));
        for text in [r#"{"usage":1,"usage":2}"#, r#"{"usage":{"a":1}"#, &long] {
            assert_eq!(find(&[text.as_bytes()]), Err(Unusable));
        }
    }

    #[test]
    fn in_a_list_the_last_whole_value_counts() {
        let last = |text: &str| searched(Search::in_list(&USAGE), &[text.as_bytes()]);
        let cases = [
            (r#"[{"usage":{"a":1},"x":[1]},{"usage":{"a":2}}]"#, Some(r#"{"a":2}"#), true),
            (r#"[{"usage":{"a":1},"x":{"usage":7}},{"y":2}]"#, Some(r#"{"a":1}"#), true),
            (r#"[{"usage":{"a":1}},{"usage":{"a""#, Some(r#"{"a":1}"#), false),
            (r#"[{"x":"usage"},["usage"]]"#, None, true),
            (r#"[{"usage":{"a""#, None, false),
            ("", None, false),
        ];
        for (text, want, whole) in cases {
            assert_eq!(last(text), (Ok(want.map(str::to_owned)), whole), "{text}");
        }
        let long = format!(r#"[{{"usage":"{}"}}]"#, "x".repeat(MAX_VALUE_BYTES));
        assert_eq!(last(&long).0, Err(Unusable));
    }

    /// Objects whose names and texts are made to be taken for others.
    fn object() -> impl Strategy<Value = String> {
        let texts = ["\"usage\"", "\"x\"", "\"\\\"usage\\\":1\"", "\"{,\\\\\"", "1", "null"];
        let names = ["\"usage\"", "\"x\"", "\"usages\"", "\"{\\\"usage\"", " \"usage\" "];
        let value = prop::sample::select(texts.to_vec()).prop_map(str::to_owned);
        let value = value.prop_recursive(3, 12, 4, move |inner| {
            let name = prop::sample::select(names.to_vec());
            let field = (name, inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
            let fields = prop::collection::vec(field, 0..4);
            let items = prop::collection::vec(inner, 0..4);
            prop_oneof![
                fields.prop_map(|fields| format!("{{{}}}", fields.join(","))),
                items.prop_map(|items| format!("[{}]", items.join(" ,"))),
            ]
        });
        value.prop_filter("an object", |text| text.starts_with('{'))
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_a_whole_parse_however_the_text_is_cut(
            before in ".{0,12}",
            usage in prop::option::of((any::<u32>(), ".{0,12}")),
            places in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let numbers = vec![1.5; 40];
            let mut value =
                serde_json::json!({"a": [before, {"usage": 1}], "n": numbers, "z": before});
            if let Some((number, text)) = usage {
                value["usage"] = serde_json::json!({"n": number, "t": [text]});
            }
            let text = value.to_string().into_bytes();
            let found = find(&cut(&text, &places)).unwrap();
            let read = |found: String| serde_json::from_str::<serde_json::Value>(&found).unwrap();
            let parsed = found.map(read);
            prop_assert_eq!(parsed.as_ref(), value.get("usage"));
        }

        #[test]
        fn a_look_from_the_end_says_what_reading_all_of_it_says(
            text in object(), tail in prop::sample::select(vec!["", " ", "\n", "}", "x"]),
        ) {
            let text = format!("{text}{tail}").into_bytes();
            prop_assert_eq!(find(&[&text]), find(&[b"", &text]));
        }

        #[test]
        fn no_text_makes_the_finder_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&[&text]);
        }
    }
}
