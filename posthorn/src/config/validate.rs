//! Rules over the configuration's values that types alone do not state. All are checked, all faults are listed.

use std::net::SocketAddr;
use std::path::Path;

use posthorn_domain::sealing::SealingKey;
use posthorn_domain::units::{Dur, Size};
use serde_json::Value;

use super::declared;
use super::fault::{Fault, Origin};
use super::gather::Origins;
use super::raw::RawConfig;

/// A schema document larger than this is refused before it is read.
const MAX_SCHEMA_FILE: u64 = 1 << 20;

/// Checks `raw` and puts the documents that `schemas[].file` names in their place; relative names are relative to `base`.
pub(super) fn validate(raw: &mut RawConfig, base: &Path, insecure: bool, origins: &Origins, faults: &mut Vec<Fault>) {
    let mut check = Check { origins, faults };
    check.listeners(raw, insecure);
    check.counts(raw);
    check.hops(raw);
    check.sizes(raw);
    check.durations(raw);
    check.health(raw);
    check.control_url(raw);
    check.secrets(raw);
    check.logging(raw);
    check.declared("topics", &raw.topics, true);
    check.declared("subscriptions", &raw.subscriptions, false);
    check.declared("schemas", &raw.schemas, true);
    check.schema_files(&mut raw.schemas, base);
    for (key, detail) in declared::faults(raw) {
        check.fault(&key, detail);
    }
}

