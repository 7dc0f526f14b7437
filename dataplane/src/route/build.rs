//! From resources to a [`Table`]: compiles what changed, keeps the rest, and names what it could not use (I8).

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use foldhash::{HashMap, HashSet};
use posthorn_domain::fields::Faults;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{Name, TopicName};
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Meta, SchemaSpec, SchemaVersion, Subscription, SubscriptionSpec, Topic, TopicSpec, UnknownMode};
use posthorn_domain::schema::{Bundle, CompiledSchema};
use posthorn_domain::signing::SigningKey;
use posthorn_domain::snapshot::{Delta, Kind, Nack, Resource, ResourceKey};
use posthorn_domain::time::Time;
use posthorn_storage::log::{Log, TopicSettings};
use serde_json::Value;

use super::Index;
use super::table::{SchemaFacts, SchemaRoute, SubscriptionRoute, Table, TopicRoute};

/// Makes tables out of deltas. One a node; it numbers the generations.
pub struct Builder {
    log: Arc<dyn Log>,
    /// Lets every target through: the control plane has checked it, and the connection will be checked again. A guard that became
    /// stricter meanwhile must show in attempts, not as a broken resource.
    guard: Guard,
    generation: u64,
}

/// What came of a delta.
pub struct Applied {
    /// The new table.
    pub table: Table,
    /// What could not be used; its last good version, if any, is still in force.
    pub nacks: Vec<Nack>,
    /// Topics that are gone, whose logs the caller removes once nobody reads them.
    pub removed_topics: Vec<TopicName>,
}

impl Builder {
    /// A builder that opens topics in `log`.
    pub fn new(log: Arc<dyn Log>) -> Self {
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|range| range.parse().ok()).collect();
        Self { log, guard: Guard::new(everywhere, Some(true)), generation: 0 }
    }

    /// The table after `delta`. Opens logs and compiles schemas, so it is to be called where blocking is allowed.
    pub fn apply(&mut self, base: &Table, delta: &Delta) -> Applied {
        let mut table = base.clone();
        table.revision = delta.revision;
        let mut nacks = Vec::new();
        let mut stale = Stale::default();
        let mut removed_topics = Vec::new();
        for key in &delta.removed {
            self.remove(&mut table, key, &mut stale, &mut removed_topics);
        }
        let mut changed: Vec<_> = delta.changed.iter().filter_map(|(key, resource)| Some((key.kind()?, key, resource))).collect();
        // Versions refer to older ones only, so that in the order in which they were made each finds those it refers to.
        changed.sort_by_key(|(kind, _, resource)| (*kind, resource.incarnation));
        for (kind, key, resource) in changed {
            let result = match kind {
                Kind::SchemaInfo => add_schema_facts(&mut table, resource),
                Kind::Schema => add_schema(&mut table, resource),
                Kind::Topic => self.add_topic(&mut table, resource, &mut stale),
                Kind::Subscription => self.add_subscription(&mut table, resource, &mut stale),
            };
            if let Err(problem) = result {
                tracing::warn!(resource = key.as_str(), reason = %problem, "a resource cannot be used");
                nacks.push(Nack { resource: key.as_str().to_owned(), reason: reason(&problem) });
            }
        }
        self.reindex(&mut table, &stale);
        Applied { table, nacks, removed_topics }
    }

    fn remove(&self, table: &mut Table, key: &ResourceKey, stale: &mut Stale, removed_topics: &mut Vec<TopicName>) {
        let mut parts = key.as_str().split('/').skip(1);
        let name = parts.next().unwrap_or_default();
        match key.kind() {
            Some(Kind::Topic) => removed_topics.extend(table.topics.remove_entry(name).map(|(name, _)| name)),
            Some(Kind::Subscription) => {
                if let Some(old) = name.parse().ok().and_then(|id: SubscriptionId| table.subscriptions.remove(&id)) {
                    stale.note(&old);
                }
            }
            Some(Kind::SchemaInfo) => drop(table.schema_infos.remove(name)),
            Some(Kind::Schema) => {
                let version: u32 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
                if let Some(versions) = table.schemas.get_mut(name) {
                    versions.remove(&version);
                    if versions.is_empty() {
                        table.schemas.remove(name);
                    }
                }
                table.schema_ids.retain(|_, reference| reference.name.as_str() != name || reference.version != version);
                note_ids(table, name);
            }
            None => {}
        }
    }

    fn add_topic(&self, table: &mut Table, resource: &Resource, stale: &mut Stale) -> Result<(), Problem> {
        let name: Name = text(&resource.document, "name").parse().map_err(|error| broken(&error))?;
        let spec = TopicSpec::parse(&resource.document, &name)?;
        let settings = TopicSettings {
            incarnation: resource.incarnation,
            partitions: spec.partitions,
            retention_age: spec.retention.age,
            retention_bytes: spec.retention.bytes,
        };
        let log = self.log.open(&name, settings).map_err(|error| broken(&error))?;
        let topic = Topic { name: name.clone(), spec, meta: meta(resource) };
        let route = TopicRoute { topic, log, generation: 0, slots: Vec::new(), index: Index::default(), turn: AtomicU32::new(0) };
        table.topics.insert(name.clone(), Arc::new(route));
        stale.topics.insert(name);
        Ok(())
    }

    fn add_subscription(&self, table: &mut Table, resource: &Resource, stale: &mut Stale) -> Result<(), Problem> {
        let id: SubscriptionId = text(&resource.document, "id").parse().map_err(|error| broken(&error))?;
        let spec = SubscriptionSpec::parse(&resource.revealed(), &self.guard)?;
        let filters = spec.compile_filters()?;
        let keys = signing_keys(&spec)?;
        let status_reason = resource.document.get("status_reason").and_then(Value::as_str).map(str::to_owned);
        let subscription = Subscription { id, spec, status_reason, meta: meta(resource) };
        let route = Arc::new(SubscriptionRoute { subscription, filters, keys });
        if let Some(old) = table.subscriptions.insert(id, route.clone()) {
            stale.note(&old);
        }
        stale.note(&route);
        Ok(())
    }

    /// Makes the indices of stale topics anew.
    fn reindex(&mut self, table: &mut Table, stale: &Stale) {
        let names: Vec<TopicName> = table.topics.keys().filter(|name| stale.all || stale.topics.contains(*name)).cloned().collect();
        if names.is_empty() {
            return;
        }
        let mut by_topic: HashMap<&str, Vec<&Arc<SubscriptionRoute>>> = HashMap::default();
        let mut anywhere = Vec::new();
        for route in table.subscriptions.values().filter(|route| route.is_active()) {
            match route.only_topic() {
                Some(topic) => by_topic.entry(topic).or_default().push(route),
                None => anywhere.push(route),
            }
        }
        for name in names {
            let own = by_topic.get(name.as_str()).into_iter().flatten();
            let slots: Vec<_> = own.chain(&anywhere).filter(|route| route.admits_topic(&name)).map(|route| Arc::clone(route)).collect();
            let old = &table.topics[&name];
            self.generation += 1;
            let route = TopicRoute {
                topic: old.topic.clone(),
                log: old.log.clone(),
                generation: self.generation,
                index: Index::new(&slots),
                slots,
                turn: AtomicU32::new(0),
            };
            table.topics.insert(name, Arc::new(route));
        }
    }
}

