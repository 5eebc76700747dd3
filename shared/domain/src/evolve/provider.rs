//! What is given as a whole or taken away: providers, plans, models.

use std::collections::BTreeMap;

use crate::id::ProviderId;
use crate::state::{Provider, ProviderSpec};

pub(super) fn changed(
    providers: &mut BTreeMap<ProviderId, Provider>,
    id: ProviderId,
    spec: Option<&ProviderSpec>,
    seq: u64,
) {
    put(providers, id, spec.map(|spec| Provider { spec: spec.clone(), seq }));
}

pub(super) fn put<K: Ord, V>(things: &mut BTreeMap<K, V>, id: K, thing: Option<V>) {
    match thing {
        Some(thing) => things.insert(id, thing),
        None => things.remove(&id),
    };
}
