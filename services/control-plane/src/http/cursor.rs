//! Cursors and pages: a list is read on behind the last thing that was seen, whatever was added
//! before it in the meantime.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnpike_wire::api::page::Page;

use crate::problem::Problem;

/// Things on a page, if the caller does not say.
pub(crate) const DEFAULT_LIMIT: usize = 50;
/// The most things on a page: an answer stays about a megabyte.
pub(crate) const MAX_LIMIT: usize = 1_000;
/// The most characters of a cursor: a name of 100 characters and an id.
const MAX_CURSOR_CHARS: usize = 2_048;

/// What a thing is sorted by. Numbers stand before texts; one list has one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Number(u128),
    Text(String),
}

/// The place of a thing in a list: what it is sorted by, then its id.
pub(crate) type Spot = (Rank, u128);

/// Where and how far a page reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) limit: usize,
    /// The last thing that was seen.
    pub(crate) after: Option<Spot>,
    pub(crate) descending: bool,
}

impl Span {
    /// The page of those things that stand behind the cursor.
    pub(crate) fn page<T>(&self, things: impl Iterator<Item = (Spot, T)>) -> Page<T> {
        let behind = |spot: &Spot| match &self.after {
            None => true,
            Some(after) if self.descending => spot < after,
            Some(after) => spot > after,
        };
        let mut found: Vec<(Spot, T)> = things.filter(|(spot, _)| behind(spot)).collect();
        let order = |one: &(Spot, T), other: &(Spot, T)| {
            if self.descending { other.0.cmp(&one.0) } else { one.0.cmp(&other.0) }
        };
        // Only the page is sorted, not the list behind it.
        let more = found.len() > self.limit;
        if more {
            found.select_nth_unstable_by(self.limit, order);
            found.truncate(self.limit);
        }
        found.sort_unstable_by(order);
        let last = found.last().map(|(spot, _)| write(spot));
        let data = found.into_iter().map(|(_, thing)| thing).collect();
        Page { data, next_cursor: last.filter(|_| more) }
    }
}

/// A spot as callers carry it.
pub(crate) fn write((rank, id): &Spot) -> String {
    let text = match rank {
        Rank::Number(number) => format!("n{id:x}.{number:x}"),
        Rank::Text(text) => format!("t{id:x}.{text}"),
    };
    URL_SAFE_NO_PAD.encode(text)
}

/// Reads what [`write`] made.
pub(crate) fn read(cursor: &str) -> Result<Spot, Problem> {
    let wrong = || Problem::field("?cursor", "must be a next_cursor of this list");
    if cursor.len() > MAX_CURSOR_CHARS {
        return Err(wrong());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (id, rank) = text.split_once('.').ok_or_else(wrong)?;
    let number = |text: &str| u128::from_str_radix(text, 16).map_err(|_| wrong());
    let rank_of = |kind: &str| match kind {
        "n" => number(rank).map(Rank::Number),
        "t" => Ok(Rank::Text(rank.to_owned())),
        _ => Err(wrong()),
    };
    let (kind, id) = id.split_at_checked(1).ok_or_else(wrong)?;
    Ok((rank_of(kind)?, number(id)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(limit: usize, after: Option<&str>, descending: bool) -> Span {
        Span { limit, after: after.map(|cursor| read(cursor).unwrap()), descending }
    }

    fn spots(names: &[&str]) -> Vec<(Spot, String)> {
        let spot = |(id, name): (u128, &&str)| {
            ((Rank::Text((*name).to_owned()), id), format!("{name}{id}"))
        };
        (0..).zip(names).map(spot).collect()
    }

    #[test]
    fn pages_follow_each_other_under_inserts() {
        let first = span(2, None, false).page(spots(&["b", "a", "a", "c"]).into_iter());
        assert_eq!(first.data, ["a1", "a2"]);
        let cursor = first.next_cursor.unwrap();
        let next =
            span(2, Some(&cursor), false).page(spots(&["b", "a", "a", "c", "0"]).into_iter());
        assert_eq!((next.data, next.next_cursor), (vec!["b0".to_owned(), "c3".to_owned()], None));
        let down = span(3, None, true).page(spots(&["b", "a", "a", "c"]).into_iter());
        assert_eq!(down.data, ["c3", "b0", "a2"]);
    }

    #[test]
    fn cursors_go_there_and_back_and_others_are_refused() {
        for spot in [(Rank::Number(7), 9), (Rank::Text("a.b c\u{e9}".into()), u128::MAX)] {
            assert_eq!(read(&write(&spot)).unwrap(), spot);
        }
        for wrong in ["", "!", "eA", "bg", "xxxxxxxx", &"A".repeat(3_000)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
