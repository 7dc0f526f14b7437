//! The section `delivery` of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use posthorn_domain::units::{Dur, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::raw::section;

section!(
    /// Sending to endpoints.
    Delivery {
        /// Guarded ranges (private, loopback, link-local, metadata…) that endpoints may be in all the same. Default none.
        #[schemars(with = "Vec<String>")]
        allow_cidrs: Vec<IpNet> = Vec::new(),
        /// Whether plain http targets are allowed: `true`, `false`, or null for only those in `allow_cidrs`. Default null.
        allow_http: Option<bool> = None,
        /// Bytes of an endpoint's answer that are read. Default `64KiB`.
        max_response_bytes: Size = Size::from_bytes(64 << 10),
        /// Total time of one attempt where the subscription does not say. Default `15s`.
        timeout: Dur = Dur::from_secs(15),
        /// Connections to one endpoint. Default 64.
        max_connections_per_endpoint: usize = 64,
        /// Deliveries in flight of one subscription, whatever it asks for. Default 64.
        max_in_flight_per_subscription: usize = 64,
        /// Time after which an idle connection is closed. Default `60s`.
        idle_timeout: Dur = Dur::from_secs(60),
        /// Age at which a connection is used no more. Default `10m`.
        connection_max_age: Dur = Dur::from_secs(600),
        /// Bytes of events that wait in memory, over all lanes and pages of the log; shared out fairly. Default `64MiB`.
        max_tail_bytes: Size = Size::from_mib(64),
        /// Events that wait in memory for one subscription on one partition. Default 1024.
        max_lane_events: usize = 1024,
        /// Events of one request in the format `batch`, whatever a subscription asks for. Default 1000.
        max_batch_events: usize = 1000,
        /// Bytes of events of one request in the format `batch`, whatever a subscription asks for. Default `8MiB`.
        max_batch_bytes: Size = Size::from_mib(8),
        /// How often delivery positions are written; a crash repeats at most that much. Default `100ms`.
        checkpoint_interval: Dur = Dur::from_millis(100),
        /// Deliveries that may have ended since positions were last written, as when the disk is full; no more are sent then, and a crash
        /// repeats at most these and what is in flight. Default 100000.
        max_unstored: usize = 100_000,
        /// Replays of one subscription that run at the same time; more are refused with 429. Default 4.
        max_replays: usize = 4,
        /// Events that a lane loses to retention at once and that become dead letters of their own; of more one dead letter tells.
        /// Default 1000.
        max_retention_letters: usize = 1000,
        /// Name servers, `IP` or `IP:port`. Default: those of the system.
        #[schemars(with = "Vec<String>")]
        dns_servers: Vec<DnsServer> = Vec::new(),
        /// PEM file of certificate authorities that are trusted besides the system's. Default none.
        extra_ca_file: Option<PathBuf> = None,
        /// The record of attempts.
        attempts: Attempts = Attempts::default(),
        /// How long dead letters are kept. Default `30d`.
        dead_letter_max_age: Dur = Dur::from_secs(30 * 86_400),
        /// A subscription is disabled when all its attempts have failed for so long. Default `5d`.
        disable_after: Dur = Dur::from_secs(5 * 86_400),
        /// When an endpoint is only probed.
        breaker: Breaker = Breaker::default(),
        /// How many retries that fail there may be.
        retry_budget: RetryBudget = RetryBudget::default(),
        /// Whether an endpoint that is overloaded (429, 503, time-outs, answers that take ever longer) gets fewer requests at once.
        /// Default true.
        adaptive_concurrency: bool = true,
        /// The longest that `Retry-After` of a 429 or 503 stops all that goes to the endpoint; the event that was answered waits as
        /// long as it says, up to a day. Default `1h`.
        max_endpoint_hold: Dur = Dur::from_secs(3600),
        /// At most one operational event of the same type, subject and reason in this time. Default `10s`.
        operations_interval: Dur = Dur::from_secs(10),
    }
);

section!(
    /// When an endpoint is only probed. Shares are of the requests of a sliding window.
    Breaker {
        /// After so many endpoint faults in a row: no answer, 5xx, 429. Default 10.
        failures_in_a_row: u32 = 10,
        /// Over how long shares are taken. Default `30s`.
        window: Dur = Dur::from_secs(30),
        /// Requests in the window below which no share counts. Default 20.
        min_requests: u32 = 20,
        /// At this share of endpoint faults; null: only in a row. Default 0.5.
        failure_share: Option<f64> = Some(0.5),
        /// At this share of slow requests; null: never. Default 0.8.
        slow_share: Option<f64> = Some(0.8),
        /// What is slow; null: four fifths of the attempt's time-out. Default null.
        slow_call: Option<Dur> = None,
    }
);

section!(
    /// How many retries that fail a node makes; what is delivered costs nothing, and first attempts never wait for it.
    RetryBudget {
        /// As a share of first attempts. Default 0.2.
        share: f64 = 0.2,
        /// And so many a second, of which 10 seconds' worth may be made at once. Default 100.
        per_second: f64 = 100.0,
    }
);

section!(
    /// The record of attempts.
    Attempts {
        /// Bytes that it may take. Default `256MiB`.
        max_bytes: Size = Size::from_mib(256),
        /// Age at which it is dropped. Default `7d`.
        max_age: Dur = Dur::from_secs(7 * 86_400),
    }
);

/// The address of a name server; port 53 when none is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DnsServer(pub SocketAddr);

impl<'de> Deserialize<'de> for DnsServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = text.parse::<SocketAddr>().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| (ip, 53).into()));
        address.map(Self).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is neither an IP address nor IP:port")))
    }
}
