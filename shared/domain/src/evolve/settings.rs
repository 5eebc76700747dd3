//! What holds for the whole organisation.

use super::budget;
use crate::event::{Event, Record};
use crate::id::PlanId;
use crate::state::{Organisation, Settings};

pub(super) fn created(state: &mut Organisation, record: &Record) {
    let Event::OrgCreated { name, settings } = &record.event else {
        return;
    };
    if state.settings_seq == 0 {
        state.created_at = record.at;
        changed(state, name, settings, record.seq);
    }
}

pub(super) fn changed(state: &mut Organisation, name: &str, settings: &Settings, seq: u64) {
    state.name = name.into();
    state.settings = *settings;
    state.settings_seq = seq;
    budget::wallet_cap(state);
}

pub(super) fn plans(
    state: &mut Organisation,
    allowed: Option<&[PlanId]>,
    default: Option<PlanId>,
    seq: u64,
) {
    state.allowed_plans = allowed.map(<[PlanId]>::to_vec);
    state.default_plan = default;
    state.settings_seq = seq;
}
