//! From resources to a [`Table`]: compiles what changed, keeps the rest, and names what it could not use (I8).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use imbl::Vector;
use posthorn_domain::fields::Faults;
use posthorn_domain::filter::Filter;
use posthorn_domain::guard::Guard;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{Name, TopicName};
use posthorn_domain::operations;
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{
    Glance, Meta, Packed, SchemaSpec, SchemaVersion, Subscription, SubscriptionSpec, Topic, TopicSpec, UnknownMode,
};
use posthorn_domain::schema::{Bundle, CompiledSchema};
use posthorn_domain::snapshot::{Delta, Kind, Nack, Resource, ResourceKey};
use posthorn_domain::time::Time;
use posthorn_storage::log::{Log, TopicSettings};
use serde_json::Value;

use super::index::Editor;
use super::restore::{self, Kept, Prepared};
use super::subscription::{SubscriptionRoute, check_secrets};
use super::table::{Changes, SchemaFacts, SchemaRoute, Table, TopicRoute};

/// The generation of the next table of this process.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Makes tables out of deltas. One a node; it numbers the generations.
pub struct Builder {
    log: Arc<dyn Log>,
    /// Lets every target through: the control plane has checked it, and the connection will be checked again. A guard that became
    /// stricter meanwhile must show in attempts, not as a broken resource.
    guard: Guard,
    places: Places,
}

