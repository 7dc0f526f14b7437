//! What keeps an event from a subscription, each as the member `because` shows it.

use posthorn_domain::filter::{Because, Place, View};
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Start, Status, Subscription};
use posthorn_domain::time::Time;
use serde_json::{Map, Value, json};

use crate::route::SubscriptionRoute;

/// `{"filter": 1, "sql": "amount > 10", "saw": 7}`: the first filter that does not hold.
pub(super) fn of_filters(route: &SubscriptionRoute, view: &View<'_>) -> Option<Value> {
    route.filters.iter().enumerate().find_map(|(number, filter)| filter.explain(view).map(|because| of_filter(number, because)))
}

fn of_filter(number: usize, because: Because) -> Value {
    let Because { dialect, assertion, place, saw, error } = because;
    let mut shown = Map::new();
    shown.insert("filter".into(), json!(number));
    shown.insert(dialect.into(), assertion);
    if saw.is_none() && place.is_some() {
        shown.insert("missing".into(), true.into());
    }
    match place {
        Some(Place::Attribute(name)) => drop(shown.insert("attribute".into(), json!(name))),
        Some(Place::Data(pointer)) => drop(shown.insert("path".into(), pointer.to_string().into())),
        None => {}
    }
    shown.insert("saw".into(), saw.unwrap_or(Value::Null));
    if let Some(fault) = error {
        shown.insert("error".into(), json!({"kind": fault.kind.name(), "detail": fault.detail}));
    }
    Value::Object(shown)
}

/// `{"refused": "schema-invalid", …}`: nobody gets it, for it would not be taken in.
pub(super) fn of_refusal(problem: &Problem) -> Value {
    json!({"refused": problem.code().slug(), "detail": problem.detail(), "errors": problem.errors()})
}

/// `{"status": "paused", …}`: the subscription does not deliver.
pub(super) fn of_status(subscription: &Subscription) -> Option<Value> {
    let status = subscription.spec.status;
    (status != Status::Active).then(|| json!({"status": status, "status_reason": subscription.status_reason}))
}

/// `{"start": "…"}`: the subscription begins later than the event.
pub(super) fn of_start(subscription: &Subscription, accepted: Option<Time>) -> Option<Value> {
    let start = match subscription.spec.start {
        Start::Earliest => return None,
        Start::Latest => subscription.meta.created_at,
        Start::At(time) => time,
    };
    accepted.filter(|accepted| *accepted < start).map(|accepted| json!({"start": start, "accepted_at": accepted}))
}

/// `{"expired": "…"}`: its time is over.
pub(super) fn of_expiry(expires: Option<Time>, now: Time) -> Option<Value> {
    expires.filter(|expires| *expires <= now).map(|expires| json!({"expired": expires}))
}