struct Check<'a> {
    origins: &'a Origins,
    faults: &'a mut Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, key: &str, detail: impl Into<String>) {
        let top = key.split('[').next().unwrap_or(key);
        self.faults.push(Fault { key: key.to_owned(), origin: self.origins.of(top), detail: detail.into() });
    }

    fn listeners(&mut self, raw: &RawConfig, insecure: bool) {
        let listeners = [
            ("http.listen", raw.http.listen),
            ("control.listen", raw.control.listen),
            ("broker.listen", raw.broker.listen),
            ("admin.listen", raw.admin.listen),
        ];
        for (index, (key, address)) in listeners.iter().enumerate() {
            if !insecure && !address.ip().is_loopback() {
                self.fault(
                    key,
                    format!("{address} is not loopback and callers are not authenticated; add --insecure to listen there all the same"),
                );
            }
            let same = |(_, other): &&(&str, SocketAddr)| address.port() != 0 && other == address;
            if let Some((other, _)) = listeners[..index].iter().find(same) {
                self.fault(key, format!("{address} is taken by {other}"));
            }
        }
    }

    fn counts(&mut self, raw: &RawConfig) {
        let counts = [
            ("http.max_connections", raw.http.max_connections, 1_000_000),
            ("http.h2_max_streams", raw.http.h2_max_streams as usize, 100_000),
            ("ingest.max_batch_events", raw.ingest.max_batch_events, 100_000),
            ("ingest.dedup_max_entries", raw.ingest.dedup_max_entries, 1_000_000_000),
            ("delivery.max_connections_per_endpoint", raw.delivery.max_connections_per_endpoint, 100_000),
            ("delivery.max_in_flight_per_subscription", raw.delivery.max_in_flight_per_subscription, 100_000),
            ("delivery.max_batch_events", raw.delivery.max_batch_events, 1000),
            ("delivery.max_replays", raw.delivery.max_replays, 1000),
            ("delivery.max_unstored", raw.delivery.max_unstored, 10_000_000),
            ("delivery.max_retention_letters", raw.delivery.max_retention_letters, 10_000),
            ("delivery.max_lane_events", raw.delivery.max_lane_events, 1_000_000),
            ("delivery.breaker.failures_in_a_row", raw.delivery.breaker.failures_in_a_row as usize, 1_000_000),
            ("delivery.breaker.min_requests", raw.delivery.breaker.min_requests as usize, 1_000_000),
            ("readers.max_readers", raw.readers.max_readers, 1_000_000),
            ("readers.max_members", raw.readers.max_members, 10_000),
            ("readers.max_waits", raw.readers.max_waits, 1_000_000),
            ("node.shards", raw.node.shards.unwrap_or(1), 1024),
        ];
        for (key, value, max) in counts {
            if !(1..=max).contains(&value) {
                self.fault(key, format!("{value} is not between 1 and {max}"));
            }
        }
    }

    fn hops(&mut self, raw: &RawConfig) {
        let most = posthorn_domain::resource::MAX_HOPS;
        if raw.ingest.max_hops > most {
            self.fault("ingest.max_hops", format!("{} is more than {most}", raw.ingest.max_hops));
        }
    }

    fn sizes(&mut self, raw: &RawConfig) {
        let least = |bytes| Size::from_bytes(bytes);
        let sizes = [
            ("http.max_header_bytes", raw.http.max_header_bytes, least(1024)),
            ("control.max_body_bytes", raw.control.max_body_bytes, least(1024)),
            ("ingest.max_event_bytes", raw.ingest.max_event_bytes, least(1024)),
            ("ingest.max_batch_bytes", raw.ingest.max_batch_bytes, raw.ingest.max_event_bytes),
            ("ingest.max_in_flight_bytes", raw.ingest.max_in_flight_bytes, raw.ingest.max_batch_bytes),
            ("log.segment_bytes", raw.log.segment_bytes, Size::from_bytes(64 << 10)),
            ("delivery.max_response_bytes", raw.delivery.max_response_bytes, least(1)),
            ("delivery.max_batch_bytes", raw.delivery.max_batch_bytes, least(1024)),
            ("delivery.max_tail_bytes", raw.delivery.max_tail_bytes, raw.ingest.max_event_bytes),
            ("readers.max_page_bytes", raw.readers.max_page_bytes, least(1024)),
            ("readers.max_held_bytes", raw.readers.max_held_bytes, raw.readers.max_page_bytes),
            ("delivery.attempts.max_bytes", raw.delivery.attempts.max_bytes, Size::from_mib(1)),
        ];
        for (key, value, min) in sizes {
            if value < min {
                self.fault(key, format!("{value} is less than {min}, the least that makes sense beside the other limits"));
            }
        }
    }

    fn durations(&mut self, raw: &RawConfig) {
        let durations = [
            ("http.header_timeout", raw.http.header_timeout),
            ("http.body_timeout", raw.http.body_timeout),
            ("log.retention_check", raw.log.retention_check),
            ("readers.lease", raw.readers.lease),
            ("delivery.timeout", raw.delivery.timeout),
            ("delivery.idle_timeout", raw.delivery.idle_timeout),
            ("delivery.connection_max_age", raw.delivery.connection_max_age),
            ("delivery.checkpoint_interval", raw.delivery.checkpoint_interval),
            ("delivery.attempts.max_age", raw.delivery.attempts.max_age),
            ("delivery.dead_letter_max_age", raw.delivery.dead_letter_max_age),
            ("delivery.disable_after", raw.delivery.disable_after),
            ("delivery.operations_interval", raw.delivery.operations_interval),
            ("delivery.max_endpoint_hold", raw.delivery.max_endpoint_hold),
            ("delivery.breaker.window", raw.delivery.breaker.window),
            ("delivery.breaker.slow_call", raw.delivery.breaker.slow_call.unwrap_or(Dur::from_secs(1))),
        ];
        for (key, _) in durations.iter().filter(|(_, value)| *value == Dur::default()) {
            self.fault(key, "must be more than 0");
        }
    }

    fn health(&mut self, raw: &RawConfig) {
        let (breaker, budget) = (&raw.delivery.breaker, &raw.delivery.retry_budget);
        let ranges = [
            ("delivery.breaker.failure_share", breaker.failure_share.unwrap_or(1.0), 0.01, 1.0),
            ("delivery.breaker.slow_share", breaker.slow_share.unwrap_or(1.0), 0.01, 1.0),
            ("delivery.retry_budget.share", budget.share, 0.0, 1.0),
            ("delivery.retry_budget.per_second", budget.per_second, 0.1, 1_000_000.0),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                self.fault(key, format!("{value} is not between {least} and {most}"));
            }
        }
    }

    fn control_url(&mut self, raw: &RawConfig) {
        let Some(text) = &raw.control.url else { return };
        let fits = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !fits {
            self.fault("control.url", format!("`{text}` is not a URL such as http://127.0.0.1:8081"));
        }
    }

    fn secrets(&mut self, raw: &RawConfig) {
        if raw.secrets.key.is_some() && matches!(self.origins.of("secrets.key"), Origin::File(_)) {
            self.fault("secrets.key", "the key does not belong in this file; give POSTHORN_SECRETS__KEY or secrets.key_file");
        }
        if let Some(Err(error)) = raw.secrets.key.as_ref().map(|key| SealingKey::from_text(key.expose())) {
            self.fault("secrets.key", error.to_string());
        }
        if raw.node.id.as_deref().is_some_and(|id| !posthorn_domain::names::Name::is_valid(id)) {
            self.fault("node.id", "1 to 200 of letters, digits, `.`, `_` and `-`, starting with a letter or digit");
        }
    }

    fn logging(&mut self, raw: &RawConfig) {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&raw.logging.level) {
            self.fault("logging.level", error.to_string());
        }
        if !(0.0..=1.0).contains(&raw.tracing.sample) {
            self.fault("tracing.sample", format!("{} is not between 0 and 1", raw.tracing.sample));
        }
    }

    fn declared(&mut self, list: &str, items: &[Value], named: bool) {
        for (index, item) in items.iter().enumerate() {
            let key = format!("{list}[{index}]");
            if !item.is_object() {
                self.fault(&key, "must be a mapping");
            } else if named && !item.get("name").is_some_and(Value::is_string) {
                self.fault(&format!("{key}.name"), "is missing");
            }
        }
    }

    fn schema_files(&mut self, schemas: &mut [Value], base: &Path) {
        for (index, entry) in schemas.iter_mut().enumerate() {
            let Some(entry) = entry.as_object_mut() else { continue };
            let key = format!("schemas[{index}].file");
            match (entry.remove("file"), entry.contains_key("schema")) {
                (None, true) => {}
                (Some(Value::String(file)), false) => match read_document(&base.join(file)) {
                    Ok(document) => drop(entry.insert("schema".into(), document)),
                    Err(detail) => self.fault(&key, detail),
                },
                _ => self.fault(&key, "give either `schema` or `file`, the name of a JSON or YAML document"),
            }
        }
    }
}

fn read_document(path: &Path) -> Result<Value, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > MAX_SCHEMA_FILE {
        return Err(format!("{shown} is larger than 1MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    crate::client::body::parse(&text).map_err(|error| format!("{shown}: {error}"))
}
