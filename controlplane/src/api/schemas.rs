//! Schemas: compiled before they are taken, and tried on stored events when that is asked for.

use std::sync::Arc;

use moka::sync::Cache;
use posthorn_domain::json::Parser;
use posthorn_domain::names::SchemaName;
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Fault, Problem};
use posthorn_domain::resource::{Compatibility, SchemaSpec, SchemaVersion};
use posthorn_domain::schema::CompiledSchema;
use serde_json::{Value, json};

use super::{Answer, Api, Page, missing, name, to_value};
use crate::registry::{Command, Entry, Outcome, Precondition};

/// Compiled schemas that are kept, for a check that is followed by the real thing.
const COMPILED: u64 = 64;
/// Most stored events that a check looks at.
const MAX_SAMPLE: u32 = 10_000;
/// Invalid events that a check shows.
const EXAMPLES: usize = 10;

/// How a version is added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddOptions {
    /// Check only.
    pub(crate) dry_run: bool,
    /// Try that many stored events too.
    pub(crate) sample: Option<u32>,
    /// Also when filters read what it no longer names.
    pub(crate) force: bool,
}

type Compiled = Result<Arc<CompiledSchema>, Arc<Vec<Fault>>>;

/// Compiles each content once.
pub(super) struct Compiler(Cache<[u8; 32], Compiled>);

impl Default for Compiler {
    fn default() -> Self {
        Self(Cache::new(COMPILED))
    }
}

impl Compiler {
    /// Takes up to some hundred milliseconds; off the async threads.
    async fn compile(&self, name: &SchemaName, spec: &SchemaSpec) -> Result<Arc<CompiledSchema>, Problem> {
        let text = spec.schema.to_string();
        let mut content = ring::digest::Context::new(&ring::digest::SHA256);
        content.update(&[u8::from(spec.assert_formats)]);
        content.update(text.as_bytes());
        let key: [u8; 32] = content.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        let (cache, name, schema, formats) = (self.0.clone(), name.clone(), spec.schema.clone(), spec.assert_formats);
        let compiled = tokio::task::spawn_blocking(move || {
            cache.get_with(key, || CompiledSchema::compile(name, 0, &schema, formats).map(Arc::new).map_err(Arc::new))
        });
        match compiled.await {
            Ok(compiled) => compiled.map_err(|faults| refused(&faults)),
            Err(error) => {
                tracing::error!(%error, "the schema compiler stopped");
                Err(Problem::new(Code::InvalidResource, "the schema cannot be compiled"))
            }
        }
    }
}

/// The compiler's pointers start at the schema; the caller's document has it under `schema`.
fn refused(faults: &[Fault]) -> Problem {
    let moved = |fault: &Fault| Fault { pointer: format!("#/schema{}", fault.pointer.trim_start_matches('#')), ..fault.clone() };
    let faults: Vec<Fault> = faults.iter().map(moved).collect();
    let detail = match faults.as_slice() {
        [only] => format!("the schema: {} ({})", only.detail, only.pointer),
        many => format!("the schema has {} faults, listed in `errors`", many.len()),
    };
    Problem::new(Code::InvalidResource, detail).with_errors(faults)
}

impl Api {
    pub(crate) async fn add_version(&self, schema: &str, document: &Value, options: AddOptions) -> Result<Answer, Problem> {
        let name = name("schema", schema)?;
        let spec = SchemaSpec::parse(document)?;
        let compiled = self.compiler.compile(&name, &spec).await?;
        if !options.force {
            self.check_references(&name, &spec).await?;
        }
        let sample = match options.sample {
            Some(count) => self.sample(&name, &compiled, count.min(MAX_SAMPLE)).await?,
            None => Value::Null,
        };
        if options.dry_run {
            let body = json!({"compatible": true, "counterexample": null, "sample": sample});
            return Ok(Answer { body, revision: None, outcome: Outcome::Unchanged });
        }
        let mut answer = self.write_one(Command::AddVersion { name, spec }).await?;
        if !sample.is_null() {
            answer.body["sample"] = sample;
        }
        Ok(answer)
    }

    /// Tries the schema on stored events of the topics that use it.
    async fn sample(&self, name: &SchemaName, compiled: &Arc<CompiledSchema>, count: u32) -> Result<Value, Problem> {
        let topics = self.publisher.registry.read().topics_with_schema(name);
        let mut stored = Vec::new();
        for topic in topics {
            let left = count - u32::try_from(stored.len()).unwrap_or(count).min(count);
            if left == 0 {
                break;
            }
            let question = Question::Sample { topic: topic.to_string(), limit: left };
            stored.extend(self.sampled(&question).await?.into_iter().take(left as usize));
        }
        let (compiled, label) = (compiled.clone(), name.to_string());
        let checked = tokio::task::spawn_blocking(move || report(&compiled, &label, &stored));
        checked.await.map_err(|_| Problem::new(Code::Internal, "the check of stored events stopped"))
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

    pub(crate) async fn delete_version(&self, schema: &str, version: &str, when: Precondition) -> Result<(), Problem> {
        let not_there = || missing("schema version", &format!("{schema}:{version}"));
        let name = schema.parse().map_err(|_| not_there())?;
        let version = version.parse().map_err(|_| not_there())?;
        self.write(Command::DeleteVersion { name, version, when }).await.map(drop)
    }
}

fn report(compiled: &CompiledSchema, label: &str, stored: &[Value]) -> Value {
    let mut parser = Parser::new();
    let (mut invalid, mut examples) = (0_usize, Vec::new());
    for data in stored {
        let errors = parser.parse(data.to_string().as_bytes(), |doc| compiled.errors(doc, label)).unwrap_or_default();
        if !errors.is_empty() {
            invalid += 1;
            if examples.len() < EXAMPLES {
                examples.push(json!({"data": data, "errors": errors}));
            }
        }
    }
    json!({"checked": stored.len(), "invalid": invalid, "examples": examples})
}
