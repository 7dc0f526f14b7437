//! Resources read what they write, and name every fault at its place.

use serde_json::{Value, json};

use super::*;
use crate::guard::Guard;
use crate::ids::SubscriptionId;
use crate::secret::REDACTED;
use crate::snapshot::{Document, Resource};
use crate::time::Time;

fn subscription(document: &Value) -> Result<SubscriptionSpec, Vec<String>> {
    SubscriptionSpec::parse(document, &Guard::default()).map_err(|problem| pointers(&problem))
}

fn pointers(problem: &crate::problem::Problem) -> Vec<String> {
    problem.errors().iter().map(|fault| fault.pointer.clone()).collect()
}

fn whole() -> Value {
    json!({
        "name": "acme-orders", "owner": "acme",
        "filters": [{"topic": "orders.*"}, {"not": {"exact": {"type": "order.created"}}}],
        "endpoint": {"url": "https://partner.example/hook?a=1", "format": "structured", "headers": {"x-tenant": "7"}, "query": {"v": "2"},
            "timeout": "10s", "auth": [{"type": "basic", "username": "u", "password": "p"}]},
        "signing": [{"scheme": "standard-webhooks", "secret": crate::signing::generate_hmac(),
            "previous": [{"secret": crate::signing::generate_hmac(), "expires_at": "2030-01-01T00:00:00.000Z"}]},
            {"scheme": "standard-webhooks", "secret": crate::signing::generate_ed25519().0}],
        "qos": {"durability": "log", "dead_letter": "never", "ordering": "key"},
        "retry": {"schedule": ["5s", "5m"], "jitter": 0.25, "max_age": "4d"},
        "limits": {"in_flight": 3, "rate": 0.5}, "start": "time:2026-01-01T00:00:00.000Z", "status": "paused",
    })
}

#[test]
fn a_subscription_reads_what_it_writes_once_its_secrets_are_back() {
    let spec = subscription(&whole()).expect("valid");
    let mut written = serde_json::to_value(&spec).expect("writes");
    assert_eq!(written["endpoint"]["auth"][0]["password"], REDACTED);
    let secrets = spec.secrets();
    assert_eq!(secrets.len(), 4);
    for (at, secret) in secrets {
        let place = written.pointer_mut(&at).expect("a place for each secret");
        assert_eq!(*place, REDACTED);
        *place = json!(secret.expose());
    }
    assert_eq!(subscription(&written), Ok(spec.clone()));
    assert!(!format!("{spec:?}").contains("whsec_"));
}

/// Documents of subscriptions, each with something that the others lack.
fn several() -> Vec<Value> {
    let plain = json!({"filters": [{"topic": "a"}], "endpoint": {"url": "https://a.example/"},
        "signing": [{"scheme": "standard-webhooks", "secret": crate::signing::generate_hmac()}]});
    let with = |members: Value| {
        let mut document = plain.clone();
        document.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        document
    };
    let batch = json!({"url": "https://a.example/", "format": "batch", "batch": {"max_events": 7}, "headers": {"b": "\"2\"", "a": "1"}});
    vec![
        whole(),
        plain.clone(),
        with(json!({"endpoint": batch, "mode": "pull", "status": "disabled", "allow_unknown": true})),
        with(json!({"start": "earliest", "limits": {"rate": 5}, "qos": {"ordering": "key"}, "name": "\u{1f600} \\ \" /"})),
        with(json!({"retry": {"schedule": []}, "owner": "o", "filters": [{"cel": "data.n > 1.5 && type == \"a\\nb\""}]})),
    ]
}

