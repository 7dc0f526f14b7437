//! The control plane's part: what the resources are just now, and how a node hears of it.

use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
use serde_json::Value;

use crate::plan::Plan;

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

/// All resources.
pub(crate) struct Control {
    /// By the subscription's number.
    pub(crate) statuses: Vec<Status>,
    revision: u64,
}

impl Control {
    /// As the plan begins.
    pub(crate) fn new(plan: &Plan) -> Self {
        let status = |late| if late { Status::Unborn } else { Status::Active };
        Self { statuses: plan.subscriptions.iter().map(|wanted| status(wanted.late)).collect(), revision: 1 }
    }

    /// Everything, for a node that knows nothing.
    pub(crate) fn all(&self, plan: &Plan) -> Delta {
        let age = |number: usize| plan.more.as_ref().and_then(|more| more.keeps[number].age);
        let topics = plan.topics.iter().enumerate();
        let topics = topics.map(|(number, topic)| (ResourceKey::topic(&topic.name), self.resource(&topic.document(age(number)))));
        let subscriptions = (0..plan.subscriptions.len()).filter_map(|number| self.subscription(plan, number));
        Delta { revision: self.revision, changed: topics.chain(subscriptions).collect(), removed: Vec::new() }
    }

    /// The subscription changes to this.
    pub(crate) fn change(&mut self, plan: &Plan, number: usize, status: Status) -> Delta {
        self.revision += 1;
        self.statuses[number] = status;
        let changed: std::collections::BTreeMap<_, _> = self.subscription(plan, number).into_iter().collect();
        let removed = if changed.is_empty() { vec![ResourceKey::subscription(plan.subscriptions[number].id)] } else { Vec::new() };
        Delta { revision: self.revision, changed, removed }
    }

    fn subscription(&self, plan: &Plan, number: usize) -> Option<(ResourceKey, Resource)> {
        let status = match self.statuses[number] {
            Status::Active | Status::Pulled => "active",
            Status::Paused => "paused",
            Status::Disabled => "disabled",
            Status::Unborn | Status::Deleted => return None,
        };
        let wanted = &plan.subscriptions[number];
        Some((ResourceKey::subscription(wanted.id), self.resource(&wanted.document(status, self.statuses[number] == Status::Pulled))))
    }

    fn resource(&self, document: &Value) -> Resource {
        Resource { revision: self.revision, incarnation: 1, document: Document::of(document), secrets: Default::default() }
    }
}
