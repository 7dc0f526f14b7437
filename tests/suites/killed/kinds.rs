//! The subscriptions that the process is killed under: one of every kind.

use std::time::Duration;

use posthorn_tests::Behaviour;
use serde_json::{Value, json};

use crate::dice::mix;

/// A kind of subscription.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name, and its path at the receiver.
    pub(crate) name: &'static str,
    /// Members over a plain subscription.
    pub(crate) members: Value,
    /// What its endpoint does until everything is healed.
    pub(crate) endpoint: Endpoint,
    /// Whether it gets the event with this number.
    pub(crate) wants: fn(u64) -> bool,
    /// The round in which it is made. Those that come later begin at the earliest event.
    pub(crate) made_in: u64,
}

/// What an endpoint does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    /// 200 at once.
    Well,
    /// 200 after a while.
    Slow,
    /// 503 always.
    Dead,
    /// So many of a hundred attempts fail in some way.
    Fails(u64, Failure),
}

/// How an attempt fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    /// 500.
    Status,
    /// The connection is reset.
    Reset,
    /// No answer before the attempt's deadline, and the end of the connection after it.
    Stall,
    /// 503, to come back in a second.
    RetryAfter,
}

/// Requests at the same time to an endpoint that has no limit of its own.
pub(crate) const IN_FLIGHT: u64 = 4;
/// Events in one request of the format `batch`.
pub(crate) const BATCH: u64 = 8;
/// The deadline of an attempt at an endpoint that stalls.
const DEADLINE: Duration = Duration::from_millis(300);
const STALLS: Duration = Duration::from_millis(700);

impl Endpoint {
    /// What an attempt gets. The same attempt of the same event always gets the same, also after a kill.
    pub(crate) fn treats(self, event: u64, attempt: u64) -> Behaviour {
        match self {
            Self::Well => Behaviour::Ok,
            Self::Slow => Behaviour::Delay(Duration::from_millis(12), Box::new(Behaviour::Ok)),
            Self::Dead => Behaviour::Status(503),
            Self::Fails(share, failure) if mix(event << 16 | attempt) % 100 < share => match failure {
                Failure::Status => Behaviour::Status(500),
                Failure::Reset => Behaviour::Reset,
                Failure::Stall => Behaviour::Delay(STALLS, Box::new(Behaviour::Close)),
                Failure::RetryAfter => Behaviour::RetryAfter { status: 503, value: "1".into() },
            },
            Self::Fails(..) => Behaviour::Ok,
        }
    }
}

impl Kind {
    /// Events of one key come in the order of the log.
    pub(crate) fn is_ordered(&self) -> bool {
        self.members["qos"]["ordering"] == "key"
    }

    /// It is read and committed, not sent to.
    pub(crate) fn is_pulled(&self) -> bool {
        self.members["mode"] == "pull"
    }

    /// Whether an answer is an end for both sides: with a short deadline it may come when nobody waits for it any more.
    pub(crate) fn has_time(&self) -> bool {
        !matches!(self.endpoint, Endpoint::Fails(_, Failure::Stall))
    }

    /// Deliveries to its endpoint that may be under way at the same time.
    pub(crate) fn most_in_flight(&self) -> u64 {
        let requests = self.members["limits"]["in_flight"].as_u64().unwrap_or(IN_FLIGHT);
        if self.members["endpoint"]["format"] == "batch" { requests * BATCH } else { requests }
    }

    /// Requests that can have run out of time before they arrived, within so long.
    pub(crate) fn most_in_vain(&self, within: Duration) -> u64 {
        let rounds = within.as_millis() / DEADLINE.as_millis();
        if self.has_time() { 0 } else { self.most_in_flight() * u64::try_from(rounds).unwrap_or(u64::MAX) }
    }

    /// Its path at the receiver.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

/// An event: what filters and keys look at follows from its number.
pub(crate) fn event(number: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id(number), "source": "/suites/killed", "type": TYPES[(number % 3) as usize], "topic": "siege",
        "partitionkey": key(number), "durability": if number.is_multiple_of(2) { "sync" } else { "log" },
        "datacontenttype": "application/json", "data": {"id": id(number), "n": number},
    })
}

/// The id of the event with this number.
pub(crate) fn id(number: u64) -> String {
    format!("k{number}")
}

/// The number in an id.
pub(crate) fn number(id: &str) -> Option<u64> {
    id.strip_prefix('k')?.parse().ok()
}

/// What orders it.
pub(crate) fn key(number: u64) -> u64 {
    number % 12
}

const TYPES: [&str; 3] = ["kill.a", "kill.b", "other.c"];

/// Twenty of them.
pub(crate) fn kinds() -> Vec<Kind> {
    use Endpoint::{Dead, Fails, Slow, Well};
    let all = |_| true;
    let of = |name, members, endpoint| Kind { name, members, endpoint, wants: all, made_in: 0 };
    let ordered = json!({"qos": {"ordering": "key"}});
    let pause = json!({"endpoint": {"timeout": format!("{}ms", DEADLINE.as_millis())}});
    vec![
        of("fast", json!({}), Well),
        of("slow", json!({"limits": {"in_flight": 2}}), Slow),
        of("dead", json!({}), Dead),
        of("ordered", ordered.clone(), Well),
        of("ordered-slow", ordered.clone(), Slow),
        of("ordered-failing", ordered, Fails(10, Failure::Status)),
        of("batch", json!({"endpoint": {"format": "batch"}}), Well),
        of("structured", json!({"endpoint": {"format": "structured"}}), Well),
        of("bare-data", json!({"endpoint": {"format": "data"}}), Well),
        of("rate-limited", json!({"limits": {"rate": 60}}), Well),
        of("pulled", json!({"mode": "pull"}), Well),
        of("failing", json!({}), Fails(25, Failure::Status)),
        of("resetting", json!({}), Fails(15, Failure::Reset)),
        of("stalling", pause, Fails(8, Failure::Stall)),
        of("asks-for-time", json!({}), Fails(6, Failure::RetryAfter)),
        of("never-dead-lettered", json!({"qos": {"dead_letter": "never"}}), Fails(20, Failure::Status)),
        of("paused", json!({}), Well),
        Kind {
            name: "filtered",
            members: json!({"filters": [{"topic": "siege"}, {"sql": "type LIKE 'kill.%'"}, {"cel": "data.n >= 3"}]}),
            endpoint: Well,
            wants: |n| n % 3 != 2 && n >= 3,
            made_in: 0,
        },
        Kind { name: "late", members: json!({"start": "earliest"}), endpoint: Well, wants: all, made_in: 12 },
        Kind { name: "later", members: json!({"start": "earliest"}), endpoint: Slow, wants: all, made_in: 33 },
    ]
}
