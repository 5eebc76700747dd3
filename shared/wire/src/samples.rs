//! Arbitrary values of the domain, for tests of their forms.

mod events;
mod states;

pub(crate) use events::any_event;
pub(crate) use states::{any_organisation, any_platform};

use std::net::IpAddr;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use turnpike_domain::admit::Denial;
use turnpike_domain::event::{
    Actor, EphemeralGrant, Event, KeyProfile, ModelSpec, PlanSpec, Record, Who,
};
use turnpike_domain::id::{
    CommandId, EphemeralId, EpochId, EventId, GatewayId, KeyId, LeaseId, McpServerId, MemberId,
    OrgId, PlanId, ProjectId, ProviderId, RequestId, TokenId, TopUpId,
};
use turnpike_domain::limit::{Account, Fit, Limits, Unit};
use turnpike_domain::meter::{Prices, Usage};
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::{Allow, Attenuation, Cidr, McpMode, McpScope, Scopes};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, SecretKind, StoredSecret};
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::state::{
    LimitStatus, McpCatalogue, McpServerSpec, McpTool, ProviderKind, ProviderSpec, RateFallback,
    RevokeReason, Role, Route, SecretReveal, Settings, WalletMode,
};
use turnpike_domain::time::{Reset, Timestamp, Window};

use crate::form::Named as _;

/// A record of an organisation's stream.
pub(crate) fn record(seq: u64, event: Event) -> Record {
    Record {
        id: EventId(u128::from(seq)),
        org: OrgId(2),
        seq,
        at: Timestamp(1_795_000_000_000),
        actor: Actor { who: Who::Member(MemberId(3)), address: Some([127, 0, 0, 1].into()) },
        command: CommandId(5),
        event,
    }
}

pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let who = prop_oneof![
        Just(Who::System),
        any::<u128>().prop_map(|id| Who::Member(MemberId(id))),
        any::<u128>().prop_map(|id| Who::Token(TokenId(id))),
        any::<u128>().prop_map(|id| Who::Gateway(GatewayId(id))),
    ];
    let envelope: (_, _, _, _, _) =
        (any::<[u128; 3]>(), any::<[u64; 2]>(), who, option::of(any::<IpAddr>()), any_event());
    envelope.prop_map(|([id, org, command], [seq, at], who, address, event)| Record {
        id: EventId(id),
        org: OrgId(org),
        seq,
        at: Timestamp(at),
        actor: Actor { who, address },
        command: CommandId(command),
        event,
    })
}

pub(crate) fn any_spend() -> impl Strategy<Value = Spend> {
    let source = prop::sample::select(vec![Source::Provider, Source::Counted, Source::Estimated]);
    let ids = (any::<[u128; 2]>(), any::<[Option<u128>; 3]>());
    let counts = (any::<[u64; 4]>(), any::<[u64; 10]>(), any::<[i64; 2]>(), any::<[u32; 2]>());
    let end = (option::of(any_denial()), any::<[u32; 2]>(), option::of(any_text()));
    let texts = (any_text(), option::of(any_text()), option::of(any_text()));
    (ids, counts, texts, any::<u16>(), source, any::<[bool; 4]>(), end).prop_map(
        |(ids, counts, (model, server, tool), status, source, flags, end)| {
            let [suspect, unmetered, legacy, streamed] = flags;
            let ([request, key], [token, lease, provider]) = ids;
            let (denial, [repeats, failovers], decision) = end;
            let ([at, key_seq, price_version, reserved_tokens], usage, cost, small) = counts;
            Spend {
                request: RequestId(request),
                at: Timestamp(at),
                key: KeyId(key),
                key_seq,
                token: token.map(EphemeralId),
                model,
                provider: provider.map(ProviderId),
                status,
                usage: usage_of(usage),
                source,
                suspect,
                price_version,
                multiplier: Multiplier(small[0]),
                cost: NanoUsd(cost[0]),
                reserved: NanoUsd(cost[1]),
                reserved_tokens,
                lease: lease.map(LeaseId),
                legacy,
                latency_ms: small[1],
                denial,
                unmetered,
                repeats,
                failovers,
                decision,
                server,
                tool,
                streamed,
            }
        },
    )
}

fn any_denial() -> impl Strategy<Value = Denial> {
    prop::sample::select(Denial::NAMES).prop_filter_map("every name is one", Denial::from_name)
}

pub(crate) fn any_epoch() -> impl Strategy<Value = EpochId> {
    any::<u128>().prop_map(EpochId)
}

fn usage_of(counts: [u64; 10]) -> Usage {
    let [input, output, cached_input, cache_write, reasoning, rest @ ..] = counts;
    let [audio_input, audio_output, image_input, image_output, audio_seconds] = rest;
    Usage {
        input,
        output,
        cached_input,
        cache_write,
        reasoning,
        audio_input,
        audio_output,
        image_input,
        image_output,
        audio_seconds,
    }
}