#[test]
fn the_quick_way_reads_the_same_and_a_packed_one_comes_back() {
    for (n, document) in several().iter().enumerate() {
        let spec = subscription(document).expect("valid");
        let meta = Meta { revision: 7, incarnation: 5, created_at: Time::from_millis(1_000), updated_at: Time::from_millis(2_000) };
        let status_reason = (n == 2).then(|| "because".to_owned());
        let whole = Subscription { id: SubscriptionId::make(), spec, status_reason, meta };
        let secrets: Vec<(String, String)> =
            whole.spec.secrets().into_iter().map(|(at, secret)| (at, secret.expose().to_owned())).collect();
        let resource = Resource {
            revision: 7,
            incarnation: 5,
            document: Document::of(&whole),
            secrets: secrets.iter().map(|(at, secret)| (at.as_str(), secret.as_str())).collect(),
        };
        let written = |resource: &Resource| serde_json::to_vec(resource).expect("writes");
        assert_eq!(Subscription::quick(&written(&resource)), Some(whole.clone()));
        let open = Resource { secrets: Default::default(), ..resource.clone() };
        assert_eq!(Subscription::quick(&written(&open)), None, "a secret is missing");
        assert_eq!(SubscriptionSpec::parse_kept(&resource.revealed().expect("reads"), &Guard::default()), Ok(whole.spec.clone()));
        assert_eq!(Resource::of_subscription(&whole), resource);
        let packed = Packed::of(&whole);
        assert_eq!((packed.read(whole.id), packed.meta()), (whole.clone(), meta));
        assert_eq!(Packed::from_bytes(packed.as_bytes()), Some(packed.clone()));
        let (filters, status, mode) = (whole.spec.filters.clone(), whole.spec.status, whole.spec.mode);
        let (glance, unfiltered_text) = packed.parted();
        assert_eq!(glance, Glance { filters, status, mode });
        assert!(!format!("{packed:?}").contains("whs"));
        let mut unfiltered = whole;
        unfiltered.spec.filters = WrittenFilters::default();
        assert_eq!(unfiltered_text, Packed::of(&unfiltered));
        assert_eq!(unfiltered_text.read(unfiltered.id), unfiltered);
        assert_eq!(unfiltered_text.parted().1, unfiltered_text);
    }
    assert_eq!(Packed::from_bytes(b"{\"name\":\"this is JSON and long enough\"}"), None);
}

/// Who says it is found, whatever it is and whichever words are about it.
#[test]
fn a_string_is_found_in_every_place_where_it_may_stand() {
    let strings = [
        "a",
        "https://a.example/",
        "http",
        "whsec_",
        "x\"}]",
        "\"}]}",
        "a\",\"owner\":\"b",
        "t,\"",
        "[{",
        "\u{1f600}\\",
        "\n",
        "\"},{",
        "\",",
        "\":",
        "\":{",
        "b\"}",
        "orders.a_b",
        "{\"topic\":\"",
    ];
    for said in strings {
        for place in ["name", "owner", "topic", "type", "subject"] {
            let mut document =
                json!({"filters": [{"topic": "z"}, {"exact": {"type": "z", "subject": "z"}}], "endpoint": {"url": "https://b.example/"}});
            match place {
                "name" | "owner" => document[place] = json!(said),
                "topic" => document["filters"] = json!([{"any": [{"exact": {"topic": said}}, {"exact": {"source": "q"}}]}]),
                _ => document["filters"][1]["exact"][place] = json!(said),
            }
            let mut spec = subscription(&json!({"filters": [{"topic": "z"}], "endpoint": {"url": "https://b.example/"}})).expect("valid");
            spec.filters = WrittenFilters::of(document["filters"].as_array().expect("filters"));
            spec.name = document["name"].as_str().unwrap_or_default().to_owned();
            spec.owner = document["owner"].as_str().unwrap_or_default().to_owned();
            let meta = Meta { revision: 7, incarnation: 5, created_at: Time::from_millis(1_000), updated_at: Time::from_millis(2_000) };
            let packed = Packed::of(&Subscription { id: SubscriptionId::make(), spec, status_reason: None, meta });
            assert!(packed.mentions(&Mention::of(said)), "{said} as {place}");
            assert!(!packed.mentions(&Mention::of("nobody says this")));
        }
    }
}

