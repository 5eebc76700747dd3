//! What is asked: the request in the form that handlers use, checked for what all of them share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, RawPathParams, Request};
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use turnpike_domain::id::OrgId;
use turnpike_domain::refusal::FieldError;
use turnpike_domain::state::Organisation;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::deadline;
use turnpike_runtime::entropy;
use turnpike_store::error::StoreError;
use turnpike_store::kv::Snapshot;
use turnpike_wire::api::input::Mistakes;
use turnpike_wire::api::text::TextForm;

use super::cursor::{self, DEFAULT_LIMIT, MAX_LIMIT, Span};
use super::route::{Param, Spec};
use super::{Api, body};
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Code, Problem};

/// How long a body may take to arrive: a slow one holds memory.
const BODY_MS: u64 = 30_000;
/// Parameters of lists.
pub(crate) const PAGE: &[Param] = &[
    Param::number("limit", "Things on a page, 1 to 1000; 50 if absent."),
    Param::text("cursor", "The `next_cursor` of the page before."),
];
/// Parameters of writes.
pub(crate) const WAIT: &[Param] = &[
    Param::text("wait", "`applied`: answer when every online gateway has applied it."),
    Param::number("timeout_ms", "How long to wait, at most 300000; 5000 if absent."),
];
/// Parameters of spans of time.
pub(crate) const SPAN: &[Param] = &[
    Param::text("from", "The first moment that counts."),
    Param::text("until", "The first moment that no longer counts."),
];

/// What is asked.
pub(crate) struct Ask {
    pub(crate) api: Arc<Api>,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
    /// The path with its parameters filled in.
    pub(crate) path: String,
    /// From where, as far as it is known.
    pub(crate) address: Option<IpAddr>,
    /// When it arrived.
    pub(crate) now: Timestamp,
    /// Whose stream it is about: that of the path, or the platform's.
    pub(crate) org: OrgId,
    /// A random number of this request: what it makes is made by it, however often it is tried.
    pub(crate) maker: u128,
    /// Mistakes of the body's shape; a command tells its own beside them.
    pub(crate) mistakes: Mistakes,
    pub(crate) body: Bytes,
    spec: Arc<Spec>,
    params: Vec<(String, String)>,
    query: BTreeMap<String, String>,
}

impl Ask {
    /// Reads the head of a request; its body comes later.
    pub(crate) async fn open(
        api: Arc<Api>,
        mut request: Request,
        spec: Arc<Spec>,
    ) -> Result<(Self, Body), Problem> {
        let params = request.extract_parts::<RawPathParams>().await;
        let params = params.map_err(|_| Problem::not_found("thing"))?;
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let params = params.collect();
        let query = read_query(&request, &spec)?;
        let (parts, incoming) = request.into_parts();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let ask = Self {
            address: peer.map(|peer| peer.0.ip().to_canonical()),
            now: api.app.clock.now(),
            org: OrgId::PLATFORM,
            maker: entropy::number(),
            mistakes: Mistakes::new(),
            body: Bytes::new(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            method: parts.method,
            api,
            spec,
            params,
            query,
        };
        ask.acceptable()?;
        Ok((ask, incoming))
    }

    /// Goes into the organisation of the path. Another one than the caller's is not found, unless
    /// the caller is an operator.
    pub(crate) async fn enter(&mut self, caller: &Caller) -> Result<(), Problem> {
        if !self.params.iter().any(|(name, _)| name == "org") {
            return Ok(());
        }
        self.org = self.id("org", "organisation")?;
        let exists = self.org == caller.home || caller.reaches(self.org) && self.exists().await?;
        if exists { Ok(()) } else { Err(Problem::not_found("organisation")) }
    }

    /// Whether there is such an organisation; it may have been made on another replica just now.
    async fn exists(&self) -> Result<bool, Problem> {
        let known = || self.app().directory.organisations().contains(&self.org);
        if !known() {
            self.app().tail.reach_end(self.app()).await?;
        }
        Ok(known())
    }

    /// Receives the body.
    pub(crate) async fn receive(&mut self, incoming: Body) -> Result<(), Problem> {
        let most = self.app().options.max_body_bytes;
        let collected = Limited::new(incoming, most).collect();
        let received = deadline(&*self.api.app.clock, BODY_MS, collected).await;
        let late = || Problem::new(Code::RequestTimeout, "the body took longer than 30 seconds");
        let large = |_| {
            let detail = format!("the body has more than {most} bytes, or was cut off");
            Problem::new(Code::RequestTooLarge, detail)
        };
        self.body = received.ok_or_else(late)?.map_err(large)?.to_bytes();
        body::check_type(self)
    }

    /// The shared parts.
    pub(crate) fn app(&self) -> &App {
        &self.api.app
    }

    /// A parameter of the path as an id. What is no such id is not there.
    pub(crate) fn id<T: FromStr>(&self, name: &str, noun: &'static str) -> Result<T, Problem> {
        self.param(name).parse().map_err(|_| Problem::not_found(noun))
    }

    /// A parameter of the path.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(param, _)| param == name);
        found.map_or("", |(_, value)| value)
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A query parameter in its own form.
    pub(crate) fn text<T: TextForm>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| {
            T::read(text).map_err(|message| Problem::field(&format!("?{name}"), &message))
        };
        self.query(name).map(read).transpose()
    }

