//! From an event to the subscriptions that want it, at a cost that grows with what matches and not with what exists.
//!
//! Each subscription of a topic is filed under one equality that it demands (`type` before other attributes), so that an
//! event only meets those whose equality it has; what demands no equality is asked every time. Pure.

use std::sync::Arc;

use foldhash::HashMap;
use posthorn_domain::filter::{Comparison, Filter, View};

use super::SubscriptionRoute;

/// Finds the slots that match.
#[derive(Default)]
pub struct Index {
    /// By attribute, then by value.
    exact: Vec<(String, HashMap<String, Vec<u32>>)>,
    /// Those without an equality.
    rest: Vec<u32>,
}

impl Index {
    /// Files every slot.
    pub fn new(slots: &[Arc<SubscriptionRoute>]) -> Self {
        let mut index = Self::default();
        for (slot, route) in (0u32..).zip(slots) {
            match best_equality(&route.filters) {
                Some(equality) => index.file(equality, slot),
                None => index.rest.push(slot),
            }
        }
        index
    }

    fn file(&mut self, equality: &Comparison, slot: u32) {
        let at = self.exact.iter().position(|(attribute, _)| *attribute == equality.attribute).unwrap_or_else(|| {
            self.exact.push((equality.attribute.clone(), HashMap::default()));
            self.exact.len() - 1
        });
        self.exact[at].1.entry(equality.text.clone()).or_default().push(slot);
    }

    /// Appends the slots whose filters all hold.
    pub fn matches(&self, slots: &[Arc<SubscriptionRoute>], view: &View<'_>, out: &mut Vec<u32>) {
        let mut ask = |candidates: &[u32]| {
            for slot in candidates {
                if slots[*slot as usize].matches(view) {
                    out.push(*slot);
                }
            }
        };
        for (attribute, values) in &self.exact {
            if let Some(candidates) = view.text(attribute).and_then(|value| values.get(value)) {
                ask(candidates);
            }
        }
        ask(&self.rest);
    }
}

/// The equality to file under: `type` if there is one, else the first of another attribute. `topic` tells nothing here.
fn best_equality(filters: &[Filter]) -> Option<&Comparison> {
    let mut found: Option<&Comparison> = None;
    let mut open: Vec<&Filter> = filters.iter().collect();
    while let Some(filter) = open.pop() {
        match filter {
            Filter::Exact(comparisons) => {
                for comparison in comparisons.iter().filter(|comparison| comparison.attribute != "topic") {
                    if comparison.attribute == "type" {
                        return Some(comparison);
                    }
                    found = found.or(Some(comparison));
                }
            }
            Filter::All(inner) => open.extend(inner),
            _ => {}
        }
    }
    found
}
