//! Schemas: compiled and compared before they are taken, and tried on stored events when that is asked for.

use std::sync::Arc;

use posthorn_domain::names::{SchemaName, SchemaRef};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, SchemaSpec, SchemaVersion, parse_deprecation};
use serde_json::{Value, json};

use super::compile::Source;
use super::{Answer, Api, Page, fit, missing, name, to_value};
use crate::compat::{Verdict, Version};
use crate::registry::{Basis, Command, Entry, Outcome, Precondition};

/// Another version may come in between so often before it is given up.
const TRIES: usize = 5;

/// How a version is added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddOptions {
    /// Check only.
    pub(crate) dry_run: bool,
    /// Try that many stored events too.
    pub(crate) sample: Option<u32>,
    /// Take it although its compatibility cannot be decided.
    pub(crate) override_undecided: bool,
    /// The mode to check by instead of the schema's own; for a dry run.
    pub(crate) mode: Option<Compatibility>,
    /// Also when filters read what it no longer names.
    pub(crate) force: bool,
}

/// A version that could be added.
struct Checked {
    basis: Basis,
    verdict: Verdict,
    new: Arc<Version>,
}

impl Api {
    pub(crate) async fn add_version(&self, schema: &str, document: &Value, options: AddOptions) -> Result<Answer, Problem> {
        let name = name("schema", schema)?;
        let spec = SchemaSpec::parse(document)?;
        for _ in 0..TRIES {
            let checked = self.check(&name, &spec, &options).await?;
            let refused = fit::refused(&checked.verdict).filter(|_| !options.dry_run);
            let overridden = options.override_undecided && matches!(checked.verdict, Verdict::Undecided(_));
            if let Some(problem) = refused.filter(|_| !overridden) {
                return Err(problem);
            }
            if !options.force {
                self.check_references(&name, &spec).await?;
            }
            let sample = match options.sample {
                Some(count) => self.sample(&name, &checked.new.compiled, count).await?,
                None => Value::Null,
            };
            if options.dry_run {
                return Ok(dry(&checked.verdict, sample));
            }
            let command = Command::AddVersion { name: name.clone(), spec: spec.clone(), basis: checked.basis };
            let mut answer = self.write_one(command).await?;
            if answer.outcome == Outcome::Stale {
                continue;
            }
            if !sample.is_null() {
                answer.body["sample"] = sample;
            }
            let warnings = fit::warnings(&checked.verdict);
            if answer.outcome == Outcome::Created && !warnings.is_empty() {
                answer.body["warnings"] = json!(warnings);
            }
            return Ok(answer);
        }
        Err(Problem::new(Code::Unavailable, "other versions of this schema are being added all the time; add it again").with_retry_after(1))
    }

    /// Compiles the version and compares it with the earlier ones. A content that is there already fits.
    async fn check(&self, name: &SchemaName, spec: &SchemaSpec, options: &AddOptions) -> Result<Checked, Problem> {
        let (known, earlier, mut basis) = {
            let registry = self.publisher.registry.read();
            let earlier: Vec<Arc<SchemaVersion>> = registry.versions_of(name).rev().cloned().collect();
            let latest = earlier.first().map(|version| version.version);
            let basis = Basis { latest, compatibility: registry.compatibility(name), ..Basis::default() };
            (registry.same_version(name, spec).cloned(), earlier, basis)
        };
        if let Some(known) = known {
            let new = Arc::new(self.compiler.compile(self.source(&known)).await?);
            return Ok(Checked { basis, verdict: Verdict::Fits { assumed: Default::default() }, new });
        }
        basis.references = self.pinned(spec)?;
        let source = Source {
            label: format!("{name} (new)"),
            reference: SchemaRef { name: name.clone(), version: 0 },
            spec: spec.clone(),
            references: basis.references.clone(),
            needed: self.needed(&basis.references),
        };
        let new = Arc::new(self.compiler.compile(source).await?);
        let mode = options.mode.unwrap_or(basis.compatibility);
        let verdict = self.judges.judge(mode, new.clone(), self.compiled(mode, &earlier).await?).await;
        Ok(Checked { basis, verdict, new })
    }