    /// A query parameter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        let read = |text: &str| {
            let message = "must be true or false";
            text.parse().map_err(|_| Problem::field(&format!("?{name}"), message))
        };
        self.query(name).map(read).transpose()
    }

    /// A query parameter as a number.
    pub(crate) fn number<T: FromStr + Display + PartialOrd>(
        &self,
        name: &str,
        least: T,
        most: T,
    ) -> Result<Option<T>, Problem> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
            let message = format!("must be a whole number from {least} to {most}");
            number.ok_or_else(|| Problem::field(&format!("?{name}"), &message))
        };
        self.query(name).map(read).transpose()
    }

    /// The page that is asked for.
    pub(crate) fn span(&self, descending: bool) -> Result<Span, Problem> {
        let limit = self.number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let after = self.query("cursor").map(cursor::read).transpose()?;
        Ok(Span { limit, after, descending })
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the organisation at its head.
    pub(crate) async fn read<R>(
        &self,
        read: impl FnOnce(&Organisation) -> R,
    ) -> Result<R, Problem> {
        let streams = self.app().streams();
        let found = streams
            .organisation(self.org, |state| (state.head.seq > 0).then(|| read(state)))
            .await?;
        found.ok_or_else(|| Problem::not_found("organisation"))
    }

    /// A moment of the store.
    pub(crate) async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Problem> {
        Ok(self.app().streams().kv().snapshot().await.map_err(StoreError::from)?)
    }

    /// Refuses a caller that takes nothing that this route gives.
    fn acceptable(&self) -> Result<(), Problem> {
        let accepts: Vec<&str> = self
            .headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        let fits = |range: &&str| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let known = matches!(kind, "*/*" | "application/*" | "application/json")
                || self.spec.also.iter().any(|also| {
                    let family = also.split('/').next().unwrap_or_default();
                    *also == kind || format!("{family}/*") == kind
                });
            known && !refused
        };
        if accepts.is_empty() || accepts.iter().any(fits) {
            return Ok(());
        }
        Err(Problem::new(Code::NotAcceptable, "the answer is application/json"))
    }
}

/// Reads the query, of which every parameter must be known: a filter that was misspelt would show
/// everything.
fn read_query(request: &Request, spec: &Spec) -> Result<BTreeMap<String, String>, Problem> {
    let read = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let Query(pairs) = read.map_err(|_| Problem::field("?", "must be a query string"))?;
    let known = |name: &str| spec.query.iter().any(|set| set.iter().any(|it| it.name == name));
    let mut query = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in pairs {
        let message = if !known(&name) {
            "is not a parameter of this"
        } else if query.insert(name.clone(), value).is_some() {
            "must be given once"
        } else {
            continue;
        };
        errors.push(FieldError { pointer: format!("?{name}"), message: message.into() });
    }
    if errors.is_empty() { Ok(query) } else { Err(Problem::invalid(errors)) }
}
