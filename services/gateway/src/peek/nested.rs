//! A field inside a top-level object of a body: where it stands, or has to be written.

use std::ops::Range;

use serde_json::value::RawValue;

use super::{Opening, place};

/// Where a field is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nested {
    /// Nowhere: it has its value already, or the body has no place for it.
    Nowhere,
    /// In the place of this value.
    Value(Range<usize>),
    /// At this place in the object, with a comma if other fields follow.
    Field { at: usize, comma: bool },
    /// In the place of this `null`, with its object.
    Object(Range<usize>),
    /// As the first field of the body, with its object.
    Whole,
}

impl Nested {
    /// At the beginning of an object, which must be one.
    pub(super) fn first_of(body: &[u8], object: &RawValue) -> Self {
        let text = object.get();
        Self::Field {
            at: place(body, object).start + 1,
            comma: text.bytes().skip(1).find(|byte| !byte.is_ascii_whitespace()) != Some(b'}'),
        }
    }

    /// What is replaced by what, so that `outer` has the field `inner` with this value. `opening`
    /// is that of the body.
    pub(super) fn written(
        &self,
        opening: Opening,
        (outer, inner): (&str, &str),
        value: &str,
    ) -> Option<(Range<usize>, String)> {
        match self {
            Self::Nowhere => None,
            Self::Value(at) => Some((at.clone(), value.to_owned())),
            Self::Field { at, comma } => {
                let comma = if *comma { "," } else { "" };
                Some((*at..*at, format!("\"{inner}\":{value}{comma}")))
            }
            Self::Object(at) => Some((at.clone(), format!("{{\"{inner}\":{value}}}"))),
            Self::Whole => {
                let Opening { at, comma } = opening;
                Some((at..at, format!("\"{outer}\":{{\"{inner}\":{value}}}{comma}")))
            }
        }
    }
}
