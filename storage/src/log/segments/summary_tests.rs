//! A summary never denies what is there.

use posthorn_domain::event::EventBuilder;
use posthorn_domain::filter::{Atom, Literal, Place, Test};
use proptest::prelude::*;

use super::*;
use crate::log::behaviour;

fn record(ty: &str, subject: Option<&str>, key: Option<&str>) -> Record {
    let mut event = EventBuilder::new("1", "/s", ty).build();
    for (name, value) in [("subject", subject), ("partitionkey", key)] {
        if let Some(value) = value {
            event = event.with_attr(name, value);
        }
    }
    Record { event, ..behaviour::record("1", 1) }
}

fn atom(name: &str, test: Test) -> Atom {
    Atom { place: Place::Attribute(name.into()), test }
}

fn is(name: &str, text: &str) -> Atom {
    atom(name, Test::Equals(Literal::Text(text.into())))
}

fn texts() -> impl Strategy<Value = String> {
    "[abc]{0,3}"
}

proptest! {
    #[test]
    fn what_matches_is_never_denied(
        events in prop::collection::vec((texts(), prop::option::of(texts()), prop::option::of(texts())), 1..40),
        asked in prop::collection::vec((0usize..4, 0usize..4, texts(), texts()), 1..3),
        folded in any::<bool>(),
    ) {
        let records: Vec<Record> = events.iter().map(|(ty, subject, key)| record(&format!("t{ty}"), subject.as_deref(), key.as_deref())).collect();
        let mut summary = Summary::default();
        records.iter().for_each(|record| summary.add(record));
        if folded {
            summary.fold();
        }
        let mut bytes = Vec::new();
        summary.encode(&mut bytes);
        let summary = Summary::decode(&bytes).expect("its own form");
        let atoms: Vec<Atom> = asked.iter().map(|(name, test, one, other)| {
            let text = |text: &str| Literal::Text(text.into());
            let test = match test {
                0 => Test::Equals(text(one)),
                1 => Test::OneOf([text(one), text(other)].into()),
                2 => Test::Prefix(one.as_str().into()),
                _ => Test::Suffix(one.as_str().into()),
            };
            atom(["type", "subject", "partitionkey", "source"][*name], test)
        }).collect();
        let wanted = Wanted::of(&atoms);
        let matches = records.iter().any(|record| atoms.iter().all(|atom| atom.holds(&record.view("orders"))));
        prop_assert!(!matches || summary.may_have(&wanted));
    }

    #[test]
    fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Summary::decode(&bytes);
    }
}

#[test]
fn what_is_not_there_is_passed_over() {
    let mut summary = Summary::default();
    (0..5000).for_each(|number| summary.add(&record("order.created", Some(&format!("order-{number}")), None)));
    summary.fold();
    let may = |summary: &Summary, atoms: &[Atom]| summary.may_have(&Wanted::of(atoms));
    assert!(!may(&summary, &[is("type", "order.paid")]));
    assert!(!may(&summary, &[is("type", "order.created"), is("partitionkey", "7")]), "no event has a key");
    assert!(may(&summary, &[is("type", "order.created"), is("subject", "order-77")]));
    let denied = (5000..15_000).filter(|number| !may(&summary, &[is("subject", &format!("order-{number}"))])).count();
    assert!(denied > 9_000, "{denied}");
    assert!(may(&summary, &[is("tenant", "x")]) && may(&summary, &[]), "nothing is known of others");
}

#[test]
fn few_values_make_a_small_summary_and_many_types_none() {
    let mut summary = Summary::default();
    summary.add(&record("a", Some("x"), None));
    summary.fold();
    let mut bytes = Vec::new();
    summary.encode(&mut bytes);
    assert!(bytes.len() < 100, "{}", bytes.len());
    (0..100).for_each(|number| summary.add(&record(&format!("t{number}"), None, None)));
    assert!(summary.may_have(&Wanted::of(&[is("type", "elsewhere")])));
    assert_eq!(Summary { filter: Vec::new(), ..summary }.types, None);
}
