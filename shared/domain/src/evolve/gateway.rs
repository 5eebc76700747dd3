//! Gateways. A fence stays whatever the gateway does.

use std::collections::BTreeMap;

use crate::event::Record;
use crate::id::{GatewayId, TokenId};
use crate::state::Gateway;

pub(super) fn joined(
    gateways: &mut BTreeMap<GatewayId, Gateway>,
    id: GatewayId,
    name: &str,
    token: TokenId,
    record: &Record,
) {
    let fenced = gateways.get(&id).is_some_and(|gateway| gateway.fenced);
    let (joined_at, seq) = (record.at, record.seq);
    let gateway = Gateway { name: name.into(), token, joined_at, left: false, fenced, seq };
    gateways.insert(id, gateway);
}

pub(super) fn left(gateways: &mut BTreeMap<GatewayId, Gateway>, id: GatewayId, seq: u64) {
    if let Some(gateway) = gateways.get_mut(&id) {
        gateway.left = true;
        gateway.seq = seq;
    }
}

pub(super) fn fenced(gateways: &mut BTreeMap<GatewayId, Gateway>, id: GatewayId, seq: u64) {
    if let Some(gateway) = gateways.get_mut(&id) {
        gateway.fenced = true;
        gateway.seq = seq;
    }
}
