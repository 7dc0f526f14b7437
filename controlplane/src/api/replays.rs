//! Ranges that are delivered again, over all nodes: each node replays its own part under the same id.

use std::collections::BTreeMap;

use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::ids::ReplayId;
use posthorn_domain::node::{Question, Replay};
use posthorn_domain::problem::Problem;
use serde_json::Value;

use super::asked::is_not_found;
use super::{Api, Page, merge, missing, to_value};
use crate::publish::NodeReply;

impl Api {
    /// Delivers a range again: `{"from", "to", "rate"}` → `{"replay", "events"}`.
    pub(crate) async fn replay(&self, id: &str, document: &Value) -> Result<Value, Problem> {
        let id = self.known_subscription(id)?;
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let from: Option<String> = fields.need("from", &mut faults);
        let to = fields.get("to", &mut faults);
        let rate: Option<f64> = fields.get("rate", &mut faults);
        fields.done(&mut faults);
        if rate.is_some_and(|rate| !(0.001..=1_000_000.0).contains(&rate)) {
            faults.meaning("/rate", "must be from 0.001 to 1000000 deliveries a second");
        }
        let from = faults.result("the replay", from)?;
        let question = Question::Replay { id, from, to, rate, replay: Some(ReplayId::make()) };
        merge::sums(self.publisher.answers.ask_all(&question).await?)
    }

    /// A page of the subscription's replays, the newest first.
    pub(crate) async fn replays(&self, id: &str, page: &Page) -> Result<Value, Problem> {
        let id = self.known_subscription(id)?;
        let after: Option<ReplayId> = page.after()?;
        let mut replays = merged(self.publisher.answers.ask_all(&Question::Replays { id }).await?)?;
        replays.retain(|replay, _| after.is_none_or(|after| *replay < after.to_string()));
        let items: Vec<Replay> = replays.into_values().rev().take(page.limit + 1).collect();
        Ok(page.answer(items, |replay| replay.id.clone(), to_value))
    }

    /// One replay.
    pub(crate) async fn replay_of(&self, id: &str, replay: &str) -> Result<Value, Problem> {
        let id = self.known_subscription(id)?;
        let mut replays = merged(self.publisher.answers.ask_all(&Question::Replays { id }).await?)?;
        replays.remove(replay).map(|replay| to_value(&replay)).ok_or_else(|| missing("replay", replay))
    }

    /// Ends a replay; one that has ended stays as it is.
    pub(crate) async fn cancel_replay(&self, id: &str, replay: &str) -> Result<Value, Problem> {
        let id = self.known_subscription(id)?;
        let parsed: ReplayId = replay.parse().map_err(|_| missing("replay", replay))?;
        let replies = self.publisher.answers.ask_all(&Question::CancelReplay { id, replay: parsed }).await?;
        if !replies.iter().any(|reply| reply.answer.is_ok()) {
            return merge::first_good(replies);
        }
        let replies = replies.into_iter().filter(|reply| !reply.answer.as_ref().is_err_and(is_not_found));
        let found = replies.map(|reply| Ok(NodeReply { answer: Ok(Value::Array(vec![reply.answer?])), node: reply.node }));
        let mut replays = merged(found.collect::<Result<_, Problem>>()?)?;
        replays.remove(replay).map(|replay| to_value(&replay)).ok_or_else(|| missing("replay", replay))
    }
}

/// The replays of all nodes by their ids, each once.
fn merged(replies: Vec<NodeReply>) -> Result<BTreeMap<String, Replay>, Problem> {
    let mut replays: BTreeMap<String, Replay> = BTreeMap::new();
    // A node that does not know the subscription yet has no replay of it.
    let replies = replies.into_iter().filter(|reply| !reply.answer.as_ref().is_err_and(is_not_found)).collect();
    for replay in merge::arrays(replies)?.into_iter().filter_map(|value| serde_json::from_value::<Replay>(value).ok()) {
        let known = replays.remove(&replay.id);
        replays.insert(replay.id.clone(), known.map_or_else(|| replay.clone(), |known| known.and(replay.clone())));
    }
    Ok(replays)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replay_over_two_nodes_runs_until_both_are_done() {
        let part = |state: &str, events: u64, ended_at: Option<&str>| {
            json!([{"id": "rpl_1", "subscription": "sub_1", "state": state, "from": "earliest", "to": null, "rate": null, "events": events,
                "considered": 1, "delivered": 2, "failed": 3, "waiting": 4, "started_at": "2026-01-01T00:00:00Z", "ended_at": ended_at}])
        };
        let reply = |node: &str, answer| NodeReply { node: node.into(), answer: Ok(answer) };
        let ended = "2026-01-01T00:00:09Z";
        let both = |state| merged(vec![reply("a", part("done", 5, Some(ended))), reply("b", part(state, 6, None))]).expect("merges");
        let running = to_value(&both("running")["rpl_1"]);
        assert_eq!((&running["state"], &running["events"], &running["ended_at"]), (&json!("running"), &json!(11), &json!(null)));
        let done = to_value(&both("done")["rpl_1"]);
        assert_eq!((&done["state"], &done["waiting"]), (&json!("done"), &json!(8)));
        assert!(done["ended_at"].as_str().is_some_and(|at| at.starts_with("2026-01-01T00:00:09")), "{done}");
    }
}
