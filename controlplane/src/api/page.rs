//! Lists, page by page.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use posthorn_domain::problem::{Code, Problem};
use serde_json::{Value, json};

/// Items in a page when nobody says how many.
pub(crate) const DEFAULT_LIMIT: usize = 100;
/// Most items in a page.
pub(crate) const MAX_LIMIT: usize = 1000;

/// Which page is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many items at most.
    pub(crate) limit: usize,
    /// The token of an earlier page.
    pub(crate) token: Option<String>,
}

impl Page {
    /// Reads the two parameters.
    pub(crate) fn new(limit: Option<&str>, token: Option<&str>) -> Result<Self, Problem> {
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::new(Code::InvalidRequest, format!("the parameter `limit` must be from 1 to {MAX_LIMIT}")))?,
        };
        Ok(Self { limit, token: token.filter(|token| !token.is_empty()).map(str::to_owned) })
    }

    /// The key that the page starts after.
    pub(super) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(token) = &self.token else { return Ok(None) };
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let key = decoded.and_then(|text| text.parse().ok());
        key.map(Some).ok_or_else(|| Problem::new(Code::InvalidRequest, "the parameter `page_token` is none of this list's"))
    }

    /// The answer: `items` were asked for one more than the limit, so that the last page is known for one.
    pub(super) fn answer<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String, show: impl Fn(&T) -> Value) -> Value {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|last| BASE64_URL_SAFE_NO_PAD.encode(key(last)));
        json!({"items": items.iter().map(show).collect::<Vec<_>>(), "next_page_token": next})
    }
}
