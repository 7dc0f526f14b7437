//! A subscription, compiled, in little room: most of those that a node holds rest.

use std::sync::{Arc, OnceLock};

use posthorn_domain::filter::View;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::operations::is_reserved;
use posthorn_domain::resource::{Glance, Mode, OldSecret, Packed, Status, Subscription, SubscriptionSpec};
use posthorn_domain::secret::Secret;
use posthorn_domain::signing::{KeyError, SigningKey};
use posthorn_domain::time::Time;

use super::index::Filters;

/// A subscription, compiled.
pub struct SubscriptionRoute {
    pub(super) id: SubscriptionId,
    status: Status,
    mode: Mode,
    packed: Packed,
    /// Made when it is first asked for.
    whole: OnceLock<Box<Whole>>,
    /// What its filters mean; all must hold.
    pub filters: Arc<Filters>,
    /// [`NONE`] when there is none.
    slot: u32,
}

/// No table has so many slots.
const NONE: u32 = u32::MAX;

struct Whole {
    subscription: Subscription,
    keys: Box<[Signer]>,
}

/// A key, and the time at which it stops to sign.
pub type Signer = (SigningKey, Option<Time>);

impl SubscriptionRoute {
    /// The route of a subscription that was [parted](Packed::parted) from its filters, whose meaning these are, and all of whose
    /// secrets are keys.
    pub(super) fn new(id: SubscriptionId, packed: Packed, &Glance { status, mode, .. }: &Glance, filters: Arc<Filters>) -> Self {
        Self { id, status, mode, packed, whole: OnceLock::new(), filters, slot: NONE }
    }

    /// The same with the filters of another index.
    pub(super) fn with(&self, filters: Arc<Filters>, slot: Option<u32>) -> Self {
        Self { packed: self.packed.clone(), whole: OnceLock::new(), filters, slot: slot.unwrap_or(NONE), ..*self }
    }

    /// The same in this slot.
    pub(super) fn in_slot(self, slot: u32) -> Self {
        Self { slot, ..self }
    }

    /// Under which the index knows it while it is active.
    pub fn slot(&self) -> Option<u32> {
        Some(self.slot).filter(|slot| *slot != NONE)
    }

    /// What was registered, but for its filters. Kept from now on, for those who are at work; others [`SubscriptionRoute::read`].
    pub fn subscription(&self) -> &Subscription {
        &self.whole().subscription
    }

    /// What was registered, but for its filters, for one look.
    pub fn read(&self) -> Subscription {
        self.packed.read(self.id)
    }

    /// What signs its requests, newest first.
    pub fn keys(&self) -> &[Signer] {
        &self.whole().keys
    }

    fn whole(&self) -> &Whole {
        self.whole.get_or_init(|| {
            let subscription = self.read();
            let key = |(secret, until): (&Secret, _)| (secret.expose().parse().expect("its secrets were found to be keys"), until);
            let keys = secrets(&subscription.spec).map(key).collect();
            Box::new(Whole { subscription, keys })
        })
    }

    /// Its id.
    pub fn id(&self) -> SubscriptionId {
        self.id
    }

    /// Whether its events get to its owner, one way or the other.
    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }

    /// Whether its events are sent to its endpoint.
    pub fn pushes(&self) -> bool {
        self.is_active() && self.mode == Mode::Push
    }

    /// Whether its events wait for a reader.
    pub fn is_pulled(&self) -> bool {
        self.is_active() && self.mode == Mode::Pull
    }

    /// Whether all its filters hold.
    pub fn matches(&self, view: &View<'_>) -> bool {
        self.may_read(view.topic) && self.filters.matches(view)
    }

    /// Topics of the server's own are read by those who ask for them by name.
    pub(super) fn may_read(&self, topic: &str) -> bool {
        !is_reserved(topic) || self.filters.iter().any(|filter| filter.names_reserved())
    }

    /// Whether any event of this topic could match, as far as the topic alone tells.
    pub fn admits_topic(&self, topic: &str) -> bool {
        self.may_read(topic) && self.filters.iter().all(|filter| filter.admits_topic(topic))
    }

    /// The only topic whose events could match, if there is just one.
    pub fn only_topic(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| filter.only_topic())
    }
}

/// Whether all secrets are keys.
pub(super) fn check_secrets(spec: &SubscriptionSpec) -> Result<(), KeyError> {
    secrets(spec).try_for_each(|(secret, _)| SigningKey::check(secret.expose()))
}

/// All that sign, newest first, each with the time at which it stops.
fn secrets(spec: &SubscriptionSpec) -> impl Iterator<Item = (&Secret, Option<Time>)> {
    spec.signing.iter().flat_map(|signing| {
        let old = signing.previous.iter().map(|OldSecret { secret, expires_at }| (secret, Some(*expires_at)));
        std::iter::once((&signing.secret, None)).chain(old)
    })
}
