//! What is promised for an event: the strongest of what the event, its schemas and its topic say (DESIGN §5).

use posthorn_domain::event::Event;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::qos::{DeadLetter, Durability, OnRefusal};
use posthorn_domain::resource::{SchemaSpec, TopicSpec};
use posthorn_domain::time::Time;

/// The durability of an event; `default` counts only where nobody sets one.
///
/// # Errors
/// `invalid-event` when the attribute `durability` is none.
pub(super) fn durability<'a>(
    event: &Event,
    topic: &TopicSpec,
    schemas: impl Iterator<Item = &'a SchemaSpec>,
    default: Durability,
) -> Result<Durability, Problem> {
    let own: Option<Durability> = event
        .get("durability")
        .map(str::parse)
        .transpose()
        .map_err(|error| Problem::new(Code::InvalidEvent, format!("attribute `durability`: {error}")))?;
    let strongest = schemas.filter_map(|spec| spec.durability).chain(topic.durability).chain(own).max();
    Ok(strongest.unwrap_or(default))
}

/// When the event expires: the greatest time to live of its schemas, else the topic's, cut short by `expirytime`.
///
/// # Errors
/// `expired` when that is not after `accepted_at`; `invalid-event` for an `expirytime` that is no time.
pub(super) fn expires_at<'a>(
    event: &Event,
    topic: &TopicSpec,
    schemas: impl Iterator<Item = &'a SchemaSpec>,
    accepted_at: Time,
) -> Result<Option<Time>, Problem> {
    let ttl = schemas.filter_map(|spec| spec.ttl).max().or(topic.ttl);
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

/// Whether the event may become a dead letter: `never` is the stronger.
pub(super) fn dead_letter<'a>(schemas: impl Iterator<Item = &'a SchemaSpec>) -> DeadLetter {
    schemas.map(|spec| spec.dead_letter).max().unwrap_or_default()
}

/// Whether a refusal is kept as a dead letter and answered as a success.
pub(super) fn keeps_refusals<'a>(topic: &TopicSpec, schemas: impl Iterator<Item = &'a SchemaSpec> + Clone) -> bool {
    let wanted = topic.on_refusal == OnRefusal::DeadLetter || schemas.clone().any(|spec| spec.on_refusal == Some(OnRefusal::DeadLetter));
    wanted && dead_letter(schemas) == DeadLetter::Allow
}

#[cfg(test)]
mod tests {
    use posthorn_domain::event::{AttrKind, EventBuilder};
    use posthorn_domain::units::Dur;

    use super::*;

    fn event(attrs: &[(&str, &str)]) -> Event {
        let mut builder = EventBuilder::new("1", "/s", "t");
        for (name, value) in attrs {
            builder.push(name, AttrKind::String, value);
        }
        builder.build()
    }

    fn schema(durability: Option<Durability>, ttl: Option<u64>, dead_letter: DeadLetter, on_refusal: Option<OnRefusal>) -> SchemaSpec {
        SchemaSpec { schema: true.into(), ttl: ttl.map(Dur::from_secs), durability, dead_letter, on_refusal, assert_formats: false }
    }

    #[test]
    fn the_strongest_durability_wins_and_the_default_only_fills_in() {
        use Durability::{Log, None as Memory, Sync};
        for (own, schemas, topic, wanted) in [
            (None, vec![], None, Sync),
            (Some("none"), vec![], None, Memory),
            (Some("none"), vec![], Some(Log), Log),
            (Some("none"), vec![Some(Sync), None], Some(Log), Sync),
            (Some("sync"), vec![Some(Memory)], None, Sync),
            (None, vec![Some(Memory)], None, Memory),
        ] {
            let event = event(&own.map(|text| ("durability", text)).into_iter().collect::<Vec<_>>());
            let topic = TopicSpec { durability: topic, ..TopicSpec::default() };
            let specs: Vec<_> = schemas.iter().map(|durability| schema(*durability, None, DeadLetter::Allow, None)).collect();
            assert_eq!(durability(&event, &topic, specs.iter(), Sync).expect("valid"), wanted);
        }
        let bad = durability(&event(&[("durability", "disk")]), &TopicSpec::default(), [].iter(), Sync).expect_err("no durability");
        assert!(bad.detail().contains("durability"));
    }

    #[test]
    fn the_greatest_time_to_live_counts_and_expirytime_cuts_it_short() {
        let now = Time::parse("2026-01-01T00:00:00Z").expect("a time");
        let at = |secs| Some(now.after(Dur::from_secs(secs).std()));
        let topic = TopicSpec { ttl: Some(Dur::from_secs(60)), ..TopicSpec::default() };
        let specs = [10, 20].map(|ttl| schema(None, Some(ttl), DeadLetter::Allow, None));
        let silent = [schema(None, None, DeadLetter::Allow, None)];
        assert_eq!(expires_at(&event(&[]), &topic, specs.iter(), now).expect("valid"), at(20));
        assert_eq!(expires_at(&event(&[]), &topic, silent.iter(), now).expect("valid"), at(60));
        assert_eq!(expires_at(&event(&[]), &TopicSpec::default(), silent.iter(), now).expect("valid"), None);
        let soon = event(&[("expirytime", "2026-01-01T00:00:05Z")]);
        assert_eq!(expires_at(&soon, &topic, specs.iter(), now).expect("valid"), at(5));
        let late = event(&[("expirytime", "2027-01-01T00:00:00Z")]);
        assert_eq!(expires_at(&late, &topic, specs.iter(), now).expect("valid"), at(20));
        for past in ["2026-01-01T00:00:00Z", "1969-01-01T00:00:00Z"] {
            let refused = expires_at(&event(&[("expirytime", past)]), &topic, specs.iter(), now).expect_err("past");
            assert_eq!(refused.code(), Code::Expired);
        }
    }

    #[test]
    fn refusals_are_kept_where_anyone_says_so_and_nobody_forbids_it() {
        use OnRefusal::{DeadLetter as Keep, Reject};
        let allow = |on| schema(None, None, DeadLetter::Allow, on);
        let never = |on| schema(None, None, DeadLetter::Never, on);
        for (topic, schemas, wanted) in [
            (Reject, vec![], false),
            (Keep, vec![], true),
            (Keep, vec![allow(Some(Reject))], true),
            (Reject, vec![allow(None), allow(Some(Keep))], true),
            (Keep, vec![never(None)], false),
            (Reject, vec![allow(Some(Keep)), never(None)], false),
        ] {
            let topic = TopicSpec { on_refusal: topic, ..TopicSpec::default() };
            assert_eq!(keeps_refusals(&topic, schemas.iter()), wanted);
        }
    }
}
