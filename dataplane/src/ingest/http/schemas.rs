//! The schemas that this node knows, read-only, as the control plane shows them.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use posthorn_domain::names::SchemaName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, SchemaInfo, SchemaVersion};
use serde::Serialize;

use super::reply::{self, Body};
use crate::route::{SchemaFacts, Table};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next_page_token: Option<String>,
}

/// A request to read, as far as it matters here.
pub(super) struct Reading<'a> {
    table: Arc<Table>,
    query: Option<&'a str>,
    /// `If-None-Match`.
    known: Option<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(table: Arc<Table>, parts: &'a Parts) -> Self {
        let known = parts.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        Self { table, query: parts.uri.query(), known }
    }

    /// `GET /v1/schemas`, by name.
    pub(super) fn list(&self) -> Result<Response<Body>, Problem> {
        let (limit, after) = page(self.query)?;
        let mut names: Vec<&SchemaName> = self.table.schema_infos.keys().chain(self.table.schemas.keys()).collect();
        names.retain(|name| after.as_ref().is_none_or(|after| name.as_str() > after.as_str()));
        names.sort_unstable();
        names.dedup();
        let more = names.len() > limit;
        names.truncate(limit);
        let next_page_token = names.last().filter(|_| more).map(ToString::to_string);
        let items = names.into_iter().filter_map(|name| self.info(name)).collect();
        Ok(self.answer(&List { items, next_page_token }, self.table.revision))
    }

    /// `GET /v1/schemas/{name}`.
    pub(super) fn schema(&self, name: &str) -> Result<Response<Body>, Problem> {
        self.no_parameters()?;
        let info = name.parse().ok().and_then(|name| self.info(&name)).ok_or_else(|| unknown(name))?;
        Ok(self.answer(&info, info.meta.revision))
    }

    /// `GET /v1/schemas/{name}/versions`, oldest first.
    pub(super) fn versions(&self, name: &str) -> Result<Response<Body>, Problem> {
        let (limit, after) = page(self.query)?;
        let after: u32 = match after {
            Some(token) => token.parse().map_err(|_| Problem::new(Code::InvalidRequest, "parameter `page_token` is not one of ours"))?,
            None => 0,
        };
        let known = name.parse().ok().filter(|name: &SchemaName| self.info(name).is_some()).ok_or_else(|| unknown(name))?;
        let versions = self.table.schemas.get(&known);
        let mut items: Vec<&SchemaVersion> = versions
            .into_iter()
            .flat_map(|versions| versions.range((Excluded(after), Unbounded)).take(limit + 1).map(|(_, route)| &route.version))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next_page_token = items.last().filter(|_| more).map(|version| version.version.to_string());
        Ok(self.answer(&List { items, next_page_token }, self.table.revision))
    }

    /// `GET /v1/schemas/{name}/versions/{n|latest}`.
    pub(super) fn version(&self, name: &str, version: &str) -> Result<Response<Body>, Problem> {
        self.no_parameters()?;
        let versions = self.table.schemas.get(name).ok_or_else(|| unknown(name))?;
        let found = match version {
            "latest" => versions.last_key_value().map(|(_, route)| route),
            number => number.parse().ok().and_then(|number: u32| versions.get(&number)),
        };
        let route = found.ok_or_else(|| unknown(&format!("{name}:{version}")))?;
        Ok(self.answer(&route.version, route.version.meta.revision))
    }

    /// As the control plane shows it; while its own facts have not come yet, what its versions tell.
    fn info(&self, name: &SchemaName) -> Option<SchemaInfo> {
        let versions = self.table.schemas.get(name);
        let numbers = versions.map(|versions| versions.keys().copied().collect()).unwrap_or_default();
        let facts = self.table.schema_infos.get(name).cloned().or_else(|| {
            let last = versions?.last_key_value()?.1.version.meta;
            Some(SchemaFacts { compatibility: Compatibility::None, meta: last })
        })?;
        Some(SchemaInfo { name: name.clone(), compatibility: facts.compatibility, versions: numbers, meta: facts.meta })
    }

    fn no_parameters(&self) -> Result<(), Problem> {
        match url::form_urlencoded::parse(self.query.unwrap_or_default().as_bytes()).next() {
            None => Ok(()),
            Some((name, _)) => Err(parameter_unknown(&name, "there are none here")),
        }
    }

    /// The document with its entity tag, or 304 when the reader has it already (RFC 9110 §13.1.2).
    fn answer(&self, document: &impl Serialize, revision: u64) -> Response<Body> {
        let tag = format!("\"{revision}\"");
        let same = self.known.is_some_and(|known| known.split(',').any(|one| matches!(one.trim(), "*") || weak(one) == tag));
        let mut response = if same { reply::not_modified() } else { reply::json(200, document) };
        if let Ok(value) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, value);
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// The tag for a weak comparison.
fn weak(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn page(query: Option<&str>) -> Result<(usize, Option<String>), Problem> {
    let (mut limit, mut after) = (DEFAULT_LIMIT, None);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "limit" => {
                let given = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit = given.ok_or_else(|| Problem::new(Code::InvalidRequest, "parameter `limit` must be from 1 to 1000"))?;
            }
            "page_token" => after = Some(value.into_owned()),
            other => return Err(parameter_unknown(other, "known are limit, page_token")),
        }
    }
    Ok((limit, after))
}

fn parameter_unknown(name: &str, known: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    Problem::new(Code::InvalidRequest, format!("parameter `{shown}` is not known here; {known}"))
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(220).collect();
    Problem::new(Code::NotFound, format!("schema `{shown}` is not known to this node"))
}
