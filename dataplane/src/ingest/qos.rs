//! What is promised for an event: the outcome of [`posthorn_domain::qos::resolve`], and the event's own attributes on top.

use posthorn_domain::event::Event;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::qos::{self, Durability, Parties, Resolved, Shown};
use posthorn_domain::resource::SubscriptionSpec;
use posthorn_domain::time::Time;
use posthorn_domain::units::Dur;

use super::schemas::{self, Set};
use crate::config;
use crate::route::{Table, TopicRoute};

/// What is in force for an event of this topic with this schema set.
///
/// # Errors
/// `invalid-event` when the attribute `durability` is none.
pub(super) fn of_event<'a>(event: &Event, topic: &'a TopicRoute, set: &Set, config: &config::Ingest) -> Result<Resolved<'a>, Problem> {
    let event_durability = durability(event)?;
    Ok(qos::resolve(&Parties { event_durability, ..of_topic(topic, config) }, schemas::specs(set)))
}

/// The same where the event's own wishes do not count, because it is refused.
pub(super) fn of_refused<'a>(topic: &'a TopicRoute, set: &Set, config: &config::Ingest) -> Resolved<'a> {
    qos::resolve(&of_topic(topic, config), schemas::specs(set))
}

/// What is in force for this event on its way to this subscription, and who set it: for whoever explains a delivery. Schemas that
/// are not known are left out, as an event that names one is refused anyway.
pub fn explained(
    table: &Table,
    topic: &TopicRoute,
    event: &Event,
    subscription: Option<&SubscriptionSpec>,
    config: &config::Ingest,
) -> Shown {
    let (set, _) = schemas::resolve(table, topic, event);
    let event_durability = durability(event).ok().flatten();
    let parties = Parties { event_durability, subscription, ..of_topic(topic, config) };
    qos::resolve(&parties, schemas::specs(&set)).shown(&schemas::references(&set))
}

fn of_topic<'a>(topic: &'a TopicRoute, config: &config::Ingest) -> Parties<'a> {
    Parties {
        default_durability: config.default_durability,
        default_max_hops: config.max_hops,
        topic: &topic.topic.spec,
        event_durability: None,
        subscription: None,
    }
}

/// What the event itself asks for.
fn durability(event: &Event) -> Result<Option<Durability>, Problem> {
    let own = event.get("durability").map(str::parse).transpose();
    own.map_err(|error| Problem::new(Code::InvalidEvent, format!("attribute `durability`: {error}")))
}

/// The strongest of what was decided and what the subscriptions demand that get the event.
pub(super) fn demanded(decided: Durability, table: &Table, slots: &[u32]) -> Durability {
    if decided == Durability::Sync {
        return decided;
    }
    let demand = |slot: &u32| table.in_slot(*slot)?.subscription().spec.qos.durability;
    slots.iter().filter_map(demand).fold(decided, Durability::max)
}

/// When an event expires that lives for `ttl`, cut short by its `expirytime`.
///
/// # Errors
/// `expired` when that is not after `accepted_at`; `invalid-event` for an `expirytime` that is no time.
pub(super) fn expires_at(event: &Event, ttl: Option<Dur>, accepted_at: Time) -> Result<Option<Time>, Problem> {
    let by_ttl = ttl.map(|ttl| accepted_at.after(ttl.std()));
    let by_event = event.get("expirytime").map(expiry_time).transpose()?;
    let expires = [by_ttl, by_event].into_iter().flatten().min();
    match expires {
        Some(time) if time <= accepted_at => {
            Err(Problem::new(Code::Expired, format!("the event expired at {time}; send a later `expirytime`, or none")))
        }
        other => Ok(other),
    }
}

/// A time before the epoch cannot be held, and is past all the same.
fn expiry_time(text: &str) -> Result<Time, Problem> {
    match Time::parse(text) {
        Some(time) => Ok(time),
        None if posthorn_domain::cloudevents::is_rfc3339(text) => Ok(Time::ZERO),
        None => Err(Problem::new(Code::InvalidEvent, "attribute `expirytime` must be an RFC 3339 time such as 2026-01-31T12:00:00Z")),
    }
}

#[cfg(test)]
mod tests {
    use posthorn_domain::event::{AttrKind, EventBuilder};

    use super::*;

    fn event(attrs: &[(&str, &str)]) -> Event {
        let mut builder = EventBuilder::new("1", "/s", "t");
        for (name, value) in attrs {
            builder.push(name, AttrKind::String, value);
        }
        builder.build()
    }

    #[test]
    fn the_event_asks_for_a_durability_that_there_is() {
        assert_eq!(durability(&event(&[])).expect("valid"), None);
        assert_eq!(durability(&event(&[("durability", "log")])).expect("valid"), Some(Durability::Log));
        assert!(durability(&event(&[("durability", "disk")])).expect_err("none").detail().contains("durability"));
    }

    #[test]
    fn expirytime_cuts_the_time_to_live_short_and_never_lengthens_it() {
        let now = Time::parse("2026-01-01T00:00:00Z").expect("a time");
        let at = |secs| Some(now.after(Dur::from_secs(secs).std()));
        let ttl = Some(Dur::from_secs(20));
        assert_eq!(expires_at(&event(&[]), None, now).expect("valid"), None);
        assert_eq!(expires_at(&event(&[]), ttl, now).expect("valid"), at(20));
        let soon = event(&[("expirytime", "2026-01-01T00:00:05Z")]);
        assert_eq!(expires_at(&soon, ttl, now).expect("valid"), at(5));
        assert_eq!(expires_at(&soon, None, now).expect("valid"), at(5));
        let late = event(&[("expirytime", "2027-01-01T00:00:00Z")]);
        assert_eq!(expires_at(&late, ttl, now).expect("valid"), at(20));
        for past in ["2026-01-01T00:00:00Z", "1969-01-01T00:00:00Z"] {
            let refused = expires_at(&event(&[("expirytime", past)]), ttl, now).expect_err("past");
            assert_eq!(refused.code(), Code::Expired);
        }
        assert_eq!(expires_at(&event(&[("expirytime", "soon")]), ttl, now).expect_err("none").code(), Code::InvalidEvent);
    }
}
