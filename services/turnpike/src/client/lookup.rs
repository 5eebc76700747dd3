//! Names for people: the id of what is called so.

use serde_json::Value;

use super::{Call, Client};
use crate::failure::Failure;

/// Entries of a page while a name is looked for.
const PAGE: u32 = 100;
/// Pages that are read for one name: beyond them the id must be given.
const MAX_PAGES: u32 = 100;

/// A kind of thing that people name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What it is called.
    pub(crate) noun: &'static str,
    /// Where its list stands, in an organisation unless `of_platform`.
    pub(crate) path: &'static str,
    /// What its ids begin with.
    prefix: &'static str,
    /// The field that holds its name.
    pub(crate) name: &'static str,
    /// Its list can be searched by name.
    searchable: bool,
    /// It belongs to the platform.
    pub(crate) of_platform: bool,
}

impl Kind {
    /// Model keys.
    pub(crate) const KEY: Self = Self { searchable: true, ..Self::org("key", "keys", "key_") };
    /// Members, who are named by their address.
    pub(crate) const MEMBER: Self =
        Self { name: "email", ..Self::org("member", "members", "mem_") };
    /// Projects.
    pub(crate) const PROJECT: Self = Self::org("project", "projects", "prj_");
    /// Management tokens.
    pub(crate) const TOKEN: Self = Self::org("token", "tokens", "tok_");
    /// Join tokens of gateways.
    pub(crate) const JOIN_TOKEN: Self = Self::org("join token", "gateways/tokens", "tok_");
    /// An organisation's own providers.
    pub(crate) const PROVIDER: Self = Self::org("provider", "providers", "prv_");
    /// MCP servers.
    pub(crate) const MCP_SERVER: Self = Self::org("MCP server", "mcp-servers", "mcp_");
    /// Gateways.
    pub(crate) const GATEWAY: Self = Self::org("gateway", "gateways", "gw_");
    /// Organisations.
    pub(crate) const ORG: Self = Self::platform("organisation", "orgs", "org_");
    /// Plans.
    pub(crate) const PLAN: Self = Self::platform("plan", "plans", "pln_");
    /// Providers of the platform.
    pub(crate) const PLATFORM_PROVIDER: Self = Self::platform("provider", "providers", "prv_");

    const fn org(noun: &'static str, path: &'static str, prefix: &'static str) -> Self {
        Self { noun, path, prefix, name: "name", searchable: false, of_platform: false }
    }

    const fn platform(noun: &'static str, path: &'static str, prefix: &'static str) -> Self {
        Self { of_platform: true, ..Self::org(noun, path, prefix) }
    }
}

impl Client {
    /// The path of a list, below which each of its things stands.
    ///
    /// # Errors
    /// Those of [`Self::org`].
    pub(crate) async fn path_of(&self, kind: Kind) -> Result<Vec<&str>, Failure> {
        let steps: Vec<&str> = kind.path.split('/').collect();
        if kind.of_platform { Ok(steps) } else { self.in_org(&steps).await }
    }

    /// A path below the organisation's.
    ///
    /// # Errors
    /// Those of [`Self::org`].
    pub(crate) async fn in_org<'a>(&'a self, path: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
        let org = self.org().await?;
        Ok(["orgs", org].into_iter().chain(path.iter().copied()).collect())
    }

    /// The id of the thing that is named, if one is.
    ///
    /// # Errors
    /// As [`Self::id_of`].
    pub(crate) async fn id_if(
        &self,
        kind: Kind,
        text: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        match text {
            Some(text) => self.id_of(kind, text).await.map(Some),
            None => Ok(None),
        }
    }

    /// The id of the thing that `text` names; an id names itself.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if nothing is called so, or several things are.
    pub(crate) async fn id_of(&self, kind: Kind, text: &str) -> Result<String, Failure> {
        if text.starts_with(kind.prefix) {
            return Ok(text.to_owned());
        }
        let path = self.path_of(kind).await?;
        let mut found = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let call = Call::get(path.iter().copied()).with("limit", PAGE);
            let call = call.with_some("search", kind.searchable.then_some(text));
            let page = self.send(&call.with_some("cursor", cursor.take())).await?;
            found.extend(ids(&page, kind.name, text));
            cursor = page["next_cursor"].as_str().map(ToOwned::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let Kind { noun, .. } = kind;
        match <[String; 1]>::try_from(found) {
            Ok([id]) => Ok(id),
            Err(none) if none.is_empty() => {
                Err(Failure::NotFound(format!("no {noun} is called {text}")))
            }
            Err(several) => {
                let ids = several.join(", ");
                Err(Failure::NotFound(format!("{text} is the name of several: {ids}")))
            }
        }
    }
}

/// The ids of the things on a page whose field `name` is `text`.
fn ids(page: &Value, name: &str, text: &str) -> Vec<String> {
    let data = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let called = data.iter().filter(|thing| thing[name].as_str() == Some(text));
    called.filter_map(|thing| thing["id"].as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_very_name_counts() {
        let thing = |id: &str, name: &str| json!({ "id": id, "name": name });
        let page = json!({ "data": [thing("a", "ci"), thing("b", "ci-2"), thing("c", "ci")] });
        assert_eq!(ids(&page, "name", "ci"), ["a", "c"]);
        assert!(ids(&json!({}), "name", "ci").is_empty());
    }
}
