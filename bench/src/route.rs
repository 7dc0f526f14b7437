//! Finding who wants an event, among many who do not.

use std::hint::black_box;
use std::sync::Arc;

use posthorn_dataplane::route::{Index, SubscriptionRoute};
use posthorn_domain::filter::View;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::resource::{Meta, Subscription, SubscriptionSpec};
use posthorn_domain::time::Time;
use serde_json::{Value, json};

use crate::inputs::in_turn;
use crate::{Operation, inputs};

/// One subscription that takes everything, and `others` that want a type that never comes.
pub(crate) fn exact(others: usize) -> Operation {
    among(others, |n| json!({"exact": {"type": format!("com.example.never.{n}")}}))
}

/// The same with filters that no index helps with.
pub(crate) fn prefix(others: usize) -> Operation {
    among(others, |n| json!({"prefix": {"type": format!("com.example.never.{n}")}}))
}

fn among(others: usize, filter: fn(usize) -> Value) -> Operation {
    let guard = Guard::new(Vec::new(), None);
    let mut slots: Vec<_> = (0..others).map(|n| subscription(filter(n), &guard)).collect();
    slots.push(subscription(json!({"topic": "**"}), &guard));
    let index = Index::new(&slots);
    let mut found = Vec::new();
    in_turn(inputs(), move |input| {
        found.clear();
        index.matches(&slots, &View::new("github", &input.event), &mut found);
        assert_eq!(black_box(&found).len(), 1);
    })
}

fn subscription(filter: Value, guard: &Guard) -> Arc<SubscriptionRoute> {
    let document = json!({"filters": [filter], "endpoint": {"url": "https://hooks.example.com/"}});
    let spec = SubscriptionSpec::parse(&document, guard).expect("a subscription");
    let filters = spec.compile_filters().expect("filters");
    let meta = Meta { revision: 1, incarnation: 1, created_at: Time::ZERO, updated_at: Time::ZERO };
    let subscription = Subscription { id: SubscriptionId::make(), spec, status_reason: None, meta };
    Arc::new(SubscriptionRoute { subscription, filters, keys: Vec::new() })
}
