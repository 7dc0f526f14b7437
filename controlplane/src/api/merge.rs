//! One answer out of several nodes' answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use posthorn_domain::node::SubscriptionState;
use posthorn_domain::problem::{Code, Problem};
use serde_json::{Map, Value, json};

use super::asked::is_not_found;
use crate::publish::NodeReply;

/// Marks a page token that holds the tokens of several nodes.
const SEVERAL: &str = "n.";

/// The nodes to ask for a page, each with its own token.
pub(super) type PerNode = Vec<(String, Option<String>)>;

pub(super) struct Tokens;

impl Tokens {
    /// Whom to ask for the page with this token. Nodes that have shown all they have are not asked again.
    pub(super) fn read(token: Option<&str>, nodes: &[String]) -> Result<PerNode, Problem> {
        let Some(token) = token else { return Ok(nodes.iter().map(|node| (node.clone(), None)).collect()) };
        let Some(several) = token.strip_prefix(SEVERAL) else {
            return Ok(nodes.iter().map(|node| (node.clone(), Some(token.to_owned()))).collect());
        };
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(several).ok();
        let tokens: Option<BTreeMap<String, String>> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let tokens = tokens.ok_or_else(|| Problem::new(Code::InvalidRequest, "the parameter `page_token` is none of this list's"))?;
        Ok(tokens.into_iter().filter(|(node, _)| nodes.contains(node)).map(|(node, token)| (node, Some(token))).collect())
    }
}

/// Pages of `{"items", "next_page_token"}`, newest first by id.
pub(super) fn lists(mut replies: Vec<NodeReply>) -> Result<Value, Problem> {
    if replies.len() == 1
        && let Some(only) = replies.pop()
    {
        return only.answer;
    }
    let mut items: Vec<Value> = Vec::new();
    let mut tokens = BTreeMap::new();
    for NodeReply { node, answer } in replies {
        let mut page = answer?;
        if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
            items.extend(found);
        }
        if let Some(token) = page["next_page_token"].as_str() {
            tokens.insert(node, token.to_owned());
        }
    }
    items.sort_by(|a, b| b["id"].as_str().cmp(&a["id"].as_str()));
    let next = (!tokens.is_empty()).then(|| format!("{SEVERAL}{}", BASE64_URL_SAFE_NO_PAD.encode(json!(tokens).to_string())));
    Ok(json!({"items": items, "next_page_token": next}))
}

/// The first answer that is one; not-found only when all say so.
pub(super) fn first_good(replies: Vec<NodeReply>) -> Result<Value, Problem> {
    let mut refused: Option<Problem> = None;
    for reply in replies {
        match reply.answer {
            Ok(answer) => return Ok(answer),
            Err(problem) if refused.as_ref().is_none_or(is_not_found) => refused = Some(problem),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| Problem::new(Code::NoNode, "no data plane answered").with_retry_after(1)))
}

/// Counts added up, other members from the first that has them. Fails when no node did it.
pub(super) fn sums(replies: Vec<NodeReply>) -> Result<Value, Problem> {
    if !replies.iter().any(|reply| reply.answer.is_ok()) {
        return first_good(replies);
    }
    let mut total = Map::new();
    for (member, value) in replies.into_iter().filter_map(|reply| reply.answer.ok()).filter_map(object).flatten() {
        let sum = total.get(&member).and_then(Value::as_u64).zip(value.as_u64()).map(|(a, b)| json!(a.saturating_add(b)));
        if let Some(sum) = sum {
            total.insert(member, sum);
        } else {
            total.entry(member).or_insert(value);
        }
    }
    Ok(Value::Object(total))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    if let Value::Object(map) = value { Some(map) } else { None }
}

/// Arrays one after the other.
pub(super) fn arrays(replies: Vec<NodeReply>) -> Result<Vec<Value>, Problem> {
    let mut all = Vec::new();
    for reply in replies {
        if let Value::Array(items) = reply.answer? {
            all.extend(items);
        }
    }
    Ok(all)
}

