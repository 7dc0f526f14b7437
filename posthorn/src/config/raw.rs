//! The configuration file as a tree of types: every key, its meaning, unit and default. `config schema` prints this.
//!
//! Fields are public: the planes are built from these sections. Checks across keys stand in `validate`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use posthorn_domain::direction::Direction;
use posthorn_domain::qos::Durability;
use posthorn_domain::units::{Dur, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delivery::Delivery;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),+ }

        impl Default for $name {
            fn default() -> Self { Self { $($field: $default),+ } }
        }
    };
}
pub(super) use section;

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

section!(
    /// Posthorn's configuration. Every key may also be given as `POSTHORN_` and its path in upper case, levels joined by `__`.
    RawConfig {
        /// Directory of everything that is kept: log, state, keys. Default `./posthorn-data`.
        data_dir: PathBuf = "./posthorn-data".into(),
        /// The data plane's HTTP door.
        http: Http = Http::default(),
        /// The control plane's door (REST and gRPC), and how a data plane on its own finds it.
        control: Control = Control::default(),
        /// The EventBroker gRPC door.
        broker: Broker = Broker::default(),
        /// The door for operators: `/live`, `/ready`, `/metrics`.
        admin: Admin = Admin::default(),
        /// Limits on what publishers send.
        ingest: Ingest = Ingest::default(),
        /// The topic log.
        log: Log = Log::default(),
        /// Sending to endpoints.
        delivery: Delivery = Delivery::default(),
        /// Readers whose place the node keeps: `/v1/readers` and pulled subscriptions.
        readers: Readers = Readers::default(),
        /// This process.
        node: Node = Node::default(),
        /// Shutting down.
        drain: Drain = Drain::default(),
        /// What is written to standard error.
        logging: Logging = Logging::default(),
        /// Spans of sampled events, written as log lines.
        tracing: Tracing = Tracing::default(),
        /// The key that encrypts stored secrets.
        secrets: Secrets = Secrets::default(),
        /// Declared topics, applied at start; each in the shape of `PUT /v1/topics/{name}`. Default none.
        topics: Vec<Value> = Vec::new(),
        /// Declared schemas, applied at start: `name`, `schema` or `file`, and the members of a schema version. Default none.
        schemas: Vec<Value> = Vec::new(),
        /// Declared subscriptions, applied at start; each in the shape of `POST /v1/subscriptions`. Default none.
        subscriptions: Vec<Value> = Vec::new(),
    }
);

section!(
    /// The data plane's HTTP door.
    Http {
        /// Address and port; port 0 picks a free one. Default `127.0.0.1:8080`.
        #[schemars(with = "String")]
        listen: SocketAddr = loopback(8080),
        /// Connections at once. Default 4096.
        max_connections: usize = 4096,
        /// Bytes of a request's headers. Default `64KiB`.
        max_header_bytes: Size = Size::from_bytes(64 << 10),
        /// Time for a request's headers to arrive. Default `10s`.
        header_timeout: Dur = Dur::from_secs(10),
        /// Time for a request's body to arrive. Default `30s`.
        body_timeout: Dur = Dur::from_secs(30),
        /// Streams at once on one HTTP/2 connection. Default 256.
        h2_max_streams: u32 = 256,
    }
);

section!(
    /// The control plane's door.
    Control {
        /// Address and port; port 0 picks a free one. Default `127.0.0.1:8081`.
        #[schemars(with = "String")]
        listen: SocketAddr = loopback(8081),
        /// The control plane that a data plane on its own follows, `http://host:8081`. Default none.
        url: Option<String> = None,
        /// Bytes of a request's body. Default `2MiB`.
        max_body_bytes: Size = Size::from_mib(2),
        /// How long changes are gathered before nodes are told. Default `5ms`.
        debounce: Dur = Dur::from_millis(5),
    }
);

section!(
    /// The EventBroker gRPC door.
    Broker {
        /// Address and port; port 0 picks a free one. Default `127.0.0.1:9620`.
        #[schemars(with = "String")]
        listen: SocketAddr = loopback(9620),
    }
);

section!(
    /// The door for operators.
    Admin {
        /// Address and port; port 0 picks a free one. Default `127.0.0.1:9090`.
        #[schemars(with = "String")]
        listen: SocketAddr = loopback(9090),
    }
);

