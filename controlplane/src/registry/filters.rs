//! Filters against the schemas of the topics that they read: whether they can ever hold, and what a new version takes from them.

use posthorn_domain::fields::Faults;
use posthorn_domain::filter::typecheck::{self, Demand, Finding, Findings};
use posthorn_domain::filter::{Filter, TopicPattern};
use posthorn_domain::names::{SchemaName, TopicName};
use posthorn_domain::problem::{Code, Fault, Problem};
use posthorn_domain::resource::{SchemaSpec, Status, Subscription, SubscriptionSpec, Topic};
use serde_json::{Value, json};

use super::Registry;

/// Topics that are looked at for filters that name no single one.
const MAX_TOPICS: usize = 64;
/// Subscriptions that are named when a version takes something from them.
const NAMED: usize = 100;

impl Registry {
    /// The warnings for these filters.
    ///
    /// # Errors
    /// `filter-never-matches` when they can never hold on the topic that they name, unless the subscription says `allow_unknown`.
    pub(crate) fn check_filters(&self, spec: &SubscriptionSpec) -> Result<Vec<Finding>, Problem> {
        if spec.allow_unknown {
            return Ok(Vec::new());
        }
        let filters = spec.compile_filters()?;
        let Findings { never, warnings } = self.check_filters_on(&filters, "/filters", filters.iter().find_map(Filter::only_topic));
        if never.is_empty() { Ok(warnings) } else { Err(refused(&never)) }
    }

    /// What the type check finds on this topic. Without one, what holds for every event; that no topic of those that are there can
    /// match is a warning then, for there may be others later.
    pub(crate) fn check_filters_on(&self, filters: &[Filter], at: &str, topic: Option<&str>) -> Findings {
        if let Some(topic) = topic {
            let demands = self.topics.get(topic).map(|topic| self.demands(topic)).unwrap_or_default();
            return typecheck::check(filters, at, Some(topic), &demands);
        }
        let findings = typecheck::check(filters, at, None, &[]);
        let reads = filters.iter().any(Filter::reads_data);
        if !findings.never.is_empty() || !reads {
            return findings;
        }
        let mut first = None;
        for (n, topic) in self.topics.values().filter(|topic| filters.iter().all(|filter| filter.admits_topic(&topic.name))).enumerate() {
            let found = typecheck::check(filters, at, Some(&topic.name), &self.demands(topic)).never;
            if found.is_empty() || n >= MAX_TOPICS {
                return findings;
            }
            first.get_or_insert((found, &topic.name));
        }
        let told = |finding: Finding, topic: &str| Finding {
            detail: format!("on topic `{topic}` and all others that match now: {}", finding.detail),
            ..finding
        };
        let warnings = first.map(|(found, topic)| found.into_iter().map(|finding| told(finding, topic)).collect());
        Findings { warnings: warnings.unwrap_or_default(), ..findings }
    }

    /// What every event of the topic holds to.
    fn demands<'r>(&'r self, topic: &'r Topic) -> Vec<Demand<'r>> {
        let demand = |name: &'r SchemaName| Demand {
            name,
            versions: self.versions_of(name).rev().map(|version| (version.version, &version.spec.schema)).collect(),
        };
        topic.spec.schemas.iter().map(demand).collect()
    }

    /// Refuses a new version that no longer names what filters read.
    ///
    /// # Errors
    /// `filter-references`, with the subscriptions and the places that they read.
    pub(crate) fn check_references(&self, name: &SchemaName, spec: &SchemaSpec) -> Result<(), Problem> {
        let Some(latest) = self.latest_version(name).filter(|_| self.same_version(name, spec).is_none()) else { return Ok(()) };
        let topics = self.topics_with_schema(name);
        if topics.is_empty() {
            return Ok(());
        }
        let mut hit: Vec<Value> = Vec::new();
        let mut count = 0_usize;
        for subscription in self.all_subscriptions().filter(|subscription| may_read(subscription, &topics)) {
            let Ok(filters) = subscription.spec.compile_filters() else { continue };
            let reached = topics.iter().filter(|topic| filters.iter().all(|filter| filter.admits_topic(topic)));
            let reached: Vec<_> = reached.collect();
            if reached.is_empty() {
                continue;
            }
            let paths = typecheck::reads_dropped(&filters, &latest.spec.schema, &spec.schema);
            if paths.is_empty() {
                continue;
            }
            count += 1;
            if hit.len() < NAMED {
                hit.push(json!({"subscription": subscription.id, "name": subscription.spec.name, "paths": paths, "topics": reached}));
            }
        }
        if count == 0 { Ok(()) } else { Err(referenced(name, latest.version, count, hit)) }
    }
}

/// Cheap first: most filters do not look at data, or name another topic.
fn may_read(subscription: &Subscription, topics: &[TopicName]) -> bool {
    let filters = subscription.spec.filters.values();
    let mut patterns = filters.iter().filter_map(|filter| filter.get("topic")?.as_str()?.parse::<TopicPattern>().ok());
    subscription.spec.status != Status::Disabled
        && filters.iter().any(mentions_data)
        && patterns.all(|pattern| topics.iter().any(|topic| pattern.matches(topic)))
}

fn mentions_data(filter: &Value) -> bool {
    match filter {
        Value::Object(map) => map.iter().any(|(name, value)| matches!(name.as_str(), "data" | "cel") || mentions_data(value)),
        Value::Array(items) => items.iter().any(mentions_data),
        _ => false,
    }
}

fn refused(never: &[Finding]) -> Problem {
    let fault = |finding: &Finding| Fault {
        schema: finding.schema.clone(),
        pointer: finding.pointer.clone(),
        detail: match &finding.position {
            Some(position) => format!("line {}, column {}: {}", position.line, position.column, finding.detail),
            None => finding.detail.clone(),
        },
    };
    let errors: Vec<Fault> = never.iter().map(fault).collect();
    let detail = errors.first().map_or_else(String::new, |fault| format!("{} ({})", fault.detail, fault.pointer));
    let detail = format!("no event can pass: {detail}; correct it, or set `allow_unknown` when the schema is yet to come");
    let mut problem = Problem::new(Code::FilterNeverMatches, detail).with_errors(errors);
    if let Ok(Value::Object(members)) = never.first().map_or(Ok(Value::Null), serde_json::to_value) {
        for (member, value) in members.into_iter().filter(|(member, _)| member != "detail") {
            problem = problem.with(&member, value);
        }
    }
    problem
}

fn referenced(name: &SchemaName, latest: u32, count: usize, hit: Vec<Value>) -> Problem {
    let detail = format!(
        "{count} subscriptions have filters that read what version {latest} of `{name}` names and this one does not; see `subscriptions`, \
         and add it with `force=true` when they are to get nothing for it"
    );
    let mut faults = Faults::default();
    for entry in &hit {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let paths: Vec<String> = entry["paths"].as_array().into_iter().flatten().map(text).collect();
        faults.meaning("/schema", format!("subscription {} reads {}", text(&entry["subscription"]), paths.join(", ")));
    }
    let errors = faults.result::<()>("the schema", None).map_err(|problem| problem.errors().to_vec()).err().unwrap_or_default();
    Problem::new(Code::FilterReferences, detail).with_errors(errors).with("subscriptions", hit)
}
