//! Routes: one table of method, path, description and handler, from which both the router and the
//! API's description are made.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::Api;
use super::ask::Ask;
use super::reply::Reply;
use crate::auth::{self, Caller};
use crate::problem::Problem;

/// Where all routes stand.
pub(crate) const BASE: &str = "/api/v1";

/// What a handler comes to.
pub(crate) type Answer = Result<Reply, Problem>;

type Handler = Arc<dyn Fn(Ask, Body) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A method that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Its type, as JSON Schema has it.
    pub(crate) kind: &'static str,
}

/// A schema by its name, with all that it refers to.
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
}

/// What a route answers with when all is well.
pub(crate) enum Gives {
    /// The thing itself.
    Thing(Shape),
    /// A page of them.
    Page(Shape),
    /// The thing after a write; `secret`: with the secret that was made.
    Written { thing: Shape, created: bool, secret: bool },
    /// Something that is no JSON, or has no shape of its own.
    Other(&'static str),
}

/// All that is known of a route besides its handler.
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
    /// Whether a caller must be known.
    pub(crate) known: bool,
    pub(crate) query: &'static [&'static [Param]],
    pub(crate) body: Option<Shape>,
    /// The content types of a body of many such shapes; empty: the body is one, as JSON.
    pub(crate) streams: &'static [&'static str],
    pub(crate) gives: Gives,
    /// Content types besides JSON.
    pub(crate) also: &'static [&'static str],
}

/// A route.
pub(crate) struct Route {
    pub(crate) spec: Spec,
    handler: Handler,
}

/// The shape of a type.
pub(crate) fn shape<T: ToSchema>() -> Shape {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    Shape { name: T::name().into_owned(), schemas }
}

impl Param {
    pub(crate) const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, about, kind: "string" }
    }

    pub(crate) const fn number(name: &'static str, about: &'static str) -> Self {
        Self { name, about, kind: "integer" }
    }
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether it changes nothing.
    pub(crate) const fn is_safe(self) -> bool {
        matches!(self, Self::Get)
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

impl Route {
    /// A route for callers that are known.
    pub(crate) fn new<F, R>(verb: Verb, path: &'static str, id: &'static str, handler: F) -> Self
    where
        F: Fn(Ask, Caller) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let handler = move |mut ask: Ask, incoming: Body| {
            let handler = handler.clone();
            async move {
                let caller = auth::caller(&ask).await?;
                ask.enter(&caller).await?;
                ask.receive(incoming).await?;
                handler(ask, caller).await
            }
        };
        Self::with(verb, path, id, true, handler)
    }

    /// A route for callers that are known, whose body is read as it arrives.
    pub(crate) fn streaming<F, R>(
        verb: Verb,
        path: &'static str,
        id: &'static str,
        handler: F,
    ) -> Self
    where
        F: Fn(Ask, Caller, Body) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let handler = move |mut ask: Ask, incoming: Body| {
            let handler = handler.clone();
            async move {
                let caller = auth::caller(&ask).await?;
                ask.enter(&caller).await?;
                handler(ask, caller, incoming).await
            }
        };
        Self::with(verb, path, id, true, handler)
    }

    /// A route for everybody.
    pub(crate) fn open<F, R>(verb: Verb, path: &'static str, id: &'static str, handler: F) -> Self
    where
        F: Fn(Ask) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let handler = move |mut ask: Ask, incoming: Body| {
            let handler = handler.clone();
            async move {
                ask.receive(incoming).await?;
                handler(ask).await
            }
        };
        Self::with(verb, path, id, false, handler)
    }

    fn with<F, R>(verb: Verb, path: &'static str, id: &'static str, known: bool, handler: F) -> Self
    where
        F: Fn(Ask, Body) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |ask, incoming| Box::pin(handler(ask, incoming)));
        let gives = Gives::Other("application/json");
        let query: &[&[Param]] = &[];
        let spec = Spec {
            id,
            verb,
            path,
            about: "",
            known,
            query,
            body: None,
            streams: &[],
            gives,
            also: &[],
        };
        Self { spec, handler }
    }

    /// One sentence for people.
    pub(crate) fn about(mut self, about: &'static str) -> Self {
        self.spec.about = about;
        self
    }

    /// The query parameters; any other is refused.
    pub(crate) fn query(mut self, query: &'static [&'static [Param]]) -> Self {
        self.spec.query = query;
        self
    }

    /// The shape of the body.
    pub(crate) fn takes<T: ToSchema>(mut self) -> Self {
        self.spec.body = Some(shape::<T>());
        self
    }

    /// The content types of a body that is read as it arrives.
    pub(crate) fn streams(mut self, streams: &'static [&'static str]) -> Self {
        self.spec.streams = streams;
        self
    }

    /// What it answers with.
    pub(crate) fn gives(mut self, gives: Gives) -> Self {
        self.spec.gives = gives;
        self
    }

    /// Content types besides JSON.
    pub(crate) fn also(mut self, also: &'static [&'static str]) -> Self {
        self.spec.also = also;
        self
    }

    /// Adds the route to a router.
    pub(crate) fn mount(self, router: Router<Arc<Api>>) -> Router<Arc<Api>> {
        let Self { spec, handler } = self;
        let path = format!("{BASE}{}", spec.path);
        let (filter, spec) = (spec.verb.filter(), Arc::new(spec));
        let serve = move |State(api): State<Arc<Api>>, request: Request<Body>| {
            let (handler, spec) = (Arc::clone(&handler), Arc::clone(&spec));
            async move { answer(api, request, &spec, &handler).await.into_response() }
        };
        router.route(&path, on(filter, serve))
    }
}

async fn answer(
    api: Arc<Api>,
    request: Request<Body>,
    spec: &Arc<Spec>,
    handler: &Handler,
) -> Result<Response, Problem> {
    let (ask, incoming) = Ask::open(api, request, Arc::clone(spec)).await?;
    handler(ask, incoming).await.map(IntoResponse::into_response)
}