/// Where subscriptions stand in the table that was made last.
#[derive(Default)]
struct Places {
    generation: u64,
    editor: Editor,
    free: Vec<u32>,
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
        Self { log, guard: Guard::new(everywhere, Some(true)), places: Places::default() }
    }

    /// The table after `delta`, at a cost in proportion to the delta. Opens logs and compiles schemas, so it is to be called where
    /// blocking is allowed.
    pub fn apply(&mut self, base: &Table, delta: &Delta) -> Applied {
        let table = self.places.begin(base);
        self.apply_to(table, delta)
    }

    fn apply_to(&mut self, mut table: Table, delta: &Delta) -> Applied {
        table.revision = delta.revision;
        let mut nacks = Vec::new();
        let mut removed_topics = Vec::new();
        for key in &delta.removed {
            self.remove(&mut table, key, &mut removed_topics);
        }
        let mut changed: Vec<_> = delta.changed.iter().filter_map(|(key, resource)| Some((key.kind()?, key, resource))).collect();
        // Versions refer to older ones only, so that in the order in which they were made each finds those it refers to.
        changed.sort_by_key(|(kind, _, resource)| (*kind, resource.incarnation));
        for (kind, key, resource) in changed {
            let result = match kind {
                Kind::SchemaInfo => add_schema_facts(&mut table, resource),
                Kind::Schema => add_schema(&mut table, resource),
                Kind::Topic => self.add_topic(&mut table, resource),
                Kind::Subscription => self.add_subscription(&mut table, resource),
            };
            if let Err(problem) = result {
                nacks.push(nack(key.as_str(), &problem));
            }
        }
        if !table.topics.contains_key(operations::TOPIC)
            && let Err(problem) = self.open_topic(&mut table, Topic::clone(operations::topic()))
        {
            nacks.push(Nack { resource: format!("topic/{}", operations::TOPIC), reason: reason(&problem) });
        }
        table.index = self.places.editor.index();
        Applied { table, nacks, removed_topics }
    }

    /// The table of what this node had in force before, at `revision`.
    pub fn restore<K: Kept>(&mut self, base: &Table, revision: u64, kept: impl Iterator<Item = K> + Send) -> Applied {
        let mut table = self.places.begin(base);
        // All of it is new: there is no need to name it.
        table.changes = Changes::default();
        let (mut delta, mut nacks) = (Delta { revision, ..Delta::default() }, Vec::new());
        restore::prepare(kept, |key, prepared| {
            let problem = match prepared {
                Prepared::Json(Ok(resource)) => {
                    delta.changed.insert(ResourceKey::from_text(key), resource);
                    return;
                }
                Prepared::Packed(id, packed, glance, Ok(filters)) => return self.place(&mut table, id, packed, &glance, filters),
                Prepared::Json(Err(problem)) | Prepared::Packed(.., Err(problem)) => problem,
            };
            nacks.push(nack(&key, &problem));
        });
        let mut applied = self.apply_to(table, &delta);
        applied.nacks.extend(nacks);
        applied
    }

    fn remove(&mut self, table: &mut Table, key: &ResourceKey, removed_topics: &mut Vec<TopicName>) {
        let mut parts = key.as_str().split('/').skip(1);
        let name = parts.next().unwrap_or_default();
        match key.kind() {
            Some(Kind::Topic) => {
                if let Some(old) = table.topics.remove(name) {
                    removed_topics.push(old.topic.name.clone());
                    table.changes.topics = true;
                }
            }
            Some(Kind::Subscription) => {
                if let Some(old) = name.parse().ok().and_then(|id: SubscriptionId| table.subscriptions.remove(&id)) {
                    self.places.vacate(table, &old);
                    table.changes.subscriptions.push(old.id());
                }
            }
            Some(Kind::SchemaInfo) => drop(table.schema_infos.remove(name)),
            Some(Kind::Schema) => {
                let version: u32 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
                let Some(old) = table.schemas.get_mut(name).and_then(|versions| versions.remove(&version)) else { return };
                let id = old.version.spec.id();
                if id.is_some_and(|id| table.schema_ids.get(id).is_some_and(|known| *known == old.version.reference())) {
                    table.schema_ids.remove(id.unwrap_or_default());
                }
                if table.schemas.get(name).is_some_and(BTreeMap::is_empty) {
                    table.schemas.remove(name);
                }
                note_ids(table, name);
            }
            None => {}
        }
    }

    fn add_topic(&self, table: &mut Table, resource: &Resource) -> Result<(), Problem> {
        let document = read(resource)?;
        let name: Name = text(&document, "name").parse().map_err(|error| broken(&error))?;
        let spec = TopicSpec::parse(&document, &name)?;
        self.open_topic(table, Topic { name, spec, meta: meta(resource, &document) })
    }

    fn open_topic(&self, table: &mut Table, topic: Topic) -> Result<(), Problem> {
        let (name, spec) = (topic.name.clone(), &topic.spec);
        let settings = TopicSettings {
            incarnation: topic.meta.incarnation,
            partitions: spec.partitions,
            retention_age: spec.retention.age,
            retention_bytes: spec.retention.bytes,
        };
        let log = self.log.open(&name, settings).map_err(|error| broken(&error))?;
        table.topics.insert(name, Arc::new(TopicRoute { topic, log, turn: AtomicU32::new(0) }));
        table.changes.topics = true;
        Ok(())
    }

    fn add_subscription(&mut self, table: &mut Table, resource: &Resource) -> Result<(), Problem> {
        let document = read(resource)?;
        let id: SubscriptionId = text(&document, "id").parse().map_err(|error| broken(&error))?;
        let (spec, filters) = SubscriptionSpec::parse_and_compile(&document, &self.guard)?;
        let status_reason = document.get("status_reason").and_then(Value::as_str).map(str::to_owned);
        check_secrets(&spec).map_err(|error| broken(&error))?;
        let (glance, packed) = Packed::of(&Subscription { id, spec, status_reason, meta: meta(resource, &document) }).parted();
        self.place(table, id, packed, &glance, filters);
        Ok(())
    }

    fn place(&mut self, table: &mut Table, id: SubscriptionId, packed: Packed, glance: &Glance, filters: Vec<Filter>) {
        let mut route = SubscriptionRoute::new(id, packed, glance, self.places.editor.intern(filters));
        let old = table.subscriptions.get(&id).cloned();
        if let Some(old) = &old {
            self.places.vacate(table, old);
        }
        if route.is_active() {
            route = route.in_slot(self.places.slot(table));
        }
        let route = Arc::new(route);
        self.places.occupy(table, &route);
        table.subscriptions.insert(route);
        if table.changes.since.is_some() {
            table.changes.subscriptions.push(id);
        }
    }
}