/// Form 1 is on disks that were written before form 2.
#[test]
fn a_subscription_that_was_packed_as_plain_json_is_the_same_in_the_form_of_today() {
    let numbers = [7_u64, 5, 1_000, 2_000].map(u64::to_le_bytes).concat();
    let meta = Meta { revision: 7, incarnation: 5, created_at: Time::from_millis(1_000), updated_at: Time::from_millis(2_000) };
    for (text, status) in [
        (
            r#"{"name":"a","filters":[{"topic":"a"},{"sql":"x = 'y'"}],"endpoint":{"url":"http://a/"},"signing":[{"secret":"s"}]}"#,
            Status::Active,
        ),
        (r#"{"endpoint":{"url":"u"},"signing":[],"status":"paused","mode":"pull","status_reason":"r"}"#, Status::Paused),
        (r#"{"endpoint":{"url":"u"},"signing":[]}"#, Status::Active),
    ] {
        let packed = Packed::from_bytes(&[&[1][..], &numbers, text.as_bytes()].concat()).expect("packed");
        let read = packed.read(SubscriptionId::from_bytes([1; 16]));
        assert_eq!((read.meta, read.spec.status), (meta, status));
        assert_eq!((packed.parted().0.status, packed.parted().0.mode), (status, read.spec.mode));
        assert_eq!(Packed::of(&read), packed);
        for said in ["a", "topic", "http://a/", "s", "x = 'y'", "http", "x"] {
            // Names of members may be found or not: nobody looks for them.
            assert!(said == "topic" || packed.mentions(&Mention::of(said)) == text.contains(&format!("\"{said}\"")), "{said} in {text}");
        }
    }
    assert_eq!(Packed::from_bytes(&[&[1][..], &numbers, b"{".as_slice()].concat()), None);
    assert_eq!(Packed::from_bytes(&[2, 1, 0]), None);
}

/// Packed subscriptions are on disks. When this fails because a default has changed, give them another form.
#[test]
fn what_the_form_of_packed_ones_leaves_out_stays_as_it_is() {
    let text = br#"{"endpoint":{"url":"https://a.example/"},"signing":[{"secret":"s"}]}"#;
    let plain = Packed::from_bytes(&[&[1][..], &[0; 32], text].concat()).expect("packed");
    let packed = Packed::from_bytes(&[&[2, 1, 0, 0, 0, 0, 0][..], text].concat()).expect("packed");
    assert_eq!(plain.read(SubscriptionId::from_bytes([0; 16])), packed.read(SubscriptionId::from_bytes([0; 16])));
    let read = serde_json::to_value(packed.read(SubscriptionId::from_bytes([0; 16])).spec).expect("writes");
    let schedule = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "1d"];
    let expected = json!({
        "name": "", "owner": "", "filters": [], "allow_unknown": false, "signing": [{"scheme": "standard-webhooks", "key": "hmac-sha256", "secret": REDACTED}],
        "endpoint": {"url": "https://a.example/", "format": "binary", "headers": {}, "query": {}, "timeout": null, "auth": []},
        "qos": {"durability": null, "dead_letter": "allow", "ordering": "none"}, "limits": {"in_flight": 16, "rate": null},
        "retry": {"schedule": schedule, "jitter": 0.2, "max_age": "4d"}, "start": "latest", "status": "active", "mode": "push",
    });
    assert_eq!(read, expected);
}

#[test]
fn a_subscription_needs_a_filter_and_an_endpoint_only() {
    let spec = subscription(&json!({"filters": [{"topic": "a"}], "endpoint": {"url": "https://a.example/"}})).expect("valid");
    assert_eq!((spec.retry, spec.start, spec.status), (RetryPolicy::default(), Start::Latest, Status::Active));
    assert!(spec.signing[0].secret.expose().is_empty(), "the control plane makes it");
    assert_eq!(subscription(&json!({})), Err(vec!["#/filters".into(), "#/endpoint".into()]));
}

#[test]
fn faults_of_a_subscription_are_told_together() {
    for (place, value, at) in [
        ("/endpoint/url", json!("http://169.254.169.254/"), "#/endpoint/url"),
        ("/endpoint/headers", json!({"Host": "x"}), "#/endpoint/headers/Host"),
        ("/endpoint/headers", json!({"ce-id": "x"}), "#/endpoint/headers/ce-id"),
        ("/endpoint/headers", json!({"a": "b\r\nc: d"}), "#/endpoint/headers/a"),
        ("/endpoint/timeout", json!("1ms"), "#/endpoint/timeout"),
        ("/endpoint/batch", json!({}), "#/endpoint/batch"),
        ("/endpoint/auth/0/type", json!("oauth2"), "#/endpoint/auth/0/type"),
        ("/endpoint/auth/0/username", json!("a:b"), "#/endpoint/auth/0/username"),
        ("/signing/0/secret", json!("whsec_!"), "#/signing/0/secret"),
        ("/signing/0/scheme", json!("sep"), "#/signing/0/scheme"),
        ("/filters/1/not/exact", json!({"Type": "x"}), "#/filters/1/not/exact/Type"),
        ("/filters/0", json!({"sql": "a = "}), "#/filters/0/sql"),
        ("/retry/schedule", json!(["5x"]), "#/retry/schedule/0"),
        ("/retry/jitter", json!(2), "#/retry/jitter"),
        ("/limits/rate", json!(0), "#/limits/rate"),
        ("/start", json!("now"), "#/start"),
        ("/status", json!("gone"), "#/status"),
    ] {
        let mut document = whole();
        document["endpoint"]["batch"] = Value::Null;
        *document.pointer_mut(place).expect("a place") = value;
        document["nope"] = json!(1);
        let mut found = subscription(&document).expect_err("faulty");
        found.retain(|pointer| pointer != "#/nope");
        assert_eq!(found, [at], "{place}");
    }
}

#[test]
fn limits_of_batches_are_read_within_bounds() {
    let with = |batch: Value| {
        subscription(&json!({"filters": [{"topic": "a"}], "endpoint": {"url": "https://a.example/", "format": "batch", "batch": batch}}))
    };
    let spec = with(json!({"max_events": 7, "max_wait": "2s"})).expect("valid");
    let limits = super::batch::BatchLimits { max_events: 7, max_wait: crate::units::Dur::from_secs(2), ..Default::default() };
    assert_eq!(spec.endpoint.batch, Some(limits));
    assert_eq!(serde_json::to_value(limits).expect("writes"), json!({"max_events": 7, "max_bytes": "1MiB", "max_wait": "2s"}));
    assert_eq!(with(Value::Null).expect("valid").endpoint.batch, None);
    for (batch, at) in [
        (json!({"max_events": 0}), "max_events"),
        (json!({"max_events": 1001}), "max_events"),
        (json!({"max_bytes": 0}), "max_bytes"),
        (json!({"max_bytes": "9MiB"}), "max_bytes"),
        (json!({"max_wait": "61s"}), "max_wait"),
        (json!({"max_wait": "soon"}), "max_wait"),
        (json!({"size": 3}), "size"),
    ] {
        assert_eq!(with(batch), Err(vec![format!("#/endpoint/batch/{at}")]));
    }
}

#[test]
fn a_topic_reads_what_it_writes() {
    let name = "orders".parse().expect("a name");
    let document = json!({"partitions": 4, "schemas": ["order"], "schema_required": true, "on_refusal": "dead_letter", "durability": "sync",
        "ttl": "24h", "retention": {"age": null, "bytes": 10_485_760}, "dedup_window": "10m"});
    let spec = TopicSpec::parse(&document, &name).expect("valid");
    let written = serde_json::to_value(&spec).expect("writes");
    assert_eq!(TopicSpec::parse(&written, &name), Ok(spec));
    assert_eq!(TopicSpec::parse(&json!({}), &name), Ok(TopicSpec::default()));
    let faulty =
        json!({"name": "other", "partitions": 0, "schemas": ["a", "a"], "ttl": "0s", "retention": {"bytes": 5}, "dedup_window": "8d"});
    let problem = TopicSpec::parse(&faulty, &name).expect_err("faulty");
    assert_eq!(pointers(&problem), ["#/name", "#/partitions", "#/schemas/1", "#/ttl", "#/retention/bytes", "#/dedup_window"]);
    assert!(TopicSpec::parse(&json!({}), &"posthorn.audit".parse().expect("a name")).is_err());
}
