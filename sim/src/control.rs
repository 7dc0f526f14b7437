//! The control plane's part: what the resources are just now, and how a node hears of it.

use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use serde_json::Value;

use crate::plan::third::strict;
use crate::plan::{Plan, Version};

/// The status of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is not made yet.
    Unborn,
    /// It delivers.
    Active,
    /// A person has stopped it.
    Paused,
    /// Readers read it.
    Pulled,
    /// Its endpoint was given up.
    Disabled,
    /// It is gone.
    Deleted,
}

/// The status of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is there, in this incarnation.
    There(u64),
    /// It is to go, and the node has not said that it is gone.
    Going(u64),
    /// It is gone.
    Gone,
}

/// All resources.
pub(crate) struct Control {
    /// By the subscription's number.
    pub(crate) statuses: Vec<Status>,
    /// By the subscription's number.
    pub(crate) versions: Vec<Version>,
    /// By the topic's number.
    pub(crate) topics: Vec<Life>,
    revision: u64,
}

impl Control {
    /// As the plan begins.
    pub(crate) fn new(plan: &Plan) -> Self {
        let status = |late| if late { Status::Unborn } else { Status::Active };
        Self {
            statuses: plan.subscriptions.iter().map(|wanted| status(wanted.late)).collect(),
            versions: plan.subscriptions.iter().map(|wanted| wanted.version()).collect(),
            topics: plan.topics.iter().map(|_| Life::There(1)).collect(),
            revision: 1,
        }
    }

    /// Everything, for a node that knows nothing. A topic that is to go is still in the snapshot that such a node finds on its disk.
    pub(crate) fn all(&self, plan: &Plan) -> Delta {
        let topics = (0..plan.topics.len()).filter_map(|number| self.topic(plan, number));
        let subscriptions = (0..plan.subscriptions.len()).filter_map(|number| self.subscription(plan, number));
        let schemas = plan.third.iter().map(|_| strict());
        Delta { revision: self.revision, changed: topics.chain(subscriptions).chain(schemas).collect(), removed: Vec::new() }
    }

    /// The subscription changes to this.
    pub(crate) fn change(&mut self, plan: &Plan, number: usize, status: Status) -> Delta {
        self.statuses[number] = status;
        self.told(plan, number)
    }

    /// The subscription changes in this.
    pub(crate) fn alter(&mut self, plan: &Plan, number: usize, version: Version) -> Delta {
        self.versions[number] = version;
        self.told(plan, number)
    }

    /// The topic, which is to go, is gone.
    pub(crate) fn remove_topic(&mut self, plan: &Plan, number: usize) -> Delta {
        self.revision += 1;
        self.topics[number] = Life::Gone;
        let removed = vec![ResourceKey::topic(&plan.topics[number].name)];
        Delta { revision: self.revision, changed: Default::default(), removed }
    }

    /// The topic is made, whether an earlier one of its name is gone or not.
    pub(crate) fn make_topic(&mut self, plan: &Plan, number: usize) -> Delta {
        self.revision += 1;
        self.topics[number] = Life::There(self.revision);
        Delta { revision: self.revision, changed: self.topic(plan, number).into_iter().collect(), removed: Vec::new() }
    }

    fn told(&mut self, plan: &Plan, number: usize) -> Delta {
        self.revision += 1;
        let changed: std::collections::BTreeMap<_, _> = self.subscription(plan, number).into_iter().collect();
        let removed = if changed.is_empty() { vec![ResourceKey::subscription(plan.subscriptions[number].id)] } else { Vec::new() };
        Delta { revision: self.revision, changed, removed }
    }

    fn topic(&self, plan: &Plan, number: usize) -> Option<(ResourceKey, Resource)> {
        let (Life::There(incarnation) | Life::Going(incarnation)) = self.topics[number] else { return None };
        let topic = &plan.topics[number];
        let age = plan.more.as_ref().and_then(|more| more.keeps[number].age);
        Some((ResourceKey::topic(&topic.name), self.resource(&topic.document(age), incarnation)))
    }

    fn subscription(&self, plan: &Plan, number: usize) -> Option<(ResourceKey, Resource)> {
        let status = match self.statuses[number] {
            Status::Active | Status::Pulled => "active",
            Status::Paused => "paused",
            Status::Disabled => "disabled",
            Status::Unborn | Status::Deleted => return None,
        };
        let wanted = &plan.subscriptions[number];
        let document = wanted.document(self.versions[number], status, self.statuses[number] == Status::Pulled);
        Some((ResourceKey::subscription(wanted.id), self.resource(&document, 1)))
    }

    fn resource(&self, document: &Value, incarnation: u64) -> Resource {
        Resource { revision: self.revision, incarnation, document: Document::of(document), secrets: Default::default() }
    }
}