section!(
    /// Limits on what publishers send.
    Ingest {
        /// Bytes of one event. Default `1MiB`.
        max_event_bytes: Size = Size::from_mib(1),
        /// Events of one batch. Default 1000.
        max_batch_events: usize = 1000,
        /// Bytes of one batch. Default `8MiB`.
        max_batch_bytes: Size = Size::from_mib(8),
        /// Bytes of all requests that are being worked on; more is refused with 429 or 503. Default `64MiB`.
        max_in_flight_bytes: Size = Size::from_mib(64),
        /// Durability where neither schema, topic nor event says: `none`, `log` or `sync`. Default `sync`.
        default_durability: Durability = Durability::Sync,
        /// Message ids that are remembered to find duplicates. Default 1000000.
        dedup_max_entries: usize = 1_000_000,
        /// Through how many Posthorns an event may have come, where its topic does not say; more is refused. Default 8.
        max_hops: u32 = 8,
        /// Which way events go that come over HTTP, `PublishBatch` or `PublishStream`: `incoming` or `outgoing`. Default `incoming`.
        #[schemars(with = "String")]
        default_direction: Direction = Direction::Incoming,
    }
);

section!(
    /// The topic log.
    Log {
        /// Bytes after which a new segment file is begun. Default `64MiB`.
        segment_bytes: Size = Size::from_mib(64),
        /// What to do at start when a frame other than the last is damaged: `continue` or `stop`. Default `continue`.
        on_damage: OnDamage = OnDamage::Continue,
        /// How often retention is applied. Default `30s`.
        retention_check: Dur = Dur::from_secs(30),
        /// Bytes that all topics together keep beyond their retention while subscriptions with `dead_letter: never` need them.
        /// Default `1GiB`.
        max_held_bytes: Size = Size::from_mib(1024),
    }
);

/// What to do when the log is damaged elsewhere than at its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDamage {
    /// Start, report the range, dead-letter what was in it.
    Continue,
    /// Refuse to start.
    Stop,
}

section!(
    /// Readers whose place the node keeps.
    Readers {
        /// How many there may be at `/v1/readers`. Default 1000.
        max_readers: usize = 1000,
        /// Members of one reader. Default 64.
        max_members: usize = 64,
        /// How long a member may be silent before its partitions go to others. Default `30s`.
        lease: Dur = Dur::from_secs(30),
        /// Bytes of events in one page; one event is always given. Default `1MiB`.
        max_page_bytes: Size = Size::from_mib(1),
        /// Bytes of all pages that are being made and sent; more wait, then are refused with 429. Default `64MiB`.
        max_held_bytes: Size = Size::from_mib(64),
        /// Polls and streams at the same time; more are refused with 429. Default 1024.
        max_waits: usize = 1024,
    }
);

section!(
    /// This process.
    Node {
        /// The node's name among others. Default: made at the first start and kept in `data_dir`.
        id: Option<String> = None,
        /// Threads that ingest and deliver. Default: the number of cores.
        shards: Option<usize> = None,
    }
);

section!(
    /// Shutting down.
    Drain {
        /// How long work in flight may take to end after SIGTERM. Default `25s`.
        deadline: Dur = Dur::from_secs(25),
    }
);

section!(
    /// What is written to standard error.
    Logging {
        /// `text` or `json`. Default `text`.
        format: LogFormat = LogFormat::Text,
        /// A level or a filter such as `info,posthorn=debug`; `RUST_LOG` wins over it. Default `info`.
        level: String = "info".into(),
    }
);

section!(
    /// Spans of sampled events, written as log lines.
    Tracing {
        /// The share of events that is traced from acceptance to the last attempt, 0 to 1; an event's id decides. Default 0.
        sample: f64 = 0.0,
        /// Whether events are traced too whose attribute `traceparent` says that the publisher samples them. Default `false`.
        follow_publishers: bool = false,
    }
);

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

section!(
    /// The key that encrypts stored secrets.
    Secrets {
        /// File that holds the key. Default `{data_dir}/secret.key`, made at the first start.
        key_file: Option<PathBuf> = None,
        /// The key itself: 32 bytes in base64. Only by the environment, `POSTHORN_SECRETS__KEY`. Default: from `key_file`.
        key: Option<SecretText> = None,
    }
);

/// Text that is shown nowhere.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself, for the one who uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("********")
    }
}
