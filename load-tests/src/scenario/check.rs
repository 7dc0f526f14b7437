//! What can be told only of a whole scenario: that what it refers to is there.

use super::{Scenario, Step, System, Variant, Via};
use crate::fields::Faults;

pub(super) fn all(scenario: &Scenario, faults: &mut Faults) {
    figures(scenario, faults);
    for (n, variant) in scenario.variants.iter().enumerate() {
        let place = format!("variants[{n}]");
        yardsticks(scenario, variant, &place, faults);
        if !scenario.receiver.tls && vias(variant).any(Via::is_tls) {
            faults.add(&place, "goes over TLS, and the receiver of this scenario has none: receiver: {tls: true}");
        }
    }
}

/// What rows and plots refer to.
fn figures(scenario: &Scenario, faults: &mut Faults) {
    let known = |name: &str| {
        let (variant, span) = name.split_once('/').unwrap_or((name, ""));
        scenario.variants.iter().any(|v| v.name == variant && v.spans().any(|s| s == span))
    };
    for (n, row) in scenario.rows.iter().enumerate() {
        for name in row.spans().filter(|name| !known(name)) {
            faults.add(&format!("rows[{n}]"), format!("no variant and step are called `{name}`"));
        }
    }
    for (n, plot) in scenario.plots.iter().enumerate() {
        for name in plot.of.iter().filter(|name| !known(name)) {
            faults.add(&format!("plots[{n}]"), format!("no variant and step are called `{name}`"));
        }
    }
}

/// At most one of each kind, so that a ratio has one meaning.
fn yardsticks(scenario: &Scenario, variant: &Variant, place: &str, faults: &mut Faults) {
    let (mut bare, mut signing) = (0, 0);
    for (n, name) in variant.yardsticks.iter().flatten().enumerate() {
        let place = format!("{place}.yardsticks[{n}]");
        match scenario.variants.iter().find(|other| other.name == *name).map(|other| &other.system) {
            None => faults.add(&place, format!("no variant is called `{name}`")),
            Some(System::Forwarder(spec)) if spec.sign => signing += 1,
            Some(System::Forwarder(_)) => bare += 1,
            Some(_) => faults.add(&place, format!("`{name}` is no forwarder")),
        }
    }
    if bare > 1 || signing > 1 {
        faults.add(&format!("{place}.yardsticks"), "at most one that signs and one that does not");
    }
}

/// The doors of the receiver that a variant delivers to.
fn vias(variant: &Variant) -> impl Iterator<Item = Via> {
    let own = if let System::Forwarder(spec) = variant.system { Some(spec.via) } else { None };
    let subscribed = variant.all_steps().filter_map(|step| match step {
        Step::Subscribe(subscribe) => Some(subscribe.via),
        _ => None,
    });
    own.into_iter().chain(subscribed)
}
