//! Rules of schemas and their versions. Whether a document compiles, and fits the earlier ones, was found out before.

use std::sync::Arc;

use posthorn_domain::names::{SchemaName, SchemaRef};
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Compatibility, SchemaSpec, SchemaVersion};
use posthorn_domain::schema::{Library, Registered, Wanted};
use posthorn_domain::time::Time;
use url::Url;

use super::change::Key;
use super::{Basis, Change, Entry, MAX_SCHEMAS, MAX_VERSIONS, Outcome, Precondition, Registry, Schema, full, meta, not_found};

impl Registry {
    /// The version with this content, if there is one.
    pub(crate) fn same_version(&self, name: &SchemaName, spec: &SchemaSpec) -> Option<&Arc<SchemaVersion>> {
        self.versions_of(name).find(|version| version.spec == *spec)
    }

    /// The schema, unless it was deleted.
    pub(super) fn live_schema(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(name).filter(|schema| !schema.deleted)
    }

    /// How versions of the schema must fit now.
    pub(crate) fn compatibility(&self, name: &SchemaName) -> Compatibility {
        self.live_schema(name).map_or(Compatibility::None, |schema| schema.compatibility)
    }

    /// The version that a reference of a new document is pinned to.
    pub(crate) fn find(&self, wanted: Wanted<'_>) -> Option<SchemaRef> {
        match wanted {
            Wanted::Version(reference) => self.version(&reference.name, reference.version).map(|version| version.reference()),
            Wanted::Id(uri) => {
                let named = |version: &&Arc<SchemaVersion>| {
                    version.spec.id().is_some_and(|id| id == uri || Url::parse(id).is_ok_and(|id| id.as_str() == uri))
                };
                self.versions.values().filter(named).max_by_key(|version| version.meta.incarnation).map(|version| version.reference())
            }
        }
    }

    pub(super) fn add_version(&self, name: SchemaName, spec: SchemaSpec, basis: Basis, now: Time) -> Result<Change, Problem> {
        if let Some(version) = self.same_version(&name, &spec) {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Version(version.clone())]));
        }
        if !self.still_holds(&name, &basis) {
            return Ok(Change::put(self.revision, Outcome::Stale, Vec::new()));
        }
        let before = self.schemas.get(&name);
        if before.is_none() && self.schemas.len() >= MAX_SCHEMAS {
            return Err(full("schemas, deleted ones included,", MAX_SCHEMAS));
        }
        if self.versions_of(&name).count() >= MAX_VERSIONS {
            return Err(full("versions of this schema", MAX_VERSIONS));
        }
        let revision = self.next();
        let number = before.map_or(0, |schema| schema.last_version) + 1;
        let alive = self.live_schema(&name);
        let schema = Schema {
            name: name.clone(),
            compatibility: basis.compatibility,
            last_version: number,
            deleted: false,
            meta: meta(alive.map(|schema| &schema.meta), revision, now),
        };
        let Basis { references, .. } = basis;
        let version = SchemaVersion { name, version: number, spec, references, deprecated: None, meta: meta(None, revision, now) };
        let put = vec![Entry::Version(Arc::new(version)), Entry::Schema(Arc::new(schema))];
        Ok(Change::put(revision, Outcome::Created, put))
    }

    /// Whether a check against `basis` is still good.
    fn still_holds(&self, name: &SchemaName, basis: &Basis) -> bool {
        basis.compatibility == self.compatibility(name)
            && basis.latest == self.latest_version(name).map(|version| version.version)
            && basis.references.values().all(|reference| self.version(&reference.name, reference.version).is_some())
    }

    pub(super) fn put_schema(
        &self,
        name: SchemaName,
        compatibility: Compatibility,
        when: &Precondition,
        now: Time,
    ) -> Result<Change, Problem> {
        let before = self.live_schema(&name);
        when.check(before.map(|schema| schema.meta.revision))?;
        if let Some(schema) = before.filter(|schema| schema.compatibility == compatibility) {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Schema(schema.clone())]));
        }
        if !self.schemas.contains_key(&name) && self.schemas.len() >= MAX_SCHEMAS {
            return Err(full("schemas, deleted ones included,", MAX_SCHEMAS));
        }
        let outcome = if before.is_some() { Outcome::Changed } else { Outcome::Created };
        let last_version = self.schemas.get(&name).map_or(0, |schema| schema.last_version);
        let meta = meta(before.map(|schema| &schema.meta), self.next(), now);
        let schema = Schema { name, compatibility, last_version, deleted: false, meta };
        Ok(Change::put(self.next(), outcome, vec![Entry::Schema(Arc::new(schema))]))
    }

    pub(super) fn deprecate(
        &self,
        name: &SchemaName,
        version: u32,
        message: Option<String>,
        when: &Precondition,
        now: Time,
    ) -> Result<Change, Problem> {
        let found = self.version(name, version);
        when.check(found.map(|version| version.meta.revision))?;
        let Some(found) = found else { return Err(not_found("schema version", format_args!("{name}:{version}"))) };
        if found.deprecated == message {
            return Ok(Change::put(self.revision, Outcome::Unchanged, vec![Entry::Version(found.clone())]));
        }
        let meta = meta(Some(&found.meta), self.next(), now);
        let version = SchemaVersion { deprecated: message, meta, ..SchemaVersion::clone(found) };
        Ok(Change::put(self.next(), Outcome::Changed, vec![Entry::Version(Arc::new(version))]))
    }

    pub(super) fn delete_version(&self, name: &SchemaName, version: u32, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let found = self.version(name, version);
        when.check(found.map(|version| version.meta.revision))?;
        let (Some(found), Some(schema)) = (found, self.schemas.get(name)) else {
            return Err(not_found("schema version", format_args!("{name}:{version}")));
        };
        self.refuse_if_used(name, &[found])?;
        let schema = Schema { meta: meta(Some(&schema.meta), self.next(), now), ..Schema::clone(schema) };
        Ok(Change::removal(self.next(), Key::Version(name.clone(), version), vec![Entry::Schema(Arc::new(schema))]))
    }

    pub(super) fn delete_schema(&self, name: &SchemaName, when: &Precondition, now: Time) -> Result<Change, Problem> {
        let schema = self.live_schema(name);
        when.check(schema.map(|schema| schema.meta.revision))?;
        let Some(schema) = schema else { return Err(not_found("schema", name)) };
        let versions: Vec<&Arc<SchemaVersion>> = self.versions_of(name).collect();
        self.refuse_if_used(name, &versions)?;
        let removed = versions.iter().map(|version| Key::Version(name.clone(), version.version)).collect();
        let meta = meta(Some(&schema.meta), self.next(), now);
        let gone = Schema { deleted: true, compatibility: Compatibility::None, meta, ..Schema::clone(schema) };
        let put = vec![Entry::Schema(Arc::new(gone))];
        Ok(Change { removed, ..Change::put(self.next(), Outcome::Deleted, put) })
    }
}

impl Library for Registry {
    fn registered(&self, reference: &SchemaRef) -> Option<Registered<'_>> {
        let version = self.version(&reference.name, reference.version)?;
        Some(Registered { schema: &version.spec.schema, references: &version.references })
    }
}
