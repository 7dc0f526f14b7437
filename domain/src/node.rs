//! What the control plane asks of a data plane, and the shapes of the answers (interfaces §4, §9 "Planes apart").
//!
//! Questions travel over the node's own stream, so a node needs no address that the control plane could reach. An answer is
//! the JSON that the API shows, or a problem.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::direction::Direction;
use crate::ids::{DeadLetterId, ReplayId, SubscriptionId};
use crate::time::Time;

/// A question to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// A page of deliveries, newest first → `{"items", "next_page_token"}`.
    Deliveries {
        /// Which.
        filter: DeliveryFilter,
        /// How many at most.
        limit: u32,
        /// Where to go on.
        page_token: Option<String>,
    },
    /// One delivery → the delivery, or `not-found`.
    Delivery {
        /// `dlv_…`.
        id: String,
    },
    /// A page of dead letters, newest first → `{"items", "next_page_token"}`.
    DeadLetters {
        /// Which.
        filter: DeadLetterFilter,
        /// How many at most.
        limit: u32,
        /// Where to go on.
        page_token: Option<String>,
    },
    /// One dead letter → the dead letter, or `not-found`.
    DeadLetter {
        /// Which.
        id: DeadLetterId,
    },
    /// Forget one → `null`, or `not-found`.
    DeleteDeadLetter {
        /// Which.
        id: DeadLetterId,
    },
    /// Forget many → `{"deleted": n}`.
    DeleteDeadLetters {
        /// Which.
        filter: DeadLetterFilter,
    },
    /// Try one again → `{"retried": 1}`, or `not-found`.
    RetryDeadLetter {
        /// Which.
        id: DeadLetterId,
        /// Schemas that a refused event is held to instead, as the attribute `schemas` lists them.
        #[serde(default)]
        validate_with: Option<String>,
    },
    /// Try many again → [`Retried`].
    RetryDeadLetters {
        /// Which.
        filter: DeadLetterFilter,
        /// As for one; then deliveries are passed over.
        #[serde(default)]
        validate_with: Option<String>,
    },
    /// Where a subscription stands → [`SubscriptionState`].
    Subscription {
        /// Which.
        id: SubscriptionId,
    },
    /// Send a test event to the endpoint, outside every schedule → the attempt.
    Test {
        /// To which.
        id: SubscriptionId,
    },
    /// Deliver a range again, marked → `{"replay": "rpl_…", "events": n}` (n: an upper bound).
    Replay {
        /// To which.
        id: SubscriptionId,
        /// A cursor, `earliest`, `time:…` or an RFC 3339 time.
        from: String,
        /// The same; the present end when absent.
        to: Option<String>,
        /// Deliveries a second; no limit of its own when absent.
        #[serde(default)]
        rate: Option<f64>,
        /// What it is to be called, the same on all nodes; made by the node when absent.
        #[serde(default)]
        replay: Option<ReplayId>,
    },
    /// The replays of a subscription → a list of [`Replay`].
    Replays {
        /// Of which.
        id: SubscriptionId,
    },
    /// End a replay, with what of it waits → the [`Replay`], or `not-found`.
    CancelReplay {
        /// Of which subscription.
        id: SubscriptionId,
        /// Which.
        replay: ReplayId,
    },
    /// Who would get this event if it were published on the topic now → `{"topic", "matches", …}`, or `topic-unknown`.
    Explain {
        /// The topic.
        topic: String,
        /// A structured CloudEvent.
        event: Value,
        /// Which way it goes; the node's default when absent.
        direction: Option<Direction>,
        /// Also subscriptions whose topic cannot match.
        all: bool,
    },
    /// The same of a stored event → with `partition`, `offset` and deliveries; or `not-found`.
    ExplainStored {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Also subscriptions whose topic cannot match.
        all: bool,
    },
    /// The newest stored events of a topic, newest first, as `sample` of a schema check wants them → a list of [`Sampled`].
    Sample {
        /// Of which topic.
        topic: String,
        /// How many.
        limit: u32,
    },
}

/// A stored event on which a schema is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its `id`.
    pub id: String,
    /// When it was accepted.
    pub at: Time,
    /// Bytes of its data.
    pub bytes: usize,
    /// Whether its data is JSON.
    pub json: bool,
    /// The data, when it is JSON.
    pub data: Value,
}

/// Which deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryFilter {
    /// To this subscription.
    pub subscription: Option<SubscriptionId>,
    /// On this topic.
    pub topic: Option<String>,
    /// waiting, in_flight, delivered, dead_lettered, dropped.
    pub status: Option<String>,
    /// Of the event with this `id` attribute.
    pub event_id: Option<String>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterFilter {
    /// On this topic.
    pub topic: Option<String>,
    /// Of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// With this reason.
    pub reason: Option<String>,
}

/// What came of trying dead letters again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Retried {
    /// Taken in again, or on their way again.
    pub retried: u64,
    /// That could not be tried, and stay.
    pub skipped: u64,
    /// Events that are still refused, and stay.
    pub refused: u64,
    /// Faults that their schemas found this time.
    pub errors: u64,
    /// The first few of those that are still refused.
    pub examples: Vec<StillRefused>,
}

