//! One call to the management API, described before it is made.

use bytes::Bytes;
use http::Method;
use reqwest::Url;
use serde_json::Value;

/// The place of the API on its server.
const ROOT: [&str; 2] = ["api", "v1"];

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// GET, POST, PATCH or DELETE.
    pub(crate) method: Method,
    /// What is sent; nothing for GET and DELETE.
    pub(crate) body: Option<Value>,
    /// What is sent in its place that is no JSON: its media type, and all of it.
    pub(crate) file: Option<(&'static str, Bytes)>,
    /// It needs no token.
    pub(crate) is_open: bool,
    /// The media type that is asked for, if not JSON.
    pub(crate) accept: Option<&'static str>,
    /// How long the control plane is asked to wait before it answers.
    pub(crate) waits_ms: u64,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Call {
    /// Reads what stands at a path.
    pub(crate) fn get<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds something, or does something to it.
    pub(crate) fn post<'a>(path: impl IntoIterator<Item = &'a str>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// Sends a file.
    pub(crate) fn upload<'a>(
        path: impl IntoIterator<Item = &'a str>,
        kind: &'static str,
        file: Bytes,
    ) -> Self {
        Self { file: Some((kind, file)), ..Self::new(Method::POST, path) }
    }

    /// Changes the fields that the body names.
    pub(crate) fn patch<'a>(path: impl IntoIterator<Item = &'a str>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PATCH, path) }
    }

    /// Deletes what stands at a path.
    pub(crate) fn delete<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Without the token: the body holds what is needed.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Adds a query parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Adds a query parameter if there is a value.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The URL on a server.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(ROOT).extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().map(ToOwned::to_owned).collect();
        Self {
            method,
            body: None,
            file: None,
            is_open: false,
            accept: None,
            waits_ms: 0,
            path,
            query: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_url_whatever_they_hold() {
        let base: Url = "http://127.0.0.1:7070".parse().unwrap();
        let call =
            Call::get(["models", "a/b c"]).with("search", "é&x").with_some("limit", None::<u8>);
        let url = "http://127.0.0.1:7070/api/v1/models/a%2Fb%20c?search=%C3%A9%26x";
        assert_eq!(call.url(&base).as_str(), url);

        let behind: Url = "https://example.org/turnpike/".parse().unwrap();
        let url = Call::get(["me"]).url(&behind);
        assert_eq!(url.as_str(), "https://example.org/turnpike/api/v1/me");
    }
}