fn any_text() -> impl Strategy<Value = Box<str>> {
    ".{0,12}".prop_map(Into::into)
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn any_sealed() -> impl Strategy<Value = Sealed> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| Sealed(bytes.into()))
}

fn any_secret() -> impl Strategy<Value = StoredSecret> {
    (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<u16>(), any_text()).prop_map(
        |(public_id, digest, pepper, preview)| StoredSecret {
            public_id: PublicId(public_id),
            digest: Digest(digest),
            pepper: PepperVersion(pepper),
            preview,
        },
    )
}

fn any_role() -> impl Strategy<Value = Role> {
    use Role::{Admin, Member, Operator, Owner, Viewer};
    prop::sample::select(vec![Viewer, Member, Admin, Owner, Operator])
}

fn any_kind() -> impl Strategy<Value = SecretKind> {
    use SecretKind::{Gateway, Invitation, Management, Model};
    prop::sample::select(vec![Model, Management, Gateway, Invitation])
}

fn any_reason() -> impl Strategy<Value = RevokeReason> {
    use RevokeReason::{Compromised, Other, Unused};
    prop::sample::select(vec![Compromised, Unused, Other])
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (any::<[bool; 4]>(), option::of(any::<u64>())).prop_map(|(other, max_staleness_ms)| Settings {
        limit_status: if other[0] { LimitStatus::TooManyRequests } else { LimitStatus::default() },
        secret_reveal: if other[1] { SecretReveal::Recoverable } else { SecretReveal::Once },
        max_staleness_ms,
        rate_fallback: if other[2] { RateFallback::Deny } else { RateFallback::Share },
        wallet: if other[3] { WalletMode::Prepaid } else { WalletMode::Off },
    })
}

fn any_reset() -> impl Strategy<Value = Reset> {
    prop::sample::select(vec![Reset::None, Reset::Daily, Reset::Weekly, Reset::Monthly])
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let money = (option::of(any::<i64>()), option::of(any::<u64>()), any_reset());
    let rates = (option::of(any::<u32>()), option::of(any::<u64>()));
    let fit = prop::sample::select(vec![Fit::Reject, Fit::Clamp]);
    (money, rates, vec(any::<u8>(), 0..4), fit).prop_map(
        |((cost, tokens, reset), (requests, rate), alert_percent, fit)| Limits {
            cost: cost.map(NanoUsd),
            tokens,
            reset,
            requests_per_minute: requests,
            tokens_per_minute: rate,
            alert_percent,
            fit,
        },
    )
}

fn any_allow() -> impl Strategy<Value = Allow> {
    option::of(btree_set(any_text(), 0..4)).prop_map(|names| names.map_or(Allow::All, Allow::Only))
}

fn any_cidr() -> impl Strategy<Value = Cidr> {
    (any::<IpAddr>(), 0_u8..=32)
        .prop_map(|(address, bits)| Cidr::new(address, bits).unwrap_or(Cidr::single(address)))
}

fn any_mcp() -> impl Strategy<Value = McpScope> {
    use McpMode::{AllowAll, AllowList, DenyAll, DenyList};
    let mode = prop::sample::select(vec![AllowAll, DenyAll, AllowList, DenyList]);
    let servers = btree_set(any_text(), 0..3);
    let tools = btree_map(any_text(), btree_set(any_text(), 0..3), 0..4);
    (any::<bool>(), mode, servers, tools).prop_map(|(enabled, mode, servers, tools)| McpScope {
        enabled,
        mode,
        servers,
        tools,
    })
}

fn any_scopes() -> impl Strategy<Value = Scopes> {
    (any_allow(), any_allow(), option::of(btree_set(any_cidr(), 0..4)), any_mcp()).prop_map(
        |(models, providers, addresses, mcp)| Scopes { models, providers, addresses, mcp },
    )
}

pub(crate) fn any_attenuation() -> impl Strategy<Value = Attenuation> {
    let addresses = option::of(btree_set(any_cidr(), 0..4));
    (any_allow(), any_allow(), addresses, option::of(any_mcp())).prop_map(
        |(models, providers, addresses, mcp)| Attenuation { models, providers, addresses, mcp },
    )
}

fn any_grant() -> impl Strategy<Value = EphemeralGrant> {
    let about = (option::of(any_text()), any::<u32>(), any_time(), any::<bool>());
    (about, any_attenuation(), option::of(any::<i64>())).prop_map(
        |((name, generation, expires_at, alone), attenuation, cost)| EphemeralGrant {
            name,
            generation,
            expires_at,
            attenuation,
            cost_cap: cost.map(NanoUsd),
            token_cap: cost.map(i64::unsigned_abs).filter(|cap| cap % 2 == 0),
            alone,
        },
    )
}