impl Places {
    /// The next table, which is still as `base`.
    fn begin(&mut self, base: &Table) -> Table {
        let mut table = base.clone();
        let mut since = Some(base.generation);
        if base.generation != self.generation {
            self.take_over(&mut table);
            since = None;
        }
        self.generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        table.changes = Changes { since, ..Changes::default() };
        table.generation = self.generation;
        table
    }

    /// A table that another builder made, or not the last one: its subscriptions get their places anew.
    fn take_over(&mut self, table: &mut Table) {
        *self = Self::default();
        table.slots = Vector::new();
        for old in std::mem::take(&mut table.subscriptions).values() {
            let filters = self.editor.intern(old.filters.iter().map(|filter| (***filter).clone()).collect());
            let slot = old.is_active().then(|| self.slot(table));
            let route = Arc::new(old.with(filters, slot));
            self.occupy(table, &route);
            table.subscriptions.insert(route);
        }
    }

    fn slot(&mut self, table: &mut Table) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            table.slots.push_back(None);
            u32::try_from(table.slots.len() - 1).expect("the number of subscriptions is bounded")
        })
    }

    fn occupy(&mut self, table: &mut Table, route: &Arc<SubscriptionRoute>) {
        if let Some(slot) = route.slot() {
            self.editor.add(&route.filters, slot);
            table.slots.set(slot as usize, Some(Arc::clone(route)));
        }
    }

    fn vacate(&mut self, table: &mut Table, route: &SubscriptionRoute) {
        if let Some(slot) = route.slot() {
            self.editor.remove(&route.filters, slot);
            table.slots.set(slot as usize, None);
            self.free.push(slot);
        }
        self.editor.forget(&route.filters);
    }
}

fn add_schema_facts(table: &mut Table, resource: &Resource) -> Result<(), Problem> {
    let document = read(resource)?;
    let name: Name = text(&document, "name").parse().map_err(|error| broken(&error))?;
    let compatibility = text(&document, "compatibility").parse().map_err(|error: UnknownMode| broken(&error))?;
    table.schema_infos.insert(name, SchemaFacts { compatibility, meta: meta(resource, &document) });
    Ok(())
}

fn add_schema(table: &mut Table, resource: &Resource) -> Result<(), Problem> {
    let document = read(resource)?;
    let spec = SchemaSpec::parse(&document)?;
    let name: Name = text(&document, "name").parse().map_err(|error| broken(&error))?;
    let version = document.get("version").and_then(Value::as_u64).and_then(|version| u32::try_from(version).ok()).unwrap_or(0);
    let (references, deprecated) = SchemaVersion::settled(&document);
    let version = SchemaVersion { name, version, spec, references, deprecated, meta: meta(resource, &document) };
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

/// A resource in the JSON that it came as.
pub(super) fn written_down(written: &[u8]) -> Result<Resource, Problem> {
    serde_json::from_slice(written).map_err(|_| broken(&"the resource cannot be read"))
}

/// The document with its secrets.
fn read(resource: &Resource) -> Result<Value, Problem> {
    // The error's own text may quote the document.
    let place =
        |error: serde_json::Error| broken(&format!("the document cannot be read (line {}, column {})", error.line(), error.column()));
    resource.revealed().map_err(place)
}

fn meta(resource: &Resource, document: &Value) -> Meta {
    let time = |member: &str| Time::parse(text(document, member)).unwrap_or_default();
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

fn nack(key: &str, problem: &Problem) -> Nack {
    tracing::warn!(resource = key, reason = %problem, "a resource cannot be used");
    Nack { resource: key.to_owned(), reason: reason(problem) }
}

/// One line that names every fault.
fn reason(problem: &Problem) -> String {
    let faults: Vec<String> = problem.errors().iter().take(5).map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
    if faults.is_empty() { problem.detail().to_owned() } else { faults.join("; ") }
}
