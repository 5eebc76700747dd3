//! Management and join tokens.

use std::collections::BTreeMap;

use crate::event::{Event, Record};
use crate::id::TokenId;
use crate::state::Token;

pub(super) fn created(tokens: &mut BTreeMap<TokenId, Token>, record: &Record) {
    let Event::TokenCreated { token, name, kind, role, owner, secret, expires_at } = &record.event
    else {
        return;
    };
    tokens.entry(*token).or_insert_with(|| Token {
        name: name.clone(),
        kind: *kind,
        role: *role,
        owner: *owner,
        secret: secret.clone(),
        expires_at: *expires_at,
        created_at: record.at,
        seq: record.seq,
    });
}
