//! Rules of schemas and their versions. Whether a document compiles was found out before.

use std::sync::Arc;

use posthorn_domain::names::SchemaName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, SchemaSpec, SchemaVersion};
use posthorn_domain::time::Time;

use super::change::Key;
use super::{Change, Entry, MAX_SCHEMAS, MAX_VERSIONS, Outcome, Precondition, Registry, Schema, full, meta, not_found};

impl Registry {
    /// The version with this content, if there is one.
    pub(crate) fn same_version(&self, name: &SchemaName, spec: &SchemaSpec) -> Option<&Arc<SchemaVersion>> {
        self.versions_of(name).find(|version| version.spec == *spec)
    }

    pub(super) fn add_version(&self, name: SchemaName, spec: SchemaSpec, now: Time) -> Result<Change, Problem> {
        if let Some(version) = self.same_version(&name, &spec) {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Version(version.clone())]));
        }
        let before = self.schemas.get(&name);
        if before.is_none() && self.schemas.len() >= MAX_SCHEMAS {
            return Err(full("schemas", MAX_SCHEMAS));
        }
        if self.versions_of(&name).count() >= MAX_VERSIONS {
            return Err(full("versions of this schema", MAX_VERSIONS));
        }
        let revision = self.next();
        let number = before.map_or(0, |schema| schema.last_version) + 1;
        let schema = Schema {
            name: name.clone(),
            compatibility: before.map_or(Compatibility::None, |schema| schema.compatibility),
            last_version: number,
            meta: meta(before.map(|schema| &schema.meta), revision, now),
        };
        let version = SchemaVersion { name, version: number, spec, meta: meta(None, revision, now) };
        let put = vec![Entry::Version(Arc::new(version)), Entry::Schema(Arc::new(schema))];
        Ok(Change::put(revision, Outcome::Created, put))
    }

    pub(super) fn put_schema(
        &self,
        name: SchemaName,
        compatibility: Compatibility,
        when: &Precondition,
        now: Time,
    ) -> Result<Change, Problem> {
        let before = self.schemas.get(&name);
        when.check(before.map(|schema| schema.meta.revision))?;
        if let Some(schema) = before.filter(|schema| schema.compatibility == compatibility) {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Schema(schema.clone())]));
        }
        if before.is_none() && self.schemas.len() >= MAX_SCHEMAS {
            return Err(full("schemas", MAX_SCHEMAS));
        }
        let outcome = if before.is_some() { Outcome::Changed } else { Outcome::Created };
        let schema = Schema {
            name,
            compatibility,
            last_version: before.map_or(0, |schema| schema.last_version),
            meta: meta(before.map(|schema| &schema.meta), self.next(), now),
        };
        Ok(Change::put(self.next(), outcome, vec![Entry::Schema(Arc::new(schema))]))
    }

    pub(super) fn delete_version(&self, name: &SchemaName, version: u32, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let found = self.version(name, version);
        when.check(found.map(|version| version.meta.revision))?;
        let (Some(_), Some(schema)) = (found, self.schemas.get(name)) else {
            return Err(not_found("schema version", format_args!("{name}:{version}")));
        };
        let users: Vec<&str> =
            self.topics.values().filter(|topic| topic.spec.schemas.contains(name)).map(|topic| topic.name.as_str()).collect();
        if !users.is_empty() {
            let detail = format!("{} topics demand the schema `{name}`; take it off their `schemas` first", users.len());
            return Err(Problem::new(Code::InUse, detail).with("used_by", users));
        }
        let schema = Schema { meta: meta(Some(&schema.meta), self.next(), now), ..Schema::clone(schema) };
        Ok(Change::removal(self.next(), Key::Version(name.clone(), version), vec![Entry::Schema(Arc::new(schema))]))
    }
}