    /// The earlier versions that count in this mode, the latest first.
    async fn compiled(&self, mode: Compatibility, earlier: &[Arc<SchemaVersion>]) -> Result<Vec<Version>, Problem> {
        let count = match mode {
            Compatibility::None => 0,
            mode if mode.is_transitive() => earlier.len(),
            _ => 1,
        };
        let mut versions = Vec::new();
        for version in earlier.iter().take(count) {
            versions.push(self.compiler.compile(self.source(version)).await?);
        }
        Ok(versions)
    }

    pub(crate) async fn put_schema(&self, schema: &str, document: &Value, when: Precondition) -> Result<Answer, Problem> {
        let name = name("schema", schema)?;
        let compatibility = Compatibility::parse(document)?;
        self.write_one(Command::PutSchema { name, compatibility, when }).await
    }

    pub(crate) fn schema(&self, schema: &str) -> Result<Answer, Problem> {
        let info = self.publisher.registry.read().schema_info(schema).ok_or_else(|| missing("schema", schema))?;
        Ok(Answer { revision: Some(info.meta.revision), body: to_value(&info), outcome: Outcome::Unchanged })
    }

    pub(crate) fn schemas(&self, page: &Page) -> Result<Value, Problem> {
        let after = page.after()?;
        let schemas = self.publisher.registry.read().schemas_after(after.as_ref(), page.limit + 1);
        Ok(page.answer(schemas, |schema| schema.name.to_string(), to_value))
    }

    /// The versions of a schema, oldest first.
    pub(crate) fn versions(&self, schema: &str, page: &Page) -> Result<Value, Problem> {
        let after: u32 = page.after()?.unwrap_or(0);
        let registry = self.publisher.registry.read();
        let name = schema.parse().ok().filter(|name: &SchemaName| registry.schema_info(name).is_some());
        let name = name.ok_or_else(|| missing("schema", schema))?;
        let versions: Vec<Arc<SchemaVersion>> =
            registry.versions_of(&name).filter(|version| version.version > after).take(page.limit + 1).cloned().collect();
        drop(registry);
        Ok(page.answer(versions, |version| version.version.to_string(), |version| to_value(&**version)))
    }

    /// One version, by number or as `latest`.
    pub(crate) fn version(&self, schema: &str, version: &str) -> Result<Answer, Problem> {
        let not_there = || missing("schema version", &format!("{schema}:{version}"));
        let name: SchemaName = schema.parse().map_err(|_| not_there())?;
        let registry = self.publisher.registry.read();
        let found = match version {
            "latest" => registry.latest_version(&name),
            number => number.parse().ok().and_then(|number| registry.version(&name, number)),
        };
        let found = found.cloned().ok_or_else(not_there)?;
        drop(registry);
        Ok(self.shown(&Entry::Version(found)))
    }

    /// Says that a version should not be used any more, or takes that back.
    pub(crate) async fn put_version(&self, schema: &str, version: &str, document: &Value, when: Precondition) -> Result<Answer, Problem> {
        let not_there = || missing("schema version", &format!("{schema}:{version}"));
        let name: SchemaName = schema.parse().map_err(|_| not_there())?;
        let version: u32 = version.parse().map_err(|_| not_there())?;
        let stored = self.publisher.registry.read().version(&name, version).cloned().ok_or_else(not_there)?;
        let message = parse_deprecation(document, &stored.spec)?;
        self.write_one(Command::Deprecate { name, version, message, when }).await
    }

    /// Deletes a schema with all its versions.
    pub(crate) async fn delete_schema(&self, schema: &str, when: Precondition) -> Result<(), Problem> {
        let name = schema.parse().map_err(|_| missing("schema", schema))?;
        self.write(Command::DeleteSchema { name, when }).await.map(drop)
    }

    pub(crate) async fn delete_version(&self, schema: &str, version: &str, when: Precondition) -> Result<(), Problem> {
        let not_there = || missing("schema version", &format!("{schema}:{version}"));
        let name = schema.parse().map_err(|_| not_there())?;
        let version = version.parse().map_err(|_| not_there())?;
        self.write(Command::DeleteVersion { name, version, when }).await.map(drop)
    }
}

fn dry(verdict: &Verdict, sample: Value) -> Answer {
    let mut body = fit::report(verdict);
    body["sample"] = sample;
    let warnings = fit::warnings(verdict);
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    Answer { body, revision: None, outcome: Outcome::Unchanged }
}
