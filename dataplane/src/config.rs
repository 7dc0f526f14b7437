//! What a data plane is told at its start. Plain values, checked by whoever read them from a file; every limit is here (I9).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use posthorn_domain::direction::Direction;
use posthorn_domain::qos::Durability;

use crate::trace::Sampler;

/// Everything.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log, the state and the last snapshot are.
    pub data_dir: PathBuf,
    /// This node's name, unique among the nodes of a control plane.
    pub node_id: String,
    /// Shards: threads that each run ingest and delivery on a runtime of their own.
    pub shards: u16,
    /// Where the control plane's gRPC is: `http://host:port`.
    pub control_url: String,
    /// The HTTP door.
    pub http: Http,
    /// The gRPC door.
    pub broker_listen: SocketAddr,
    /// `/live /ready /metrics /config`.
    pub admin_listen: SocketAddr,
    /// Taking events in.
    pub ingest: Ingest,
    /// The log.
    pub log: Log,
    /// Sending events out.
    pub delivery: Delivery,
    /// Readers that the node keeps the place of.
    pub readers: Readers,
    /// How long a shutdown waits for what is under way.
    pub drain_deadline: Duration,
    /// The effective configuration as `/config` shows it, redacted.
    pub shown: serde_json::Value,
}

/// The HTTP door.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Connections at the same time; more are refused.
    pub max_connections: usize,
    /// Bytes of a request's head; more is a 431.
    pub max_header_bytes: usize,
    /// From the connection or the end of the last request to the end of the next head.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body; more is a 408.
    pub body_timeout: Duration,
    /// Streams at the same time on an HTTP/2 connection.
    pub h2_max_streams: u32,
}

/// Taking events in.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Data and attributes of one event; more is a 413.
    pub max_event_bytes: usize,
    /// Events in a batch; more is a 413.
    pub max_batch_events: usize,
    /// Bytes of a batch; more is a 413.
    pub max_batch_bytes: usize,
    /// Bytes of all requests that are being worked on; more is a 429.
    pub max_in_flight_bytes: usize,
    /// For events that no topic and no schema says more of.
    pub default_durability: Durability,
    /// Ids that are remembered for duplicates; when full the window shortens.
    pub dedup_max_entries: usize,
    /// Through how many Posthorns an event may have come, where its topic does not say.
    pub max_hops: u32,
    /// The direction of events that come through a door that does not tell.
    pub default_direction: Direction,
    /// Which events are traced.
    pub traces: Sampler,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// Whether a damaged frame keeps the node from starting.
    pub stop_on_damage: bool,
    /// How often retention is looked after.
    pub retention_check: Duration,
    /// Bytes that all topics together may keep beyond their retention for subscriptions that allow no dead letters.
    pub max_held_bytes: u64,
}

/// Sending events out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Ranges that are guarded otherwise and may be connected to.
    pub allow_cidrs: Vec<ipnet::IpNet>,
    /// Plain http: `None` allows it to `allow_cidrs` only.
    pub allow_http: Option<bool>,
    /// Bytes of an answer that are read at most.
    pub max_response_bytes: usize,
    /// Total deadline of an attempt when the subscription sets none.
    pub timeout: Duration,
    /// Connections to one endpoint at the same time.
    pub max_connections_per_endpoint: usize,
    /// Requests of one subscription at the same time, whatever it asks for.
    pub max_in_flight_per_subscription: u32,
    /// An unused connection is closed after this.
    pub idle_timeout: Duration,
    /// A connection is not used longer than this.
    pub connection_max_age: Duration,
    /// Bytes of events that wait in memory, over all lanes and pages of all shards; who would pass it reads from the log later.
    pub max_tail_bytes: usize,
    /// Events that wait in memory in one lane.
    pub max_lane_events: usize,
    /// Deliveries without an ordering key that wait for another attempt in memory, of one subscription; the rest is in the store only.
    pub max_retries_in_memory: usize,
    /// Events of one request in the format `batch`, whatever a subscription asks for.
    pub max_batch_events: usize,
    /// Bytes of events of one such request; one event is always sent.
    pub max_batch_bytes: usize,
    /// How often progress is written; a crash repeats at most this much.
    pub checkpoint_interval: Duration,
    /// Deliveries that may have ended since the last checkpoint, over all shards: no more are sent then, and a crash repeats at most these
    /// and what is in flight.
    pub max_unstored: usize,
    /// Replays of one subscription that run at the same time; more are refused.
    pub max_replays: usize,
    /// Events that one lane loses to retention at a time and that become dead letters of their own; of more one tells.
    pub max_retention_letters: usize,
    /// DNS servers instead of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// A PEM file of certificate authorities beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Bytes of attempt records that are kept.
    pub attempts_max_bytes: u64,
    /// How long attempt records are kept.
    pub attempts_max_age: Duration,
    /// How long dead letters are kept.
    pub dead_letter_max_age: Duration,
    /// A subscription is disabled when all its attempts have failed for so long.
    pub disable_after: Duration,
    /// When an endpoint is only probed.
    pub breaker: Breaker,
    /// How many retries that fail there may be.
    pub retry_budget: RetryBudget,
    /// Whether an endpoint that is overloaded gets fewer requests at the same time.
    pub adaptive_concurrency: bool,
    /// The longest that an endpoint's `Retry-After` stops all that goes to it; an event of its own may wait longer.
    pub max_endpoint_hold: Duration,
    /// At most one operational event of the same kind, subject and reason in this time.
    pub operations_interval: Duration,
    /// Which events are traced; as at ingest.
    pub traces: Sampler,
}

/// When an endpoint is only probed.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    /// After so many endpoint faults in a row.
    pub failures_in_a_row: u32,
    /// Over how long the shares below are taken.
    pub window: Duration,
    /// Requests in the window below which no share counts.
    pub min_requests: u32,
    /// Share of endpoint faults, 0 to 1; without one they only count in a row.
    pub failure_share: Option<f64>,
    /// Share of slow requests, 0 to 1; without one slow is good enough.
    pub slow_share: Option<f64>,
    /// What is slow; without one, what takes four fifths of the attempt's time-out.
    pub slow_call: Option<Duration>,
}

impl Breaker {
    /// What is slow, of an attempt with this time-out.
    pub fn slow_after(&self, timeout: Duration) -> Duration {
        self.slow_call.unwrap_or(timeout * 4 / 5)
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures_in_a_row: 10,
            window: Duration::from_secs(30),
            min_requests: 20,
            failure_share: Some(0.5),
            slow_share: Some(0.8),
            slow_call: None,
        }
    }
}

/// How many retries that fail a node makes.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    /// As a share of first attempts, 0 to 1.
    pub share: f64,
    /// And so many a second, whatever else it does.
    pub per_second: f64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { share: 0.2, per_second: 100.0 }
    }
}

/// Readers that the node keeps the place of.
#[derive(Clone, Debug)]
pub struct Readers {
    /// How many there may be; more are refused.
    pub max_readers: usize,
    /// Members of one reader; more are refused.
    pub max_members: usize,
    /// How long a member may be silent before its partitions go to others.
    pub lease: Duration,
    /// Bytes of events in one page; one event is always given.
    pub max_page_bytes: usize,
    /// Bytes of all pages that are being made and sent; more wait, then are refused.
    pub max_held_bytes: usize,
    /// Polls and streams at the same time; more are refused.
    pub max_waits: usize,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            max_readers: 1000,
            max_members: 64,
            lease: Duration::from_secs(30),
            max_page_bytes: 1 << 20,
            max_held_bytes: 64 << 20,
            max_waits: 1024,
        }
    }
}