/// Where a subscription stands over all nodes that could tell.
pub(super) fn states(replies: Vec<NodeReply>) -> Option<Value> {
    let states = replies.into_iter().filter_map(|reply| serde_json::from_value::<SubscriptionState>(reply.answer.ok()?).ok());
    serde_json::to_value(states.reduce(worse)?).ok()
}

/// Two states as one: counts added up, and the breaker that is worse with all that explains it.
fn worse(a: SubscriptionState, b: SubscriptionState) -> SubscriptionState {
    let (worst, other) = if severity(&b.breaker) > severity(&a.breaker) { (b, a) } else { (a, b) };
    SubscriptionState {
        in_flight: worst.in_flight.saturating_add(other.in_flight),
        waiting: worst.waiting.saturating_add(other.waiting),
        lag: worst.lag.saturating_add(other.lag),
        last_error: worst.last_error.or(other.last_error),
        concurrency: worst.concurrency.saturating_add(other.concurrency),
        held_until: worst.held_until.max(other.held_until),
        allowed_rate: worst.allowed_rate.or(other.allowed_rate),
        retries_held: worst.retries_held || other.retries_held,
        failing_since: worst.failing_since.or(other.failing_since),
        ..worst
    }
}

fn severity(breaker: &str) -> u8 {
    match breaker {
        "open" => 2,
        "half_open" => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(node: &str, answer: Value) -> NodeReply {
        NodeReply { node: node.into(), answer: Ok(answer) }
    }

    #[test]
    fn pages_of_several_nodes_are_one_page_and_go_on_where_each_stopped() {
        let page = |ids: &[&str], next: Option<&str>| json!({"items": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(), "next_page_token": next});
        let merged = lists(vec![reply("a", page(&["4", "2"], Some("x"))), reply("b", page(&["3"], None))]).expect("merges");
        assert_eq!(merged["items"], json!([{"id": "4"}, {"id": "3"}, {"id": "2"}]));
        let nodes = ["a".to_owned(), "b".to_owned()];
        let asked = Tokens::read(merged["next_page_token"].as_str(), &nodes).expect("reads");
        assert_eq!(asked, [("a".to_owned(), Some("x".to_owned()))]);
        let passed = lists(vec![reply("a", page(&["1"], Some("own")))]).expect("passes");
        assert_eq!(passed["next_page_token"], "own");
        assert!(Tokens::read(Some("n.!"), &nodes).is_err());
    }

    #[test]
    fn the_worse_breaker_is_shown_with_its_reason() {
        let state = |breaker: &str, reason: Option<&str>, in_flight: u64| {
            json!({"in_flight": in_flight, "waiting": 1, "lag": 2, "breaker": breaker, "last_error": null, "breaker_reason": reason,
                "concurrency": 8})
        };
        let merged = states(vec![reply("a", state("closed", None, 3)), reply("b", state("open", Some("latency"), 4))]).expect("a state");
        assert_eq!((&merged["breaker"], &merged["breaker_reason"]), (&json!("open"), &json!("latency")));
        assert_eq!((&merged["in_flight"], &merged["lag"], &merged["concurrency"]), (&json!(7), &json!(4), &json!(16)));
        let older = json!({"in_flight": 0, "waiting": 0, "lag": 0, "breaker": "closed", "last_error": null});
        assert!(states(vec![reply("a", older)]).is_some(), "of a node of an earlier version");
    }

    #[test]
    fn counts_add_up_and_one_good_answer_is_enough() {
        let merged = sums(vec![reply("a", json!({"replay": "rpl_1", "events": 3})), reply("b", json!({"replay": "rpl_2", "events": 4}))]);
        assert_eq!(merged.expect("sums"), json!({"replay": "rpl_1", "events": 7}));
        let gone = || NodeReply { node: "c".into(), answer: Err(Problem::new(Code::NotFound, "")) };
        assert_eq!(first_good(vec![gone(), reply("a", json!(1))]).expect("one is there"), json!(1));
        assert_eq!(first_good(vec![gone(), gone()]).expect_err("none").code(), Code::NotFound);
    }
}
