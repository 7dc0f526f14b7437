//! Why an event goes to whom (interfaces §4, §9): for every subscription of its topic whether it matches, else the first
//! assertion that fails and what it saw, or what else keeps the event from it.
//!
//! Asked by `answers` for the control plane and by the HTTP door for a stored event. Decides with the same functions as
//! ingest and delivery do; nothing is stored or sent.

mod reason;
mod stored;

use std::sync::Arc;

use posthorn_domain::direction::Direction;
use posthorn_domain::event::{DataKind, Event};
use posthorn_domain::filter::View;
use posthorn_domain::json::{Doc, Parser};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::time::Time;
use posthorn_storage::attempts::AttemptLog;
use serde_json::{Map, Value, json};

use crate::config;
use crate::ingest::{foresee, qos_of, topic_unknown};
use crate::route::{Live, SubscriptionRoute, Table, TopicRoute};
use stored::Deliveries;

/// Subscriptions that one answer tells of.
const MAX_TOLD: usize = 10_000;

/// Explains. Cheap to clone.
#[derive(Clone)]
pub struct Explainer {
    /// The newest table.
    pub live: Live,
    /// The rules of ingest that an event would meet.
    pub config: config::Ingest,
    /// What was tried; without it nothing is told of deliveries.
    pub attempts: Option<Arc<AttemptLog>>,
    /// Where it runs: it looks at every subscription.
    pub blocking: tokio::runtime::Handle,
    /// The time.
    pub clock: posthorn_domain::clock::Clock,
}

/// The event in question.
struct Case {
    event: Event,
    direction: Direction,
    /// When it was taken in and when it expires, for one that is in the log.
    kept: Option<(Time, Option<Time>)>,
    deliveries: Deliveries,
    /// Also subscriptions whose topic cannot match.
    all: bool,
}

impl Explainer {
    /// Who would get this event if it were published on the topic now.
    ///
    /// # Errors
    /// `topic-unknown`.
    pub async fn event(&self, topic: &str, event: Event, direction: Option<Direction>, all: bool) -> Result<Value, Problem> {
        let (table, route) = self.route(topic)?;
        let direction = direction.unwrap_or(self.config.default_direction);
        let event = event.with_attr("topic", topic);
        self.run(table, route, Case { event, direction, kept: None, deliveries: Deliveries::default(), all }).await
    }

    fn route(&self, topic: &str) -> Result<(Arc<Table>, Arc<TopicRoute>), Problem> {
        let table = self.live.snapshot();
        let route = table.topics.get(topic).cloned().ok_or_else(|| topic_unknown(topic))?;
        Ok((table, route))
    }

    async fn run(&self, table: Arc<Table>, route: Arc<TopicRoute>, case: Case) -> Result<Value, Problem> {
        let (config, now) = (self.config.clone(), self.clock.now());
        let explained =
            self.blocking.spawn_blocking(move || Explaining { table: &table, route: &route, case: &case, config: &config, now }.answer());
        explained.await.map_err(|error| {
            tracing::error!(%error, "an explanation stopped");
            Problem::new(Code::Internal, "the explanation stopped; see the log of the node")
        })
    }
}

/// One explanation while it is made.
struct Explaining<'a> {
    table: &'a Table,
    route: &'a TopicRoute,
    case: &'a Case,
    config: &'a config::Ingest,
    now: Time,
}

impl Explaining<'_> {
    fn answer(&self) -> Value {
        let event = &self.case.event;
        if event.data_kind() == DataKind::Json {
            let parsed = Parser::new().parse(event.data(), |doc| self.with_data(Some(doc), None));
            parsed.unwrap_or_else(|fault| self.with_data(None, Some(fault.into())))
        } else {
            self.with_data(None, None)
        }
    }

    fn with_data(&self, data: Option<Doc<'_>>, unreadable: Option<Problem>) -> Value {
        let Case { event, direction, kept, .. } = self.case;
        let (refused, expires) = match kept {
            Some((_, expires)) => (None, *expires),
            None => match unreadable.map_or_else(|| foresee(self.table, self.route, event, data, self.config, self.now), Err) {
                Ok(expires) => (None, expires),
                Err(problem) => (Some(problem), None),
            },
        };
        let view = View { data, direction: *direction, ..View::new(&self.route.topic.name, event) };
        let mut routes: Vec<&Arc<SubscriptionRoute>> = self.table.subscriptions.values().filter(|route| self.concerns(route)).collect();
        routes.sort_unstable_by_key(|route| route.id());
        let left_off = routes.len().saturating_sub(MAX_TOLD);
        let matches: Vec<Value> =
            routes.into_iter().take(MAX_TOLD).map(|route| self.one(route, &view, refused.as_ref(), expires)).collect();
        let mut answer = Map::new();
        answer.insert("topic".into(), json!(self.route.topic.name));
        answer.insert("revision".into(), json!(self.table.revision));
        answer.insert("refused".into(), refused.map_or(Value::Null, |problem| problem.to_value()));
        answer.insert("expires_at".into(), json!(expires));
        answer.insert("qos".into(), json!(qos_of(self.table, self.route, event, None, self.config)));
        answer.insert("matches".into(), Value::Array(matches));
        if left_off > 0 {
            answer.insert("left_off".into(), json!(left_off));
        }
        Value::Object(answer)
    }

    fn concerns(&self, route: &SubscriptionRoute) -> bool {
        self.case.all || route.admits_topic(&self.route.topic.name)
    }

    fn one(&self, route: &SubscriptionRoute, view: &View<'_>, refused: Option<&Problem>, expires: Option<Time>) -> Value {
        let subscription = route.read();
        let delivery = self.case.deliveries.of(route.id());
        let delivered = delivery.is_some_and(|delivery| delivery["status"] == "delivered");
        let because = reason::of_filters(route, view).or_else(|| {
            let other = || {
                refused
                    .map(reason::of_refusal)
                    .or_else(|| reason::of_status(&subscription))
                    .or_else(|| reason::of_start(&subscription, self.case.kept.map(|(accepted, _)| accepted)))
                    .or_else(|| reason::of_expiry(expires, self.now))
            };
            if delivered { None } else { other() }
        });
        let mut entry = Map::new();
        entry.insert("subscription".into(), json!(subscription.id));
        entry.insert("name".into(), json!(subscription.spec.name));
        entry.insert("owner".into(), json!(subscription.spec.owner));
        entry.insert("matched".into(), json!(because.is_none()));
        if because.is_none() {
            entry.insert("qos".into(), json!(qos_of(self.table, self.route, &self.case.event, Some(&subscription.spec), self.config)));
        }
        entry.insert("because".into(), because.unwrap_or(Value::Null));
        if let Some(delivery) = delivery {
            entry.insert("delivery".into(), delivery.clone());
        }
        Value::Object(entry)
    }
}
