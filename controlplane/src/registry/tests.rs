//! The registry keeps its rules whatever it is told, and comes back equal from what the store would hold.

use posthorn_domain::guard::Guard;
use posthorn_domain::names::Name;
use posthorn_domain::resource::{SchemaSpec, SubscriptionSpec, TopicSpec};
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    PutTopic { name: u8, partitions: u32, schema: Option<u8> },
    DeleteTopic { name: u8, force: bool },
    AddVersion { name: u8, content: u8 },
    DeleteVersion { name: u8, version: u32 },
    Deprecate { name: u8, version: u32, message: Option<u8> },
    DeleteSchema { name: u8 },
    Create { topic: u8 },
    Pause { nth: usize },
    Rotate { nth: usize },
    Delete { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_u8;
    prop_oneof![
        (name.clone(), 1..4_u32, proptest::option::of(0..3_u8)).prop_map(|(name, partitions, schema)| Step::PutTopic {
            name,
            partitions,
            schema
        }),
        (name.clone(), any::<bool>()).prop_map(|(name, force)| Step::DeleteTopic { name, force }),
        (name.clone(), 0..3_u8).prop_map(|(name, content)| Step::AddVersion { name, content }),
        (name.clone(), 1..4_u32).prop_map(|(name, version)| Step::DeleteVersion { name, version }),
        (name.clone(), 1..4_u32, proptest::option::of(0..3_u8)).prop_map(|(name, version, message)| Step::Deprecate {
            name,
            version,
            message
        }),
        name.clone().prop_map(|name| Step::DeleteSchema { name }),
        name.prop_map(|topic| Step::Create { topic }),
        (0..4_usize).prop_map(|nth| Step::Pause { nth }),
        (0..4_usize).prop_map(|nth| Step::Rotate { nth }),
        (0..4_usize).prop_map(|nth| Step::Delete { nth }),
    ]
}

fn named(n: u8) -> Name {
    format!("n{n}").parse().expect("a name")
}

fn subscription(topic: u8) -> SubscriptionSpec {
    let document = json!({"filters": [{"topic": named(topic)}], "endpoint": {"url": "https://partner.example/hook"}});
    SubscriptionSpec::parse(&document, &Guard::default()).expect("valid")
}

fn command(step: Step, registry: &Registry) -> Option<Command> {
    let nth = |n: usize| registry.subscriptions.keys().nth(n).copied();
    let when = Precondition::None;
    Some(match step {
        Step::PutTopic { name, partitions, schema } => {
            let document = json!({"partitions": partitions, "schemas": schema.map(named).into_iter().collect::<Vec<_>>()});
            let spec = TopicSpec::parse(&document, &named(name)).expect("valid");
            Command::PutTopic { name: named(name), spec, when }
        }
        Step::DeleteTopic { name, force } => Command::DeleteTopic { name: named(name), force, when },
        Step::AddVersion { name, content } => {
            let spec = SchemaSpec::parse(&json!({"schema": {"minLength": content}})).expect("valid");
            let latest = registry.latest_version(&named(name)).map(|version| version.version);
            Command::AddVersion { name: named(name), spec, basis: Basis { latest, ..Basis::default() } }
        }
        Step::DeleteVersion { name, version } => Command::DeleteVersion { name: named(name), version, when },
        Step::Deprecate { name, version, message } => {
            Command::Deprecate { name: named(name), version, message: message.map(|n| n.to_string()), when }
        }
        Step::DeleteSchema { name } => Command::DeleteSchema { name: named(name), when },
        Step::Create { topic } => Command::CreateSubscription { id: SubscriptionId::make(), spec: subscription(topic) },
        Step::Pause { nth: n } => Command::SetStatus { id: nth(n)?, status: posthorn_domain::resource::Status::Paused, when },
        Step::Rotate { nth: n } => Command::RotateSecret { id: nth(n)?, overlap: posthorn_domain::units::Dur::from_secs(60), when },
        Step::Delete { nth: n } => Command::DeleteSubscription { id: nth(n)?, when },
    })
}

fn entries(registry: &Registry) -> Vec<Entry> {
    let schemas = registry.schemas.values().cloned().map(Entry::Schema);
    let published = registry.all_published().into_iter().map(Published::entry).filter(|entry| !matches!(entry, Entry::Schema(_)));
    published.chain(schemas).collect()
}

fn check(registry: &Registry) {
    for topic in registry.topics.values() {
        for schema in &topic.spec.schemas {
            assert!(registry.latest_version(schema).is_some(), "{} demands {schema}, which is not there", topic.name);
        }
    }
    for (name, version) in registry.versions.keys() {
        assert!(registry.schemas.get(name).is_some_and(|schema| schema.last_version >= *version));
    }
    for subscription in registry.all_subscriptions() {
        assert!(subscription.spec.signing.iter().all(|signing| !signing.secret.expose().is_empty()));
        assert!(subscription.meta.revision <= registry.revision);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keeps_its_rules_and_replays_equal(steps in proptest::collection::vec(step(), 1..60)) {
        let mut registry = Registry::default();
        let mut replica = Registry::default();
        for (at, step) in steps.into_iter().enumerate() {
            let Some(command) = command(step, &registry) else { continue };
            let before = registry.clone();
            match registry.apply(command, Time::from_millis(1000 * at as u64)) {
                Ok(change) if change.is_empty() => assert_eq!(change.revision, before.revision),
                Ok(change) => {
                    registry.commit(&change);
                    replica.commit(&change);
                    assert_eq!(registry.revision, before.revision + 1);
                }
                Err(problem) => {
                    assert!((400..500).contains(&problem.status()));
                    assert_eq!(registry, before);
                }
            }
            check(&registry);
        }
        assert_eq!(&registry, &replica);
        assert_eq!(&Registry::restore(registry.revision, entries(&registry).into_iter().map(Published::Entry)), &registry);
    }
}
