//! Words: what counts as a token, and a text cut into the pieces that a stream sends.

use serde_json::{Value, json};

/// A thought of so many words.
#[must_use]
pub(super) fn thought(words: u64) -> String {
    vec!["hm"; usize::try_from(words).unwrap_or_default()].join(" ")
}

/// The number of whitespace-separated words in `text`.
#[must_use]
pub(super) fn count(text: &str) -> u64 {
    u64::try_from(text.split_whitespace().count()).unwrap_or(u64::MAX)
}

/// A text that is given back, with the places where its words end.
///
/// A piece is a word with the white space before it; the last piece also has the white space at
/// the end of the text, so that the pieces together are the text, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    text: String,
    ends: Vec<usize>,
    words: u64,
    cut: bool,
}

impl Text {
    /// `text`, cut after `maximum` words; a cut ends with the last letter of its last word.
    #[must_use]
    pub(super) fn cut(text: &str, maximum: Option<u64>) -> Self {
        let mut ends = word_ends(text);
        let kept = maximum.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let cut = ends.len() > kept;
        ends.truncate(kept);
        let words = u64::try_from(ends.len()).unwrap_or(u64::MAX);
        let end = if cut { ends.last().copied().unwrap_or(0) } else { text.len() };
        match ends.last_mut() {
            Some(last) => *last = end,
            None if end > 0 => ends.push(end),
            None => {}
        }
        Self { text: text[..end].to_owned(), ends, words, cut }
    }

    /// The whole text.
    #[must_use]
    pub(super) fn whole(&self) -> &str {
        &self.text
    }

    /// How many words it has.
    #[must_use]
    pub(super) const fn words(&self) -> u64 {
        self.words
    }

    /// Whether the maximum took something away.
    #[must_use]
    pub(super) const fn was_cut(&self) -> bool {
        self.cut
    }

    /// The argument of a tool that has the text, as JSON.
    #[must_use]
    pub(super) fn argument(&self) -> Value {
        json!({"text": self.text})
    }

    /// The pieces of [`Self::argument`], written as JSON, in order, as [`Self::into_pieces`].
    pub(super) fn into_argument_pieces(self) -> impl Iterator<Item = (String, u64)> + Send {
        let said = self.into_pieces().map(|(piece, words)| {
            let quoted = Value::from(piece).to_string();
            (quoted[1..quoted.len() - 1].to_owned(), words)
        });
        let opening = [("{\"text\":\"".to_owned(), 0)];
        opening.into_iter().chain(said).chain([("\"}".to_owned(), 0)])
    }

    /// The pieces in order, each with the words that it counts for: 1, or 0 where the whole text
    /// is white space.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = (String, u64)> + Send {
        let Self { text, ends, words, .. } = self;
        let mut start = 0;
        ends.into_iter().map(move |end| {
            let piece = text[start..end].to_owned();
            start = end;
            (piece, words.min(1))
        })
    }
}

fn word_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut within = false;
    for (at, letter) in text.char_indices() {
        if within && letter.is_whitespace() {
            ends.push(at);
        }
        within = !letter.is_whitespace();
    }
    if within {
        ends.push(text.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, maximum, pieces, words, cut.
    type Case = (&'static str, Option<u64>, &'static [&'static str], u64, bool);

    #[test]
    fn pieces_are_words_with_their_white_space() {
        let cases: [Case; 9] = [
            ("one two", None, &["one", " two"], 2, false),
            ("  one\n\ttwo  ", None, &["  one", "\n\ttwo  "], 2, false),
            ("one two three", Some(2), &["one", " two"], 2, true),
            ("one two ", Some(2), &["one", " two "], 2, false),
            ("one two", Some(0), &[], 0, true),
            ("one", Some(9), &["one"], 1, false),
            ("", None, &[], 0, false),
            (" \n", None, &[" \n"], 0, false),
            ("ä\u{2003}ö", Some(1), &["ä"], 1, true),
        ];
        for (text, maximum, pieces, words, cut) in cases {
            let given = Text::cut(text, maximum);
            assert_eq!((given.words(), given.was_cut()), (words, cut), "{text:?}");
            assert_eq!(given.whole(), pieces.concat(), "{text:?}");
            assert_eq!(count(given.whole()), words, "{text:?}");
            let sent: Vec<_> = given.into_pieces().collect();
            assert_eq!(sent.iter().map(|(piece, _)| piece.as_str()).collect::<Vec<_>>(), pieces);
            assert_eq!(sent.iter().map(|(_, count)| count).sum::<u64>(), words, "{text:?}");
            let given = Text::cut(text, maximum);
            let argument = given.argument().to_string();
            let sent: String = given.into_argument_pieces().map(|(piece, _)| piece).collect();
            assert_eq!(sent, argument);
        }
    }
}