fn any_profile() -> impl Strategy<Value = Box<KeyProfile>> {
    let ids = (option::of(any::<u128>()), option::of(any::<u128>()), any::<u128>());
    let rest = (option::of(any_time()), option::of(any_text()));
    (any_text(), ids, rest, any_limits(), any_scopes()).prop_map(
        |(name, (owner, project, plan), (expires_at, metadata), limits, scopes)| {
            Box::new(KeyProfile {
                name,
                owner: owner.map(MemberId),
                project: project.map(ProjectId),
                plan: PlanId(plan),
                expires_at,
                limits,
                scopes,
                metadata,
            })
        },
    )
}

fn any_plan() -> impl Strategy<Value = PlanSpec> {
    (any_text(), any_allow(), any::<u32>()).prop_map(|(name, models, parts)| PlanSpec {
        name,
        models,
        multiplier: Multiplier(parts),
    })
}

fn any_prices() -> impl Strategy<Value = Prices> {
    let finer = any::<[Option<i64>; 7]>().prop_map(|prices| prices.map(|price| price.map(Price)));
    let second = any::<Option<i64>>().prop_map(|price| price.map(NanoUsd));
    (any::<[i64; 3]>(), finer, second).prop_map(|([input, output, fee], finer, audio_second)| {
        let [cached_input, cache_write, reasoning, rest @ ..] = finer;
        let [audio_input, audio_output, image_input, image_output] = rest;
        Prices {
            input: Price(input),
            output: Price(output),
            cached_input,
            cache_write,
            reasoning,
            audio_input,
            audio_output,
            image_input,
            image_output,
            request_fee: NanoUsd(fee),
            audio_second,
        }
    })
}

fn any_model() -> impl Strategy<Value = ModelSpec> {
    let route = (any_text(), option::of(any_text()), any::<u32>(), option::of(any_prices()))
        .prop_map(|(provider, upstream_model, weight, prices)| Route {
            provider,
            upstream_model,
            weight,
            prices,
        });
    (option::of(any_prices()), any::<[u64; 2]>(), vec(route, 0..3)).prop_map(
        |(prices, [context_window, max_output], routes)| ModelSpec {
            prices,
            context_window,
            max_output,
            routes,
        },
    )
}

fn any_provider() -> impl Strategy<Value = ProviderSpec> {
    use ProviderKind::{Anthropic, Gemini, OpenAi};
    let kind = prop::sample::select(vec![OpenAi, Anthropic, Gemini]);
    let lists = (vec((any_text(), any_text()), 0..3), vec(any_text(), 0..3));
    let numbers = (any::<[u64; 4]>(), any::<[u32; 2]>(), any::<bool>());
    let secrets = (option::of(any_sealed()), option::of(any_text()));
    ([any_text(), any_text()], kind, secrets, lists, numbers).prop_map(
        |([name, base_url], kind, secrets, (headers, serves), (waits, counts, disabled))| {
            let (credential, tls_roots) = secrets;
            let [max_concurrency, max_failures] = counts;
            let [connect_timeout_ms, answer_timeout_ms, idle_timeout_ms, total_timeout_ms] = waits;
            ProviderSpec {
                name,
                kind,
                base_url,
                credential,
                headers,
                serves,
                connect_timeout_ms,
                answer_timeout_ms,
                idle_timeout_ms,
                total_timeout_ms,
                max_concurrency,
                disabled,
                tls_roots,
                max_failures,
            }
        },
    )
}

fn any_mcp_server() -> impl Strategy<Value = McpServerSpec> {
    let tool =
        (any_text(), any_text()).prop_map(|(name, description)| McpTool { name, description });
    let catalogue =
        (any_time(), vec(tool, 0..4)).prop_map(|(at, tools)| McpCatalogue { at, tools });
    let headers = (option::of(any_text()), vec((any_text(), any_text()), 0..3));
    let numbers = (any::<[u64; 3]>(), any::<i64>(), any::<bool>());
    let rest = (option::of(any_sealed()), option::of(catalogue));
    ([any_text(), any_text()], headers, rest, numbers).prop_map(
        |([name, url], (credential_header, headers), (credential, catalogue), numbers)| {
            let ([connect_timeout_ms, answer_timeout_ms, idle_timeout_ms], fee, disabled) = numbers;
            McpServerSpec {
                name,
                url,
                credential,
                credential_header,
                headers,
                connect_timeout_ms,
                answer_timeout_ms,
                idle_timeout_ms,
                request_fee: NanoUsd(fee),
                disabled,
                catalogue,
            }
        },
    )
}

fn any_account() -> impl Strategy<Value = Account> {
    prop_oneof![
        Just(Account::Wallet),
        any::<u128>().prop_map(|id| Account::Project(ProjectId(id))),
        any::<u128>().prop_map(|id| Account::Key(KeyId(id))),
        any::<u128>().prop_map(|id| Account::Ephemeral(EphemeralId(id))),
    ]
}

fn any_unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![Unit::Usd, Unit::Tokens])
}

fn any_window() -> impl Strategy<Value = Window> {
    any::<u64>().prop_map(Window)
}
