//! One page of a list.

use serde::{Deserialize, Serialize};

/// Things in the order of the list, and where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The things.
    pub data: Vec<T>,
    /// What `?cursor=` must be for the next page; null: this is the last.
    pub next_cursor: Option<String>,
}
