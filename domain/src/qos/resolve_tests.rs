//! The table of "strongest wins", setting by setting.

use serde_json::json;

use super::Origin::{Default as Server, Event, Schema, Subscription, Topic};
use super::*;
use crate::guard::Guard;

fn topic(members: serde_json::Value) -> TopicSpec {
    TopicSpec::parse(&members, &"orders".parse().expect("a name")).expect("a topic")
}

fn schemas(members: &[serde_json::Value]) -> Vec<SchemaSpec> {
    let spec = |members: &serde_json::Value| {
        let mut document = members.clone();
        document["schema"] = json!(true);
        SchemaSpec::parse(&document).expect("a schema")
    };
    members.iter().map(spec).collect()
}

fn subscription(qos: serde_json::Value) -> SubscriptionSpec {
    let document = json!({"filters": [{"topic": "orders"}], "endpoint": {"url": "https://partner.example/hook"}, "qos": qos,
        "retry": {"schedule": ["1s"]}});
    SubscriptionSpec::parse(&document, &Guard::default()).expect("a subscription")
}

fn parties<'a>(topic: &'a TopicSpec, event: Option<Durability>, subscription: Option<&'a SubscriptionSpec>) -> Parties<'a> {
    Parties { default_durability: Durability::Sync, default_max_hops: 8, topic, event_durability: event, subscription }
}

#[test]
fn durability_is_the_greatest_that_anyone_says_and_the_default_only_fills_in() {
    use Durability::{Log, None as Memory, Sync};
    for (of_schemas, of_topic, event, contract, value, from) in [
        (vec![], json!({}), None, json!({}), Sync, Server),
        (vec![], json!({}), Some(Memory), json!({}), Memory, Event),
        (vec![], json!({"durability": "log"}), Some(Memory), json!({}), Log, Topic),
        (vec![json!({"durability": "none"})], json!({}), None, json!({}), Memory, Schema(0)),
        (vec![json!({}), json!({"durability": "sync"})], json!({"durability": "log"}), Some(Memory), json!({}), Sync, Schema(1)),
        (vec![json!({"durability": "log"})], json!({"durability": "log"}), Some(Log), json!({}), Log, Schema(0)),
        (vec![json!({"durability": "none"})], json!({}), Some(Sync), json!({}), Sync, Event),
        (vec![], json!({"durability": "none"}), Some(Memory), json!({"durability": "sync"}), Sync, Subscription),
        (vec![], json!({"durability": "sync"}), None, json!({"durability": "log"}), Sync, Topic),
    ] {
        let (topic, set, contract) = (topic(of_topic), schemas(&of_schemas), subscription(contract));
        let decided = resolve(&parties(&topic, event, Some(&contract)), set.iter()).durability;
        assert_eq!(decided, Decided { value, from });
    }
}

#[test]
fn never_is_the_stronger_of_dead_letters() {
    use DeadLetter::{Allow, Never};
    for (of_schemas, contract, value, from) in [
        (vec![], json!({}), Allow, Server),
        (vec![json!({"dead_letter": "allow"})], json!({"dead_letter": "allow"}), Allow, Server),
        (vec![json!({}), json!({"dead_letter": "never"})], json!({"dead_letter": "allow"}), Never, Schema(1)),
        (vec![json!({"dead_letter": "allow"})], json!({"dead_letter": "never"}), Never, Subscription),
        (vec![json!({"dead_letter": "never"})], json!({"dead_letter": "never"}), Never, Schema(0)),
    ] {
        let (topic, set, contract) = (topic(json!({})), schemas(&of_schemas), subscription(contract));
        assert_eq!(resolve(&parties(&topic, None, Some(&contract)), set.iter()).dead_letter, Decided { value, from });
    }
}

#[test]
fn refusals_are_kept_where_anyone_says_so_and_no_schema_forbids_it() {
    use OnRefusal::{DeadLetter as Keep, Reject};
    let keep = || json!({"on_refusal": "dead_letter"});
    for (of_topic, of_schemas, value, from) in [
        (json!({}), vec![], Reject, Server),
        (keep(), vec![], Keep, Topic),
        (keep(), vec![json!({"on_refusal": "reject"})], Keep, Topic),
        (json!({}), vec![json!({}), keep()], Keep, Schema(1)),
        (json!({}), vec![json!({"on_refusal": "reject"})], Reject, Schema(0)),
        (keep(), vec![json!({"dead_letter": "never"})], Reject, Schema(0)),
        (json!({}), vec![keep(), json!({"dead_letter": "never"})], Reject, Schema(1)),
    ] {
        let (topic, set) = (topic(of_topic), schemas(&of_schemas));
        let contract = subscription(json!({"dead_letter": "never"}));
        for contract in [None, Some(&contract)] {
            assert_eq!(resolve(&parties(&topic, None, contract), set.iter()).on_refusal, Decided { value, from });
        }
    }
}

#[test]
fn the_greatest_time_to_live_of_the_schemas_counts_and_the_topics_only_without_one() {
    let secs = |secs| Some(Dur::from_secs(secs));
    for (of_topic, of_schemas, value, from) in [
        (json!({}), vec![], None, Server),
        (json!({"ttl": "60s"}), vec![], secs(60), Topic),
        (json!({"ttl": "60s"}), vec![json!({})], secs(60), Topic),
        (json!({"ttl": "60s"}), vec![json!({"ttl": "10s"}), json!({"ttl": "20s"})], secs(20), Schema(1)),
        (json!({}), vec![json!({"ttl": "20s"}), json!({"ttl": "20s"})], secs(20), Schema(0)),
    ] {
        let (topic, set) = (topic(of_topic), schemas(&of_schemas));
        assert_eq!(resolve(&parties(&topic, None, None), set.iter()).ttl, Decided { value, from });
    }
}

#[test]
fn order_and_retries_are_the_subscriptions_and_hops_the_topics() {
    let plain = topic(json!({}));
    let none = resolve(&parties(&plain, None, None), [].iter());
    assert_eq!(none.ordering, Decided { value: Ordering::None, from: Server });
    assert_eq!(none.retry, Decided { value: None, from: Server });
    assert_eq!(none.max_hops, Decided { value: 8, from: Server });
    let (own, contract) = (topic(json!({"max_hops": 2})), subscription(json!({"ordering": "key"})));
    let asked = resolve(&parties(&own, None, Some(&contract)), [].iter());
    assert_eq!(asked.ordering, Decided { value: Ordering::Key, from: Subscription });
    assert_eq!(asked.retry, Decided { value: Some(&contract.retry), from: Subscription });
    assert_eq!(asked.max_hops, Decided { value: 2, from: Topic });
}

#[test]
fn it_is_shown_with_where_each_setting_came_from() {
    let set = schemas(&[json!({"durability": "log", "ttl": "1h"})]);
    let named = [SchemaRef { name: "order".parse().expect("a name"), version: 3 }];
    let topic = topic(json!({"on_refusal": "dead_letter"}));
    let shown = serde_json::to_value(resolve(&parties(&topic, None, None), set.iter()).shown(&named)).expect("plain values");
    assert_eq!(shown["durability"], json!({"value": "log", "from": "schema order:3"}));
    assert_eq!(shown["ttl"], json!({"value": "1h", "from": "schema order:3"}));
    assert_eq!(shown["on_refusal"], json!({"value": "dead_letter", "from": "topic"}));
    assert_eq!(shown["dead_letter"], json!({"value": "allow", "from": "default"}));
    assert_eq!(shown["max_hops"], json!({"value": 8, "from": "default"}));
    assert!(shown["retry"]["value"]["schedule"].is_array());
}
