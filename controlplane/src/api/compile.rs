//! Compiles the documents of schema versions, each once, off the async threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use moka::sync::Cache;
use posthorn_domain::names::{References, SchemaRef};
use posthorn_domain::problem::{Code, Fault, Problem};
use posthorn_domain::resource::{SchemaSpec, SchemaVersion};
use posthorn_domain::schema::{Bundle, CompiledSchema, Library, MAX_DOCUMENTS, Registered, pins};

use super::Api;
use crate::compat::Version;

/// Compiled schemas that are kept, for a check that is followed by the real thing.
const COMPILED: u64 = 64;

type Compiled = Result<(Arc<Bundle>, Arc<CompiledSchema>), Arc<Vec<Fault>>>;

/// Compiles each content once.
pub(super) struct Compiler(Cache<[u8; 32], Compiled>);

impl Default for Compiler {
    fn default() -> Self {
        Self(Cache::new(COMPILED))
    }
}

/// A version's document and what its references were settled to.
pub(super) struct Source {
    pub(super) label: String,
    pub(super) reference: SchemaRef,
    pub(super) spec: SchemaSpec,
    pub(super) references: References,
    /// The versions that it refers to, through others too.
    pub(super) needed: Needed,
}

/// Versions by name and number, apart from the registry.
#[derive(Clone, Default)]
pub(super) struct Needed(BTreeMap<SchemaRef, Arc<SchemaVersion>>);

impl Library for Needed {
    fn registered(&self, reference: &SchemaRef) -> Option<Registered<'_>> {
        let version = self.0.get(reference)?;
        Some(Registered { schema: &version.spec.schema, references: &version.references })
    }
}

impl Api {
    /// Settles what a new document refers to.
    ///
    /// # Errors
    /// 422 with a pointer to each reference that leads nowhere.
    pub(super) fn pinned(&self, spec: &SchemaSpec) -> Result<References, Problem> {
        let registry = self.publisher.registry.read();
        pins(&spec.schema, |wanted| registry.find(wanted)).map_err(|faults| refused(&faults))
    }

    /// The versions that these references lead to, as far as they go.
    pub(super) fn needed(&self, references: &References) -> Needed {
        let registry = self.publisher.registry.read();
        let mut needed = Needed::default();
        let mut pending: Vec<SchemaRef> = references.values().cloned().collect();
        while let Some(reference) = pending.pop() {
            if needed.0.len() > MAX_DOCUMENTS || needed.0.contains_key(&reference) {
                continue;
            }
            if let Some(version) = registry.version(&reference.name, reference.version) {
                pending.extend(version.references.values().cloned());
                needed.0.insert(reference, version.clone());
            }
        }
        needed
    }

    /// A registered version, ready to be compiled.
    pub(super) fn source(&self, version: &SchemaVersion) -> Source {
        Source {
            label: version.reference().to_string(),
            reference: version.reference(),
            spec: version.spec.clone(),
            references: version.references.clone(),
            needed: self.needed(&version.references),
        }
    }
}

impl Compiler {
    /// Takes up to some hundred milliseconds, on a thread where that is allowed.
    pub(super) async fn compile(&self, source: Source) -> Result<Version, Problem> {
        let cache = self.0.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let compiled = cache.get_with(source.key(), || source.compile().map_err(Arc::new));
            compiled.map(|(bundle, compiled)| Version { label: source.label, bundle, compiled, formats: source.spec.assert_formats })
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

impl Source {
    fn key(&self) -> [u8; 32] {
        let mut content = ring::digest::Context::new(&ring::digest::SHA256);
        content.update(&[u8::from(self.spec.assert_formats)]);
        content.update(self.spec.schema.to_string().as_bytes());
        for (uri, reference) in &self.references {
            content.update(format!("\n{uri} {reference}").as_bytes());
        }
        content.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn compile(&self) -> Result<(Arc<Bundle>, Arc<CompiledSchema>), Vec<Fault>> {
        let bundle = Bundle::new(&self.spec.schema, &self.references, &self.needed)?;
        let compiled = CompiledSchema::of(self.reference.clone(), &bundle, self.spec.assert_formats)?;
        Ok((Arc::new(bundle), Arc::new(compiled)))
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