/// Topics whose index no longer tells the truth.
#[derive(Default)]
struct Stale {
    topics: HashSet<TopicName>,
    all: bool,
}

impl Stale {
    fn note(&mut self, route: &SubscriptionRoute) {
        match route.only_topic().map(str::parse) {
            Some(Ok(name)) => {
                self.topics.insert(name);
            }
            _ => self.all = true,
        }
    }
}

fn add_schema_facts(table: &mut Table, resource: &Resource) -> Result<(), Problem> {
    let name: Name = text(&resource.document, "name").parse().map_err(|error| broken(&error))?;
    let compatibility = text(&resource.document, "compatibility").parse().map_err(|error: UnknownMode| broken(&error))?;
    table.schema_infos.insert(name, SchemaFacts { compatibility, meta: meta(resource) });
    Ok(())
}

fn add_schema(table: &mut Table, resource: &Resource) -> Result<(), Problem> {
    let spec = SchemaSpec::parse(&resource.document)?;
    let name: Name = text(&resource.document, "name").parse().map_err(|error| broken(&error))?;
    let version = resource.document.get("version").and_then(Value::as_u64).and_then(|version| u32::try_from(version).ok()).unwrap_or(0);
    let (references, deprecated) = SchemaVersion::settled(&resource.document);
    let version = SchemaVersion { name, version, spec, references, deprecated, meta: meta(resource) };
    let known = table.schemas.get(&version.name).and_then(|versions| versions.get(&version.version));
    let same = known.filter(|known| known.version.spec == version.spec && known.version.references == version.references);
    let compiled = match same {
        Some(known) => known.compiled.clone(),
        None => Arc::new(compiled(table, &version)?),
    };
    let name = version.name.clone();
    table.schemas.entry(name.clone()).or_default().insert(version.version, Arc::new(SchemaRoute::new(version, compiled)));
    note_ids(table, &name);
    Ok(())
}

/// An `$id` of several versions is the newest one's.
fn note_ids(table: &mut Table, name: &str) {
    let routes = table.schemas.get(name).into_iter().flat_map(|versions| versions.values());
    let ids = routes.filter_map(|route| Some((route.version.spec.id()?.to_owned(), route.version.reference())));
    table.schema_ids.extend(ids);
}

/// With the versions that it refers to, which were applied before.
fn compiled(table: &Table, version: &SchemaVersion) -> Result<CompiledSchema, Problem> {
    Bundle::new(&version.spec.schema, &version.references, table)
        .and_then(|bundle| CompiledSchema::of(version.reference(), &bundle, version.spec.assert_formats))
        .map_err(|faults| broken(&"the schema does not compile").with_errors(faults))
}

fn signing_keys(spec: &SubscriptionSpec) -> Result<Vec<(SigningKey, Option<Time>)>, Problem> {
    let mut keys = Vec::new();
    for signing in &spec.signing {
        keys.push((signing.secret.expose().parse::<SigningKey>().map_err(|error| broken(&error))?, None));
        for old in &signing.previous {
            keys.push((old.secret.expose().parse::<SigningKey>().map_err(|error| broken(&error))?, Some(old.expires_at)));
        }
    }
    Ok(keys)
}

fn meta(resource: &Resource) -> Meta {
    let time = |member: &str| Time::parse(text(&resource.document, member)).unwrap_or_default();
    Meta { revision: resource.revision, incarnation: resource.incarnation, created_at: time("created_at"), updated_at: time("updated_at") }
}

fn text<'a>(document: &'a Value, member: &str) -> &'a str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    let mut faults = Faults::default();
    faults.meaning("", error.to_string());
    faults.result::<()>("the resource", None).expect_err("it has a fault")
}

/// One line that names every fault.
fn reason(problem: &Problem) -> String {
    let faults: Vec<String> = problem.errors().iter().take(5).map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
    if faults.is_empty() { problem.detail().to_owned() } else { faults.join("; ") }
}
