//! Rules of subscriptions.

use std::sync::Arc;

use posthorn_domain::fields::Faults;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::problem::Problem;
use posthorn_domain::qos::Durability;
use posthorn_domain::resource::{Status, Subscription, SubscriptionSpec, Topic};
use posthorn_domain::time::Time;
use posthorn_domain::units::Dur;

use super::change::Key;
use super::{Change, Entry, Keep, MAX_SUBSCRIPTIONS, Outcome, Precondition, Registry, full, keys, meta, not_found};

impl Registry {
    pub(super) fn create_subscription(&self, id: SubscriptionId, mut spec: SubscriptionSpec, now: Time) -> Result<Change, Problem> {
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(full("subscriptions", MAX_SUBSCRIPTIONS));
        }
        let mut faults = Faults::default();
        keys::keep_stored(&mut spec, None, &mut faults);
        self.check_subscription(&spec, &mut faults);
        faults.result("the subscription", Some(()))?;
        let shown = keys::make_missing(&mut spec);
        keys::prune(&mut spec, now);
        let subscription = Subscription { id, spec, status_reason: None, meta: meta(None, self.next(), now) };
        let put = vec![Entry::Subscription(Arc::new(subscription))];
        Ok(Change { shown, ..Change::put(self.next(), Outcome::Created, put) })
    }

    pub(super) fn replace_subscription(
        &self,
        id: SubscriptionId,
        mut spec: SubscriptionSpec,
        keep: Keep,
        when: &Precondition,
        now: Time,
    ) -> Result<Change, Problem> {
        let before = self.existing(id, when)?;
        if keep.signing {
            spec.signing.clone_from(&before.spec.signing);
        }
        if keep.start {
            spec.start = before.spec.start;
        }
        if keep.status {
            spec.status = before.spec.status;
        }
        let mut faults = Faults::default();
        keys::keep_stored(&mut spec, Some(&before.spec), &mut faults);
        self.check_subscription(&spec, &mut faults);
        faults.result("the subscription", Some(()))?;
        let shown = keys::make_missing(&mut spec);
        Ok(Change { shown, ..self.changed(&before, spec, now) })
    }

    pub(super) fn set_status(&self, id: SubscriptionId, status: Status, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let before = self.existing(id, when)?;
        Ok(self.changed(&before, SubscriptionSpec { status, ..before.spec.clone() }, now))
    }

    pub(super) fn disable(&self, id: SubscriptionId, reason: String, now: Time) -> Result<Change, Problem> {
        let before = self.existing(id, &Precondition::None)?;
        let change = self.changed(&before, SubscriptionSpec { status: Status::Disabled, ..before.spec.clone() }, now);
        let with_reason = |entry| match entry {
            Entry::Subscription(subscription) if change.outcome == Outcome::Changed => {
                Entry::Subscription(Arc::new(Subscription { status_reason: Some(reason.clone()), ..(*subscription).clone() }))
            }
            entry => entry,
        };
        let put = change.put.iter().cloned().map(with_reason).collect();
        Ok(Change { put, ..change })
    }

    pub(super) fn rotate_secret(&self, id: SubscriptionId, overlap: Dur, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let before = self.existing(id, when)?;
        let mut spec = before.spec.clone();
        let shown = keys::rotate(&mut spec, now.after(overlap.std()), now);
        Ok(Change { shown, ..self.changed(&before, spec, now) })
    }

    pub(super) fn delete_subscription(&self, id: SubscriptionId, when: &Precondition) -> Result<Change, Problem> {
        self.existing(id, when)?;
        Ok(Change::removal(self.next(), Key::Subscription(id), Vec::new()))
    }

    fn existing(&self, id: SubscriptionId, when: &Precondition) -> Result<Arc<Subscription>, Problem> {
        let found = self.subscription(id);
        when.check(found.as_ref().map(|subscription| subscription.meta.revision))?;
        found.ok_or_else(|| not_found("subscription", id))
    }

    fn changed(&self, before: &Arc<Subscription>, mut spec: SubscriptionSpec, now: Time) -> Change {
        if spec == before.spec {
            return Change::put(self.revision, Outcome::Unchanged, vec![Entry::Subscription(before.clone())]);
        }
        keys::prune(&mut spec, now);
        let status_reason = before.status_reason.clone().filter(|_| spec.status == before.spec.status);
        let meta = meta(Some(&before.meta), self.next(), now);
        let subscription = Subscription { id: before.id, spec, status_reason, meta };
        Change::put(self.next(), Outcome::Changed, vec![Entry::Subscription(Arc::new(subscription))])
    }

    /// A demand that none of the topics it reads can meet is refused (DESIGN §5). Topics that are not there yet, and those
    /// that leave durability to the server, can meet any.
    fn check_subscription(&self, spec: &SubscriptionSpec, faults: &mut Faults) {
        let Some(demand) = spec.qos.durability else { return };
        let Ok(filters) = spec.compile_filters() else { return };
        let mut matched = self.topics.values().filter(|topic| filters.iter().all(|filter| filter.admits_topic(&topic.name))).peekable();
        let Some(first) = matched.peek().map(|topic| topic.name.clone()) else { return };
        if matched.all(|topic| self.gives(topic).is_some_and(|given| given < demand)) {
            faults.meaning(
                "/qos/durability",
                format!("`{demand}` cannot be met: the topics that it reads, such as `{first}`, keep their events less durably"),
            );
        }
    }

    /// The durability that the topic states, by itself or by the schemas that it demands.
    fn gives(&self, topic: &Topic) -> Option<Durability> {
        let own = topic.spec.durability?;
        let schemas = topic.spec.schemas.iter().filter_map(|name| self.latest_version(name)?.spec.durability);
        Some(schemas.fold(own, Durability::max))
    }
}
