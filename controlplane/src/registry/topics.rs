//! Rules of topics.

use std::sync::Arc;

use posthorn_domain::fields::{Faults, pointer};
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::TopicName;
use posthorn_domain::operations::TOPIC;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Subscription, Topic, TopicSpec};
use posthorn_domain::time::Time;

use super::change::Key;
use super::users::NAMED;
use super::{Change, Entry, MAX_TOPICS, Outcome, Precondition, Registry, full, meta, not_found};

impl Registry {
    pub(super) fn put_topic(&self, name: TopicName, spec: TopicSpec, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let before = self.topics.get(&name);
        when.check(before.map(|topic| topic.meta.revision))?;
        if let Some(topic) = before.filter(|topic| topic.spec == spec) {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Topic(topic.clone())]));
        }
        if before.is_none() && self.topics.len() >= MAX_TOPICS {
            return Err(full("topics", MAX_TOPICS));
        }
        self.check_topic(&spec, before.map(|topic| topic.spec.partitions))?;
        let outcome = if before.is_some() { Outcome::Changed } else { Outcome::Created };
        let meta = meta(before.map(|topic| &topic.meta), self.next(), now);
        Ok(Change::put(self.next(), outcome, vec![Entry::Topic(Arc::new(Topic { name, spec, meta }))]))
    }

    fn check_topic(&self, spec: &TopicSpec, partitions: Option<u32>) -> Result<(), Problem> {
        let mut faults = Faults::default();
        if let Some(before) = partitions.filter(|before| *before > spec.partitions) {
            faults.meaning("/partitions", format!("is {before} now and cannot shrink"));
        }
        for (n, schema) in spec.schemas.iter().enumerate() {
            if self.latest_version(schema).is_none() {
                faults.meaning(&pointer("/schemas", n), format!("`{schema}` is not registered; add a version of it first"));
            }
        }
        faults.result("the topic", Some(()))
    }

    pub(super) fn delete_topic(&self, name: &TopicName, force: bool, when: &Precondition) -> Result<Change, Problem> {
        if name.as_str() == TOPIC {
            return Err(Problem::new(Code::InsufficientScope, format!("topic `{name}` is the server's own and cannot be deleted")));
        }
        let topic = self.topics.get(name);
        when.check(topic.map(|topic| topic.meta.revision))?;
        if topic.is_none() {
            return Err(not_found("topic", name));
        }
        let users = if force { Vec::new() } else { self.bound_to(name) };
        if !users.is_empty() {
            let named: Vec<String> = users.iter().take(NAMED).map(ToString::to_string).collect();
            let detail =
                format!("{} subscriptions get events of this topic only; delete them first, or delete it with `force=true`", users.len());
            return Err(Problem::new(Code::InUse, detail).with("used_by", named));
        }
        Ok(Change::removal(self.next(), Key::Topic(name.clone()), Vec::new()))
    }

    /// Subscriptions that get nothing without the topic. Whoever names it in a filter says it.
    fn bound_to(&self, name: &TopicName) -> Vec<SubscriptionId> {
        let is_bound = |subscription: &Subscription| {
            let filters = subscription.spec.compile_filters().unwrap_or_default();
            filters.iter().any(|filter| filter.only_topic() == Some(name.as_str()))
        };
        self.subscriptions_that_say(name).filter(is_bound).map(|subscription| subscription.id).collect()
    }
}
