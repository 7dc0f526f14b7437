//! One request, taken apart with every fault as a problem.
//!
//! Credentials will be looked at here, once there are any: every handler gets its request through [`Call`].

use std::collections::BTreeMap;

use axum::RequestPartsExt as _;
use axum::body::Body;
use axum::extract::{FromRequest, RawPathParams, Request};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use posthorn_domain::problem::{Code, Problem};
use serde_json::{Value, json};

use super::{Refusal, Shared, json as strict};
use crate::api::Page;
use crate::registry::Precondition;

/// A request.
pub(super) struct Call {
    path: Vec<(String, String)>,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    known: Vec<u64>,
    body: bytes::Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let path = match parts.extract::<RawPathParams>().await {
            Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            Err(_) => return Err(bad("the path is not UTF-8 after its percent-escapes").into()),
        };
        let query = parameters(parts.uri.query().unwrap_or_default())?;
        let body = read(body, shared.max_body_bytes).await?;
        if !body.is_empty() {
            check_media_type(&parts.headers)?;
        }
        let known = known_revisions(&parts.headers);
        Ok(Self { path, query, headers: parts.headers, known, body })
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

fn parameters(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if parameters.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(bad(format!("the parameter `{}` is given twice", cut(&name))));
        }
    }
    Ok(parameters)
}

async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Problem::new(Code::TooLarge, format!("the body may have {limit} bytes at most")))
        }
        Err(_) => Err(bad("the body broke off")),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refused("bodies are taken without a content encoding".into());
    }
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    refused(format!("`{}` is not taken; send application/json", cut(essence)))
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Call {
    /// A parameter of the path, unescaped.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A parameter of the query. All that a route knows are named to [`Call::only`] first.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Refuses other parameters than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.query.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) if known.is_empty() => Err(bad(format!("the parameter `{}` is not known; there are none here", cut(name)))),
            Some(name) => Err(bad(format!("the parameter `{}` is not known; known here: {}", cut(name), known.join(", ")))),
        }
    }

    /// Refuses parameters.
    pub(super) fn no_parameters(&self) -> Result<(), Problem> {
        self.only(&[])
    }

    /// A yes-or-no parameter, no when absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad(format!("the parameter `{name}` must be true or false"))),
        }
    }

    /// The page that a list is asked for; `filters` are the list's further parameters.
    pub(super) fn page(&self, filters: &[&str]) -> Result<Page, Problem> {
        let known: Vec<&str> = ["limit", "page_token"].iter().chain(filters).copied().collect();
        self.only(&known)?;
        Page::new(self.parameter("limit"), self.parameter("page_token"))
    }

    /// These parameters as the document of a filter.
    pub(super) fn filter(&self, names: &[&str]) -> Value {
        names.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.parameter(name)?)))).collect::<serde_json::Map<_, _>>().into()
    }

    /// The body.
    pub(super) fn json(&self) -> Result<Value, Problem> {
        strict::parse(&self.body)
    }

    /// The body, `{}` when there is none.
    pub(super) fn json_or_empty(&self) -> Result<Value, Problem> {
        if self.body.is_empty() { Ok(json!({})) } else { self.json() }
    }

    /// The revisions that the reader has already.
    pub(super) fn known(&self) -> &[u64] {
        &self.known
    }

    /// What the request demands of the resource as it is (RFC 9110 §13.1.1 and §13.1.2).
    pub(super) fn precondition(&self) -> Result<Precondition, Problem> {
        let one = |name: HeaderName| {
            self.headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect::<Vec<_>>()
                .join(",")
        };
        let (matching, absent) = (one(IF_MATCH), one(IF_NONE_MATCH));
        match (matching.trim(), absent.trim()) {
            ("", "") => Ok(Precondition::None),
            ("*", "") => Ok(Precondition::IfAny),
            ("", "*") => Ok(Precondition::IfAbsent),
            (tags, "") => Ok(Precondition::IfMatch(tags.split(',').filter_map(revision).collect())),
            ("", _) => Err(bad("If-None-Match takes `*` only: make it when it is not there yet")),
            _ => Err(bad("If-Match and If-None-Match exclude each other here")),
        }
    }
}

/// The revisions that a reader has, of `If-None-Match` (RFC 9110 §13.1.2). `*` is for writes.
fn known_revisions(headers: &HeaderMap) -> Vec<u64> {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|tags| tags.split(',')).filter_map(revision).collect()
}

/// The revision in an entity tag. What is none matches nothing.
fn revision(tag: &str) -> Option<u64> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag).parse().ok()
}
