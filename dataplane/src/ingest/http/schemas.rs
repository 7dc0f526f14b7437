//! The schemas that this node knows, read-only, as the control plane shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Response;
use http::header::{ETAG, HeaderValue};
use posthorn_domain::names::SchemaName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, Meta, SchemaInfo};
use serde::Serialize;

use super::reply::{self, Body};
use crate::route::{SchemaRoute, Table};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct List {
    items: Vec<SchemaInfo>,
    next_page_token: Option<String>,
}

/// `GET /v1/schemas`, by name.
pub(super) fn list(table: &Table, query: Option<&str>) -> Result<Response<Body>, Problem> {
    let (limit, after) = page(query.unwrap_or_default())?;
    let mut infos: Vec<SchemaInfo> = table.schemas.iter().filter_map(|(name, versions)| info(name, versions)).collect();
    infos.retain(|info| after.as_ref().is_none_or(|after| info.name.as_str() > after.as_str()));
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    let more = infos.len() > limit;
    infos.truncate(limit);
    let next_page_token = infos.last().filter(|_| more).map(|info| info.name.to_string());
    Ok(reply::json(200, &List { items: infos, next_page_token }))
}

/// `GET /v1/schemas/{name}`.
pub(super) fn get(table: &Table, name: &str) -> Result<Response<Body>, Problem> {
    let info = table.schemas.get_key_value(name).and_then(|(name, versions)| info(name, versions)).ok_or_else(|| unknown(name))?;
    Ok(with_etag(reply::json(200, &info), info.meta.revision))
}

/// `GET /v1/schemas/{name}/versions/{n|latest}`.
pub(super) fn version(table: &Table, name: &str, version: &str) -> Result<Response<Body>, Problem> {
    let versions = table.schemas.get(name).ok_or_else(|| unknown(name))?;
    let found = match version {
        "latest" => versions.last_key_value().map(|(_, route)| route),
        number => number.parse().ok().and_then(|number: u32| versions.get(&number)),
    };
    let route = found.ok_or_else(|| unknown(&format!("{name}:{version}")))?;
    Ok(with_etag(reply::json(200, &route.version), route.version.meta.revision))
}

fn info(name: &SchemaName, versions: &BTreeMap<u32, Arc<SchemaRoute>>) -> Option<SchemaInfo> {
    let first = versions.first_key_value()?.1.version.meta;
    let last = versions.last_key_value()?.1.version.meta;
    let meta = Meta { created_at: first.created_at, incarnation: first.incarnation, ..last };
    Some(SchemaInfo { name: name.clone(), compatibility: Compatibility::None, versions: versions.keys().copied().collect(), meta })
}

fn page(query: &str) -> Result<(usize, Option<String>), Problem> {
    let (mut limit, mut after) = (DEFAULT_LIMIT, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => {
                let given = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit = given.ok_or_else(|| Problem::new(Code::InvalidRequest, "parameter `limit` must be from 1 to 1000"))?;
            }
            "page_token" => after = Some(value.into_owned()),
            other => {
                let shown: String = other.chars().take(100).collect();
                return Err(Problem::new(
                    Code::InvalidRequest,
                    format!("parameter `{shown}` is not known here; known are limit, page_token"),
                ));
            }
        }
    }
    Ok((limit, after))
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(220).collect();
    Problem::new(Code::NotFound, format!("schema `{shown}` is not known to this node"))
}

fn with_etag(mut response: Response<Body>, revision: u64) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}
