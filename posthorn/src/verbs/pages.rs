//! Lists come in pages; verbs want all of it, up to a limit.

use http::Method;
use serde_json::Value;

use crate::client::{Door, Error, nodes};

/// More items than this are not gathered; the answer then still has its `next_page_token`.
const MAX_ITEMS: usize = 10_000;

/// All pages of the list at `segments` as one page. Filters without a value are left out.
pub(super) async fn all(control: &Door, segments: &[&str], filters: &[(&str, Option<&str>)]) -> Result<Value, Error> {
    let filters: Vec<_> = filters.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
    let mut gathered = control.call(Method::GET, &control.path(segments, &filters), None).await?.body;
    while let Some(token) = gathered.get("next_page_token").and_then(Value::as_str).filter(|token| !token.is_empty())
        && items(&gathered).len() < MAX_ITEMS
    {
        let query = [&filters[..], &[("page_token", token)]].concat();
        let page = control.call(Method::GET, &control.path(segments, &query), None).await?.body;
        let next = page.get("next_page_token").cloned().unwrap_or_default();
        let more = items(&page).to_vec();
        if let Some(list) = gathered.get_mut("items").and_then(Value::as_array_mut) {
            list.extend(more);
        }
        gathered["next_page_token"] = next;
    }
    Ok(gathered)
}

/// The items of a page.
pub(super) fn items(page: &Value) -> &[Value] {
    nodes::items(page)
}
