//! Prints what idle subscriptions take on a node, by stage: as they travel, held, compiled; and how long a kept snapshot takes.
//! `cargo run -p posthorn-dataplane --example subscription_footprint -- [subscriptions]`

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_dataplane::route::{Builder, Table};
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::signing::generate_hmac;
use posthorn_domain::snapshot::{Delta, Resource, ResourceKey};
use posthorn_storage::log::behaviour::Told;
use posthorn_storage::log::segments::{Config, SegmentLog};
use serde_json::json;

fn main() {
    let count: u32 = std::env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = SegmentLog::open(folder.path(), Config::default(), Arc::new(Told::default())).expect("the log opens");
    let clock = Clock::system();
    let mut stage = Stage { count: u64::from(count), before: resident() };

    let bodies: Vec<(ResourceKey, Vec<u8>)> = (0..count).map(body).collect();
    stage.end("JSON text, for comparison");
    let started = clock.instant();
    let held: BTreeMap<ResourceKey, Arc<Resource>> =
        bodies.iter().map(|(key, body)| (key.clone(), Arc::new(serde_json::from_slice(body).expect("what was written")))).collect();
    println!("read: {:?}", started.elapsed());
    stage.end("held");
    let changed = held.iter().map(|(key, resource)| (key.clone(), (**resource).clone())).collect();
    let delta = Delta { revision: 1, changed, removed: Vec::new() };
    stage.end("the delta, gone once it is applied");
    let started = clock.instant();
    let applied = Builder::new(Arc::new(log)).apply(&Table::default(), &delta);
    println!("compiled: {:?}", started.elapsed());
    assert_eq!(applied.nacks, []);
    stage.end("compiled");
    drop((delta, bodies, held));
}

/// A subscription as a control plane sends it, with what it says where nobody says anything.
fn body(number: u32) -> (ResourceKey, Vec<u8>) {
    let id = SubscriptionId::make();
    let schedule = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "1d"];
    let document = json!({
        "id": id, "name": format!("subscription {number}"), "owner": "", "filters": [{"topic": format!("tenant.{number}")}],
        "allow_unknown": false, "status": "active", "status_reason": null, "start": "latest",
        "endpoint": {"url": format!("https://hooks.example/{number}"), "format": "binary", "headers": {}, "query": {}, "timeout": null, "auth": []},
        "signing": [{"scheme": "standard-webhooks", "key": "hmac-sha256", "secret": "********"}],
        "qos": {"durability": null, "dead_letter": "allow", "ordering": "none"},
        "retry": {"schedule": schedule, "jitter": 0.2, "max_age": "4d"}, "limits": {"in_flight": 16, "rate": null},
        "revision": number, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    let secrets = json!({"/signing/0/secret": generate_hmac()});
    let body = json!({"revision": number, "incarnation": number, "document": document, "secrets": secrets});
    (ResourceKey::subscription(id), body.to_string().into_bytes())
}

struct Stage {
    count: u64,
    before: u64,
}

impl Stage {
    fn end(&mut self, what: &str) {
        let now = resident();
        println!("{what}: {} bytes a subscription", now.saturating_sub(self.before) * 1024 / self.count);
        self.before = now;
    }
}

/// Resident KiB of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