/// A dead letter that is still refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StillRefused {
    /// `dl_…`.
    pub id: String,
    /// Why, in words.
    pub detail: String,
    /// What the schemas said this time.
    pub errors: Vec<Value>,
}

/// One event on its way to one subscription, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// `dlv_…`.
    pub id: String,
    /// `msg_…`.
    pub message: String,
    /// `sub_…`.
    pub subscription: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
    /// The event's `id`.
    pub event_id: Option<String>,
    /// waiting, in_flight, delivered, dead_lettered, dropped.
    pub status: String,
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
    /// When it will be tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Time>,
}

/// One request and what came of it, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// 1, 2, 3…
    pub number: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// How long it took.
    pub duration_ms: u64,
    /// The answer's status.
    pub status_code: Option<u16>,
    /// What went wrong, in one of a few stable words.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response_head: Option<String>,
}

/// An event that will not be tried again by itself, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// `dl_…`.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The topic.
    pub topic: String,
    /// The partition, for an event that is in the log.
    pub partition: Option<u32>,
    /// The offset, for an event that is in the log.
    pub offset: Option<u64>,
    /// Who sent it.
    pub publisher: Option<String>,
    /// When it came in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Time>,
    /// Which way it goes: incoming or outgoing.
    pub direction: Option<String>,
    /// The event as a structured CloudEvent.
    #[schema(value_type = Object)]
    pub event: Value,
    /// `sub_…`, for a delivery.
    pub subscription: Option<String>,
    /// `dlv_…`, for a delivery.
    pub delivery: Option<String>,
    /// `rpl_…`, for a delivery of a replay.
    #[serde(default)]
    pub replay: Option<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// What the schemas said.
    pub errors: Vec<Value>,
}

/// Whether a replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Something of it is still to be delivered.
    Running,
    /// Every event of its range was delivered, given up or not wanted.
    Done,
    /// Somebody ended it.
    Cancelled,
}

impl ReplayState {
    /// As stores keep it.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Back from [`ReplayState::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Running, Self::Done, Self::Cancelled].into_iter().find(|state| state.code() == code)
    }
}

/// A range that is, or was, delivered again to one subscription, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replay {
    /// `rpl_…`.
    pub id: String,
    /// `sub_…`.
    pub subscription: String,
    /// running, done, cancelled.
    pub state: ReplayState,
    /// Where it began, as it was asked for.
    pub from: String,
    /// Where it ends, as it was asked for; the end of then when absent.
    pub to: Option<String>,
    /// Deliveries a second.
    pub rate: Option<f64>,
    /// Events in its range, wanted or not.
    pub events: u64,
    /// Of these, how many were looked at; after a crash some are looked at again.
    pub considered: u64,
    /// Deliveries that succeeded.
    pub delivered: u64,
    /// Deliveries that were given up: dead letters and what a rule dropped.
    pub failed: u64,
    /// Deliveries that wait for another attempt.
    pub waiting: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Time,
    /// When it was done or cancelled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Time>,
}

impl Replay {
    /// The same replay over two nodes.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let running = [self.state, other.state].contains(&ReplayState::Running);
        Self {
            state: if running { ReplayState::Running } else { self.state },
            events: self.events.saturating_add(other.events),
            considered: self.considered.saturating_add(other.considered),
            delivered: self.delivered.saturating_add(other.delivered),
            failed: self.failed.saturating_add(other.failed),
            waiting: self.waiting.saturating_add(other.waiting),
            started_at: self.started_at.min(other.started_at),
            ended_at: self.ended_at.max(other.ended_at).filter(|_| !running),
            ..self
        }
    }
}

/// Where a subscription stands on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SubscriptionState {
    /// Requests on their way.
    pub in_flight: u64,
    /// Deliveries that wait for their next attempt.
    pub waiting: u64,
    /// Events between its place and the end of the topics it reads.
    pub lag: u64,
    /// closed, open or half_open.
    pub breaker: String,
    /// The last failure, in one of a few stable words.
    pub last_error: Option<String>,
    /// Why the breaker is open: failures_in_a_row, failure_share or latency.
    #[serde(default)]
    pub breaker_reason: Option<String>,
    /// Since when it is open.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub breaker_since: Option<Time>,
    /// When the endpoint is probed next, while the breaker is open and no probe is under way.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_probe_at: Option<Time>,
    /// Requests that may be on their way at the same time just now; fewer than `limits.in_flight` after an outage and while the
    /// endpoint is overloaded.
    #[serde(default)]
    pub concurrency: u64,
    /// Nothing is sent before: the endpoint said `Retry-After`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub held_until: Option<Time>,
    /// Requests a minute that the endpoint allows, as it said by `WebHook-Allowed-Rate`.
    #[serde(default)]
    pub allowed_rate: Option<u64>,
    /// Whether retries that are due wait for the node's retry budget.
    #[serde(default)]
    pub retries_held: bool,
    /// Since when all attempts have failed; counts towards `delivery.disable_after`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Time>,
}
